#include "common/event/bridge.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

namespace postern::event {
namespace {

using By = BridgeEnd::By;

struct Pair {
  Pair() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    ours = base::UniqueFd::adopt(fds[0]);
    theirs = base::UniqueFd::adopt(fds[1]);
  }
  base::UniqueFd ours, theirs;
};

// What can be read at once.
std::string read_all(int fd) {
  std::string all, buffer(64 * 1024, '\0');
  for (ssize_t got = 0; (got = ::read(fd, buffer.data(), buffer.size())) > 0;)
    all.append(buffer, 0, static_cast<std::size_t>(got));
  return all;
}

bool at_end(int fd) {
  char byte;
  return ::read(fd, &byte, 1) == 0;
}

void say(int fd, std::string_view bytes) {
  ASSERT_EQ(::write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
}

// As much as the socket takes.
std::size_t stuff(int fd, std::size_t most) {
  const std::string much(64 * 1024, 'x');
  std::size_t written = 0;
  while (written < most) {
    const auto put = ::write(fd, much.data(), std::min(much.size(), most - written));
    if (put <= 0) break;
    written += static_cast<std::size_t>(put);
  }
  return written;
}

// A stream whose owner has a bridge over it, as a session does; the test holds the two outer ends.
struct Rig final : StreamOwner {
  explicit Rig(Bridge::Waits waits = {Bridge::kPatience, Bridge::kLastWord})
      : stream(std::make_unique<Stream>(loop, std::move(far.ours), *this)),
        bridge(std::make_unique<Bridge>(
            loop, *stream, std::move(near.ours),
            [this](BridgeEnd how) noexcept {
              ++ends;
              end = how;
              bridge.reset();
              stream.reset();
            },
            waits)) {}

  std::size_t on_input(std::string_view bytes) noexcept override { return bridge->on_input(bytes); }
  void on_drained() noexcept override { bridge->on_drained(); }
  void on_closed(CloseReason reason) noexcept override { bridge->on_closed(reason); }

  void turn(int times = 10) {
    for (int i = 0; i < times; ++i) loop.run_once(false);
  }
  void run_to_the_end() {
    while (!end) loop.run_once(false);
  }

  Loop loop;
  Pair far, near;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Bridge> bridge;
  std::optional<BridgeEnd> end;
  int ends = 0;
};

TEST(Bridge, CarriesBothWays) {
  Rig rig;
  say(rig.far.theirs.get(), "EHLO outer\r\n");
  say(rig.near.theirs.get(), "220 inner\r\n");
  rig.turn();
  EXPECT_EQ(read_all(rig.near.theirs.get()), "EHLO outer\r\n");
  EXPECT_EQ(read_all(rig.far.theirs.get()), "220 inner\r\n");
  EXPECT_FALSE(rig.end);
}

TEST(Bridge, TakesWhatTheStreamHadKept) {
  Loop loop;
  Pair far, near;
  struct Owner final : StreamOwner {
    std::size_t on_input(std::string_view bytes) noexcept override { return bridge ? bridge->on_input(bytes) : 0; }
    void on_drained() noexcept override {}
    void on_closed(CloseReason) noexcept override {}
    std::unique_ptr<Bridge> bridge;
  } owner;
  Stream stream(loop, std::move(far.ours), owner);
  say(far.theirs.get(), "220 too early\r\n");
  loop.run_once(true);
  owner.bridge = std::make_unique<Bridge>(loop, stream, std::move(near.ours), [](BridgeEnd) noexcept {});
  stream.resume();
  loop.run_once(false);
  EXPECT_EQ(read_all(near.theirs.get()), "220 too early\r\n");
}

TEST(Bridge, KeepsOneReadForASideThatDoesNotRead) {
  constexpr std::size_t kMuch = 8 << 20;
  Rig rig;
  for (const bool ours : {true, false}) {
    const int from = (ours ? rig.far : rig.near).theirs.get();
    const int to = (ours ? rig.near : rig.far).theirs.get();
    std::size_t written = 0;
    for (int i = 0; i < 200; ++i) {
      written += stuff(from, kMuch - written);
      rig.turn(1);
    }
    EXPECT_LT(written, kMuch) << "nobody held the sender back";
    if (!ours) {
      EXPECT_LE(rig.stream->unsent(), 64U * 1024);
    }
    std::size_t got = 0;
    while (got < kMuch) {
      got += read_all(to).size();
      written += stuff(from, kMuch - written);
      rig.turn(1);
    }
    EXPECT_EQ(got, kMuch);
  }
  EXPECT_FALSE(rig.end);
}

TEST(Bridge, HandsOnTheLastWordsOfTheNearSide) {
  Rig rig;
  say(rig.near.theirs.get(), "221 bye\r\n");
  rig.near.theirs.reset();
  rig.run_to_the_end();
  EXPECT_EQ(rig.end->by, By::kNear);
  EXPECT_EQ(rig.end->reason, CloseReason::kEndOfStream);
  EXPECT_EQ(rig.end->from_near, 9U);
  EXPECT_EQ(read_all(rig.far.theirs.get()), "221 bye\r\n");
  EXPECT_TRUE(at_end(rig.far.theirs.get()));
}

TEST(Bridge, HandsOnTheLastWordsOfTheFarSide) {
  Rig rig;
  say(rig.far.theirs.get(), "QUIT\r\n");
  rig.far.theirs.reset();
  rig.run_to_the_end();
  EXPECT_EQ(rig.end->by, By::kFar);
  EXPECT_EQ(rig.end->reason, CloseReason::kEndOfStream);
  EXPECT_EQ(rig.end->from_far, 6U);
  EXPECT_EQ(read_all(rig.near.theirs.get()), "QUIT\r\n");
  EXPECT_TRUE(at_end(rig.near.theirs.get()));
}

TEST(Bridge, ASideThatClosesOnlyOneDirectionEndsBoth) {
  Rig rig;
  ::shutdown(rig.far.theirs.get(), SHUT_WR);
  rig.run_to_the_end();
  EXPECT_EQ(rig.end->by, By::kFar);
  EXPECT_TRUE(at_end(rig.far.theirs.get()));
  EXPECT_TRUE(at_end(rig.near.theirs.get()));
}

TEST(Bridge, HandsOnMoreThanTheSocketTakesBeforeItCloses) {
  Rig rig;
  std::size_t written = stuff(rig.near.theirs.get(), 8 << 20), got = 0;
  rig.turn();
  written += stuff(rig.near.theirs.get(), 64 * 1024);
  rig.near.theirs.reset();
  while (!rig.end) {
    rig.turn(1);
    got += read_all(rig.far.theirs.get()).size();
  }
  got += read_all(rig.far.theirs.get()).size();
  EXPECT_EQ(got, written);
  EXPECT_EQ(rig.end->from_near, written);
}

TEST(Bridge, TellsItsEndOnce) {
  Rig rig;
  rig.near.theirs.reset();
  rig.far.theirs.reset();
  rig.run_to_the_end();
  rig.turn();
  EXPECT_EQ(rig.ends, 1);
}

TEST(Bridge, GivesUpASideThatTakesNothing) {
  Rig rig({.patience = base::Millis(20), .last_word = base::Millis(60'000)});
  while (stuff(rig.near.theirs.get(), 1 << 20) > 0) rig.turn(1);
  rig.run_to_the_end();
  EXPECT_EQ(rig.end->by, By::kNobody);
  EXPECT_TRUE(rig.ends == 1);
}

TEST(Bridge, GivesUpASideThatDoesNotTakeTheLastWord) {
  Rig rig({.patience = base::Millis(60'000), .last_word = base::Millis(20)});
  std::size_t written = 0;
  // Full up to the far end's buffer, with nothing left in the near one's: its end is seen.
  for (std::size_t put = 1; put > 0; rig.turn(1)) {
    put = rig.stream->unsent() > 0 ? 0 : stuff(rig.near.theirs.get(), 16 * 1024);
    written += put;
  }
  ASSERT_GT(rig.stream->unsent(), 0U);
  rig.bridge->end();
  rig.run_to_the_end();
  EXPECT_EQ(rig.end->by, By::kNear);
  EXPECT_LT(read_all(rig.far.theirs.get()).size(), written);
}

TEST(Bridge, IsEndedByItsOwner) {
  Rig rig;
  rig.bridge->end();
  rig.run_to_the_end();
  EXPECT_EQ(rig.end->by, By::kNear);
  EXPECT_EQ(rig.end->reason, CloseReason::kFlushed);
  EXPECT_TRUE(at_end(rig.far.theirs.get()));
  EXPECT_TRUE(at_end(rig.near.theirs.get()));
}

TEST(Bridge, MayBeDestroyedBeforeItTold) {
  Rig rig;
  rig.bridge->end();
  rig.stream->close();
  rig.bridge->on_closed(CloseReason::kError);
  rig.bridge.reset();
  rig.turn();
  EXPECT_EQ(rig.ends, 0);
}

}  // namespace
}  // namespace postern::event
