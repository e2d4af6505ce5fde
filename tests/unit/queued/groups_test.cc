// Ways that share a queue's mail: their shares, who is passed over, and who comes back.
#include <algorithm>
#include <random>

#include "tests/unit/queued/schedule_rig.h"

namespace postern::queued {
namespace {

config::HopSpec weighed(const std::string& name, std::uint8_t weight) {
  auto spec = name == "mx" ? config::HopSpec{} : host(name);
  spec.weight = weight;
  return spec;
}

class GroupsTest : public ScheduleTest {
 protected:
  using Got = std::map<std::string, int>;  // by host

  GroupsTest() {
    s->deliverer_up(kRelay1, false);
    auto_ask = false;
  }
  void add_many(const std::string& queue, const Destination& to, int count) {
    for (int n = 0; n < count; ++n) add(queue, to, ++last_message);
  }
  // A relay connects to whoever is up, and delivers all that it gets. How many messages each host took.
  Got carry() {
    Got got;
    for (bool more = true; more;) {
      decide();
      more = !opened.empty() || !ahead.empty() || !handed.empty();
      for (const auto& grant : std::exchange(opened, {})) connect(grant);
      for (const auto& go : std::exchange(ahead, {})) ask(looking.at(go.grant));
      for (const auto& close : std::exchange(closed, {})) (void)s->grant_ended(kRelay1, close.grant);
      close_sent_away();
      for (const auto& out : std::exchange(handed, {})) {
        const auto grant = grant_of[out.request.value];
        ++got[grant.hop.kind == config::HopKind::kMx ? "mx" : grant.hop.host];
        order += grant.hop.kind == config::HopKind::kMx ? 'm' : grant.hop.host[0];
        const auto lease = s->settle(out.deliverer, {base::Epoch(5), out.lease});
        EXPECT_TRUE(lease);
        s->note_success(*lease, "");
        ask(grant);
      }
    }
    return got;
  }
  void connect(const OpenGrant& grant) {
    const bool mx = grant.hop.kind == config::HopKind::kMx;
    if (mx && grant.next_hop.empty()) {
      ++lookups;
      if (!has_mx) {
        const auto ended = s->grant_ended(kRelay1, grant.grant);
        ASSERT_TRUE(ended);
        onward.push_back(s->way_failed(*ended));
        return;
      }
      looking[grant.grant] = grant;
      EXPECT_TRUE(s->hop_found(kRelay1, grant.grant, "mx.far:25", base::Millis(60'000), now));
    } else if (down.contains(grant.hop.host)) {
      fail(grant, now.count() + 1000);
    } else {
      ask(grant);
    }
  }
  // Nobody is connected to, and these hosts cannot be reached any more.
  void go_down(std::set<std::string> hosts) {
    down = std::move(hosts);
    for (const auto& one : grant_of) (void)s->grant_ended(kRelay1, one.second.grant);
  }
  void freeze(std::set<std::string> hops) {
    frozen_hops = std::move(hops);
    s->review_blocks(now);
  }
  void pass(std::int64_t milliseconds) { now += base::Millis(milliseconds); }
  std::string way_of(const std::string& queue) const { return s->find(queue)->hop()->name(); }

  std::uint64_t last_message = 0;
  std::set<std::string> down;  // who does not answer
  bool has_mx = true;
  int lookups = 0;
  std::map<base::GrantId, OpenGrant> looking;
  std::vector<Schedule::Onward> onward;
  std::string order;
  const Destination two{.via = {weighed("a", 3), weighed("b", 1)}};
  const Destination then_c{.via = {weighed("a", 3), weighed("b", 1), host("c")}};
};

TEST_F(GroupsTest, OneQueueGivesEachItsShare) {
  add_many("q", two, 10'000);
  const auto got = carry();
  EXPECT_NEAR(got.at("a"), 7'500, 200);
  EXPECT_NEAR(got.at("b"), 2'500, 200);
  // Message by message, not one host after the other.
  EXPECT_EQ(order.find("bb"), std::string::npos);
}

TEST_F(GroupsTest, ManyQueuesOfOneMessageDoSo) {
  for (int n = 0; n < 10'000; ++n) add_many("q" + std::to_string(n) + ".example", two, 1);
  const auto got = carry();
  EXPECT_NEAR(got.at("a"), 7'500, 200);
  EXPECT_NEAR(got.at("b"), 2'500, 200);
}

// Nothing of it is left between two messages.
TEST_F(GroupsTest, AQueueThatComesAgainAndAgainDoesSo) {
  Got got;
  for (int n = 0; n < 10'000; ++n) {
    add_many("far.example", two, 1);
    for (const auto& [name, count] : carry()) got[name] += count;
    ASSERT_EQ(s->find("far.example"), nullptr);
  }
  EXPECT_NEAR(got.at("a"), 7'500, 200);
  EXPECT_NEAR(got.at("b"), 2'500, 200);
}

TEST_F(GroupsTest, LargeWeightsCount) {
  const Destination most{.via = {weighed("a", 200), weighed("b", 50), weighed("c", 5)}};
  add_many("q", most, 2'550);
  const auto got = carry();
  EXPECT_EQ(got, (Got{{"a", 2'000}, {"b", 500}, {"c", 50}}));
}

TEST_F(GroupsTest, AWeightAloneSharesNothing) {
  const Destination alone{.via = {weighed("a", 3), host("b")}};
  add_many("q", alone, 20);
  EXPECT_EQ(carry(), (Got{{"a", 20}}));
  go_down({"a"});
  add_many("q", alone, 20);
  EXPECT_EQ(carry(), (Got{{"b", 20}}));
}

TEST_F(GroupsTest, TheOthersTakeAllOfOneThatIsDead) {
  const Destination three{.via = {weighed("a", 4), weighed("b", 2), weighed("c", 1), host("d")}};
  down = {"a"};
  add_many("q", three, 300);
  const auto got = carry();
  EXPECT_FALSE(got.contains("a"));
  EXPECT_FALSE(got.contains("d"));
  EXPECT_NEAR(got.at("b"), 200, 2) << "as their weights are among them";
  EXPECT_NEAR(got.at("c"), 100, 2);
}

TEST_F(GroupsTest, OneThatWorksAgainGetsItsShareAgain) {
  down = {"a"};
  add_many("q", then_c, 100);
  EXPECT_EQ(carry(), (Got{{"b", 100}}));
  add_many("q", then_c, 50);
  EXPECT_EQ(carry(), (Got{{"b", 50}})) << "its time has not come";
  down.clear();
  pass(1'000);
  add_many("q", then_c, 50);
  EXPECT_GE(carry().at("a"), 20) << "while one message tries it, the other one takes more";
  add_many("q", then_c, 100);
  EXPECT_EQ(carry(), (Got{{"a", 75}, {"b", 25}}));
}

// While one queue tries it the others do not wait for the answer.
TEST_F(GroupsTest, OneQueueTriesWhatWasDead) {
  down = {"a"};
  for (int q = 0; q < 20; ++q) add_many("q" + std::to_string(q), two, 1);
  (void)carry();
  pass(1'000);
  for (int q = 0; q < 20; ++q) add_many("q" + std::to_string(q), two, 1);
  const auto* a = s->find_hop("a:25");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->queues(), 1U);
  EXPECT_EQ(s->find_hop("b:25")->queues(), 19U);
  down.clear();
  const auto got = carry();
  EXPECT_EQ(got.at("a") + got.at("b"), 20);
}

TEST_F(GroupsTest, WhatStandsBehindTakesTheMailOfAGroupThatIsDeadAsAWhole) {
  down = {"a", "b"};
  add_many("q", then_c, 100);
  EXPECT_EQ(carry(), (Got{{"c", 100}}));
  // Whichever of it works first, the mail comes home to it.
  for (const auto& [gone, back] : {std::pair("b", "a"), std::pair("a", "b")}) {
    go_down({gone});
    pass(1'000);
    add_many("q", then_c, 100);
    EXPECT_EQ(carry(), (Got{{back, 100}}));
  }
  down.clear();
  pass(1'000);
  add_many("q", then_c, 100);
  (void)carry();
  add_many("q", then_c, 100);
  EXPECT_EQ(carry(), (Got{{"a", 75}, {"b", 25}}));
}

// Each waits for one of the group; all come when another one works.
TEST_F(GroupsTest, QueuesComeHomeWithTheirNextMessage) {
  down = {"a", "b"};
  for (int q = 0; q < 10; ++q) add_many("q" + std::to_string(q), then_c, 10);
  EXPECT_EQ(carry(), (Got{{"c", 100}}));
  down = {"a"};
  pass(1'000);
  for (int q = 0; q < 10; ++q) add_many("q" + std::to_string(q), then_c, 10);
  auto got = carry();
  EXPECT_FALSE(got.contains("a"));
  EXPECT_GE(got["b"], 80);
  for (int q = 0; q < 10; ++q) add_many("q" + std::to_string(q), then_c, 10);
  EXPECT_EQ(carry(), (Got{{"b", 100}}));
}

TEST_F(GroupsTest, AGroupAtTheEndOfItsRouteIsWaitedFor) {
  down = {"a", "b"};
  add_many("q", two, 10);
  EXPECT_EQ(carry(), Got());
  EXPECT_EQ(s->next_wake(), QueueTime(1'000));
  // What fails stays there, so that its old mail can end.
  pass(1'000);
  decide();
  ASSERT_EQ(opened.size(), 1U);
  const auto tried = opened.front();
  opened.clear();
  fail(tried, 5'000);
  decide();
  ASSERT_EQ(opened.size(), 1U) << "the other one's time has come too";
  const auto other = opened.front();
  opened.clear();
  EXPECT_NE(other.hop.host, tried.hop.host);
  fail(other, 4'000);
  EXPECT_EQ(way_of("q"), other.hop.host + ":25");
  EXPECT_EQ(s->find("q")->better()->name(), tried.hop.host + ":25");
  decide();
  EXPECT_TRUE(opened.empty());
  EXPECT_EQ(s->next_wake(), QueueTime(4'000));
  down.clear();
  now = QueueTime(4'000);
  const auto got = carry();
  EXPECT_EQ(got, (Got{{other.hop.host, 10}})) << "the first one is dead still";
}

TEST_F(GroupsTest, AFrozenOneIsPassedOverUntilItIsThawed) {
  add_many("q", two, 40);
  EXPECT_EQ(carry(), (Got{{"a", 30}, {"b", 10}}));
  freeze({"a:25"});
  add_many("q", two, 40);
  EXPECT_EQ(carry(), (Got{{"b", 40}}));
  freeze({});
  add_many("q", two, 40);
  EXPECT_EQ(carry(), (Got{{"a", 30}, {"b", 10}}));
}

TEST_F(GroupsTest, OfAGroupThatIsFrozenAsAWholeAnyThawIsSeen) {
  const Destination three{.via = {weighed("a", 1), weighed("b", 1), weighed("c", 1)}};
  const std::set<std::string> all{"a:25", "b:25", "c:25"};
  for (const auto* thawed : {"a", "b", "c"}) {
    freeze(all);
    add_many("q", three, 5);
    EXPECT_EQ(carry(), Got());
    auto rest = all;
    rest.erase(std::string(thawed) + ":25");
    freeze(rest);
    EXPECT_EQ(carry(), (Got{{thawed, 5}}));
  }
}

TEST_F(GroupsTest, MailIsReroutedAmongThem) {
  add_many("q", two, 4);
  decide();
  opened.clear();
  s->clear();
  add_many("q", two, 40);
  EXPECT_EQ(s->find("q")->messages(), 40U);
}

// --- An MX that shares ------------------------------------------------------------------------------

TEST_F(GroupsTest, AnMxIsFoundOnceForAllItsTurns) {
  const Destination to{.via = {weighed("mx", 1), weighed("a", 1)}};
  add_many("far.example", to, 100);
  EXPECT_EQ(carry(), (Got{{"a", 50}, {"mx", 50}}));
  EXPECT_EQ(lookups, 1);
  EXPECT_EQ(s->find_hop("mx.far:25")->queues(), 0U) << "the queue is empty";
}

TEST_F(GroupsTest, WhatWasFoundHoldsForItsTime) {
  const Destination to{.via = {weighed("mx", 1), weighed("a", 1)}};
  add_many("far.example", to, 101);
  s->hold("far.example", base::MessageId(101), true, now);
  (void)carry();
  EXPECT_EQ(s->find_hop("mx.far:25")->queues(), 1U);
  add_many("far.example", to, 10);
  (void)carry();
  EXPECT_EQ(lookups, 1);
  pass(60'001);
  add_many("far.example", to, 10);
  EXPECT_EQ(carry(), (Got{{"a", 5}, {"mx", 5}}));
  EXPECT_EQ(lookups, 2);
}

TEST_F(GroupsTest, ADeadMxIsPassedOver) {
  const Destination to{.via = {weighed("mx", 1), weighed("a", 1)}};
  remembered["mx.far:25"] = {QueueTime(1'000), 1};
  add_many("far.example", to, 100);
  EXPECT_EQ(carry(), (Got{{"a", 100}}));
  EXPECT_EQ(lookups, 1) << "where it is, and that it is dead, is kept";
  pass(1'000);
  add_many("far.example", to, 50);
  EXPECT_GE(carry().at("mx"), 10);
  add_many("far.example", to, 100);
  EXPECT_EQ(carry(), (Got{{"a", 50}, {"mx", 50}}));
}

TEST_F(GroupsTest, ADomainWithoutHostsLeavesItsMailToTheOthers) {
  const Destination to{.via = {weighed("mx", 1), weighed("a", 1)}};
  has_mx = false;
  add_many("far.example", to, 100);
  EXPECT_EQ(carry(), (Got{{"a", 100}}));
  EXPECT_EQ(lookups, 1);
  EXPECT_EQ(onward, std::vector{Schedule::Onward::kNextWay});
}

// Nobody may say that all ways failed while one of them is only dead; nor are hosts asked for without end.
TEST_F(GroupsTest, ADomainWithoutHostsWaitsForTheOthers) {
  const Destination to{.via = {weighed("mx", 1), weighed("a", 1)}};
  has_mx = false;
  down = {"a"};
  add_many("far.example", to, 10);
  EXPECT_EQ(carry(), Got());
  EXPECT_EQ(lookups, 1);
  EXPECT_EQ(s->next_wake(), QueueTime(1'000));
  down.clear();
  pass(1'000);
  EXPECT_EQ(carry(), (Got{{"a", 10}}));
  EXPECT_EQ(lookups, 1);
}

// --- Whatever happens --------------------------------------------------------------------------------

// Hosts come and go, are frozen and thawed, routes are read anew: in the end all of the mail has gone, once.
TEST_F(GroupsTest, NoMailStaysBehind) {
  const std::vector<Destination> routes{
      two, then_c, {.via = {weighed("mx", 2), weighed("a", 1), host("c"), weighed("b", 1), weighed("d", 3)}},
      {.via = {host("c"), weighed("a", 1), weighed("b", 1), weighed("mx", 1)}}};
  const std::vector<std::string> hosts{"a", "b", "c", "d", ""};
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&](std::size_t below) { return random() % below; };
    int sent = 0, taken = 0;
    std::map<std::string, std::size_t> route_of;
    for (int step = 0; step < 60; ++step) {
      const auto queue = "q" + std::to_string(pick(4)) + ".example";
      switch (pick(7)) {
        case 0:
        case 1: {
          const int count = 1 + static_cast<int>(pick(30));
          add_many(queue, routes[route_of.try_emplace(queue, pick(routes.size())).first->second], count);
          sent += count;
          break;
        }
        case 2:
          go_down({hosts[pick(hosts.size())], hosts[pick(hosts.size())]});
          break;
        case 3:
          freeze({hosts[pick(hosts.size())] + ":25", hosts[pick(hosts.size())] + ":25"});
          break;
        case 4:
          has_mx = pick(2) == 0;
          onward.clear();
          break;
        case 5:
          pass(static_cast<std::int64_t>(pick(2'000)));
          break;
        case 6:
          (void)s->end_wait(queue, now);
          break;
      }
      for (const auto& [host, count] : carry()) taken += count;
      if (std::ranges::count(onward, Schedule::Onward::kLastWay) > 0) break;  // that mail is returned
    }
    freeze({});
    down.clear();
    has_mx = true;
    for (int n = 0; n < 5; ++n) {
      pass(600'000);
      for (const auto& [host, count] : carry()) taken += count;
    }
    EXPECT_EQ(taken, sent) << seed;
    EXPECT_TRUE(s->queues().empty()) << seed;
    for (const auto& [name, hop] : s->hops()) EXPECT_EQ(hop.queues(), 0U) << name;
  }
}

// --- Others at the same hosts ------------------------------------------------------------------------

// A queue that goes on after each message would have one while another sends all of its round.
TEST_F(GroupsTest, AQueueThatSharesHasItsTurnsBesideOthers) {
  const Destination shared{.connections = 1, .via = {weighed("a", 1), weighed("b", 1)}};
  const Destination plain{.connections = 1, .via = {host("a")}};
  add_many("shared", shared, 400);
  add_many("plain", plain, 400);
  std::vector<std::string> at_a;
  for (bool more = true; more && at_a.size() < 96;) {
    decide();
    more = !opened.empty() || !handed.empty();
    for (const auto& grant : std::exchange(opened, {})) ask(grant);
    for (const auto& out : std::exchange(handed, {})) {
      const auto grant = grant_of[out.request.value];
      if (grant.hop.host == "a") at_a.push_back(out.queue);
      s->note_success(*s->settle(out.deliverer, {base::Epoch(5), out.lease}), "");
      ask(grant);
    }
  }
  ASSERT_GE(at_a.size(), 96U);
  EXPECT_GE(std::ranges::count(at_a, "shared"), 25) << "two thirds of them are the other's";
}

// Nor has one with large messages a new round at each host.
TEST_F(GroupsTest, AQueueThatSharesOwesAtOneHostWhatItSentToTheOther) {
  const Destination shared{.connections = 1, .via = {weighed("a", 1), weighed("b", 1)}};
  for (int n = 0; n < 100; ++n)
    s->add("shared", shared, {base::MessageId(++last_message), 0, 1 << 20, 0, now, false}, now);
  for (const auto* const other : {"a", "b"})
    add_many(other, {.connections = 1, .via = {host(other)}}, 1000);
  int large = 0;
  for (int turns = 0; turns < 1000;) {
    decide();
    for (const auto& grant : std::exchange(opened, {})) ask(grant);
    for (const auto& out : std::exchange(handed, {})) {
      ++turns;
      if (out.queue == "shared") ++large;
      s->note_success(*s->settle(out.deliverer, {base::Epoch(5), out.lease}), "");
      ask(grant_of[out.request.value]);
    }
  }
  EXPECT_GT(large, 2);
  EXPECT_LT(large, 15) << "each is worth more than 100 of the others'";
}

}  // namespace
}  // namespace postern::queued
