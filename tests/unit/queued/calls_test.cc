// Hosts that call for their mail: which queues their connections serve, and for how long.
#include "tests/unit/queued/schedule_rig.h"

namespace postern::queued {
namespace {

const Destination kTurned{.via = {{.kind = config::HopKind::kTurn}}};

class CallsTest : public ScheduleTest {
 protected:
  CallsTest() { s->deliverer_up(kRelay1, false); }
  std::optional<OpenGrant> call(std::vector<std::string> queues, bool waits = false, Destination to = kTurned) {
    Schedule::Call one{{}, waits};
    for (auto& queue : queues) one.queues.push_back({std::move(queue), to});
    return s->call(one, now);
  }
  // Asks for work, and what it gets is in `handed` or `sent_away`.
  void work(const OpenGrant& grant) {
    ask(grant);
    decide();
  }
  // What was handed out last is delivered.
  void deliver() {
    ASSERT_TRUE(s->settle(handed.back().deliverer, {base::Epoch(5), handed.back().lease}));
  }
};

TEST_F(CallsTest, NobodyConnectsWhereAHostCalls) {
  add("a.example", kTurned, 1);
  decide();
  EXPECT_TRUE(opened.empty());
  EXPECT_FALSE(s->next_wake());
  EXPECT_EQ(s->room(false).used, 0U);
}

TEST_F(CallsTest, ACallerGetsWhatWaitsAndGoes) {
  add("a.example", kTurned, 1);
  add("a.example", kTurned, 2);
  const auto grant = call({"a.example"});
  ASSERT_TRUE(grant);
  EXPECT_EQ(grant->deliverer, kRelay1);
  EXPECT_EQ(grant->queue, "a.example");
  EXPECT_EQ(grant->hop.kind, config::HopKind::kTurn);
  EXPECT_EQ(s->room(false).used, 1U);
  for (std::uint64_t message = 1; message <= 2; ++message) {
    work(*grant);
    ASSERT_EQ(handed.size(), message);
    EXPECT_EQ(handed.back().message, base::MessageId(message));
    deliver();
  }
  work(*grant);
  EXPECT_EQ(handed.size(), 2U);
  ASSERT_EQ(sent_away.size(), 1U);
  ASSERT_TRUE(s->grant_ended(kRelay1, grant->grant));
  EXPECT_EQ(s->room(false).used, 0U);
  EXPECT_TRUE(s->queues().empty());
  EXPECT_TRUE(s->hops().empty());
}

TEST_F(CallsTest, ItGoesOnToTheNextQueueThatItCalledFor) {
  add("a.example", kTurned, 1);
  add("c.example", kTurned, 2);
  add("other.example", kTurned, 3);
  const auto grant = call({"a.example", "b.example", "c.example"});
  ASSERT_TRUE(grant);
  std::vector<std::string> queues;
  for (int n = 0; n < 2; ++n) {
    work(*grant);
    ASSERT_EQ(handed.size(), static_cast<std::size_t>(n) + 1);
    queues.push_back(handed.back().queue);
    deliver();
  }
  std::ranges::sort(queues);
  EXPECT_EQ(queues, (std::vector<std::string>{"a.example", "c.example"}));
  work(*grant);
  EXPECT_EQ(handed.size(), 2U) << "nobody called for the third one";
  EXPECT_EQ(sent_away.size(), 1U);
}

TEST_F(CallsTest, TwoQueuesTakeTurns) {
  for (std::uint64_t n = 1; n <= 3; ++n) {
    add("a.example", kTurned, n);
    add("b.example", kTurned, 10 + n);
  }
  const auto grant = call({"a.example", "b.example"});
  ASSERT_TRUE(grant);
  std::string order;
  for (int n = 0; n < 6; ++n) {
    work(*grant);
    order += handed.back().queue.front();
    deliver();
  }
  EXPECT_TRUE(order == "ababab" || order == "bababa") << order;
}

TEST_F(CallsTest, OneThatWaitsGetsWhatComesInEachOfItsQueues) {
  const auto grant = call({"a.example", "b.example"}, true);
  ASSERT_TRUE(grant);
  work(*grant);
  EXPECT_TRUE(handed.empty());
  EXPECT_TRUE(sent_away.empty());
  for (const auto* queue : {"b.example", "a.example", "a.example", "b.example"}) {
    const auto before = handed.size();
    add(queue, kTurned, before + 1);
    decide();
    ASSERT_EQ(handed.size(), before + 1) << queue;
    EXPECT_EQ(handed.back().queue, queue);
    deliver();
    work(*grant);
    EXPECT_EQ(handed.size(), before + 1);
  }
  add("other.example", kTurned, 9);
  decide();
  EXPECT_EQ(handed.size(), 4U);
  EXPECT_TRUE(sent_away.empty());
}

TEST_F(CallsTest, WhatBecomesDueGoesToOneThatWaits) {
  const auto grant = call({"a.example"}, true);
  work(*grant);
  s->add("a.example", kTurned, {base::MessageId(1), 0, 100, 0, now + base::Millis(60'000), false}, now);
  decide();
  EXPECT_TRUE(handed.empty());
  now += base::Millis(60'000);
  decide();
  EXPECT_EQ(handed.size(), 1U);
}

TEST_F(CallsTest, AFrozenQueueIsPassedOver) {
  add("a.example", kTurned, 1);
  add("b.example", kTurned, 2);
  blocked["a.example"] = Blocked::kFrozen;
  s->review_blocks(now);
  const auto grant = call({"a.example", "b.example"}, true);
  work(*grant);
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed.back().queue, "b.example");
  deliver();
  work(*grant);
  EXPECT_EQ(handed.size(), 1U);
  blocked.clear();
  s->review_blocks(now);
  decide();
  ASSERT_EQ(handed.size(), 2U);
  EXPECT_EQ(handed.back().queue, "a.example");
}

// Freezes of others, which close idle connections that we have opened, leave it alone.
TEST_F(CallsTest, OneThatWaitsStaysWhenBlocksChange) {
  const auto grant = call({"a.example"}, true);
  work(*grant);
  blocked["far.example"] = Blocked::kFrozen;
  s->review_blocks(now);
  decide();
  EXPECT_TRUE(closed.empty());
  EXPECT_TRUE(sent_away.empty());
}

TEST_F(CallsTest, AFreezeEndsTheConnectionThatCarriesItsMail) {
  add("a.example", kTurned, 1);
  const auto grant = call({"a.example", "b.example"}, true);
  work(*grant);
  ASSERT_EQ(handed.size(), 1U);
  blocked["a.example"] = Blocked::kFrozen;
  s->review_blocks(now);
  decide();
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_EQ(closed.back().grant, grant->grant);
}

TEST_F(CallsTest, ItIsHungUpOnWhetherItWaitsOrNot) {
  const auto idle = call({"a.example"}, true);
  work(*idle);
  s->hang_up(idle->grant);
  decide();
  EXPECT_EQ(sent_away.size(), 1U);
  add("b.example", kTurned, 1);
  const auto busy = call({"b.example"});
  work(*busy);
  ASSERT_EQ(handed.size(), 1U);
  s->hang_up(busy->grant);
  decide();
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_EQ(closed.back().grant, busy->grant);
  deliver();
  work(*busy);
  EXPECT_EQ(sent_away.size(), 2U);
  s->hang_up(base::GrantId(99));  // of nobody
}

TEST_F(CallsTest, TheLimitOfItsRouteHolds) {
  auto one = kTurned;
  one.connections = 1;
  add("a.example", one, 1);
  ASSERT_TRUE(call({"a.example"}, true, one));
  EXPECT_FALSE(call({"a.example"}, true, one));
  ASSERT_TRUE(call({"a.example", "b.example"}, true, one)) << "there is room at the other one";
}

// While it waits its routes are read anew, and no mail tells of them.
TEST_F(CallsTest, ItObeysTheLimitsThatItsRouteHasNow) {
  auto one = kTurned, two = kTurned;
  one.connections = 1;
  two.connections = 2;
  const auto waiting = call({"a.example", "b.example"}, true, one);
  work(*waiting);
  s->clear();
  s->serve_call_by(waiting->grant, {{"a.example", two}, {"b.example", two}});
  ASSERT_TRUE(call({"a.example"}, true, two));
  EXPECT_FALSE(call({"a.example"}, true, two));
  add("b.example", two, 1);
  decide();
  ASSERT_EQ(handed.size(), 1U) << "it has gone on to the other one";
  ASSERT_TRUE(call({"b.example"}, true, two));
  EXPECT_FALSE(call({"b.example"}, true, two));
}

TEST_F(CallsTest, ALimitThatHasComeIsThereBeforeMailIs) {
  auto one = kTurned;
  one.connections = 1;
  const auto waiting = call({"a.example"}, true);
  work(*waiting);
  s->clear();
  s->serve_call_by(waiting->grant, {{"a.example", one}});
  EXPECT_FALSE(call({"a.example"}, true, one));
}

// With the mail that comes first: until then it does no harm.
TEST_F(CallsTest, WhoIsOneTooManyByThenGoes) {
  auto one = kTurned;
  one.connections = 1;
  const auto first = call({"a.example"}, true), second = call({"a.example"}, true);
  for (const auto& waiting : {first, second}) work(*waiting);
  s->clear();
  for (const auto& waiting : {first, second}) s->serve_call_by(waiting->grant, {{"a.example", one}});
  EXPECT_TRUE(sent_away.empty());
  add("a.example", one, 1);
  decide();
  EXPECT_EQ(sent_away.size(), 1U);
  EXPECT_EQ(handed.size(), 1U);
}

TEST_F(CallsTest, ACallThatIsOverIsServedByNothing) {
  const auto grant = call({"a.example"});
  ASSERT_TRUE(s->grant_ended(kRelay1, grant->grant));
  s->serve_call_by(grant->grant, {{"a.example", kTurned}});
  EXPECT_TRUE(s->hops().empty());
}

TEST_F(CallsTest, CallersHaveAtMostHalfOfTheSlots) {
  limit({.relay_slots = 4});
  s->deliverer_up(kRelay1, false);
  ASSERT_TRUE(call({"a.example"}, true));
  ASSERT_TRUE(call({"b.example"}, true));
  EXPECT_FALSE(call({"c.example"}, true));
  for (std::uint64_t n = 1; n <= 4; ++n) add("q" + std::to_string(n) + ".example", n);
  decide();
  EXPECT_EQ(opened.size(), 2U);
}

// Others wait for a slot: it is a connection of our own that makes room.
TEST_F(CallsTest, ItIsNotSentAwayForOthers) {
  limit({.relay_slots = 4});
  s->deliverer_up(kRelay1, false);
  const auto grant = call({"a.example"}, true);
  work(*grant);
  for (std::uint64_t n = 1; n <= 8; ++n) add("q" + std::to_string(n) + ".example", n);
  decide();
  for (const auto& one : std::exchange(opened, {})) work(one);
  for (const auto& away : sent_away) EXPECT_NE(grant_of.at(away.request.value).grant, grant->grant);
  EXPECT_TRUE(closed.empty());
}

TEST_F(CallsTest, WithoutARelayThereIsNoCall) {
  add("a.example", kTurned, 1);
  (void)s->deliverer_down(kRelay1);
  EXPECT_FALSE(call({"a.example"}));
  s->deliverer_up(kRelay2, false);
  s->set_open(false);
  EXPECT_FALSE(call({"a.example"}));
  s->set_open(true);
  EXPECT_TRUE(call({"a.example"}));
}

TEST_F(CallsTest, ItEndsWithItsRelay) {
  add("a.example", kTurned, 1);
  const auto grant = call({"a.example", "b.example"});
  work(*grant);
  EXPECT_EQ(s->deliverer_down(kRelay1).size(), 1U);
  EXPECT_FALSE(s->knows(grant->grant));
  EXPECT_EQ(s->room(false).used, 0U);
  s->deliverer_up(kRelay2, false);
  EXPECT_TRUE(call({"a.example", "b.example"}));
}

TEST_F(CallsTest, ARateHoldsAndTheCallerStaysForIt) {
  auto slow = kTurned;
  slow.interval = 30'000'000;
  add("a.example", slow, 1);
  add("a.example", slow, 2);
  const auto grant = call({"a.example"}, false, slow);
  work(*grant);
  deliver();
  work(*grant);
  EXPECT_EQ(handed.size(), 1U);
  EXPECT_TRUE(sent_away.empty());
  now += base::Millis(30'000);
  decide();
  EXPECT_EQ(handed.size(), 2U);
}

TEST_F(CallsTest, QueuesThatNobodyCallsForAreTold) {
  add("a.example", kTurned, 1);
  add("b.example", kTurned, 2);
  add("c.example", kTurned, 3);
  add("far.example", 4);
  (void)call({"b.example"}, true);
  std::string after;
  EXPECT_EQ(s->uncalled(after, 10), (std::vector<std::string>{"a.example", "c.example"}));
  EXPECT_EQ(after, "");
  EXPECT_EQ(s->uncalled(after, 1), std::vector<std::string>{"a.example"});
  EXPECT_EQ(after, "turn:a.example");
  EXPECT_EQ(s->uncalled(after, 10), std::vector<std::string>{"c.example"});
}

TEST_F(CallsTest, ACallIsForAllOfItsQueuesUntilItIsToldToGo) {
  add("a.example", kTurned, 1);
  add("b.example", kTurned, 2);
  const auto grant = call({"a.example", "b.example"});
  work(*grant);
  ASSERT_EQ(handed.size(), 1U);
  std::string after;
  EXPECT_TRUE(s->is_called("turn:a.example"));
  EXPECT_TRUE(s->is_called("turn:b.example"));
  EXPECT_FALSE(s->is_called("turn:c.example"));
  EXPECT_TRUE(s->uncalled(after, 10).empty());
  EXPECT_FALSE(s->leaves(grant->grant));
  s->hang_up(grant->grant);
  EXPECT_TRUE(s->leaves(grant->grant));
  EXPECT_FALSE(s->is_called("turn:a.example"));
  EXPECT_EQ(s->uncalled(after, 10).size(), 1U) << "the other one is in delivery";
}

}  // namespace
}  // namespace postern::queued
