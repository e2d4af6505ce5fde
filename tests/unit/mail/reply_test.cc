#include "common/mail/reply.h"

#include <gtest/gtest.h>

namespace postern::mail {
namespace {

std::string wire(const Reply& reply) {
  std::string out;
  reply.append_to(out);
  return out;
}

TEST(Reply, OneLine) {
  EXPECT_EQ(wire({550, {5, 1, 1}, {"No such user"}}), "550 5.1.1 No such user\r\n");
  EXPECT_EQ(wire({354, {}, {"Go on"}}), "354 Go on\r\n");
  EXPECT_EQ(wire({250, {2, 0, 0}, {}}), "250 2.0.0\r\n");
}

TEST(Reply, ManyLines) {
  EXPECT_EQ(wire({250, {2, 0, 0}, {"first", "second"}}), "250-2.0.0 first\r\n250 2.0.0 second\r\n");
}

TEST(Reply, ForeignTextCannotEndALine) {
  EXPECT_EQ(wire({550, {}, {"a\r\n250 b\xff"}}), "550 a??250 b?\r\n");
}

TEST(Reply, LinesAreCut) {
  const auto text = wire({550, {5, 7, 128}, {std::string(2000, 'x')}});
  EXPECT_EQ(text.size(), 512U);
  EXPECT_TRUE(text.ends_with("x\r\n"));
}

TEST(Reply, TextIsOneCleanBoundedLine) {
  EXPECT_EQ((Reply{550, {5, 1, 1}, {"no such user", "try again"}}.text()),
            "550 5.1.1 no such user; try again");
  EXPECT_EQ((Reply{0, {}, {"connection refused"}}.text()), "connection refused");
  EXPECT_EQ((Reply{0, {4, 4, 1}, {"refused"}}.text()), "4.4.1 refused");
  EXPECT_EQ((Reply{550, {}, {"a\r\nb"}}.text()), "550 a\\x0d\\x0ab");
  EXPECT_LE((Reply{550, {}, std::vector<std::string>(500, std::string(500, '\x01'))}.text().size()),
            Reply::kMaxText);
  EXPECT_EQ(Reply().text(), "");
}

TEST(Reply, Classes) {
  EXPECT_TRUE((Reply{250, {}, {}}.positive()));
  EXPECT_TRUE((Reply{452, {}, {}}.transient()));
  EXPECT_TRUE((Reply{599, {}, {}}.permanent()));
  EXPECT_FALSE((Reply{600, {}, {}}.permanent()));
  EXPECT_FALSE(Reply().positive());
}

}  // namespace
}  // namespace postern::mail
