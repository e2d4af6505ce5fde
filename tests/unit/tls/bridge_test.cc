// A bridge between TLS streams of either side and socket pairs.
#include "common/event/bridge.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/tls/pair.h"

namespace postern::tls::test {
namespace {

struct Ends {
  Ends() {
    int fds[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    ours = base::UniqueFd::adopt(fds[0]);
    theirs = base::UniqueFd::adopt(fds[1]);
  }
  base::UniqueFd ours, theirs;
};

std::string read_all(int fd) {
  std::string all, buffer(64 * 1024, '\0');
  for (ssize_t got = 0; (got = ::read(fd, buffer.data(), buffer.size())) > 0;)
    all.append(buffer, 0, static_cast<std::size_t>(got));
  return all;
}

// One side of the connection, which is lent to whoever holds `near.theirs`.
struct Lender final : event::StreamOwner {
  Lender(event::Loop& loop, base::UniqueFd fd) : loop_(loop), stream(loop, std::move(fd), *this) {}
  void on_filter_open() noexcept override {
    bridge = std::make_unique<event::Bridge>(loop_, stream, std::move(near.ours),
                                             [this](event::BridgeEnd how) noexcept { end = how; });
  }
  std::size_t on_input(std::string_view bytes) noexcept override { return bridge->on_input(bytes); }
  void on_drained() noexcept override {
    if (bridge) bridge->on_drained();
  }
  void on_closed(event::CloseReason reason) noexcept override {
    if (bridge) bridge->on_closed(reason);
  }

  event::Loop& loop_;
  Ends near;
  event::Stream stream;
  std::unique_ptr<event::Bridge> bridge;
  std::optional<event::BridgeEnd> end;
};

struct Lent {
  Lent() : signer({issued.key}), server(loop, std::move(wire.ours)), client(loop, std::move(wire.theirs)) {
    server.stream.put(Session::accept(
        *ServerContext::make({.certificates = {{{"mx.example.org"}, issued.chain}}}, std::make_shared<TicketKeys>()),
        signer));
    client.stream.put(Session::connect(*ClientContext::make({}), {.host = "mx.example.org"}));
    client.stream.flush();
    turn();
    CHECK(server.bridge && client.bridge);
  }
  void turn(int times = 20) {
    for (int i = 0; i < times; ++i) {
      loop.run_once(false);
      if (!signer.waiting.empty()) signer.answer();
    }
  }

  const Issued& issued = Authority::instance().issue({"mx.example.org"});
  event::Loop loop;
  TestSigner signer;
  Ends wire;
  Lender server, client;
};

void carry_much(Lent& lent, Lender& from, Lender& to) {
  const std::string much(3'000'000, 'x');
  std::string got;
  std::size_t written = 0;
  while (got.size() < much.size()) {
    const auto put = ::write(from.near.theirs.get(), much.data() + written, much.size() - written);
    if (put > 0) written += static_cast<std::size_t>(put);
    lent.turn(1);
    EXPECT_LE(from.stream.unsent(), 128U * 1024);
    got += read_all(to.near.theirs.get());
  }
  EXPECT_EQ(got, much);
}

TEST(TlsBridge, CarriesMuchBothWays) {
  Lent lent;
  carry_much(lent, lent.server, lent.client);
  carry_much(lent, lent.client, lent.server);
  EXPECT_FALSE(lent.server.end || lent.client.end);
}

TEST(TlsBridge, ClosesInOrderBehindTheLastWord) {
  for (const bool by_client : {true, false}) {
    Lent lent;
    auto& leaver = by_client ? lent.client : lent.server;
    auto& other = by_client ? lent.server : lent.client;
    ASSERT_EQ(::write(leaver.near.theirs.get(), "QUIT\r\n", 6), 6);
    leaver.near.theirs.reset();
    lent.turn();
    ASSERT_TRUE(leaver.end && other.end);
    EXPECT_EQ(leaver.end->by, event::BridgeEnd::By::kNear);
    EXPECT_EQ(other.end->by, event::BridgeEnd::By::kFar);
    EXPECT_EQ(other.end->reason, event::CloseReason::kEndOfStream);  // close_notify came
    EXPECT_EQ(read_all(other.near.theirs.get()), "QUIT\r\n");
    char byte;
    EXPECT_EQ(::read(other.near.theirs.get(), &byte, 1), 0);
  }
}

}  // namespace
}  // namespace postern::tls::test
