#include "common/mail/reply_reader.h"

#include <gtest/gtest.h>

namespace postern::mail {
namespace {

using Status = ReplyReader::Status;

struct Reading {
  Status status;
  Reply reply;
  std::string_view rest;
  std::string trouble;
};

Reading read(std::string_view bytes) {
  ReplyReader reader;
  const auto status = reader.feed(bytes);
  return {status, status == Status::kReply ? reader.take() : Reply{}, bytes, reader.trouble()};
}

TEST(ReplyReader, ReadsOneReplyAndLeavesTheRest) {
  const auto r = read("250 ok\r\n354 go\r\n");
  EXPECT_EQ(r.status, Status::kReply);
  EXPECT_EQ(r.reply.code, 250);
  EXPECT_EQ(r.reply.lines, std::vector<std::string>{"ok"});
  EXPECT_EQ(r.rest, "354 go\r\n");
}

TEST(ReplyReader, ReadsEnhancedCodes) {
  struct Case {
    const char* wire;
    EnhancedCode code;
    const char* text;
  };
  const Case cases[] = {
      {"550 5.1.1 no such user\r\n", {5, 1, 1}, "no such user"},
      {"550 5.1.10 null\r\n", {5, 1, 10}, "null"},
      {"250 2.0.0\r\n", {2, 0, 0}, ""},
      {"550 4.1.1 of another class\r\n", {}, "4.1.1 of another class"},
      {"550 5.1 no\r\n", {}, "5.1 no"},
      {"550 5.1.1no\r\n", {}, "5.1.1no"},
      {"550 5.1.1000 no\r\n", {}, "5.1.1000 no"},
      {"550 5..1 no\r\n", {}, "5..1 no"},
      {"550 no\r\n", {}, "no"},
      {"550\r\n", {}, ""},
      {"550 \r\n", {}, ""},
  };
  for (const auto& c : cases) {
    const auto r = read(c.wire);
    ASSERT_EQ(r.status, Status::kReply) << c.wire;
    EXPECT_EQ(r.reply.enhanced, c.code) << c.wire;
    EXPECT_EQ(r.reply.lines.at(0), c.text) << c.wire;
  }
}

TEST(ReplyReader, ReadsSeveralLines) {
  const auto r = read("550-5.1.1 first\n550-second\r\n550\r\n");
  ASSERT_EQ(r.status, Status::kReply);
  EXPECT_EQ(r.reply.enhanced, (EnhancedCode{5, 1, 1}));
  EXPECT_EQ(r.reply.lines, (std::vector<std::string>{"first", "second", ""}));
}

TEST(ReplyReader, CleansWhatPeopleWillRead) {
  const auto r = read(std::string_view("250 a\0b\x1b[2J\rc\xc3\xa4\r\n", 18));
  ASSERT_EQ(r.status, Status::kReply);
  EXPECT_EQ(r.reply.lines.at(0), "a\\x00b\\x1b[2J\\x0dc\\xc3\\xa4");
}

TEST(ReplyReader, RefusesWhatIsNoReply) {
  for (const auto* wire :
       {"\r\n", "25\r\n", "2x0 ok\r\n", "ok\r\n", "250_ok\r\n", "2500 ok\r\n", "250-a\r\n251 b\r\n",
        "250-a\r\nb\r\n", " 250 ok\r\n", "HTTP/1.1 200 OK\r\n"})
    EXPECT_EQ(read(wire).status, Status::kMalformed) << wire;
}

TEST(ReplyReader, EndsAtItsLimits) {
  EXPECT_EQ(read("250 " + std::string(ReplyReader::kMaxLine - 5, 'x') + "\r\n").status,
            Status::kReply);
  EXPECT_EQ(read("250 " + std::string(ReplyReader::kMaxLine, 'x') + "\r\n").status,
            Status::kMalformed);
  EXPECT_EQ(read(std::string(ReplyReader::kMaxLine + 1, 'x')).status, Status::kMalformed);

  std::string lines;
  for (std::size_t i = 1; i < ReplyReader::kMaxLines; ++i) lines += "250-x\r\n";
  EXPECT_EQ(read(lines + "250 x\r\n").reply.lines.size(), ReplyReader::kMaxLines);
  EXPECT_EQ(read(lines + "250-x\r\n250 x\r\n").status, Status::kMalformed);

  std::string large;
  for (int i = 0; i < 40; ++i) large += "250-" + std::string(2000, 'x') + "\r\n";
  EXPECT_EQ(read(large).status, Status::kMalformed);
}

TEST(ReplyReader, KeepsLittleOfALongLine) {
  const auto r = read("250 " + std::string(1500, 'x') + "\r\n");
  EXPECT_LE(r.reply.lines.at(0).size(), ReplyReader::kKeptOfLine + 3);
}

// A peer that never ends its line is cut off, in whatever pieces it sends.
TEST(ReplyReader, EndlessLineInSmallPieces) {
  ReplyReader reader;
  std::size_t sent = 0;
  Status status = Status::kMore;
  while (status == Status::kMore) {
    ASSERT_LE(sent, ReplyReader::kMaxLine + 1);
    std::string_view byte = "1";
    status = reader.feed(byte);
    ++sent;
  }
  EXPECT_EQ(status, Status::kMalformed);
}

}  // namespace
}  // namespace postern::mail
