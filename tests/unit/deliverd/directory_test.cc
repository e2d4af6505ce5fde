#include "deliverd/relay/directory.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>

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

// What a name server says of a host's addresses in one family.
enum class Says : std::uint8_t { kAddress, kNone, kNothing, kNothingAtFirst };

// example.org has these MX hosts, of which the server says that: first of IPv4, then of IPv6.
class SlowRig {
 public:
  struct MxHost {
    unsigned preference;
    std::string name;
    Says v4, v6;
  };
  SlowRig(std::vector<MxHost> hosts, dns::Resolver::Options options)
      : hosts_(std::move(hosts)), resolver_(dns::Resolver::make({server_.endpoint()}, options).value()) {
    resolver_->attach(loop_);
  }
  // "a.example 192.0.2.1 ::1, b.example".
  std::string ask() {
    const auto begun = std::chrono::steady_clock::now();
    found.reset();
    const auto query = directory_.mail_hosts(domain(), [&](Directory::Result r) noexcept { found = std::move(r); });
    loop_.run_once(false);
    while (!found) loop_.run_once(true);
    took = std::chrono::duration_cast<base::Millis>(std::chrono::steady_clock::now() - begun);
    std::string all;
    for (const auto& host : **found) {
      all += (all.empty() ? "" : ", ") + host.name.text();
      for (const auto* answer : {&host.v4, &host.v6})
        for (const auto& address : answer->addresses) all += " " + base::to_string(address);
    }
    return all;
  }
  // Until something happens, but a moment at most: what was awaited may be here already.
  void turn() {
    event::Timer moment(loop_, []() noexcept {});
    moment.start(base::Millis(20));
    loop_.run_once(true);
  }
  [[nodiscard]] int queries() const { return server_.queries(); }
  void say(std::size_t host, Says v4, Says v6) {
    const std::scoped_lock lock(mutex_);
    hosts_[host].v4 = v4;
    hosts_[host].v6 = v6;
  }
  static mail::Domain domain() { return mail::Domain::parse("example.org").value(); }

  HandClock clock;
  std::optional<Directory::Result> found;
  base::Millis took{0};

 private:
  std::optional<std::string> answer(const std::string& query) {
    const std::scoped_lock lock(mutex_);
    const auto type = static_cast<unsigned>(query[query.find('\0', 12) + 2]);
    if (type == dns::kMx) {
      dns::Packet p("example.org", type);
      for (const auto& host : hosts_) p.mx("example.org", host.preference, host.name, 60);
      return dns::FakeServer::as_answer(query, p.bytes());
    }
    const auto host = std::find_if(hosts_.begin(), hosts_.end(), [&](const MxHost& h) {
      return query.find(dns::Packet::encoded(h.name)) == 12;
    });
    const bool first = asked_[{host->name, type}]++ == 0;
    const auto says = type == dns::kA ? host->v4 : host->v6;
    if (says == Says::kNothing || (says == Says::kNothingAtFirst && first)) return std::nullopt;
    dns::Packet p(host->name, type);
    if (says != Says::kNone)
      p.record(host->name, type, 60, type == dns::kA ? "\xc0\1\2\1" : std::string(15, '\0') + "\1");
    return dns::FakeServer::as_answer(query, p.bytes());
  }

  std::mutex mutex_;
  std::vector<MxHost> hosts_;
  std::map<std::pair<std::string, unsigned>, int> asked_;
  event::Loop loop_;
  dns::FakeServer server_{[this](const std::string& q, bool) { return answer(q); }};
  std::unique_ptr<dns::Resolver> resolver_;
  Directory directory_{loop_, *resolver_, clock, [] { return ~std::uint64_t{0}; }};
};

constexpr dns::Resolver::Options kPatient{base::Millis(10'000), 1, false};
constexpr base::Millis kRounding{5};  // of the loop's timers

TEST(Directory, WhatIsWholeIsNotWaitedFor) {
  SlowRig rig({{10, "a.example", Says::kAddress, Says::kNone}, {20, "b.example", Says::kNone, Says::kAddress}},
              kPatient);
  EXPECT_EQ(rig.ask(), "a.example 192.1.2.1, b.example ::1");
  EXPECT_EQ(rig.queries(), 5);
  rig.ask();
  EXPECT_EQ(rig.queries(), 5);
}

TEST(Directory, OneFamilyWaitsForTheOtherButAMoment) {
  SlowRig four({{10, "a.example", Says::kAddress, Says::kNothing}}, kPatient);
  EXPECT_EQ(four.ask(), "a.example 192.1.2.1");
  EXPECT_GE(four.took, Directory::kFamilyPatience - kRounding);
  EXPECT_LT(four.took, kPatient.timeout / 2);
  SlowRig six({{10, "a.example", Says::kNothing, Says::kAddress}}, kPatient);
  EXPECT_EQ(six.ask(), "a.example ::1");
  EXPECT_LT(six.took, kPatient.timeout / 2);
}

// Nobody else waits for it either, as long as it is open.
TEST(Directory, WhatIsOpenIsNotAskedForAgain) {
  SlowRig rig({{10, "a.example", Says::kAddress, Says::kNothing}}, kPatient);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(rig.ask(), "a.example 192.1.2.1");
  EXPECT_EQ(rig.queries(), 3);
}

TEST(Directory, ALateAnswerIsUsedNextTime) {
  SlowRig rig({{10, "a.example", Says::kAddress, Says::kNothingAtFirst}}, {base::Millis(300), 2, false});
  EXPECT_EQ(rig.ask(), "a.example 192.1.2.1");
  while (rig.ask() == "a.example 192.1.2.1") rig.turn();
  EXPECT_EQ(rig.ask(), "a.example 192.1.2.1 ::1");
  rig.clock.now = rig.clock.now + seconds(59);
  EXPECT_EQ(rig.ask(), "a.example 192.1.2.1 ::1");
  EXPECT_EQ(rig.queries(), 4) << "it is remembered, now that it is whole";
}

TEST(Directory, HalfAnAnswerIsNotRemembered) {
  SlowRig rig({{10, "a.example", Says::kAddress, Says::kNothing}}, {base::Millis(100), 1, false});
  EXPECT_EQ(rig.ask(), "a.example 192.1.2.1");
  rig.turn();
  while (rig.queries() == 3) {
    EXPECT_EQ(rig.ask(), "a.example 192.1.2.1");
    if (rig.queries() == 3) rig.turn();
  }
  EXPECT_EQ(rig.queries(), 6);
}

TEST(Directory, SilenceAboutBothFamiliesIsWaitedFor) {
  SlowRig rig({{10, "a.example", Says::kNothing, Says::kNothing}}, {base::Millis(150), 1, false});
  EXPECT_EQ(rig.ask(), "a.example");
  EXPECT_GE(rig.took, base::Millis(150) - kRounding);
  const auto targets = targets_of(SlowRig::domain(), **rig.found, 25, {});
  ASSERT_FALSE(targets);
  EXPECT_EQ(targets.error().end, ipc::GrantEnd::kTemporary);
}

TEST(Directory, ASilentHostThatIsNoBetterHoldsOthersForAWhile) {
  for (const unsigned preference : {10U, 20U}) {
    SlowRig rig({{10, "a.example", Says::kAddress, Says::kNone},
                 {preference, "b.example", Says::kNothing, Says::kNothing}},
                kPatient);
    EXPECT_EQ(rig.ask(), "a.example 192.1.2.1, b.example");
    EXPECT_GE(rig.took, Directory::kHostPatience - kRounding);
    EXPECT_LT(rig.took, kPatient.timeout / 2);
    const auto targets = targets_of(SlowRig::domain(), **rig.found, 25, {});
    ASSERT_TRUE(targets);
    EXPECT_EQ(targets->size(), 1U);
  }
}

TEST(Directory, ABetterHostIsWaitedFor) {
  SlowRig rig({{10, "a.example", Says::kAddress, Says::kAddress},
               {5, "b.example", Says::kNothing, Says::kNothingAtFirst}},
              {base::Millis(150), 2, false});
  EXPECT_EQ(rig.ask(), "b.example ::1, a.example 192.1.2.1 ::1");
  EXPECT_GE(rig.took, base::Millis(150) - kRounding);
}

TEST(Directory, AHostOfNoAddressIsKnown) {
  SlowRig rig({{5, "b.example", Says::kNone, Says::kNone}, {10, "a.example", Says::kNothing, Says::kAddress}},
              kPatient);
  EXPECT_EQ(rig.ask(), "b.example, a.example ::1");
  EXPECT_LT(rig.took, Directory::kHostPatience);
}

// What is known is of no use, and the rest may come: no mail fails by half an answer.
TEST(Directory, HalfAnAnswerIsNoFailure) {
  SlowRig rig({{10, "a.example", Says::kAddress, Says::kNothing}}, kPatient);
  rig.ask();
  Bounds bounds;
  bounds.forbidden.push_back(base::parse_network("192.1.2.0/24").value());
  const auto targets = targets_of(SlowRig::domain(), **rig.found, 25, bounds);
  ASSERT_FALSE(targets);
  EXPECT_EQ(targets.error().end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(targets.error().reply.text(), "4.4.3 looking up a.example: no answer yet from the name servers");
}

TEST(Directory, AStaleAnswerFillsWhatIsOpen) {
  SlowRig rig({{10, "a.example", Says::kAddress, Says::kAddress}}, kPatient);
  EXPECT_EQ(rig.ask(), "a.example 192.1.2.1 ::1");
  rig.say(0, Says::kAddress, Says::kNothing);
  rig.clock.now = rig.clock.now + seconds(61);
  EXPECT_EQ(rig.ask(), "a.example 192.1.2.1 ::1");
  EXPECT_LT(rig.took, kPatient.timeout / 2);
  EXPECT_EQ(rig.queries(), 6);
}

TEST(Directory, DiesWithAnAnswerThatIsNotWhole) {
  const auto rig = std::make_unique<SlowRig>(
      std::vector<SlowRig::MxHost>{{10, "a.example", Says::kAddress, Says::kNothing}}, kPatient);
  rig->ask();
}

}  // namespace
}  // namespace postern::relay
