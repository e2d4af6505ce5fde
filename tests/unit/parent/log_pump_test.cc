#include "parent/log_pump.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/log/log.h"

namespace postern::parent {
namespace {

struct Folder {
  Folder() { CHECK(::mkdtemp(path.data()) != nullptr); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path = "/tmp/postern-log-XXXXXX";
};

std::string content(const std::string& path) {
  std::ifstream file(path);
  std::stringstream all;
  all << file.rdbuf();
  return all.str();
}

struct PumpRig {
  explicit PumpRig(config::LogFormat format = config::LogFormat::kText, base::Millis gather = base::Millis(0))
      : pump(loop, folder.path + "/log", format, gather) {}
  base::UniqueFd source(std::string role) { return pump.add(std::move(role)).value(); }
  void turn(int times = 4) {
    for (int i = 0; i < times; ++i) loop.run_once(false);
  }
  [[nodiscard]] std::string log() const { return content(folder.path + "/log"); }
  static void write(const base::UniqueFd& fd, std::string_view text) {
    CHECK(::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }

  Folder folder;
  event::Loop loop;
  LogPump pump;
};

TEST(LogPump, SignsEachLineWithItsWriter) {
  PumpRig rig;
  ASSERT_TRUE(rig.pump.open());
  auto smtpd = rig.source("smtpd[0]");
  auto queued = rig.source("queued[0]");
  rig.write(smtpd, "one\ntw");
  rig.turn();
  rig.write(queued, "three role=smtpd[0]\n");
  rig.turn();
  rig.write(smtpd, "o\n");
  rig.turn();
  EXPECT_EQ(rig.log(),
            "one role=smtpd[0]\nthree role=smtpd[0] role=queued[0]\ntwo role=smtpd[0]\n");
}

constexpr base::Millis kLong{3'600'000};

TEST(LogPump, TakesTheFirstLinesAtOnceAndLetsGatherWhatFollows) {
  PumpRig rig(config::LogFormat::kText, kLong);
  ASSERT_TRUE(rig.pump.open());
  auto fd = rig.source("x");
  auto other = rig.source("y");
  rig.write(fd, "first\n");
  rig.turn();
  rig.write(fd, "second\n");
  rig.write(other, "its first\n");
  rig.turn();
  EXPECT_EQ(rig.log(), "first role=x\nits first role=y\n");
  rig.pump.drain();
  EXPECT_EQ(rig.log(), "first role=x\nits first role=y\nsecond role=x\n");
}

// A pipe that was full may be full again.
TEST(LogPump, WhatFillsItsPipeIsTakenWithoutAPause) {
  PumpRig rig(config::LogFormat::kText, kLong);
  ASSERT_TRUE(rig.pump.open());
  auto fd = rig.source("x");
  rig.write(fd, std::string(64 * 1024 - 1, 'x') + "\n");
  rig.turn();
  rig.write(fd, "next\n");
  rig.turn();
  EXPECT_TRUE(rig.log().ends_with("next role=x\n"));
}

TEST(LogPump, SignsJsonInside) {
  PumpRig rig(config::LogFormat::kJson);
  ASSERT_TRUE(rig.pump.open());
  auto fd = rig.source("relay[1]");
  rig.write(fd, "{\"event\":\"x\"}\nno json\n");
  rig.turn();
  EXPECT_EQ(rig.log(), "{\"event\":\"x\",\"role\":\"relay[1]\"}\nno json role=relay[1]\n");
}

TEST(LogPump, ALineStaysOneLineWhateverIsInIt) {
  PumpRig rig;
  ASSERT_TRUE(rig.pump.open());
  auto fd = rig.source("x");
  rig.write(fd, std::string("a\rb\x1b[2Jc\0d\xff\n", 12));
  rig.write(fd, std::string(40'000, 'y'));
  rig.turn();
  rig.write(fd, "\nlast\n");
  rig.turn();
  const auto log = rig.log();
  EXPECT_EQ(log.substr(0, log.find('\n')), "a?b?[2Jc?d? role=x");
  for (std::stringstream all(log); all.good();) {
    std::string line;
    std::getline(all, line);
    EXPECT_LE(line.size(), 16U * 1024 + 16);
  }
  EXPECT_TRUE(log.ends_with("last role=x\n"));
}

// U+202E turns the direction of what follows; U+0085 is a new line to some terminals.
TEST(LogPump, OnlyHarmlessCharactersBeyondAsciiStay) {
  PumpRig rig;
  ASSERT_TRUE(rig.pump.open());
  auto fd = rig.source("x");
  rig.write(fd, "to=\"j\xc3\xbcrg@\xe4\xbe\x8b\xe3\x81\x88\" \xc2\x85 \xe2\x80\xae \xed\xa0\x80 \xc3\n");
  rig.turn();
  EXPECT_EQ(rig.log(), "to=\"j\xc3\xbcrg@\xe4\xbe\x8b\xe3\x81\x88\" ?? ??? ??? ? role=x\n");
}

TEST(LogPump, TakesTheLastWordsOfAProcessThatDied) {
  PumpRig rig;
  ASSERT_TRUE(rig.pump.open());
  auto fd = rig.source("x");
  rig.write(fd, "whole\nhalf a li");
  fd.reset();
  rig.turn();
  EXPECT_EQ(rig.log(), "whole role=x\nhalf a li role=x\n");
}

TEST(LogPump, DrainTakesWhatIsStillInThePipes) {
  PumpRig rig;
  ASSERT_TRUE(rig.pump.open());
  auto fd = rig.source("x");
  auto other = rig.source("y");
  std::string text;
  for (int i = 0; i < 3'000; ++i) text += "a line of the log\n";
  rig.write(fd, text);
  rig.write(other, "the end\n");
  rig.pump.drain();
  const auto log = rig.log();
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 3'001);
  EXPECT_TRUE(log.ends_with("the end role=y\n"));
}

TEST(LogPump, ForgetsPipesThatHaveEnded) {
  PumpRig rig;
  ASSERT_TRUE(rig.pump.open());
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = open_files();
  for (int i = 0; i < 50; ++i) {
    rig.source("x").reset();
    rig.turn();
  }
  EXPECT_EQ(open_files(), before);
}

TEST(LogPump, OpensTheFileAgainAfterItWasMovedAway) {
  PumpRig rig;
  ASSERT_TRUE(rig.pump.open());
  auto fd = rig.source("x");
  rig.write(fd, "one\n");
  rig.turn();
  std::filesystem::rename(rig.folder.path + "/log", rig.folder.path + "/old");
  ASSERT_TRUE(rig.pump.open());
  rig.write(fd, "two\n");
  rig.turn();
  EXPECT_EQ(content(rig.folder.path + "/old"), "one role=x\n");
  EXPECT_EQ(rig.log(), "two role=x\n");
}

// A reader that has stopped reading: the pump must neither wait nor grow.
TEST(LogPump, AReaderThatStopsCostsLinesAndIsToldHowMany) {
  PumpRig rig;
  const auto path = rig.folder.path + "/log";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_FALSE(rig.pump.open()) << "a FIFO without a reader is an error";
  const auto reader = base::UniqueFd::adopt(::open(path.c_str(), O_RDONLY | O_NONBLOCK));
  ASSERT_TRUE(rig.pump.open());
  log::open(rig.source("parent"), log::Format::kText, log::Level::kInfo);
  auto fd = rig.source("x");
  const std::string line(99, 'z');
  std::size_t written = 0;
  for (int i = 0; i < 40'000; ++i) {
    rig.write(fd, line + "\n");
    ++written;
    if (i % 100 == 0) rig.turn(1);
  }
  rig.turn();
  std::string log;
  std::string piece(64 * 1024, '\0');
  for (int quiet = 0; quiet < 5;) {
    const auto got = ::read(reader.get(), piece.data(), piece.size());
    if (got > 0) log.append(piece, 0, static_cast<std::size_t>(got));
    quiet = got > 0 ? 0 : quiet + 1;
    rig.pump.drain();
    rig.turn();
  }
  log::open({}, log::Format::kText, log::Level::kInfo);
  const auto at = log.find("log.dropped lines=");
  ASSERT_NE(at, std::string::npos);
  const auto dropped = std::stoul(log.substr(at + 18));
  std::size_t kept = 0;
  for (auto i = log.find(line); i != std::string::npos; i = log.find(line, i + 1)) ++kept;
  EXPECT_EQ(kept + dropped, written);
  EXPECT_LT(kept * 100, 2 * LogPump::kMaxBuffer);
}

}  // namespace
}  // namespace postern::parent
