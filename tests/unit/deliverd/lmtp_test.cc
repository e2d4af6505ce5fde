// LMTP over sockets that others connect: what the local deliverer's clerk makes of grants that lead there.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <deque>
#include <optional>

#include "deliverd/local/clerk.h"
#include "fake_hop.h"
#include "fake_queued.h"
#include "tests/unit/event/until.h"

namespace postern::local {
namespace {

constexpr int kDelivered = 0, kFailed = 2, kUnknown = 3;
const std::string kBody = "Subject: x\r\n\r\n..hello\r\n";
const config::HopSpec kSocket{
    .kind = config::HopKind::kSocket, .host = "/run/lmtp", .port = 0, .lmtp = true};

// Its sockets lead to a hop in the test's loop, when the test says so.
class FakeSockets final : public relay::Sockets {
 public:
  explicit FakeSockets(const base::Endpoint& hop) : hop_(hop) {}
  void connect(const std::string& path, Connected connected) override {
    asked.push_back(path);
    waiting_.push_back(std::move(connected));
  }
  [[nodiscard]] bool waits() const { return !waiting_.empty(); }
  void answer() {
    sockaddr_storage address{};
    const auto size = base::to_sockaddr(hop_, address);
    auto fd = base::UniqueFd::adopt(::socket(AF_INET, SOCK_STREAM, 0));
    ASSERT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(::fcntl(fd.get(), F_SETFL, O_NONBLOCK), 0);
    take()(std::move(fd));
  }
  void refuse(std::string why) { take()(std::unexpected(std::move(why))); }

  std::vector<std::string> asked;

 private:
  Connected take() {
    auto connected = std::move(waiting_.front());
    waiting_.pop_front();
    return connected;
  }

  base::Endpoint hop_;
  std::deque<Connected> waiting_;
};

class Lmtp : public testing::Test {
 protected:
  using Queued = deliverd::FakeQueued<ipc::Role::kLocal>;

  Lmtp() : hop(loop), sockets(hop.endpoint()) {
    clerk.emplace(loop, no_mailboxes_, sockets, "us.example", []() noexcept {});
    auto pair = ipc::make_channel_pair();
    queued = std::make_unique<Queued>(loop, std::move(pair.a));
    clerk->connect(std::move(pair.b));
    say(two("250 2.0.0 taken", "250 2.0.0 taken"));
  }
  static std::string two(const std::string& a, const std::string& b) { return a + "\r\n" + b; }
  // The hop speaks LMTP, and says this behind the dot.
  void say(std::string replies, bool closes = false) {
    hop.answer([replies, closes](const std::string& line, bool& close) -> std::optional<std::string> {
      if (line.starts_with("LHLO")) return "250-fake\r\n250-PIPELINING\r\n250 SIZE";
      if (line.starts_with("EHLO")) return "500 this is LMTP";
      if (line == "RCPT TO:<nobody@example.org>") return "550 5.1.1 no such user";
      if (line != "<message>") return std::nullopt;
      close = closes;
      return replies;
    });
  }
  template <class Done>
  void until(Done done) {
    event::until(loop, std::move(done));
  }
  void open() {
    queued->grant("inner.example", kSocket);
    until([&] { return sockets.waits(); });
    sockets.answer();
    until([&] { return !queued->asks.empty(); });
  }
  std::string outcome() {
    until([&] { return !queued->outcomes.empty(); });
    std::string all;
    for (const auto& r : queued->outcomes.at(0).results)
      all += fmt::format("{} {} {};", r.number, static_cast<int>(r.result), r.reply.code);
    return all;
  }
  const ipc::GrantEnded& ended() {
    until([&] { return !queued->ended.empty(); });
    return queued->ended.at(0);
  }

  event::Loop loop;
  relay::FakeHop hop;

 private:
  struct NoMailboxes final : Filer {
    void file(deliverd::Delivery, Done) override { ADD_FAILURE() << "nothing is filed here"; }
  } no_mailboxes_;

 protected:
  FakeSockets sockets;
  std::optional<Clerk> clerk;
  std::unique_ptr<Queued> queued;
};

const std::vector<std::string> kTwo{"r@example.org", "s@example.org"};

TEST_F(Lmtp, GoesOverASocketThatIsAskedFor) {
  say(two("250 2.0.0 taken", "552 5.2.2 full"));
  open();
  EXPECT_EQ(sockets.asked, std::vector<std::string>{"/run/lmtp"});
  queued->lease(kBody, kTwo);
  EXPECT_EQ(outcome(), fmt::format("5 {} 250;6 {} 552;", kDelivered, kFailed));
  const auto& said = queued->outcomes[0];
  EXPECT_EQ(said.remote, "unix:/run/lmtp");
  EXPECT_EQ(said.tls.tls, "");
  EXPECT_EQ(said.results[0].arrival, ipc::Arrival::kFinal);
  EXPECT_EQ(hop.lines, (std::vector<std::string>{"LHLO us.example", "MAIL FROM:<a@us.example> SIZE=40",
                                                 "RCPT TO:<r@example.org>", "RCPT TO:<s@example.org>",
                                                 "DATA"}));
  EXPECT_EQ(hop.messages.at(0), "Received: by us\r\n" + kBody);
  until([&] { return !queued->asks.empty(); });
  queued->no_work();
  EXPECT_EQ(ended().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(hop.lines.back(), "QUIT");
}

// RFC 8689: there is nobody on the way from whom to keep it.
TEST_F(Lmtp, WhatRequiresTlsGoesOverASocketWithout) {
  queued->tls_wish = mail::TlsWish::kRequired;
  open();
  queued->lease(kBody, kTwo);
  EXPECT_EQ(outcome(), fmt::format("5 {} 250;6 {} 250;", kDelivered, kDelivered));
  EXPECT_EQ(hop.lines.at(1), "MAIL FROM:<a@us.example> SIZE=40");
}

TEST_F(Lmtp, WhatWasSaidStaysWhenTheSessionBreaks) {
  say("250 2.0.0 taken", true);
  open();
  queued->lease(kBody, kTwo);
  EXPECT_EQ(outcome(), fmt::format("5 {} 250;6 {} 0;", kDelivered, kUnknown));
  EXPECT_EQ(ended().end, ipc::GrantEnd::kClosed);
}

TEST_F(Lmtp, SocketThatIsNotThereMakesTheQueueWait) {
  queued->grant("inner.example", kSocket);
  until([&] { return sockets.waits(); });
  sockets.refuse("No such file or directory");
  EXPECT_EQ(ended().end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(ended().failure, ipc::FailureClass::kConnect);
  EXPECT_EQ(ended().reply.text, "connecting: No such file or directory");
  EXPECT_EQ(ended().remote, "unix:/run/lmtp");
}

TEST_F(Lmtp, NobodyWaitsForASocketThatIsNotNeeded) {
  const auto grant = queued->grant("inner.example", kSocket);
  until([&] { return sockets.waits(); });
  queued->cancel(grant);
  EXPECT_EQ(ended().end, ipc::GrantEnd::kClosed);
  sockets.answer();  // too late; it is closed
  until([&] { return hop.sessions == 1 && hop.open == 0; });
  EXPECT_TRUE(hop.lines.empty());
}

TEST_F(Lmtp, IsBrokenOff) {
  say("");
  open();
  const auto lease = queued->lease(kBody, kTwo);
  until([&] { return !hop.messages.empty(); });
  queued->break_off(lease);
  EXPECT_EQ(outcome(), fmt::format("5 {} 0;6 {} 0;", kUnknown, kUnknown));
}

TEST_F(Lmtp, AsksForRecipients) {
  auto probe = ipc::Probe{base::RequestId(1), "inner.example", kSocket,
                          mail::Address::parse("nobody@example.org").value()};
  queued->connection().send(probe);
  until([&] { return sockets.waits(); });
  sockets.answer();
  until([&] { return queued->probed.size() == 1; });
  EXPECT_EQ(queued->probed[0].result, ipc::Result::kFailed);
  EXPECT_EQ(queued->probed[0].reply.text, "no such user");
  probe.request = probe.request.next();
  probe.address = mail::Address::parse("r@example.org").value();
  queued->connection().send(probe);
  until([&] { return queued->probed.size() == 2; });
  EXPECT_EQ(queued->probed[1].result, ipc::Result::kDelivered);
  EXPECT_EQ(sockets.asked.size(), 1U) << "the connection serves both";
}

TEST_F(Lmtp, StopFinishesWhatWasBegun) {
  say("250 2.0.0 taken");
  open();
  queued->lease(kBody, kTwo);
  until([&] { return !hop.messages.empty(); });
  bool stopped = false;
  clerk->stop([&]() noexcept { stopped = true; });
  loop.run_once(false);
  EXPECT_FALSE(stopped) << "one reply is missing";
  hop.interrupt("250 2.0.0 taken");
  until([&] { return stopped && !queued->ended.empty(); });
  EXPECT_EQ(outcome(), fmt::format("5 {} 250;6 {} 250;", kDelivered, kDelivered));
}

// Only a mistake of queued's brings it here.
TEST_F(Lmtp, NoHostIsInReach) {
  queued->grant("example.org");
  EXPECT_EQ(ended().end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(ended().failure, ipc::FailureClass::kLocal);
}

}  // namespace
}  // namespace postern::local
