#include "deliverd/relay/directory.h"

#include <gtest/gtest.h>

#include <atomic>

#include "tests/unit/dns/fake_server.h"
#include "tests/unit/dns/packet.h"

namespace postern::relay {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

class HandClock final : public base::Clock {
 public:
  [[nodiscard]] base::WallTime wall() const noexcept override { return {0}; }
  [[nodiscard]] base::SteadyTime steady() const noexcept override { return now; }
  base::SteadyTime now{1'000'000};
};

// example.org has MX 10 a.example, which is at 192.0.2.1; or the name server fails.
class Rig {
 public:
  Rig() { resolver_->attach(loop_); }
  std::string ask() {
    const auto domain = mail::Domain::parse("example.org").value();
    std::optional<Directory::Result> result;
    const auto query =
        directory_.mail_hosts(domain, [&](Directory::Result r) noexcept { result = std::move(r); });
    loop_.run_once(false);
    while (!result) loop_.run_once(true);
    if (!*result) return result->error().reply.text();
    std::string all;
    for (const auto& host : **result)
      all += host.name.text() +
             (host.v4.addresses.empty() ? " nowhere" : " " + base::to_string(host.v4.addresses[0]));
    return all;
  }

  HandClock clock;
  std::atomic<bool> mx_fails = false, address_fails = false, gone = false;
  std::atomic<std::uint32_t> ttl = 60;
  std::atomic<int> mx_queries = 0;

 private:
  std::string answer(const std::string& query) {
    const bool mx = query[12] == '\x07';  // example.org; a.example begins with a label of one byte
    const auto type = static_cast<unsigned>(query[query.find('\0', 12) + 2]);
    dns::Packet p(mx ? "example.org" : "a.example", type,
                  (mx ? mx_fails : address_fails) ? 0x8182U
                  : gone && mx                    ? 0x8183U
                                                  : 0x8180U);
    if (mx) ++mx_queries;
    if (mx && !mx_fails && !gone) p.mx("example.org", 10, "a.example", ttl);
    if (!mx && type == dns::kA && !address_fails) p.a("a.example", "\xc0\1\2\1", ttl);
    return dns::FakeServer::as_answer(query, p.bytes());
  }

  event::Loop loop_;
  dns::FakeServer server_{[this](const std::string& q, bool) { return answer(q); }};
  std::unique_ptr<dns::Resolver> resolver_ =
      dns::Resolver::make({server_.endpoint()}, {base::Millis(200), 1}).value();
  Directory directory_{loop_, *resolver_, clock, [] { return 0U; }};
};

constexpr const char* kThere = "a.example 192.1.2.1";

TEST(Directory, RemembersByTtl) {
  Rig rig;
  EXPECT_EQ(rig.ask(), kThere);
  rig.clock.now = rig.clock.now + seconds(59);
  EXPECT_EQ(rig.ask(), kThere);
  EXPECT_EQ(rig.mx_queries, 1);
  rig.clock.now = rig.clock.now + seconds(2);
  EXPECT_EQ(rig.ask(), kThere);
  EXPECT_EQ(rig.mx_queries, 2);
}

TEST(Directory, TtlsAreBounded) {
  for (const std::uint32_t ttl : {0U, 0x80000000U, 0xffffffffU}) {
    Rig rig;
    rig.ttl = ttl;
    rig.ask();
    rig.clock.now = rig.clock.now + seconds(4);
    rig.ask();
    EXPECT_EQ(rig.mx_queries, 1) << "many connections of a queue are one lookup";
    rig.clock.now = rig.clock.now + seconds(2);
    rig.ask();
    EXPECT_EQ(rig.mx_queries, 2) << ttl;
  }
  Rig rig;
  rig.ttl = 0x7fffffff;
  rig.ask();
  rig.clock.now = rig.clock.now + Directory::kMaxTtl + seconds(1);
  rig.ask();
  EXPECT_EQ(rig.mx_queries, 2);
}

TEST(Directory, StaleAnswersServeWhileTheServersFail) {
  Rig rig;
  rig.ask();
  rig.mx_fails = rig.address_fails = true;
  rig.clock.now = rig.clock.now + seconds(61);
  EXPECT_EQ(rig.ask(), kThere);
  EXPECT_EQ(rig.mx_queries, 2);
  rig.clock.now = rig.clock.now + Directory::kStaleTtl - seconds(1);
  EXPECT_EQ(rig.ask(), kThere);
  EXPECT_EQ(rig.mx_queries, 2) << "a failing server is not asked for each message";
  rig.clock.now = rig.clock.now + seconds(2);
  EXPECT_EQ(rig.ask(), kThere);
  EXPECT_EQ(rig.mx_queries, 3);
  rig.clock.now = rig.clock.now + hours(24);
  EXPECT_NE(rig.ask(), kThere) << "not for ever";
  EXPECT_NE(rig.ask(), kThere);
}

TEST(Directory, OneStaleAddressServesWithAFreshMx) {
  Rig rig;
  rig.ask();
  rig.address_fails = true;
  rig.clock.now = rig.clock.now + seconds(61);
  EXPECT_EQ(rig.ask(), kThere);
  rig.address_fails = false;
  rig.clock.now = rig.clock.now + Directory::kStaleTtl + seconds(1);
  EXPECT_EQ(rig.ask(), kThere);
  rig.clock.now = rig.clock.now + seconds(59);
  rig.ask();
  EXPECT_EQ(rig.mx_queries, 3) << "fresh again";
}

TEST(Directory, WhatIsSaidToBeGoneIsNotStale) {
  Rig rig;
  rig.ask();
  rig.gone = true;
  rig.clock.now = rig.clock.now + seconds(61);
  EXPECT_EQ(rig.ask(), "5.1.2 no such domain: example.org");
  rig.gone = false;
  rig.mx_fails = true;
  EXPECT_EQ(rig.ask(), "4.4.3 looking up example.org: the name servers failed or refused");
}

}  // namespace
}  // namespace postern::relay
