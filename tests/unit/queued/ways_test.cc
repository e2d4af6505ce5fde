// Where queues lead: to the next way of their route while one is dead, and back.
#include "tests/unit/queued/schedule_rig.h"

namespace postern::queued {
namespace {

class WaysTest : public ScheduleTest {
 protected:
  WaysTest() {
    s->deliverer_up(kRelay1, false);
    auto_ask = false;
  }
  std::string way_of(const std::string& queue) const { return s->find(queue)->hop()->name(); }
  // Mail of q and r: the first way is dead until 1000, and then the second one until `until`.
  void lose_both_ways(std::int64_t until) {
    add("q", two, 1);
    add("r", two, 2);
    decide();
    ASSERT_EQ(opened.size(), 2U);
    (void)s->grant_ended(kRelay1, opened[1].grant);
    fail(opened[0], 1000);
    decide();
    ASSERT_EQ(opened.size(), 4U);
    (void)s->grant_ended(kRelay1, opened[3].grant);
    fail(opened[2], until);
  }
  const Destination two{.via = {host("a"), host("b")}};
};

TEST_F(WaysTest, TheNextOneIsTakenWhileTheFirstIsDeadAndTheFirstWhenItWorksAgain) {
  for (std::uint64_t m = 1; m <= 9; ++m) add("q" + std::to_string(m % 3), two, m);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  EXPECT_EQ(opened[0].hop.host, "a");
  (void)s->grant_ended(kRelay1, opened[1].grant);
  fail(opened[0], 1000);
  for (int q = 0; q < 3; ++q) EXPECT_EQ(way_of("q" + std::to_string(q)), "b:25");
  decide();
  ASSERT_EQ(opened.size(), 4U);
  EXPECT_EQ(opened[2].hop.host, "b");
  EXPECT_EQ(s->next_wake(), QueueTime(1000));
  // Its time has come: one queue tries, the others stay where they are.
  now = QueueTime(1000);
  decide();
  ASSERT_EQ(opened.size(), 5U);
  EXPECT_EQ(opened[4].hop.host, "a");
  EXPECT_EQ(s->find_hop("a:25")->queues(), 1U);
  EXPECT_EQ(s->find_hop("b:25")->queues(), 2U);
  ask(opened[4]);
  decide();
  ASSERT_EQ(handed.size(), 1U);
  deliver_last();
  EXPECT_EQ(s->find_hop("a:25")->queues(), 3U);
}

// Its timer found nobody who had something to go: the first who has tries it.
TEST_F(WaysTest, TheFirstIsTriedAgainByWhoHasMailLater) {
  add("q", two, 1);
  decide();
  fail(opened[0], 1000);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  ask(opened[1]);
  decide();
  ASSERT_EQ(handed.size(), 1U);
  add("q", two, 2);
  s->hold("q", base::MessageId(2), true, now);
  deliver_last();  // by b; the other message stays, held
  (void)s->grant_ended(kRelay1, opened[1].grant);
  now = QueueTime(1000);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  now = QueueTime(1500);
  s->hold("q", base::MessageId(2), false, now);
  decide();
  ASSERT_EQ(opened.size(), 3U);
  EXPECT_EQ(opened[2].hop.host, "a");
}

// A queue that leads to the hop, but has nothing to go, does not try it in the others' place.
TEST_F(WaysTest, AnIdleQueueDoesNotKeepTheOthersAway) {
  add("idle", two, 1);
  add("q", two, 2);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  s->hold("idle", base::MessageId(1), true, now);
  (void)s->grant_ended(kRelay1, opened[1].grant);
  fail(opened[0], 1000);
  EXPECT_EQ(way_of("idle"), "a:25");
  EXPECT_EQ(way_of("q"), "b:25");
  now = QueueTime(1000);
  decide();
  EXPECT_EQ(way_of("q"), "a:25");
}

TEST_F(WaysTest, WhereAllAreDeadOneTimerIsLeft) {
  add("q", two, 1);
  decide();
  fail(opened[0], 1000);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  fail(opened[1], 1010);
  decide();
  EXPECT_EQ(opened.size(), 2U);
  EXPECT_EQ(s->next_wake(), QueueTime(1000));
  now = QueueTime(1000);
  decide();
  ASSERT_EQ(opened.size(), 3U);
  EXPECT_EQ(opened[2].hop.host, "a");
  fail(opened[2], 2000, 2);
  decide();
  EXPECT_EQ(opened.size(), 3U);  // b is dead still
  now = QueueTime(1010);
  decide();
  ASSERT_EQ(opened.size(), 4U);
  EXPECT_EQ(opened[3].hop.host, "b");
}

// While another queue tries the first one, the next is tried, whatever was remembered of it.
// The last queue leaves the second way for the first, and nobody leads there any more.
TEST_F(WaysTest, WhereAllAreFrozenTheFirstIsTakenWhenAllAreLetGo) {
  add("q", two, 1);
  decide();
  ASSERT_EQ(opened.size(), 1U);
  frozen_hops = {"a:25", "b:25"};
  s->review_blocks(now);
  decide();
  (void)s->grant_ended(kRelay1, opened[0].grant);
  EXPECT_EQ(way_of("q"), "b:25");
  frozen_hops.clear();
  s->review_blocks(now);
  EXPECT_EQ(way_of("q"), "a:25");
  EXPECT_EQ(s->find_hop("b:25"), nullptr);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  EXPECT_EQ(opened[1].hop.host, "a");
}

TEST_F(WaysTest, ARetryTriesWhatIsLeft) {
  lose_both_ways(5000);
  now = QueueTime(1000);
  decide();
  ASSERT_EQ(opened.size(), 5U);
  EXPECT_EQ(opened[4].queue, "q");
  EXPECT_EQ(way_of("r"), "b:25");
  EXPECT_EQ(s->end_wait("r", now), (std::vector<std::string>{"a:25", "b:25"}));
  decide();
  ASSERT_EQ(opened.size(), 6U);
  EXPECT_EQ(opened[5].queue, "r");
  EXPECT_EQ(opened[5].hop.host, "b");
}

// When its time came an old connection was still there, which then ended without a word.
TEST_F(WaysTest, TheFirstIsTriedAgainWhenItsLastConnectionIsGone) {
  add("q", two, 1);
  add("q", two, 2);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  fail(opened[0], 1000);
  decide();
  ASSERT_EQ(opened.size(), 4U);
  (void)s->grant_ended(kRelay1, opened[3].grant);
  fail(opened[2], 9000);
  now = QueueTime(1000);
  decide();
  ASSERT_EQ(opened.size(), 4U);
  (void)s->grant_ended(kRelay1, opened[1].grant);
  decide();
  ASSERT_EQ(opened.size(), 5U);
  EXPECT_EQ(opened[4].hop.host, "a");
}

// A queue that comes back to it, and then has nothing to go, leaves it to the others.
TEST_F(WaysTest, WhoCannotTryTheFirstLeavesItToOthers) {
  lose_both_ways(9000);
  s->set_open(false);  // nobody connects
  now = QueueTime(1000);
  decide();
  EXPECT_EQ(way_of("q"), "a:25");
  EXPECT_EQ(way_of("r"), "b:25");
  s->hold("q", base::MessageId(1), true, now);
  EXPECT_EQ(way_of("r"), "a:25");
}

TEST_F(WaysTest, AWayThatCanNeverWorkIsLeftForGood) {
  add("q", two, 1);
  decide();
  const auto ended = s->grant_ended(kRelay1, opened[0].grant);
  EXPECT_EQ(s->way_failed(*ended), Schedule::Onward::kNextWay);
  EXPECT_EQ(s->way_failed(*ended), Schedule::Onward::kElsewhere);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  EXPECT_EQ(opened[1].hop.host, "b");
  EXPECT_EQ(s->way_failed(*s->grant_ended(kRelay1, opened[1].grant)),
            Schedule::Onward::kLastWay);
}

// The time of the better way has come in the same moment as the other one fails.
TEST_F(WaysTest, ABetterWayIsTakenWhenTheOtherOneFails) {
  add("q", two, 1);
  decide();
  fail(opened[0], 1000);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  now = QueueTime(1500);
  fail(opened[1], 9000);
  decide();
  ASSERT_EQ(opened.size(), 3U);
  EXPECT_EQ(opened[2].hop.host, "a");
}

TEST_F(WaysTest, WhatWasRememberedOfAHopCounts) {
  remembered["a:25"] = {QueueTime(3000), 2};
  add("q", two, 1);
  decide();
  ASSERT_EQ(opened.size(), 1U);
  EXPECT_EQ(opened[0].hop.host, "b");
}

// --- Where what is due later goes -------------------------------------------------------------------

TEST_F(WaysTest, WhatIsDueLaterIsForetoldToGoByAWayThatIsOpenThen) {
  add("q", two, 1);
  add("q", two, 2);
  s->hold("q", base::MessageId(2), true, now);
  decide();
  ASSERT_EQ(opened.size(), 1U);
  ask(opened[0]);
  decide();
  ASSERT_EQ(handed.size(), 1U);
  ASSERT_TRUE(s->settle(kRelay1, {base::Epoch(5), handed[0].lease}));
  s->add("q", two, {base::MessageId(1), 0, 100, 0, QueueTime(500), false}, now);
  ASSERT_EQ(way_of("q"), "a:25");
  const auto prospect = [this](std::int64_t when) { return s->prospect(*s->find("q"), QueueTime(when)); };
  EXPECT_EQ(prospect(500).way, 0U);
  EXPECT_EQ(prospect(500).hop, s->find_hop("a:25"));
  // Dead until long behind it, or not as long.
  (void)s->grant_ended(kRelay1, opened[0].grant);
  remembered["a:25"] = {QueueTime(1000), 1};
  s->defer("a:25", remembered["a:25"], now);
  EXPECT_EQ(prospect(500).way, 1U);
  EXPECT_EQ(prospect(500).hop, nullptr) << "nobody leads there";
  EXPECT_EQ(prospect(1000).way, 0U);
  // The other one dead, too: that which opens first.
  remembered["b:25"] = {QueueTime(900), 1};
  EXPECT_EQ(prospect(500).way, 1U);
  EXPECT_EQ(prospect(500).opens, QueueTime(900));
  remembered["b:25"] = {QueueTime(1100), 1};
  EXPECT_EQ(prospect(500).way, 0U);
  EXPECT_EQ(prospect(500).opens, QueueTime(1000));
  // Frozen: never, unless all are.
  frozen_hops = {"a:25"};
  s->review_blocks(now);
  EXPECT_EQ(prospect(500).way, 1U);
  EXPECT_EQ(prospect(5000).way, 1U);
  frozen_hops = {"a:25", "b:25"};
  s->review_blocks(now);
  EXPECT_EQ(prospect(500).way, 0U);
  EXPECT_EQ(prospect(500).opens, QueueTime::max());
  // And so it goes.
  frozen_hops = {"a:25"};
  remembered.erase("b:25");
  s->review_blocks(now);
  now = QueueTime(500);
  decide();
  EXPECT_EQ(way_of("q"), "b:25");
}

}  // namespace
}  // namespace postern::queued
