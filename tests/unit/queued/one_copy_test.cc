// One lease of several queues: what goes along, and whose it is.
#include <algorithm>

#include "tests/unit/queued/schedule_rig.h"

namespace postern::queued {
namespace {

using Numbers = std::vector<std::uint32_t>;

class OneCopyTest : public ScheduleTest {
 protected:
  OneCopyTest() { s->deliverer_up(kRelay1, false); }
  // A recipient of a message that is in memory.
  void put(const std::string& queue, std::uint32_t number, const Destination& to, std::int64_t due = 0,
           bool held = false, std::uint64_t message = 1) {
    in_memory[message].push_back({queue, number});
    s->add(queue, to, {base::MessageId(message), number, 100, 0, QueueTime(due), held}, now);
  }
  void put_five() {
    for (std::uint32_t n = 0; n < 5; ++n) put(std::string(1, static_cast<char>('a' + n)), n, smart);
  }
  const LeaseInfo& only_lease() const { return s->leases().begin()->second; }
  const Destination smart{.connections = 1, .via = {host("smart")}};
};

TEST_F(OneCopyTest, OneGoesForAllQueuesOfANextHop) {
  put_five();
  settle_down();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].recipients, (Numbers{0, 1, 2, 3, 4}));
  EXPECT_TRUE(handed[0].looked);
  for (const auto* name : {"a", "b", "c", "d", "e"}) {
    EXPECT_EQ(s->find(name)->counts.leased, 1U);
    EXPECT_EQ(s->find(name)->leases, 1U);
    EXPECT_TRUE(s->coming(name, base::MessageId(1)));
  }
  EXPECT_EQ(s->find_hop("smart:25")->lines(), 0U);
  const auto lease = s->settle(kRelay1, only_lease().key);
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease->queue, handed[0].queue);
  EXPECT_EQ(lease->recipients, (Numbers{0, 1, 2, 3, 4}));
  for (std::uint32_t n = 0; n < 5; ++n) EXPECT_FALSE(s->leased(base::MessageId(1), n));
  for (const auto& grant : opened) (void)s->grant_ended(kRelay1, grant.grant);
  EXPECT_TRUE(s->queues().empty());
}

TEST_F(OneCopyTest, WhatMayNotGoNowOrGoesAnotherWayStays) {
  auto other_name = smart;
  other_name.masquerade = "example.org";
  blocked["c"] = Blocked::kFrozen;
  put("a", 0, smart);
  put("b", 1, smart, 1000);        // later
  put("c", 2, smart);              // frozen
  put("d", 3, smart, 0, true);     // held
  put("e", 4, other_name);         // as somebody else
  put("f", 5, outbound("f"));      // elsewhere
  put("g", 6, smart);
  in_memory[1].push_back({"h", 7});  // of which the schedule knows nothing
  settle_down();
  std::set<Numbers> all;
  for (std::size_t at = 0; at < handed.size(); ++at) {
    const auto out = handed[at];
    all.insert(out.recipients);
    ASSERT_TRUE(s->settle(kRelay1, {base::Epoch(5), out.lease}));
    ask(grant_of[out.request.value]);
    settle_down();
  }
  EXPECT_EQ(all, (std::set<Numbers>{{0, 6}, {4}, {5}}));
  EXPECT_EQ(s->find("b")->counts.waiting, 1U);
  EXPECT_EQ(s->find("c")->counts.ready, 1U);
  EXPECT_EQ(s->find("d")->counts.held, 1U);
}

TEST_F(OneCopyTest, NoMoreThanALeaseHolds) {
  limit({.lease_recipients = 3});
  s->deliverer_up(kRelay1, false);
  put_five();
  settle_down();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].recipients, (Numbers{0, 1, 2}));
  deliver_last();
  decide();
  ASSERT_EQ(handed.size(), 2U);
  EXPECT_EQ(handed[1].queue, "d");
  EXPECT_EQ(handed[1].recipients, (Numbers{3, 4}));
}

// What is left of a queue keeps its place in line.
TEST_F(OneCopyTest, WhoeverGoesAlongCostsNobodyHisPlace) {
  limit({.lease_recipients = 2});
  s->deliverer_up(kRelay1, false);
  auto_ask = false;
  put("a", 0, smart);
  decide();
  put("b", 1, smart);
  put("b", 2, smart);
  put("b", 3, smart, 0, false, 2);
  ask(opened.at(0));
  decide();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].recipients, (Numbers{0, 1}));
  deliver_last();
  decide();
  ASSERT_EQ(handed.size(), 2U);
  EXPECT_EQ(handed[1].recipients, (Numbers{2}));
  deliver_last();
  decide();
  ASSERT_EQ(handed.size(), 3U);
  EXPECT_EQ(handed[2].recipients, (Numbers{3}));
}

TEST_F(OneCopyTest, ALeaseIsInFlightForEachOfItsQueues) {
  put_five();
  settle_down();
  ASSERT_EQ(handed.size(), 1U);
  blocked["d"] = Blocked::kFrozen;
  s->review_blocks(now);
  decide();
  EXPECT_EQ(s->blocked_leases(), 1U);
  ASSERT_EQ(closed.size(), 1U);
  const auto is = [](const char* name) { return [name](const auto& queue) { return queue.name() == name; }; };
  EXPECT_TRUE(s->any_queue(only_lease(), is("a")));
  EXPECT_TRUE(s->any_queue(only_lease(), is("e")));
  EXPECT_FALSE(s->any_queue(only_lease(), is("f")));
  ASSERT_TRUE(s->settle(kRelay1, only_lease().key));
  EXPECT_EQ(s->blocked_leases(), 0U);
}

TEST_F(OneCopyTest, AMessageThatIsNotInMemoryTakesThemAlongWhenItIsRead) {
  put_five();
  const auto read = std::exchange(in_memory, {});
  settle_down();
  ASSERT_EQ(handed.size(), 1U);
  ASSERT_EQ(handed[0].queue, "b");
  EXPECT_EQ(handed[0].recipients, (Numbers{1}));
  EXPECT_FALSE(handed[0].looked);
  in_memory = read;
  blocked["c"] = Blocked::kFrozen;  // meanwhile
  s->review_blocks(now);
  s->widen(only_lease().key);
  EXPECT_EQ(only_lease().recipients, (Numbers{0, 1, 3, 4}));
  EXPECT_EQ(s->find("c")->counts.ready, 1U);
  ASSERT_TRUE(s->settle(kRelay1, only_lease().key));
}

TEST_F(OneCopyTest, NothingJoinsAConnectionThatIsToldToGo) {
  put_five();
  const auto read = std::exchange(in_memory, {});
  settle_down();
  s->recall(base::MessageId(1));
  in_memory = read;
  s->widen(only_lease().key);
  EXPECT_EQ(only_lease().recipients, handed.at(0).recipients);
  EXPECT_EQ(only_lease().recipients.size(), 1U);
  s->widen({base::Epoch(5), base::LeaseId(77)});  // of which nobody knows
}

TEST_F(OneCopyTest, ForARateItIsOneMessage) {
  const Destination slow{.interval = 250'000, .via = {host("slow")}};
  for (std::uint32_t n = 0; n < 4; ++n) put("q" + std::to_string(n), n, slow);
  put("q0", 9, slow, 0, false, 2);
  settle_down();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].recipients.size(), 4U);
  EXPECT_EQ(s->next_wake(), QueueTime(249));
}

TEST_F(OneCopyTest, DomainsOfOneSetOfHostsAreOneWay) {
  auto_ask = false;
  const Destination mx{.connections = 3, .via = {config::HopSpec{}}};
  put("a", 0, mx);
  put("b", 1, mx);
  put("c", 2, mx);
  decide();
  ASSERT_EQ(opened.size(), 3U);
  (void)s->hop_found(kRelay1, opened[0].grant, "mx:25", base::Millis(60'000), now);
  (void)s->hop_found(kRelay1, opened[1].grant, "mx:25", base::Millis(60'000), now);
  (void)s->hop_found(kRelay1, opened[2].grant, "mx:25/mta-sts", base::Millis(60'000), now);  // more is demanded
  decide();
  ask(opened[0]);
  decide();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].recipients, (Numbers{0, 1}));
}

TEST_F(OneCopyTest, HostsThatMayBeOthersByNowAreAskedForFirst) {
  auto_ask = false;
  const Destination mx{.connections = 3, .via = {config::HopSpec{}}};
  put("b", 1, mx);
  decide();
  (void)s->hop_found(kRelay1, opened[0].grant, "mx:25", base::Millis(60'000), now);
  decide();
  now = QueueTime(12 * 60'000);  // what was told of b holds no more
  put("a", 0, mx);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  (void)s->hop_found(kRelay1, opened[1].grant, "mx:25", base::Millis(60'000), now);
  decide();
  ask(opened[1]);
  decide();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].recipients, (Numbers{0}));
}

TEST_F(OneCopyTest, OfAnEarlierLifeItIsAdoptedWhole) {
  s->set_open(false);
  put_five();
  const LeaseKey key{base::Epoch(4), base::LeaseId(9)};
  EXPECT_TRUE(s->adopt(kRelay1, key, base::MessageId(1), std::vector<Placed>{{"e", 4}, {"a", 0}, {"none", 7}, {"b", 1}}));
  EXPECT_EQ(only_lease().recipients, (Numbers{0, 1, 4}));
  s->set_open(true);
  settle_down();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].recipients, (Numbers{2, 3}));
  const auto lost = s->deliverer_down(kRelay1);
  EXPECT_EQ(lost.size(), 2U);
  EXPECT_TRUE(s->queues().empty());
}

// New routes leave what is in delivery as it is.
TEST_F(OneCopyTest, RoutesChangeMeanwhile) {
  put_five();
  settle_down();
  s->clear();
  for (const auto* name : {"a", "b", "c", "d", "e"}) EXPECT_EQ(s->find(name)->counts.leased, 1U);
  ASSERT_TRUE(s->settle(kRelay1, only_lease().key));
  for (const auto& grant : opened) (void)s->grant_ended(kRelay1, grant.grant);
  EXPECT_TRUE(s->queues().empty());
}

}  // namespace
}  // namespace postern::queued
