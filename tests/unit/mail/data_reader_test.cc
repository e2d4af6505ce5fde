#include "common/mail/data_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/mail/unstuffer.h"

namespace postern::mail {
namespace {

struct Scanned {
  std::string body;
  std::string rest;  // behind the end
  bool end = false;
  bool bare = false;
  bool stuffed = false;
  std::uint64_t size = 0;
  std::uint32_t received = 0;
  std::vector<std::string> delivered_to;
  bool has_date = false;
  bool has_message_id = false;
  bool operator==(const Scanned&) const = default;
};

// Scans `wire` cut into pieces of `piece` bytes.
Scanned scan(std::string_view wire, std::size_t piece = std::string_view::npos) {
  DataReader reader;
  Scanned result;
  while (!wire.empty() && !result.end) {
    auto now = wire.substr(0, piece);
    wire.remove_prefix(now.size());
    while (!now.empty() && !result.end) {
      const auto step = reader.scan(now);
      result.body += step.body;
      result.end = step.end;
      now.remove_prefix(step.consumed);
    }
    result.rest = now;
  }
  result.rest += wire;
  EXPECT_EQ(reader.wire_size(), result.body.size());
  result.bare = reader.bare();
  result.stuffed = reader.stuffed();
  result.size = reader.size();
  result.received = reader.received();
  result.delivered_to = reader.delivered_to();
  result.has_date = reader.has_date();
  result.has_message_id = reader.has_message_id();
  return result;
}

TEST(DataReader, FindsTheEnd) {
  const auto result = scan("a\r\nb\r\n.\r\nQUIT\r\n");
  EXPECT_TRUE(result.end);
  EXPECT_EQ(result.body, "a\r\nb\r\n");
  EXPECT_EQ(result.rest, "QUIT\r\n");
  EXPECT_FALSE(result.bare);
}

TEST(DataReader, EmptyBody) {
  const auto result = scan(".\r\nQUIT\r\n");
  EXPECT_TRUE(result.end);
  EXPECT_EQ(result.body, "");
  EXPECT_EQ(result.rest, "QUIT\r\n");
}

TEST(DataReader, DotsStayStuffed) {
  const auto result = scan("..\r\n.a\r\nb.\r\n...\r\n.\r\n");
  EXPECT_EQ(result.body, "..\r\n.a\r\nb.\r\n...\r\n");
  EXPECT_TRUE(result.stuffed);
  EXPECT_EQ(result.size, result.body.size() - 3);
  EXPECT_FALSE(scan("a\r\n.\r\n").stuffed);
}

TEST(DataReader, BareLineEndsAreSeenAndEndNothing) {
  for (const auto* text : {"a\n.\r\n", "a\r\n.\n", "a\r.\r\n", "a\r\n.\rb", "\n", "\r\r\n",
                           "a\n\r\n", "\r\n\n", ".\n", ".\rx", "a\n.\n"}) {
    const auto result = scan(std::string(text) + "end\r\n.\r\nQUIT");
    EXPECT_TRUE(result.bare) << testing::PrintToString(text);
    EXPECT_TRUE(result.end) << testing::PrintToString(text);
    EXPECT_EQ(result.body, std::string(text) + "end\r\n") << testing::PrintToString(text);
    EXPECT_EQ(result.rest, "QUIT");
  }
}

TEST(DataReader, NulAndEightBitPass) {
  const std::string body("\0a\r\n.\0\r\n\xff\r\n", 11);
  const auto result = scan(body + ".\r\n");
  EXPECT_EQ(result.body, body);
  EXPECT_FALSE(result.bare);
}

TEST(DataReader, CountsReceivedFieldsOfTheHeaderOnly) {
  EXPECT_EQ(scan("Received: a\r\n b\r\nRECEIVED:c\r\nX-Received: d\r\n Received: "
                 "e\r\n\r\nReceived: f\r\n.\r\n")
                .received,
            2U);
  EXPECT_EQ(scan("\r\nReceived: a\r\n.\r\n").received, 0U);
  EXPECT_EQ(scan("receive: a\r\nreceivedx: b\r\n.\r\n").received, 0U);
}

TEST(DataReader, KeepsTheDeliveredToFieldsOfTheHeader) {
  const std::string longest(BodyScanner::kLongestDelivered, 'x');
  const auto wire = "Delivered-To: a@b.example \r\nX: y\r\ndelivered-TO:\tc@d.example\r\nDelivered-To:\r\n e@f\r\n"
                    "Delivered-Too: g\r\nDelivered: h\r\n delivered-to: i\r\nDelivered-To:" + longest +
                    "\r\nDelivered-To: " + longest + "xx\r\n\r\nDelivered-To: j@k.example\r\n.\r\n";
  const std::vector<std::string> expected{"a@b.example", "c@d.example", longest};
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{100}, std::string::npos})
    EXPECT_EQ(scan(wire, piece).delivered_to, expected) << piece;
  std::string many;
  for (std::size_t n = 0; n < 2 * BodyScanner::kMostDelivered; ++n) many += "Delivered-To: x\r\n";
  EXPECT_EQ(scan(many + ".\r\n").delivered_to.size(), BodyScanner::kMostDelivered);
}

TEST(DataReader, SeesWhetherAHeaderHasADateAndAMessageId) {
  const auto sees = [](const std::string& header) {
    const auto wire = header + "\r\nDate: in the body\r\nMessage-ID: <there@too>\r\n.\r\n";
    const auto whole = scan(wire);
    for (std::size_t piece = 1; piece < wire.size(); ++piece) EXPECT_EQ(scan(wire, piece), whole) << piece;
    return std::pair(whole.has_date, whole.has_message_id);
  };
  EXPECT_EQ(sees("From: a@b.example\r\n"), std::pair(false, false));
  EXPECT_EQ(sees("dATE: Thu, 26 Nov 2026 00:00:00 +0000\r\n"), std::pair(true, false));
  EXPECT_EQ(sees("X: y\r\nMESSAGE-id:<a@b>\r\nDate:\r\n"), std::pair(true, true));
  EXPECT_EQ(sees("Date \t: x\r\nMessage-ID : <a@b>\r\n"), std::pair(true, true));  // RFC 5322 4.5
  EXPECT_EQ(sees("Dated: x\r\nResent-Date: x\r\nMessage-IDs: x\r\nX: y\r\n Date: folded\r\n"),
            std::pair(false, false));
  EXPECT_EQ(sees("Da te: x\r\n.Date: x\r\nDate\r\n: x\r\n"), std::pair(false, false));
}

TEST(DataReader, PiecesChangeNothing) {
  const std::string wire =
      "Received: a\r\nreCEIVED: b\r\nReceived : c\r\nDate: d\r\n..x\r\n\r\nReceived: "
      "c\r\n.\r\r\n..\r\n\r\n.y\r\n\n.\r\n.\r.\r\n\r\n.\r\nNOOP\r\n";
  const auto whole = scan(wire);
  EXPECT_TRUE(whole.end);
  for (std::size_t piece = 1; piece < wire.size(); ++piece)
    EXPECT_EQ(scan(wire, piece), whole) << piece;
}

// In large pieces whole blocks are passed over; in single bytes each is looked at.
TEST(DataReader, WhatStandsOutIsSeenWhereverItIsAmongPlainLines) {
  std::string plain = "Subject: x\r\n\r\n";
  while (plain.size() < 700) plain += std::string(plain.size() % 79, 'a') + "\r\n";
  for (const std::string_view odd : {"\r", "\n", ".", "\r\n", "\n.", "\r.", "\r\n.", "\r\n.\r", "\r\n.\n", "\r\n..\r\n",
                                     "\r\r\n", "\r\n\n", "\r\n.\r\nQUIT\r\n"}) {
    for (std::size_t at = 0; at < plain.size(); ++at) {
      const auto wire = plain.substr(0, at) + std::string(odd) + plain.substr(at) + ".\r\nNOOP\r\n";
      const auto expected = scan(wire, 1);
      ASSERT_EQ(scan(wire), expected) << testing::PrintToString(odd) << " at " << at;
      ASSERT_EQ(scan(wire, 301), expected) << testing::PrintToString(odd) << " at " << at;
    }
  }
}

TEST(DataReader, WithoutEndNothingIsLost) {
  const auto result = scan("a\r\n.\r", 1);
  EXPECT_FALSE(result.end);
  EXPECT_EQ(result.body, "a\r\n");
}

std::string unstuff(std::string_view stuffed, LineEnd line_end, std::size_t piece) {
  Unstuffer unstuffer(line_end);
  std::string out;
  for (; !stuffed.empty(); stuffed.remove_prefix(std::min(piece, stuffed.size())))
    unstuffer.feed(stuffed.substr(0, piece), out);
  unstuffer.finish(out);
  return out;
}

TEST(Unstuffer, TakesOneDotOffAndMayChangeLineEnds) {
  const std::string_view stuffed = "..\r\n.a\r\nb..\r\n\r\n...\r\nlast";
  for (std::size_t piece = 1; piece <= stuffed.size(); ++piece) {
    EXPECT_EQ(unstuff(stuffed, LineEnd::kCrLf, piece), ".\r\na\r\nb..\r\n\r\n..\r\nlast") << piece;
    EXPECT_EQ(unstuff(stuffed, LineEnd::kLf, piece), ".\na\nb..\n\n..\nlast") << piece;
  }
}

TEST(Unstuffer, KeepsWhatIsNoLineEnd) {
  for (std::size_t piece = 1; piece < 8; ++piece) {
    EXPECT_EQ(unstuff("a\rb\r\r\nc\r", LineEnd::kLf, piece), "a\rb\r\nc\r") << piece;
    EXPECT_EQ(unstuff("a\rb\r\r\nc\r", LineEnd::kCrLf, piece), "a\rb\r\r\nc\r") << piece;
  }
}

}  // namespace
}  // namespace postern::mail
