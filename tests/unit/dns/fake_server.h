// FakeServer: a name server in a thread of the test, on loopback, over UDP and TCP. What it answers
// is the test's.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/base/ip.h"
#include "common/base/unique_fd.h"

namespace postern::dns {

class FakeServer {
 public:
  // The query as it came; `tcp`: not by UDP. Returns the response, or nothing to be silent.
  using Answer = std::function<std::optional<std::string>(const std::string& query, bool tcp)>;

  explicit FakeServer(Answer answer) : answer_(std::move(answer)) {
    // UDP and TCP on one port: TCP chooses.
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    tcp_ = base::UniqueFd::adopt(::socket(AF_INET, SOCK_STREAM, 0));
    udp_ = base::UniqueFd::adopt(::socket(AF_INET, SOCK_DGRAM, 0));
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    ::bind(tcp_.get(), generic, size);
    ::listen(tcp_.get(), 5);
    ::getsockname(tcp_.get(), generic, &size);
    ::bind(udp_.get(), generic, size);
    port_ = ntohs(address.sin_port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    elsewhere_ = base::UniqueFd::adopt(::socket(AF_INET, SOCK_DGRAM, 0));
    ::bind(elsewhere_.get(), generic, size);
    thread_ = std::thread([this] { run(); });
  }
  ~FakeServer() {
    stop_ = true;
    thread_.join();
  }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  [[nodiscard]] base::Endpoint endpoint() const {
    return {base::parse_ip("127.0.0.1").value(), port_};
  }
  [[nodiscard]] int queries() const { return queries_; }
  // The ports that queries came from by UDP.
  [[nodiscard]] std::vector<std::uint16_t> ports() {
    const std::scoped_lock lock(mutex_);
    return ports_;
  }
  // Of an answer by TCP, only so many bytes go, its length among them.
  std::atomic<std::size_t> tcp_bytes = ~std::size_t{0};
  // What stands in front of each answer by UDP, as a datagram of its own made from it.
  std::function<std::string(std::string)> lie;
  // The lie comes from the server's port, but from another address.
  std::atomic<bool> lie_from_elsewhere = false;

  // The response `packet` as an answer to `query`: its id, and the question as it was asked.
  static std::string as_answer(const std::string& query, std::string packet) {
    packet.replace(0, 2, query, 0, 2);
    return packet;
  }

 private:
  void run() {
    while (!stop_) {
      pollfd ready[] = {{udp_.get(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}};
      if (::poll(ready, 2, 20) <= 0) continue;
      if (ready[0].revents != 0) serve_udp();
      if (ready[1].revents != 0) serve_tcp();
    }
  }
  void serve_udp() {
    char buffer[4096];
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const auto got =
        ::recvfrom(udp_.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got <= 0) return;
    ++queries_;
    if (const auto source = base::from_sockaddr(from)) {
      const std::scoped_lock lock(mutex_);
      ports_.push_back(source->port);
    }
    const auto send = [&](const base::UniqueFd& by, const std::string& bytes) {
      ::sendto(by.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    };
    const auto reply = answer_(std::string(buffer, static_cast<std::size_t>(got)), false);
    if (reply && lie) send(lie_from_elsewhere ? elsewhere_ : udp_, lie(*reply));
    if (reply) send(udp_, *reply);
  }
  void serve_tcp() {
    const auto peer = base::UniqueFd::adopt(::accept(tcp_.get(), nullptr, nullptr));
    char buffer[4096];
    std::size_t have = 0;
    while (have < 2 || have < 2U + (std::size_t{static_cast<std::uint8_t>(buffer[0])} << 8 |
                                    static_cast<std::uint8_t>(buffer[1]))) {
      const auto got = ::recv(peer.get(), buffer + have, sizeof buffer - have, 0);
      if (got <= 0) return;
      have += static_cast<std::size_t>(got);
    }
    ++queries_;
    if (auto reply = answer_(std::string(buffer + 2, have - 2), true)) {
      const std::string length{static_cast<char>(reply->size() >> 8),
                               static_cast<char>(reply->size())};
      const auto wire = length + *reply;
      ::send(peer.get(), wire.data(), std::min<std::size_t>(wire.size(), tcp_bytes), MSG_NOSIGNAL);
    }
  }

  Answer answer_;
  base::UniqueFd udp_, tcp_, elsewhere_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<int> queries_ = 0;
  std::mutex mutex_;
  std::vector<std::uint16_t> ports_;
  std::thread thread_;
};

}  // namespace postern::dns
