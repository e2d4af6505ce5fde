// A pool of relays with a queued and hosts of our own.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>

#include "deliverd/relay/pool.h"
#include "fake_hop.h"
#include "fake_queued.h"
#include "tls_rig.h"
#include "tests/unit/dns/fake_server.h"
#include "tests/unit/dns/packet.h"

namespace postern::relay {

using namespace std::string_literals;

using deliverd::FakeQueued;
using Queued = FakeQueued<ipc::Role::kRelay>;

inline const std::string kBody = "Subject: x\r\n\r\n..hello\r\n";
inline const std::string kOnTheWire = "Received: by us\r\nSubject: x\r\n\r\n..hello\r\n";

// example.org: MX 10 one.example, 20 two.example, at 127.0.0.1 and 127.0.0.2. null.example: null
// MX. slow.example: no answer. Else: nothing.
class PoolRig {
 public:
  PoolRig()
      : names_([this](const std::string& q, bool) { return answer(q); }),
        resolver_(dns::Resolver::make({names_.endpoint()}, {base::Millis(100), 1}).value()),
        directory_(loop, *resolver_, base::system_clock(), [] { return 0U; }),
        tls_(loop),
        hop(loop) {
    resolver_->attach(loop);
    restart_pool();
    connect();
  }
  void restart_pool(base::Millis idle = base::Millis(60'000)) {
    pool_.emplace(loop, Reach{&directory_, nullptr, resolver_.get()}, tls_.desk, settings(idle),
                  [this]() noexcept { ++lost; });
  }
  [[nodiscard]] Pool::Settings settings(base::Millis idle = base::Millis(60'000)) const {
    return {"us.example", hop.endpoint().port, {}, idle};
  }
  void connect(std::uint64_t epoch = 1) {
    auto pair = ipc::make_channel_pair();
    queued = std::make_unique<Queued>(loop, std::move(pair.a), epoch);
    pool_->connect(std::move(pair.b));
  }
  // Runs the loop until `done`, at most 5 s.
  template <class Done>
  void until(Done done) {
    bool late = false;
    event::Timer timer(loop, [&]() noexcept { late = true; });
    timer.start(base::Millis(5'000));
    loop.run_once(false);
    while (!done() && !late) loop.run_once(true);
    EXPECT_FALSE(late) << "waited in vain";
  }
  void until_asked(std::size_t n = 1) {
    until([&] { return queued->asks.size() >= n; });
  }
  void until_outcomes(std::size_t n) {
    until([&] { return queued->outcomes.size() >= n; });
  }
  const ipc::GrantEnded& until_ended(std::size_t n = 1) {
    until([&] { return queued->ended.size() >= n; });
    static const ipc::GrantEnded kNone;
    return queued->ended.empty() ? kNone : queued->ended.back();
  }
  config::HopSpec to_hop() const {
    return {config::HopKind::kHost, "127.0.0.1", hop.endpoint().port};
  }
  Pool& pool() { return *pool_; }

  event::Loop loop;

 private:
  std::optional<std::string> answer(const std::string& query) {
    std::string name;
    std::size_t at = 12;
    while (query[at] != '\0') {
      const auto size = static_cast<std::size_t>(query[at]);
      name += (name.empty() ? "" : ".") + query.substr(at + 1, size);
      at += size + 1;
    }
    const auto type = static_cast<unsigned>(query[at + 2]);
    if (name == "slow.example") return std::nullopt;
    if (name == "example.org" && type == dns::kMx) ++mx_queries;
    return dns::FakeServer::as_answer(query, packet(name, type).bytes());
  }
  static dns::Packet packet(const std::string& name, unsigned type) {
    dns::Packet p(name, type);
    if (type == dns::kMx && name == "example.org")
      return p.mx(name, 10, "one.example").mx(name, 20, "two.example");
    if (type == dns::kMx && name == "null.example") return p.mx(name, 0, "");
    // 192.0.2.1 has two names, of which one leads back to it; 192.0.2.2 has one that does not.
    if (type == dns::kPtr && name == "1.2.0.192.in-addr.arpa")
      return p.ptr(name, "liar.example", 90).ptr(name, "true.example", 90);
    if (type == dns::kPtr && name == "2.2.0.192.in-addr.arpa") return p.ptr(name, "liar.example");
    if (type == dns::kPtr && name == "3.2.0.192.in-addr.arpa") return p.ptr(name, "slow.example");
    if (type == dns::kA && name == "true.example") return p.a(name, "\xc0\x00\x02\x01"s, 70);
    if (type == dns::kA && name == "liar.example") return p.a(name, "\xc0\x00\x02\x63"s);
    if (name == "one.example")
      return type == dns::kA ? p.a(name, std::string_view("\x7f\0\0\1", 4)) : p;
    if (name == "two.example")
      return type == dns::kA ? p.a(name, std::string_view("\x7f\0\0\2", 4)) : p;
    return {name, type, 0x8183};
  }

  dns::FakeServer names_;
  std::unique_ptr<dns::Resolver> resolver_;
  Directory directory_;
  TlsRig tls_;

 public:
  FakeHop hop;
  std::unique_ptr<Queued> queued;
  std::atomic<int> mx_queries = 0;
  int lost = 0;  // channels

 private:
  std::optional<Pool> pool_;
};

inline std::string text(const ipc::Outcome& outcome) {
  std::string all;
  for (const auto& r : outcome.results)
    all += fmt::format("{}{} {} {}", all.empty() ? "" : ", ", r.number, static_cast<int>(r.result),
                       r.reply.code);
  return all;
}
// As text() says it.
inline constexpr int kDelivered = 0, kDeferred = 1, kFailed = 2, kUnknown = 3, kReturned = 4;
inline std::string one(int result, int code, int number = 5) {
  return fmt::format("{} {} {}", number, result, code);
}

}  // namespace postern::relay
