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
#include "tests/unit/event/until.h"

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
  PoolRig();
  ~PoolRig();

  void restart_pool(base::Millis idle = base::Millis(60'000));
  [[nodiscard]] Pool::Settings settings(base::Millis idle = base::Millis(60'000)) const;
  void connect(std::uint64_t epoch = 1);
  // Runs the loop until `done`, at most 5 s.
  template <class Done>
  void until(Done done) {
    event::until(loop, std::move(done));
  }
  void until_asked(std::size_t n = 1);
  void until_outcomes(std::size_t n);
  const ipc::GrantEnded& until_ended(std::size_t n = 1);
  config::HopSpec to_hop() const;
  Pool& pool() { return *pool_; }

  event::Loop loop;

 private:
  std::optional<std::string> answer(const std::string& query);
  static dns::Packet packet(const std::string& name, unsigned type);

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

std::string text(const ipc::Outcome& outcome);
// As text() says it.
inline constexpr int kDelivered = 0, kDeferred = 1, kFailed = 2, kUnknown = 3, kReturned = 4;
inline std::string one(int result, int code, int number = 5) {
  return fmt::format("{} {} {}", number, result, code);
}

}  // namespace postern::relay
