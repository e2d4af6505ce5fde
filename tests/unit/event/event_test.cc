#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "common/event/loop.h"
#include "common/event/stream.h"

namespace postern::event {
namespace {

struct Ends {
  Ends() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    ours = base::UniqueFd::adopt(fds[0]);
    theirs = base::UniqueFd::adopt(fds[1]);
  }
  base::UniqueFd ours, theirs;
};

struct Owner final : StreamOwner {
  std::size_t on_input(std::string_view bytes) noexcept override {
    ++calls;
    seen = bytes;
    return std::min(take, bytes.size());
  }
  void on_closed(CloseReason r) noexcept override { reason = r; }
  void on_drained() noexcept override { drained = true; }
  std::string seen;
  std::size_t take = ~std::size_t{0};
  int calls = 0;
  bool drained = false;
  std::optional<CloseReason> reason;
};

TEST(Loop, DeferredWorkRunsAfterTheCallback) {
  Loop loop;
  std::string order;
  Timer timer(loop, [&]() noexcept {
    loop.defer([&]() noexcept { order += 'b'; });
    order += 'a';
  });
  timer.start(base::Millis(0));
  loop.run_once(true);
  EXPECT_EQ(order, "ab");
}

TEST(Loop, ACancelledTimerDoesNotFire) {
  Loop loop;
  bool fired = false, other = false;
  Timer timer(loop, [&]() noexcept { fired = true; });
  Timer second(loop, [&]() noexcept { other = true; });
  timer.start(base::Millis(0));
  second.start(base::Millis(1));
  timer.cancel();
  while (!other) loop.run_once(true);
  EXPECT_FALSE(fired);
}

TEST(Waker, WakesFromAnotherThread) {
  Loop loop;
  bool woken = false;
  Waker waker(loop, [&]() noexcept { woken = true; });
  std::thread thread([&] { waker.notify(); });
  while (!woken) loop.run_once(true);
  thread.join();
}

TEST(Stream, KeepsWhatTheOwnerLeaves) {
  Loop loop;
  Ends ends;
  Owner owner;
  owner.take = 0;
  Stream stream(loop, std::move(ends.ours), owner);
  ASSERT_EQ(::write(ends.theirs.get(), "ab", 2), 2);
  loop.run_once(true);
  ASSERT_EQ(::write(ends.theirs.get(), "cd", 2), 2);
  owner.take = 3;
  loop.run_once(true);
  EXPECT_EQ(owner.seen, "abcd");
  EXPECT_EQ(stream.kept(), "d");
}

TEST(Stream, ResumeOffersKeptInputAgain) {
  Loop loop;
  Ends ends;
  Owner owner;
  owner.take = 0;
  Stream stream(loop, std::move(ends.ours), owner);
  ASSERT_EQ(::write(ends.theirs.get(), "ab", 2), 2);
  loop.run_once(true);
  stream.pause();
  owner.take = 2;
  stream.resume();
  loop.run_once(false);
  EXPECT_EQ(owner.calls, 2);
  EXPECT_TRUE(stream.kept().empty());
}

TEST(Stream, SendsTheRestWhenThePeerTakesIt) {
  Loop loop;
  Ends ends;
  Owner owner;
  Stream stream(loop, std::move(ends.ours), owner);
  const std::string big(4 << 20, 'x');
  stream.output() = big;
  stream.flush();
  EXPECT_GT(stream.unsent(), 0U);
  std::string got(big.size(), '\0');
  std::size_t have = 0;
  while (have < big.size()) {
    const auto n = ::read(ends.theirs.get(), got.data() + have, got.size() - have);
    if (n > 0) have += static_cast<std::size_t>(n);
    loop.run_once(false);
  }
  loop.run_once(false);
  EXPECT_EQ(got, big);
  EXPECT_TRUE(owner.drained);
}

TEST(Stream, KeepsNothingThatAPeerAlwaysBehindHasTaken) {
  Loop loop;
  Ends ends;
  Owner owner;
  Stream stream(loop, std::move(ends.ours), owner);
  const std::string piece(16 * 1024, 'x');
  while (stream.unsent() < 256 * 1024) {
    stream.output() += piece;
    stream.flush();
  }
  std::string taken(piece.size(), '\0');
  std::size_t most = 0;
  for (int i = 0; i < 1'000; ++i) {  // 16 MB pass, and the stream is never quite empty
    ASSERT_GT(::read(ends.theirs.get(), taken.data(), taken.size()), 0);
    loop.run_once(false);
    while (stream.unsent() < 256 * 1024) stream.output() += piece;
    most = std::max(most, stream.output().size());
  }
  EXPECT_LT(most, 1024U * 1024);
}

TEST(Stream, CloseAfterFlushSaysTheLastWordDespiteUnreadInput) {
  Loop loop;
  Ends ends;
  Owner owner;
  Stream stream(loop, std::move(ends.ours), owner);
  ASSERT_EQ(::write(ends.theirs.get(), "unread", 6), 6);
  stream.pause();
  stream.output() = "bye";
  stream.close_after_flush();
  while (!owner.reason) loop.run_once(false);
  EXPECT_EQ(owner.reason, CloseReason::kFlushed);
  char buffer[8];
  EXPECT_EQ(::read(ends.theirs.get(), buffer, sizeof buffer), 3);
  EXPECT_EQ(::read(ends.theirs.get(), buffer, sizeof buffer), 0);
}

// Whether it waited to write or tries to.
TEST(Stream, HearsOutWhoBreaksTheConnection) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{8} << 20}) {
    Loop loop;
    Ends ends;
    Owner owner;
    Stream stream(loop, std::move(ends.ours), owner);
    stream.hear_out();
    const bool blocked = size > 1;
    stream.output().assign(size, 'x');
    if (blocked) stream.flush();
    ASSERT_EQ(::write(ends.theirs.get(), "why", 3), 3);
    ends.theirs.reset();
    if (!blocked) stream.flush();
    ASSERT_GT(stream.unsent(), 0U);
    EXPECT_FALSE(owner.reason);
    for (int n = 0; n < 10 && !owner.reason; ++n) loop.run_once(true);
    EXPECT_EQ(owner.seen, "why");
    EXPECT_EQ(owner.reason, CloseReason::kError);
    EXPECT_NE(stream.error(), 0);
    EXPECT_FALSE(owner.drained);
    EXPECT_GT(stream.unsent(), 0U) << "it has not left";
  }
}

// Answers each byte with one of its own, of which the stream's owner hears nothing.
struct Chatty final : Filter {
  void receive(std::string_view wire, std::string&, std::string& out) noexcept override {
    heard += wire.size();
    out.append(wire.size(), 'k');
  }
  void send(std::string_view plain, std::string& out) noexcept override { out += plain; }
  void end(std::string&) noexcept override {}
  [[nodiscard]] State state() const noexcept override { return State::kOpen; }
  void on_ready(Callback) override {}
  std::size_t heard = 0;
};

TEST(Stream, APeerThatReadsNothingCannotPileUpTheFiltersOwnWords) {
  Loop loop;
  Ends ends;
  Owner owner;
  Stream stream(loop, std::move(ends.ours), owner);
  auto made = std::make_unique<Chatty>();
  const auto& filter = *made;
  stream.put(std::move(made));
  const std::string piece(8 * 1024, 'x');
  std::size_t sent = 0;
  for (int idle = 0; idle < 20 && sent < (16U << 20);) {
    const auto put = ::write(ends.theirs.get(), piece.data(), piece.size());
    if (put > 0) sent += static_cast<std::size_t>(put);
    idle = put > 0 ? 0 : idle + 1;
    loop.run_once(false);
  }
  EXPECT_LT(sent, 4U << 20);
  EXPECT_LT(stream.unsent(), 256U * 1024);
  // Once it reads, all is heard and answered.
  std::string taken(64 * 1024, '\0');
  for (std::size_t read = 0; read < sent;) {
    const auto got = ::read(ends.theirs.get(), taken.data(), taken.size());
    if (got > 0) read += static_cast<std::size_t>(got);
    loop.run_once(false);
  }
  EXPECT_EQ(filter.heard, sent);
  EXPECT_EQ(stream.unsent(), 0U);
}

TEST(Stream, TellsTheEnd) {
  Loop loop;
  Ends ends;
  Owner owner;
  Stream stream(loop, std::move(ends.ours), owner);
  ends.theirs.reset();
  loop.run_once(true);
  EXPECT_EQ(owner.reason, CloseReason::kEndOfStream);
  EXPECT_FALSE(stream.open());
}

}  // namespace
}  // namespace postern::event
