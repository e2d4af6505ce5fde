// BDAT, where the dialogues cannot say it: every permutation around the end of a chunk, the calls to the sink,
// what the owner is told to wait for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "common/mail/unstuffer.h"
#include "smtpd/protocol.h"
#include "tests/unit/smtpd/harness.h"

namespace postern::smtpd::test {
namespace {

using namespace std::string_literals;
using testing::EndsWith;

constexpr std::string_view kUntilChunks =
    "EHLO client\r\nMAIL FROM:<ann@a.example>\r\nRCPT TO:<alice@example.org>\r\n";
constexpr std::string_view kUntilBytes =
    "EHLO client\r\nMAIL FROM:<ann@a.example> BODY=BINARYMIME\r\nRCPT TO:<alice@example.org>\r\n";
constexpr std::string_view kPlanted =
    "MAIL FROM:<ceo@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nplanted\r\n.\r\n";

class ChunksTest : public testing::Test {
 protected:
  Connection connect() { return Connection(service_, base::parse_ip("192.0.2.1")); }

  config::RightsIndex rights_{sample_rights()};
  Service service_ = sample_service(rights_);
};

std::string chunk(std::string_view bytes, bool last) {
  return fmt::format("BDAT {}{}\r\n", bytes.size(), last ? " LAST" : "") + std::string(bytes);
}

bool has_bare(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n')) return true;
    if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) return true;
  }
  return false;
}

std::string unstuffed(std::string_view stuffed) {
  mail::Unstuffer unstuffer(mail::LineEnd::kCrLf);
  std::string out;
  unstuffer.feed(stuffed, out);
  unstuffer.finish(out);
  return out;
}

// Calls `each` with all strings of CR, LF, NUL, dot and a letter up to a length; returns how many.
template <class Each>
std::size_t every_string(std::size_t longest, Each each) {
  constexpr std::string_view kAlphabet("\r\n.\0a", 5);
  std::size_t tried = 0;
  for (std::size_t length = 0; length <= longest; ++length) {
    std::size_t count = 1;
    for (std::size_t i = 0; i < length; ++i) count *= kAlphabet.size();
    for (std::size_t n = 0; n < count; ++n, ++tried) {
      std::string text;
      for (std::size_t i = 0, left = n; i < length; ++i, left /= kAlphabet.size())
        text += kAlphabet[left % kAlphabet.size()];
      each(text, tried);
    }
  }
  return tried;
}

// Between a body and a planted second message, within a chunk: no more than one message, with all of it in it,
// and none where a CR or LF stands alone. What was stored is sent on by DATA, as a plain copy: there, too, it is
// one message.
TEST_F(ChunksTest, NoPermutationSmugglesAMessage) {
  const auto tried = every_string(5, [&](const std::string& middle, std::size_t number) {
    const auto text = "body" + middle + std::string(kPlanted);
    const auto wire = number % 2 == 0 ? chunk(text, true)
                                      : chunk(text.substr(0, 4 + middle.size()), false) +
                                            chunk(text.substr(4 + middle.size()), true);
    auto c = connect();
    c.feed(kUntilChunks);
    if (number % 3 == 0) {
      for (const char byte : wire) c.feed({&byte, 1});
    } else {
      c.feed(wire);
    }
    ASSERT_FALSE(c.closed());
    if (has_bare(text)) {
      ASSERT_EQ(c.sink.messages.size(), 0U) << testing::PrintToString(middle);
      return;
    }
    ASSERT_EQ(c.sink.messages.size(), 1U) << testing::PrintToString(middle);
    const auto& stored = c.sink.messages[0].body;
    ASSERT_EQ(unstuffed(stored), text);
    ASSERT_FALSE(c.sink.messages[0].facts.binary);

    auto next_hop = connect();
    next_hop.feed(kUntilChunks);
    next_hop.feed("DATA\r\n" + stored + ".\r\n");
    ASSERT_EQ(next_hop.sink.messages.size(), 1U) << testing::PrintToString(middle);
    ASSERT_EQ(next_hop.sink.messages[0].body, stored);
  });
  EXPECT_EQ(tried, 1U + 5 + 25 + 125 + 625 + 3125);
}

// At the end of a chunk, with commands behind it: they are heard as such, the chunk is not.
TEST_F(ChunksTest, WhatACountCoversIsNeverACommand) {
  const auto tried = every_string(4, [&](const std::string& text, std::size_t) {
    for (const bool binary : {false, true}) {
      auto c = connect();
      c.feed(binary ? kUntilBytes : kUntilChunks);
      c.feed(chunk(text, true) + "NOOP\r\n");
      ASSERT_THAT(c.output, EndsWith("\r\n250 2.0.0 Ok\r\n")) << testing::PrintToString(text);
      const bool taken = binary || !has_bare(text);
      ASSERT_EQ(c.sink.messages.size(), taken ? 1U : 0U) << testing::PrintToString(text);
      if (!taken) continue;
      ASSERT_EQ(unstuffed(c.sink.messages[0].body), text);
      ASSERT_EQ(c.sink.messages[0].facts.size, text.size());
      const bool zero = text.find('\0') != std::string::npos;
      ASSERT_EQ(c.sink.messages[0].facts.binary, binary && (zero || has_bare(text)));
    }
  });
  EXPECT_EQ(tried, 1U + 5 + 25 + 125 + 625);
}

// However it is cut into chunks, and the chunks into pieces.
TEST_F(ChunksTest, ChunksAndPiecesChangeNothing) {
  const auto body = "Received: a\r\n\r\n.\r\n..x\r\n\n.\r.\0\r\n.\r\n"s;
  for (std::size_t first = 0; first <= body.size(); ++first) {
    for (std::size_t piece = 1; piece <= 5; ++piece) {
      const auto wire = chunk(body.substr(0, first), false) + chunk(body.substr(first), true);
      auto c = connect();
      c.sink.pause_always = piece % 2 == 0;
      c.feed(kUntilBytes);
      for (std::size_t at = 0; at < wire.size(); at += piece)
        c.feed(std::string_view(wire).substr(at, piece));
      ASSERT_EQ(c.sink.messages.size(), 1U) << first;
      ASSERT_EQ(unstuffed(c.sink.messages[0].body), body) << first;
      ASSERT_TRUE(c.sink.messages[0].facts.binary);
      ASSERT_TRUE(c.sink.messages[0].envelope.eight_bit);
    }
  }
}

TEST_F(ChunksTest, NamesTheTimer) {
  RecordingSink sink;
  Protocol protocol(service_, base::parse_ip("192.0.2.1"), sink);
  protocol.start();
  EXPECT_EQ(protocol.input(kUntilChunks), kUntilChunks.size());
  EXPECT_EQ(protocol.timeout(), TimeoutKind::kCommand);
  EXPECT_EQ(protocol.input("BDAT 3\r\n"), 8U);
  EXPECT_EQ(protocol.timeout(), TimeoutKind::kData);
  EXPECT_EQ(protocol.input("ab"), 2U);
  EXPECT_EQ(protocol.timeout(), TimeoutKind::kData);
  EXPECT_EQ(protocol.input("c"), 1U);
  EXPECT_EQ(protocol.timeout(), TimeoutKind::kCommand);
  EXPECT_EQ(protocol.input("BDAT 1 LAST\r\nxNOOP\r\n"), 14U);
  EXPECT_EQ(protocol.want(), Want::kResult);
  EXPECT_EQ(protocol.timeout(), TimeoutKind::kNone);
}

TEST_F(ChunksTest, WaitsForASinkThatPauses) {
  RecordingSink sink;
  sink.pause_always = true;
  Protocol protocol(service_, base::parse_ip("192.0.2.1"), sink);
  protocol.start();
  EXPECT_EQ(protocol.input(kUntilChunks), kUntilChunks.size());
  protocol.output().clear();
  const std::string_view wire = "BDAT 6\r\n.\r\n.bcBDAT 2\r\nxyQUIT\r\n";
  EXPECT_EQ(protocol.input(wire), 14U);  // all of the chunk
  EXPECT_EQ(protocol.want(), Want::kResume);
  EXPECT_EQ(protocol.timeout(), TimeoutKind::kNone);
  EXPECT_EQ(protocol.input(wire.substr(14)), 0U);
  EXPECT_EQ(protocol.output(), "");  // its reply waits, too
  protocol.resume();
  EXPECT_EQ(protocol.output(), "250 2.0.0 6 octets received\r\n");
  EXPECT_EQ(protocol.input(wire.substr(14)), 10U);
  EXPECT_EQ(protocol.want(), Want::kResume);
  protocol.timed_out();
  EXPECT_EQ(sink.aborted, 1U);
  EXPECT_THAT(protocol.output(), EndsWith("421 4.4.2 mx.example.org timeout, closing connection\r\n"));
}

// Each call may be a write to a file.
TEST_F(ChunksTest, ManyDotsAreOneCallOfTheSink) {
  struct CountingSink final : RecordingSink {
    Flow body(std::string_view stuffed) override {
      ++calls;
      return RecordingSink::body(stuffed);
    }
    std::size_t calls = 0;
  } sink;
  Protocol protocol(service_, base::parse_ip("192.0.2.1"), sink);
  protocol.start();
  std::string text;
  while (text.size() < 3 * Protocol::kChunkPiece) text += ".\r\n";
  std::string wire = std::string(kUntilChunks) + chunk(text, true);
  EXPECT_EQ(protocol.input(wire), wire.size());
  ASSERT_EQ(sink.messages.size(), 1U);
  EXPECT_EQ(unstuffed(sink.messages[0].body), text);
  EXPECT_LE(sink.calls, 4U);
}

TEST_F(ChunksTest, StoresNothingOfWhatItWillRefuse) {
  service_.limits.message_size = 100;
  auto c = connect();
  c.feed(kUntilChunks);
  c.feed(chunk(std::string(60, 'a'), false));
  EXPECT_EQ(c.sink.aborted, 0U);
  c.feed("BDAT 41\r\n");
  EXPECT_EQ(c.sink.aborted, 1U);
  c.feed(std::string(41, 'a'));
  EXPECT_THAT(c.output, EndsWith("552 5.3.4 Message is larger than the limit\r\n"));
  EXPECT_EQ(c.sink.refusals.size(), 1U);
}

TEST_F(ChunksTest, GivesUpABodyWithTheTransaction) {
  for (const std::string_view end : {"RSET\r\n", "EHLO client\r\n", "HELO client\r\n", "BDAT x\r\n"}) {
    auto c = connect();
    c.feed(kUntilChunks);
    c.feed(chunk("a\r\n", false));
    c.feed(end);
    EXPECT_EQ(c.sink.aborted, 1U) << end;
    EXPECT_EQ(c.sink.messages.size(), 0U) << end;
  }
}

// What a session may take of all its messages is counted for chunks, too, also for those that are refused.
TEST_F(ChunksTest, CountForTheSession) {
  service_.limits.session_size = 1000;
  service_.limits.message_size = 500;
  auto c = connect();
  c.feed("EHLO client\r\n");
  for (int i = 0; i < 2; ++i) c.feed("MAIL FROM:<a@a.example>\r\n" + chunk(std::string(400, 'x'), true) + "RSET\r\n");
  c.feed("MAIL FROM:<a@a.example>\r\nRCPT TO:<alice@example.org>\r\n");
  c.feed(chunk(std::string(201, 'x'), true));
  EXPECT_THAT(c.output, EndsWith("421 4.7.0 Too much mail in this session\r\n"));
  EXPECT_TRUE(c.closed());
}

TEST_F(ChunksTest, AnAccountThatIsLockedEndsBetweenThem) {
  service_.mechanisms = {sasl::Mechanism::kPlain};
  service_.plaintext_logins = true;
  auto c = connect();
  c.feed("EHLO client\r\nAUTH PLAIN AGJvYgBzZWNyZXQ=\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<alice@example.org>\r\n");
  c.feed(chunk("a\r\n", false));
  ASSERT_THAT(c.output, EndsWith("250 2.0.0 3 octets received\r\n"));
  c.protocol.end_login();
  EXPECT_TRUE(c.closed());
  EXPECT_EQ(c.sink.aborted, 1U);
}

}  // namespace
}  // namespace postern::smtpd::test
