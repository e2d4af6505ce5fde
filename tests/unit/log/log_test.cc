#include "common/log/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

namespace postern::log {
namespace {

struct Pipe {
  explicit Pipe(Format format, Level level = Level::kInfo) {
    int fds[2];
    EXPECT_EQ(::pipe2(fds, O_NONBLOCK), 0);
    read_end = base::UniqueFd::adopt(fds[0]);
    open(base::UniqueFd::adopt(fds[1]), format, level);
  }
  ~Pipe() { open({}, Format::kText, Level::kInfo); }
  std::string take() {
    flush();
    std::string all;
    char buffer[65536];
    for (ssize_t got; (got = ::read(read_end.get(), buffer, sizeof buffer)) > 0;)
      all.append(buffer, static_cast<std::size_t>(got));
    return all;
  }
  base::UniqueFd read_end;
};

TEST(Log, OneEventIsOneLineWhateverIsInIt) {
  Pipe pipe(Format::kText);
  std::string hostile;
  for (int c = 0; c < 256; ++c) hostile += static_cast<char>(c);
  (void)info("test.event").field("plain", "a@b").field("hostile", hostile).field("n", 7).field("yes", true);
  const auto line = pipe.take();
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  for (const char c : line.substr(0, line.size() - 1)) EXPECT_TRUE(c >= ' ' && c <= '~');
  EXPECT_NE(line.find(" info test.event plain=a@b hostile=\""), std::string::npos);
  EXPECT_TRUE(line.ends_with(" n=7 yes=true\n"));
}

TEST(Log, JsonParsesAndKeepsTheValue) {
  Pipe pipe(Format::kJson);
  (void)warning("test.event").field("text", "a \"quoted\" \\ value\n").field("id", base::MessageId(1));
  const auto parsed = nlohmann::json::parse(pipe.take());
  EXPECT_EQ(parsed["level"], "warning");
  EXPECT_EQ(parsed["event"], "test.event");
  EXPECT_EQ(parsed["text"], "a \"quoted\" \\ value\n");
  EXPECT_EQ(parsed["id"], "0000000000001");
}

// Addresses may be UTF-8, and people have to read them; what could act on a terminal never gets there.
TEST(Log, HarmlessUtf8StaysAsItIs) {
  Pipe pipe(Format::kText);
  (void)info("test.event").field("to", "b\xc3\xb6" "b@a.example").field("evil", "\xc2\x9b" "2J\xe2\x80\xae\xc3");
  const auto line = pipe.take();
  EXPECT_NE(line.find(" to=\"b\xc3\xb6" "b@a.example\" "), std::string::npos) << line;
  EXPECT_NE(line.find(" evil=\"\\u00c2\\u009b2J\\u00e2\\u0080\\u00ae\\u00c3\""), std::string::npos) << line;
}

TEST(Log, LevelsBelowAreLeftOut) {
  Pipe pipe(Format::kText, Level::kWarning);
  (void)info("no");
  (void)error("yes");
  const auto line = pipe.take();
  EXPECT_EQ(line.find(" no"), std::string::npos);
  EXPECT_NE(line.find("error yes"), std::string::npos);
}

TEST(Log, ASlowReaderCostsLinesThatAreCounted) {
  Pipe pipe(Format::kText);
  for (int i = 0; i < 40'000; ++i) {
    (void)info("flood").field("text", std::string(100, 'x'));
    if (i % 100 == 0) flush();
  }
  std::string all;
  for (int i = 0; i < 100; ++i) all += pipe.take();
  EXPECT_NE(all.find("log.dropped lines="), std::string::npos);
  EXPECT_LT(std::count(all.begin(), all.end(), '\n'), 40'000);
}

}  // namespace
}  // namespace postern::log
