// Second paths of queues: where they lead, what they share with their queue, when they are closed, and that nothing of
// them is left.
#include <gmock/gmock.h>

#include "tests/unit/queued/schedule_rig.h"

namespace postern::queued {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

config::HopSpec weighed(const std::string& name, std::uint8_t weight) {
  auto spec = host(name);
  spec.weight = weight;
  return spec;
}

std::vector<std::string> hosts(const Destination& destination) {
  std::vector<std::string> names;
  for (const auto& spec : destination.via) names.push_back(spec.kind == config::HopKind::kMx ? "mx" : spec.host);
  return names;
}

TEST(SecondPath, IsWhatStandsBehindTheWayThatRefused) {
  const Destination three{.connections = 7, .via = {host("a"), host("b"), {}}, .masquerade = "m", .second_path = true};
  EXPECT_THAT(hosts(second_path(three, 0)), ElementsAre("b", "mx"));
  EXPECT_THAT(hosts(second_path(three, 1)), ElementsAre("mx"));
  EXPECT_THAT(hosts(second_path(three, 2)), IsEmpty());
  EXPECT_THAT(hosts(second_path(three, 3)), IsEmpty()) << "a way of another route";
  EXPECT_EQ(second_path(three, 0).connections, 7U);
  EXPECT_EQ(second_path(three, 0).masquerade, "m");
  EXPECT_FALSE(second_path(three, 0).second_path) << "once";
}

TEST(SecondPath, IsNoneWhereTheRouteDoesNotSaySo) {
  EXPECT_THAT(hosts(second_path({.via = {host("a"), host("b")}}, 0)), IsEmpty());
}

TEST(SecondPath, LeadsToTheOthersThatShareFirst) {
  const Destination shared{.via = {host("x"), weighed("a", 1), weighed("b", 2), weighed("c", 1), host("z")},
                           .second_path = true};
  EXPECT_THAT(hosts(second_path(shared, 0)), ElementsAre("a", "b", "c", "z"));
  EXPECT_THAT(hosts(second_path(shared, 2)), ElementsAre("a", "c", "z"));
  EXPECT_THAT(hosts(second_path(shared, 3)), ElementsAre("a", "b", "z"));
  EXPECT_THAT(hosts(second_path(shared, 4)), IsEmpty());
}

class SecondPathsTest : public ScheduleTest {
 protected:
  SecondPathsTest() { s->deliverer_up(kRelay1, false); }
  void add_refused(const std::string& queue, std::uint64_t message, std::uint32_t number = 0, std::uint8_t way = 1) {
    s->add(queue, two, {base::MessageId(message), number, 100, 0, now, false, way}, now);
  }
  LeaseInfo settle(const HandOut& out) {
    const auto lease = s->settle(out.deliverer, {base::Epoch(5), out.lease});
    EXPECT_TRUE(lease);
    return lease.value_or(LeaseInfo());
  }
  using Volume = std::pair<std::uint64_t, std::uint64_t>;  // messages and bytes
  [[nodiscard]] Volume volume() const {
    const auto of = s->volume("q");
    return {of.messages, of.bytes};
  }
  void end_grants() {
    for (const auto& grant : opened) (void)s->grant_ended(grant.deliverer, grant.grant);
  }
  const Destination two{.via = {host("a"), host("b")}, .second_path = true};
};

TEST_F(SecondPathsTest, OneGoesThereAndTheOthersGoOn) {
  add("q", two, 1, 0);
  add("q", two, 1, 1);
  add_refused("q", 1, 2);
  add("q", two, 2);
  settle_down();
  ASSERT_EQ(handed.size(), 3U);
  for (const auto& out : handed) {
    const auto refused = grant_of[out.request.value].hop.host == "b";
    EXPECT_EQ(out.queue, "q");
    const auto lease = settle(out);
    EXPECT_EQ(lease.by.refused, refused ? 1 : 0);
    EXPECT_EQ(lease.by.way, 0);
    EXPECT_EQ(hosts(*lease.by.destination), refused ? std::vector<std::string>{"b"} : hosts(two));
    if (refused) {
      EXPECT_THAT(out.recipients, ElementsAre(2U));
    }
  }
  end_grants();
  EXPECT_TRUE(s->queues().empty());
  EXPECT_TRUE(s->seconds().empty());
  EXPECT_TRUE(s->hops().empty());
}

TEST_F(SecondPathsTest, TheWayOfALeaseIsTheOneThatItWasHandedOutBy) {
  auto_ask = false;
  add("q", two, 1);
  decide();
  fail(opened[0], 1000);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  ask(opened[1]);
  decide();
  EXPECT_EQ(settle(handed.at(0)).by.way, 1);
}

TEST_F(SecondPathsTest, ALeaseOfAnEarlierLifeKnowsNoWay) {
  add("q", two, 1);
  const Placed recipients[] = {{"q", 0}};
  ASSERT_TRUE(s->adopt(kRelay1, {base::Epoch(4), base::LeaseId(1)}, base::MessageId(1), recipients));
  const auto lease = s->settle(kRelay1, {base::Epoch(4), base::LeaseId(1)});
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease->by.destination, nullptr);
  EXPECT_EQ(lease->by.refused, 0);
}

// The queue leads to its first way, whoever carried what was handed out before.
TEST_F(SecondPathsTest, ASuccessOfAnEarlierLifeIsTheHostsThatAnswered) {
  remembered["a:25"] = {QueueTime(0), 3};
  remembered["b:25"] = {QueueTime(0), 2};
  auto_ask = false;
  add("q", two, 1);
  add("q", two, 2);
  decide();
  ASSERT_NE(s->find_hop("a:25"), nullptr);
  const Placed recipients[] = {{"q", 0}};
  ASSERT_TRUE(s->adopt(kRelay1, {base::Epoch(4), base::LeaseId(1)}, base::MessageId(1), recipients));
  const auto lease = s->settle(kRelay1, {base::Epoch(4), base::LeaseId(1)});
  ASSERT_TRUE(lease);
  EXPECT_EQ(s->note_success(*lease, "b[192.0.2.2]:25"), nullptr) << "nobody leads there";
  EXPECT_EQ(s->note_success(*lease, "c[192.0.2.3]:25"), nullptr);
  EXPECT_EQ(s->note_success(*lease, ""), nullptr);
  EXPECT_EQ(s->find_hop("a:25")->failures, 3U);
  add("r", {.via = {host("b")}}, 3);
  decide();
  EXPECT_EQ(s->note_success(*lease, "B[192.0.2.2]:25"), s->find_hop("b:25"));
  EXPECT_EQ(s->find_hop("b:25")->failures, 0U);
  EXPECT_EQ(s->find_hop("a:25")->failures, 3U);
  EXPECT_EQ(s->note_success(*lease, "a[192.0.2.1]:25"), s->find_hop("a:25"));
  EXPECT_EQ(s->find_hop("a:25")->failures, 0U);
}

TEST_F(SecondPathsTest, WhoIsThereAlreadyIsThereOnce) {
  add_refused("q", 1);
  add("q", two, 1);  // as all mail is placed again
  EXPECT_EQ(s->find("q")->messages(), 0U);
  EXPECT_TRUE(s->find("q")->has_mail());
  ASSERT_NE(s->second_of("q", base::MessageId(1), 0), nullptr);
  EXPECT_EQ(s->second_of("q", base::MessageId(1), 1), nullptr);
  EXPECT_EQ(s->second_of("r", base::MessageId(1), 0), nullptr);
  add("q", two, 2);
  add_refused("q", 2);
  EXPECT_EQ(s->second_of("q", base::MessageId(2), 0), nullptr);
  settle_down();
  EXPECT_EQ(handed.size(), 2U);
}

TEST_F(SecondPathsTest, ATakenMessageIsTakenEverywhere) {
  add("q", two, 1, 0);
  add_refused("q", 1, 1);
  add_refused("q", 1, 2, 1);
  EXPECT_THAT(s->take_first("q", base::MessageId(1)), ElementsAre(0U));
  add("q", two, 1, 0);
  EXPECT_THAT(s->take("q", base::MessageId(1)), ElementsAre(0U, 1U, 2U));
  EXPECT_TRUE(s->queues().empty());
  EXPECT_TRUE(s->seconds().empty());
}

TEST_F(SecondPathsTest, HeldMailStaysUntilItIsLetGo) {
  add_refused("q", 1);
  s->hold("q", base::MessageId(1), true, now);
  settle_down();
  EXPECT_TRUE(handed.empty());
  EXPECT_THAT(s->take_second("q", 1, 10), IsEmpty());
  EXPECT_EQ(s->standing("q", base::MessageId(1), 0)->stage, Stage::kHeld);
  s->hold("q", base::MessageId(1), false, now);
  settle_down();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(grant_of[handed[0].request.value].hop.host, "b");
}

TEST_F(SecondPathsTest, BlocksOfTheQueueHoldThere) {
  blocked["q"] = Blocked::kFrozen;
  add_refused("q", 1);
  settle_down();
  EXPECT_TRUE(opened.empty());
  EXPECT_THAT(s->closed_paths(), IsEmpty()) << "it waits as the queue does";
  blocked.clear();
  s->review_blocks(now);
  settle_down();
  ASSERT_EQ(handed.size(), 1U);
  blocked["q"] = Blocked::kOff;
  s->review_blocks(now);
  EXPECT_EQ(s->blocked_leases(), 1U);
  decide();
  EXPECT_EQ(closed.size(), 1U);
}

TEST_F(SecondPathsTest, ItsHopObeysTheLimitsOfAll) {
  auto limited = two;
  limited.connections = 1;
  add("r", {.connections = 1, .via = {host("b")}}, 9);
  s->add("q", limited, {base::MessageId(1), 0, 100, 0, now, false, 1}, now);
  settle_down();
  EXPECT_EQ(opened.size(), 1U);
  EXPECT_EQ(s->find_hop("b:25")->queues(), 2U);
  deliver_last();
  settle_down();
  EXPECT_EQ(handed.size(), 2U);
  EXPECT_EQ(opened.size(), 1U) << "one connection serves both";
}

TEST_F(SecondPathsTest, IsClosedWhileItsHopIsDead) {
  auto_ask = false;
  add_refused("q", 1);
  decide();
  EXPECT_THAT(s->closed_paths(), IsEmpty());
  fail(opened.at(0), 1000);
  const auto paths = s->closed_paths();
  ASSERT_EQ(paths.size(), 1U);
  EXPECT_EQ(paths[0].queue, "q");
  EXPECT_EQ(paths[0].refused, 1);
  EXPECT_EQ(paths[0].hop, "b:25");
  EXPECT_FALSE(paths[0].frozen);
  add_refused("q", 2, 3);
  const auto taken = s->take_second("q", 1, 1);
  ASSERT_EQ(taken.size(), 1U);
  EXPECT_EQ(taken[0].message, base::MessageId(1));
  EXPECT_EQ(s->take_second("q", 1, 10).at(0).recipients, std::vector<std::uint32_t>{3});
  EXPECT_TRUE(s->queues().empty());
  EXPECT_THAT(s->take_second("q", 1, 10), IsEmpty());
}

TEST_F(SecondPathsTest, IsClosedWhileItsHopIsFrozen) {
  frozen_hops.insert("b:25");
  add_refused("q", 1);
  settle_down();
  EXPECT_TRUE(opened.empty());
  ASSERT_EQ(s->closed_paths().size(), 1U);
  EXPECT_TRUE(s->closed_paths()[0].frozen);
  frozen_hops.clear();
  s->review_blocks(now);
  EXPECT_THAT(s->closed_paths(), IsEmpty());
  settle_down();
  EXPECT_EQ(handed.size(), 1U);
}

TEST_F(SecondPathsTest, AFurtherWayIsTakenBeforeItIsClosed) {
  const Destination three{.via = {host("a"), host("b"), host("c")}, .second_path = true};
  frozen_hops.insert("b:25");
  s->add("q", three, {base::MessageId(1), 0, 100, 0, now, false, 1}, now);
  settle_down();
  EXPECT_THAT(s->closed_paths(), IsEmpty());
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(grant_of[handed[0].request.value].hop.host, "c");
}

// Whichever of the two looks for them, they are the queue's.
TEST_F(SecondPathsTest, HostsAreSoughtForTheQueue) {
  auto_ask = false;
  const Destination mx{.via = {host("a"), {}}, .second_path = true};
  s->add("q", mx, {base::MessageId(1), 0, 100, 0, now, false, 1}, now);
  decide();
  ASSERT_EQ(opened.size(), 1U);
  EXPECT_EQ(opened[0].queue, "q");
  EXPECT_EQ(opened[0].hop.kind, config::HopKind::kMx);
  ASSERT_NE(s->find_hop("q"), nullptr);
  EXPECT_EQ(s->hop_found(kRelay1, opened[0].grant, "q:25", base::Millis(60'000), now), "q");
  decide();
  ASSERT_EQ(ahead.size(), 1U);
  EXPECT_EQ(s->find_hop("q"), nullptr);
  ask(opened[0]);
  decide();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(settle(handed[0]).by.refused, 1);
}

TEST_F(SecondPathsTest, ASearchThatNobodyWaitsForLeavesNothing) {
  auto_ask = false;
  const Destination mx{.via = {host("a"), {}}, .second_path = true};
  s->add("q", mx, {base::MessageId(1), 0, 100, 0, now, false, 1}, now);
  decide();
  EXPECT_EQ(s->take_second("q", 1, 10).size(), 1U);
  EXPECT_TRUE(s->seconds().empty());
  EXPECT_FALSE(s->queues().empty()) << "its search goes on";
  ASSERT_TRUE(s->grant_ended(kRelay1, opened.at(0).grant));
  EXPECT_TRUE(s->queues().empty());
}

TEST_F(SecondPathsTest, ALastWayThatCanNeverWorkIsThePathsOwn) {
  auto_ask = false;
  const Destination mx{.via = {host("a"), {}}, .second_path = true};
  add("q", mx, 2);
  s->add("q", mx, {base::MessageId(1), 0, 100, 0, now, false, 1}, now);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  const auto& seeking = opened[0].hop.kind == config::HopKind::kMx ? opened[0] : opened[1];
  const auto ended = s->grant_ended(kRelay1, seeking.grant);
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->refused, 1);
  EXPECT_EQ(s->way_failed(*ended), Schedule::Onward::kLastWay);
}

TEST_F(SecondPathsTest, AWayThatWasLeftForGoodOpensNothing) {
  auto_ask = false;
  const Destination mx{.via = {host("a"), {}, host("c")}, .second_path = true};
  s->add("q", mx, {base::MessageId(1), 0, 100, 0, now, false, 1}, now);
  decide();
  const auto ended = s->grant_ended(kRelay1, opened.at(0).grant);
  ASSERT_TRUE(ended);
  EXPECT_EQ(s->way_failed(*ended), Schedule::Onward::kNextWay);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  EXPECT_EQ(opened[1].hop.host, "c");
  EXPECT_THAT(s->closed_paths(), IsEmpty());
  fail(opened[1], 1000);
  EXPECT_EQ(s->closed_paths().size(), 1U);
}

TEST_F(SecondPathsTest, MoreOfTheMessageIsComingWhileOneIsThere) {
  add_refused("q", 1);
  EXPECT_TRUE(s->coming("q", base::MessageId(1)));
  EXPECT_EQ(s->next_try("q", base::MessageId(1))->number, 0U);
  settle_down();
  EXPECT_TRUE(s->coming("q", base::MessageId(1))) << "in delivery";
  (void)settle(handed.at(0));
  EXPECT_FALSE(s->coming("q", base::MessageId(1)));
  frozen_hops.insert("b:25");
  s->review_blocks(now);
  add_refused("q", 2);
  EXPECT_FALSE(s->coming("q", base::MessageId(2)));
  EXPECT_FALSE(s->next_try("q", base::MessageId(2)));
}

TEST_F(SecondPathsTest, NewRoutesBeginAnew) {
  auto_ask = false;
  add_refused("q", 1);
  add_refused("q", 2);
  decide();
  ask(opened.at(0));
  decide();
  ASSERT_EQ(handed.size(), 1U);
  s->clear();
  add("q", outbound("new"), 1);  // in delivery: left alone
  add("q", outbound("new"), 2);
  s->review_blocks(now);
  EXPECT_EQ(s->second_of("q", base::MessageId(2), 0), nullptr);
  EXPECT_EQ(settle(handed[0]).by.refused, 1);
  EXPECT_TRUE(s->seconds().empty());
  EXPECT_EQ(s->find("q")->messages(), 1U);
}

// However many paths its recipients go by.
TEST_F(SecondPathsTest, AMessageIsOneOfTheQueue) {
  const Destination three{.via = {host("a"), host("b"), host("c")}, .second_path = true};
  const auto put = [&](std::uint64_t message, std::uint32_t number, std::uint8_t refused) {
    s->add("q", three, {base::MessageId(message), number, 100 * message, 0, now, false, refused}, now);
  };
  EXPECT_EQ(volume(), Volume(0, 0));
  put(1, 0, 0);
  put(1, 1, 1);
  put(1, 2, 2);
  put(1, 3, 1);
  put(2, 0, 1);
  put(3, 0, 0);
  EXPECT_EQ(volume(), Volume(3, 600));
  using base::MessageId;
  EXPECT_THAT(s->messages("q", {}, 10), ElementsAre(MessageId(1), MessageId(3)));
  EXPECT_THAT(s->all_messages("q", {}, 10), ElementsAre(MessageId(1), MessageId(2), MessageId(3)));
  EXPECT_THAT(s->all_messages("q", {}, 1), ElementsAre(MessageId(1)));
  EXPECT_THAT(s->all_messages("q", MessageId(1), 1), ElementsAre(MessageId(2)));
  EXPECT_THAT(s->all_messages("r", {}, 10), IsEmpty());
  (void)s->take_first("q", MessageId(1));
  EXPECT_EQ(volume(), Volume(3, 600));
  put(1, 0, 0);
  EXPECT_EQ(s->take_second("q", 2, 1).size(), 1U);
  EXPECT_EQ(volume(), Volume(3, 600));
  (void)s->take("q", MessageId(1));
  EXPECT_EQ(volume(), Volume(2, 500));
  (void)s->take("q", MessageId(2));
  EXPECT_EQ(volume(), Volume(1, 300));
  (void)s->take("q", MessageId(3));
  EXPECT_EQ(volume(), Volume(0, 0));
  EXPECT_TRUE(s->queues().empty());
}

TEST_F(SecondPathsTest, AMessageStaysOneInDeliveryAndWithNewRoutes) {
  add("q", two, 1, 0);
  add_refused("q", 1, 1);
  add_refused("q", 2);
  settle_down();
  ASSERT_EQ(handed.size(), 3U);
  EXPECT_EQ(volume(), Volume(2, 200));
  s->clear();
  EXPECT_EQ(volume(), Volume(2, 200));
  for (const auto& out : handed) settle(out);
  EXPECT_EQ(volume(), Volume(0, 0));
  add("q", two, 1, 0);
  add_refused("q", 1, 1);
  EXPECT_EQ(volume(), Volume(1, 100)) << "nothing is left of what was counted before";
}

TEST_F(SecondPathsTest, ADeadDelivererLeavesNothing) {
  add("q", two, 2);
  add_refused("q", 1);
  settle_down();
  const auto lost = s->deliverer_down(kRelay1);
  ASSERT_EQ(lost.size(), 2U);
  EXPECT_NE(lost[0].by.refused, lost[1].by.refused);
  EXPECT_TRUE(s->queues().empty());
  EXPECT_TRUE(s->seconds().empty());
}

}  // namespace
}  // namespace postern::queued
