// FakeSocks: a SOCKS5 server in the test's own loop. It connects to whom it is asked for, or says what the test
// wants it to say.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/ip.h"
#include "common/event/loop.h"
#include "common/event/stream.h"

namespace postern::relay {

class FakeSocks {
 public:
  explicit FakeSocks(event::Loop& loop, std::string_view address = "127.0.0.1") : loop_(loop) {
    socket_ = base::UniqueFd::adopt(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    sockaddr_storage where{};
    auto size = base::to_sockaddr({base::parse_ip(address).value(), 0}, where);
    auto* generic = reinterpret_cast<sockaddr*>(&where);
    EXPECT_EQ(::bind(socket_.get(), generic, size), 0);
    EXPECT_EQ(::listen(socket_.get(), 50), 0);
    size = sizeof where;
    ::getsockname(socket_.get(), generic, &size);
    endpoint_ = base::from_sockaddr(where).value();
    event_ = std::make_unique<event::FdEvent>(loop, socket_.get(), [this](bool, bool) noexcept { accept(); });
    event_->watch(true, false);
  }

  [[nodiscard]] const base::Endpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] std::string text() const { return "the SOCKS server " + base::to_string(endpoint_); }

  std::map<std::string, base::Endpoint> hosts;  // by names that nobody else knows
  std::string method = std::string("\5\0", 2);  // what it says to a client's first word
  std::optional<std::string> reply;  // what it says in place of connecting; then it ends the connection
  bool glued = false;  // its last word leaves in one piece with the host's first
  std::vector<std::string> asked;  // "127.0.0.1:2525", "far.example:25"
  std::vector<std::string> peers;  // who connected
  std::size_t let_in = 0;          // clients whose first word came
  std::size_t open = 0;            // connections of clients

 private:
  struct Session;
  // One of the two ends.
  struct Side final : event::StreamOwner {
    Side(Session& its_session, event::Loop& loop, base::UniqueFd fd)
        : session(its_session), stream(loop, std::move(fd), *this) {}
    std::size_t on_input(std::string_view bytes) noexcept override { return session.on_input(*this, bytes); }
    void on_closed(event::CloseReason) noexcept override {
      if (&session.client->stream == &stream) --session.socks.open;
      if (auto* const other = session.other(*this)) other->stream.close_after_flush();
    }
    Session& session;
    event::Stream stream;
  };

  struct Session {
    Session(FakeSocks& owner, base::UniqueFd fd)
        : socks(owner), client(std::make_unique<Side>(*this, owner.loop_, std::move(fd))) {}
    [[nodiscard]] Side* other(const Side& side) const { return &side == client.get() ? host.get() : client.get(); }

    std::size_t on_input(Side& side, std::string_view bytes) {
      if (auto* const to = other(side)) {
        if (!held.empty()) to->stream.output() += std::exchange(held, {});
        to->stream.output() += bytes;
        to->stream.flush();
        return bytes.size();
      }
      if (!let_in) {
        if (bytes.size() < 3) return 0;
        EXPECT_EQ(bytes.substr(0, 3), std::string_view("\5\1\0", 3));
        let_in = true;
        ++socks.let_in;
        side.stream.output() += socks.method;
        return 3;
      }
      return socks.asked_by(*this, bytes);
    }

    FakeSocks& socks;
    bool let_in = false;
    std::string held;
    std::unique_ptr<Side> client, host;
  };

  void accept() noexcept {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    auto fd = base::UniqueFd::adopt(
        ::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK));
    if (!fd.valid()) return;
    peers.push_back(base::to_string(base::from_sockaddr(from).value().address));
    ++open;
    sessions_.push_back(std::make_unique<Session>(*this, std::move(fd)));
  }

  // A request: version, CONNECT, a reserved byte, kind, address or name, port.
  std::size_t asked_by(Session& session, std::string_view bytes) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
    if (bytes.size() < 5) return 0;
    EXPECT_EQ(bytes.substr(0, 3), std::string_view("\5\1\0", 3));
    const bool name = byte(3) == 3;
    const std::size_t begin = name ? 5 : 4, length = name ? byte(4) : byte(3) == 1 ? 4 : 16;
    const auto whole = begin + length + 2;
    if (bytes.size() < whole) return 0;
    const auto port = static_cast<std::uint16_t>(byte(whole - 2) << 8 | byte(whole - 1));
    const std::string host(bytes.substr(begin, length));
    base::Endpoint to{{}, port};
    if (!name) {
      to.address.family = length == 4 ? base::IpFamily::kV4 : base::IpFamily::kV6;
      std::copy(host.begin(), host.end(), to.address.bytes.begin());
    }
    asked.push_back(name ? fmt::format("{}:{}", host, port) : base::to_string(to));
    if (name && hosts.contains(host)) to = hosts.at(host);
    connect(session, to);
    return whole;
  }

  void connect(Session& session, const base::Endpoint& to) {
    auto& client = session.client->stream;
    sockaddr_storage where{};
    const auto size = base::to_sockaddr(to, where);
    auto fd = base::UniqueFd::adopt(::socket(where.ss_family, SOCK_STREAM, 0));
    if (!reply && ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&where), size) == 0) {
      const std::string opened("\5\0\0\1\x7f\0\0\1\0\0", 10);
      (glued ? session.held : client.output()) += opened;
      ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
      session.host = std::make_unique<Side>(session, loop_, std::move(fd));
      return;
    }
    client.output() += reply.value_or(std::string("\5\5\0\1\0\0\0\0\0\0", 10));
    client.close_after_flush();
  }

  event::Loop& loop_;
  base::UniqueFd socket_;
  base::Endpoint endpoint_;
  std::unique_ptr<event::FdEvent> event_;
  std::vector<std::unique_ptr<Session>> sessions_;
};

}  // namespace postern::relay
