#include "bench/ledger/content.h"

#include <gtest/gtest.h>

#include "common/base/crc32c.h"

namespace postern::bench {
namespace {

constexpr std::string_view kBelow = "Subject: x\r\n\r\nbody\r\n.dot\r\n";

std::string message(std::string_view below = kBelow, std::string_view expected = kBelow) {
  std::string text = load_field({{"run", 17}, base::crc32c(expected), expected.size()});
  text += below;
  return text;
}

Evidence read(std::string_view text, std::size_t piece = 1 << 20) {
  Content content;
  for (; !text.empty(); text.remove_prefix(std::min(piece, text.size())))
    content.feed(text.substr(0, piece));
  return content.finish();
}

TEST(Content, KnowsAWholeMessageInPiecesOfAnySize) {
  const auto text = "Return-Path: <>\r\nReceived: from a\r\n\tby b\r\n" + message();
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    const auto evidence = read(text, piece);
    EXPECT_EQ(evidence.kind, Evidence::Kind::kWhole) << piece;
    EXPECT_EQ(evidence.run, "run");
    EXPECT_EQ(evidence.number, 17U);
  }
}

TEST(Content, FindsEveryChange) {
  for (const std::string_view below :
       {"Subject: x\r\n\r\nbody\r\n", "Subject: x\r\n\r\nbody\r\n.dot\r\nmore\r\n", "",
        "Subject: y\r\n\r\nbody\r\n.dot\r\n", "Subject: x\r\n\r\nbody\r\ndot\r\n"}) {
    const auto evidence = read(message(below));
    EXPECT_EQ(evidence.kind, Evidence::Kind::kChanged) << below;
    EXPECT_EQ(evidence.number, 17U);
  }
}

TEST(Content, IsAsNewAfterEachMessage) {
  Content content;
  for (int i = 0; i < 3; ++i) {
    content.feed(message());
    EXPECT_EQ(content.finish().kind, Evidence::Kind::kWhole);
  }
  EXPECT_EQ(content.finish().kind, Evidence::Kind::kStrange);
}

TEST(Content, TakesNoNameOutOfABody) {
  EXPECT_EQ(read("Subject: x\r\n\r\n" + message()).kind, Evidence::Kind::kStrange);
  EXPECT_EQ(read("").kind, Evidence::Kind::kStrange);
  EXPECT_EQ(read("X-Postern-Load: nonsense\r\n\r\n").kind, Evidence::Kind::kStrange);
}

TEST(Content, ReadsANotice) {
  const auto notice = [](std::string_view action) {
    return "Subject: Undelivered\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
           "Reporting-MTA: dns; mx\r\n\r\nFinal-Recipient: rfc822; a@x.test\r\nAction: " +
           std::string(action) +
           "\r\n\r\nFinal-Recipient: rfc822;b@x.test\r\nAction: delayed\r\n\r\n--b\r\n\r\n" +
           message();
  };
  const auto evidence = read(notice("failed"));
  EXPECT_EQ(evidence.kind, Evidence::Kind::kNotice);
  EXPECT_EQ(evidence.number, 17U);
  EXPECT_EQ(evidence.recipients, std::vector<std::string>{"a@x.test"});
  EXPECT_EQ(read(notice("delayed")).kind, Evidence::Kind::kStrange);
}

TEST(LoadField, ReadsBackWhatItWrote) {
  auto line = load_field({{"r1", 99}, 0x0000ABCD, 12});
  EXPECT_EQ(line, "X-Postern-Load: r1-99 0000abcd 12\r\n");
  line.resize(line.size() - 2);
  const auto field = parse_load_field(line);
  ASSERT_TRUE(field);
  EXPECT_EQ(field->name.run, "r1");
  EXPECT_EQ(field->name.number, 99U);
  EXPECT_EQ(field->crc, 0xABCDU);
  EXPECT_EQ(field->size, 12U);
  for (const char* const bad : {"X-Postern-Load: r1-99 abcd 12", "X-Postern-Load: r1-99 0000abcd",
                                "X-Postern-Load: r1 0000abcd 12",
                                "X-Postern-Load: r1-99 0000abcd 12 ", "X-Other: r1-99 0000abcd 12"})
    EXPECT_FALSE(parse_load_field(bad)) << bad;
}

}  // namespace
}  // namespace postern::bench
