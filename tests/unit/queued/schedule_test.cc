// The schedule on a clock that the test turns: what is decided, and in which order.
#include <algorithm>
#include <random>

#include "tests/unit/queued/schedule_rig.h"

namespace postern::queued {
namespace {

TEST_F(ScheduleTest, AMessageGoesToTheConnectionThatAsks) {
  s->deliverer_up(kRelay1, false);
  add("example.com", 1);
  decide();
  ASSERT_EQ(opened.size(), 1U);
  EXPECT_EQ(opened[0].queue, "example.com");
  EXPECT_TRUE(handed.empty());
  ask(opened[0]);
  decide();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].message, base::MessageId(1));
  EXPECT_TRUE(s->leased(base::MessageId(1), 0));
  const auto lease = s->settle(kRelay1, {base::Epoch(5), handed[0].lease});
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease->queue, "example.com");
  EXPECT_FALSE(s->leased(base::MessageId(1), 0));
  // A second outcome for it is nobody's.
  EXPECT_FALSE(s->settle(kRelay1, {base::Epoch(5), handed[0].lease}));
  ask(opened[0]);
  decide();
  EXPECT_EQ(handed.size(), 1U);  // parked
  add("example.com", 2);
  decide();
  EXPECT_EQ(opened.size(), 1U);  // a message goes first to a parked connection
  ASSERT_EQ(handed.size(), 2U);
  EXPECT_EQ(s->grant_ended(kRelay1, opened[0].grant)->queue, "example.com");
  EXPECT_TRUE(s->settle(kRelay1, {base::Epoch(5), handed[1].lease}));
  EXPECT_EQ(s->find("example.com"), nullptr);  // nothing is left of it
}

TEST_F(ScheduleTest, NothingIsHandedOutBeforeItIsOpen) {
  s->set_open(false);
  s->deliverer_up(kRelay1, false);
  add("example.com", 1);
  settle_down();
  EXPECT_TRUE(opened.empty());
  s->set_open(true);
  settle_down();
  EXPECT_EQ(handed.size(), 1U);
}

TEST_F(ScheduleTest, RecipientsOfOneMessageGoTogetherFortyAtMost) {
  s->deliverer_up(kRelay1, false);
  for (std::uint32_t n = 0; n < 100; ++n) add("example.com", 1, n);
  settle_down();
  std::size_t sum = 0;
  for (const auto& out : handed) {
    EXPECT_LE(out.recipients.size(), 40U);
    sum += out.recipients.size();
  }
  while (sum < 100) {
    ask(opened[0]);
    const auto before = handed.size();
    decide();
    ASSERT_GT(handed.size(), before);
    sum += handed.back().recipients.size();
  }
  EXPECT_EQ(sum, 100U);
  EXPECT_EQ(handed.size(), 3U);
}

TEST_F(ScheduleTest, HowManyComeBeforeIsCounted) {
  for (std::uint64_t m = 1; m <= 100; ++m) {
    add("example.com", m);
    add("example.com", m, 1);  // stands in line with the first
    add("other.example", m + 1000);
  }
  EXPECT_EQ(s->ahead("example.com", base::MessageId(1), 1000), 0U);
  EXPECT_EQ(s->ahead("example.com", base::MessageId(40), 1000), 39U);
  EXPECT_EQ(s->ahead("example.com", base::MessageId(40), 10), 10U);
  EXPECT_EQ(s->ahead("example.com", base::MessageId(1001), 1000), 0U);
  EXPECT_EQ(s->ahead("nowhere.example", base::MessageId(1), 1000), 0U);
  // It is the order in which they go.
  s->deliverer_up(kRelay1, false);
  settle_down();
  ASSERT_FALSE(handed.empty());
  for (int n = 0; n < 20; ++n) {
    for (std::uint64_t m = 1; m <= 100; ++m) {
      const auto stands = s->standing("example.com", base::MessageId(m), 0);
      if (!stands || stands->stage != Stage::kReady || s->ahead("example.com", base::MessageId(m), 1) > 0)
        continue;
      const auto before = handed.size();
      const auto at = std::find_if(handed.begin(), handed.end(),
                                   [](const HandOut& out) { return out.queue == "example.com"; });
      ASSERT_NE(at, handed.end());
      ask(grant_of[at->request.value]);
      decide();
      ASSERT_GT(handed.size(), before);
      EXPECT_EQ(handed.back().message, base::MessageId(m));
      break;
    }
  }
}

TEST_F(ScheduleTest, WhatIsNotDueWaitsForItsTime) {
  s->deliverer_up(kRelay1, false);
  add("example.com", 1, 0, 1000);
  settle_down();
  EXPECT_TRUE(opened.empty());
  EXPECT_EQ(s->next_wake(), QueueTime(1000));
  EXPECT_EQ(s->find("example.com")->counts.waiting, 1U);
  now = QueueTime(1000);
  settle_down();
  EXPECT_EQ(handed.size(), 1U);
  EXPECT_EQ(s->find("example.com")->counts.leased, 1U);
}

TEST_F(ScheduleTest, AFailedQueueIsOneTimerAndItsMessagesAreUntouched) {
  s->deliverer_up(kRelay1, false);
  for (std::uint64_t m = 1; m <= 50; ++m) add("dead.example", m);
  decide();
  ASSERT_FALSE(opened.empty());
  const auto grants = opened;
  for (const auto& grant : grants)
    EXPECT_EQ(s->grant_ended(kRelay1, grant.grant)->hop, "dead.example:25");
  s->defer("dead.example:25", {QueueTime(5000), 1}, now);
  opened.clear();
  settle_down();
  EXPECT_TRUE(opened.empty());
  EXPECT_EQ(s->next_wake(), QueueTime(5000));
  EXPECT_EQ(s->find("dead.example")->messages(), 50U);
  now = QueueTime(5000);
  auto_ask = false;
  decide();
  EXPECT_EQ(opened.size(), 1U);  // one connection tries, until one message went
  ask(opened[0]);
  decide();
  EXPECT_EQ(opened.size(), 1U);
  deliver_last();
  decide();
  EXPECT_GT(opened.size(), 1U);
}

TEST_F(ScheduleTest, ConnectionsKeepTheRoutesLimit) {
  s->deliverer_up(kRelay1, false);
  for (std::uint64_t m = 1; m <= 100; ++m)
    add("a.example", outbound("a.example", 7), m);
  settle_down();
  EXPECT_EQ(opened.size(), 7U);
  EXPECT_EQ(handed.size(), 7U);
}

TEST_F(ScheduleTest, ConnectionsHalveOnTroubleAndGrowWithSuccess) {
  s->deliverer_up(kRelay1, false);
  std::uint64_t id = 0;
  for (int n = 0; n < 500; ++n) add("a.example", outbound("a.example", 8), ++id);
  settle_down();
  ASSERT_EQ(opened.size(), 8U);
  s->trouble("a.example:25");  // one too many was refused, while others work
  // Whoever asks next goes, until four are left.
  for (std::size_t at = 0; at < handed.size() && s->find_hop("a.example:25")->grants > 4; ++at) {
    const auto out = handed[at];
    ASSERT_TRUE(s->settle(kRelay1, {base::Epoch(5), out.lease}));
    ask(grant_of[out.request.value]);
    decide();
    close_sent_away();
  }
  EXPECT_EQ(s->find_hop("a.example:25")->grants, 4U);
  decide();
  EXPECT_EQ(opened.size(), 8U);  // and none is opened in their place
  // A round of four successes allows one more.
  for (int n = 0; n < 4; ++n) deliver_last(), decide();
  EXPECT_EQ(opened.size(), 9U);
  for (int n = 0; n < 100; ++n) deliver_last(), settle_down();
  EXPECT_EQ(s->find_hop("a.example:25")->grants, 8U);
}

TEST_F(ScheduleTest, GrantsGoToTheRelaysInTurn) {
  s->deliverer_up(kRelay1, false);
  s->deliverer_up(kRelay2, false);
  for (int q = 0; q < 10; ++q) add("q" + std::to_string(q), static_cast<std::uint64_t>(q) + 1);
  settle_down();
  EXPECT_EQ(std::count_if(opened.begin(), opened.end(),
                          [](const auto& g) { return g.deliverer == kRelay1; }),
            5);
}

TEST_F(ScheduleTest, LocalMailHasItsOwnSlots) {
  limit({.relay_slots = 1, .local_slots = 2});
  s->deliverer_up(kRelay1, false);
  s->deliverer_up(kLocal, true);
  add("a.example", 1);
  add("b.example", 2);
  Destination local{
      .local = true, .connections = 0, .via = {{.kind = config::HopKind::kMailbox}}};
  for (std::uint64_t m = 10; m < 20; ++m) add("local", local, m);
  settle_down();
  EXPECT_EQ(std::count_if(opened.begin(), opened.end(),
                          [](const auto& g) { return g.deliverer == kLocal; }),
            2);
}

// They lead where only the local deliverer gets connections, whatever else the route names.
TEST_F(ScheduleTest, SocketsAreTheLocalDeliverers) {
  s->deliverer_up(kRelay1, false);
  s->deliverer_up(kLocal, true);
  const Destination either{
      .connections = 1,
      .via = {{.kind = config::HopKind::kSocket, .host = "/run/lmtp", .port = 0, .lmtp = true},
              {config::HopKind::kHost, "mail.example", 25}}};
  add("inner.example", either, 1);
  decide();
  ASSERT_EQ(opened.size(), 1U);
  EXPECT_EQ(opened[0].deliverer, kLocal);
  EXPECT_EQ(s->find("inner.example")->hop()->name(), "unix:/run/lmtp");
  EXPECT_EQ(s->room(true).used, 1U);
  fail(opened[0], 60'000);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  EXPECT_EQ(opened[1].deliverer, kRelay1);
  EXPECT_EQ(s->room(true).used, 0U);
  EXPECT_EQ(s->room(false).used, 1U);
}

// One queue with endless mail against many small ones: everybody gets their share.
TEST_F(ScheduleTest, ALargeQueueMakesRoomForOthers) {
  limit({.relay_slots = 10, .turn = 5});
  s->deliverer_up(kRelay1, false);
  std::uint64_t id = 0;
  for (int n = 0; n < 500; ++n)
    add("big.example", outbound("big.example", 100), ++id);
  settle_down();
  EXPECT_EQ(s->find_hop("big.example:25")->grants, 10U);
  for (int q = 0; q < 30; ++q)
    for (int n = 0; n < 10; ++n) add("small" + std::to_string(q), ++id);
  // Every connection finishes its message and asks again, in turn, for a while.
  std::map<std::string, int> served;
  std::size_t at = 0;
  for (int step = 0; step < 2000 && at < handed.size(); ++step) {
    const auto out = handed[at++];
    ++served[out.queue];
    ASSERT_TRUE(s->settle(kRelay1, {base::Epoch(5), out.lease}));
    ask(grant_of[out.request.value]);
    settle_down();
    close_sent_away();
    settle_down();
  }
  for (int q = 0; q < 30; ++q) EXPECT_EQ(served["small" + std::to_string(q)], 10) << q;
  EXPECT_EQ(served["big.example"], 500);
}

TEST_F(ScheduleTest, ManyBusyQueuesTakeTurns) {
  limit({.relay_slots = 2, .turn = 3});
  s->deliverer_up(kRelay1, false);
  std::uint64_t id = 0;
  for (int q = 0; q < 6; ++q)
    for (int n = 0; n < 30; ++n) add("q" + std::to_string(q), ++id);
  std::map<std::string, int> served;
  std::map<std::string, int> first;
  settle_down();
  std::size_t at = 0;
  for (int step = 0; at < handed.size(); ++step) {
    const auto out = handed[at++];
    if (++served[out.queue] == 1) first[out.queue] = step;
    (void)s->settle(kRelay1, {base::Epoch(5), out.lease});
    ask(grant_of[out.request.value]);
    settle_down();
    close_sent_away();
    settle_down();
  }
  for (int q = 0; q < 6; ++q) {
    EXPECT_EQ(served["q" + std::to_string(q)], 30);
    EXPECT_LT(first["q" + std::to_string(q)], 40);  // not after the others' last message
  }
}

TEST_F(ScheduleTest, IdleConnectionsMakeRoom) {
  limit({.relay_slots = 1});
  s->deliverer_up(kRelay1, false);
  add("a.example", 1);
  settle_down();
  (void)s->settle(kRelay1, {base::Epoch(5), handed[0].lease});
  ask(opened[0]);
  decide();
  EXPECT_TRUE(sent_away.empty());  // nobody waits: it stays parked
  add("b.example", 2);
  decide();
  ASSERT_EQ(sent_away.size(), 1U);
  (void)s->grant_ended(kRelay1, opened[0].grant);
  settle_down();
  EXPECT_EQ(handed.back().queue, "b.example");
}

TEST_F(ScheduleTest, AFreezeStopsGrantsAndLeasesAtOnce) {
  s->deliverer_up(kRelay1, false);
  for (std::uint64_t m = 1; m <= 3; ++m)
    add("a.example", outbound("a.example", 2), m);
  settle_down();
  ASSERT_EQ(handed.size(), 2U);
  // One asks again and is parked or served; then the freeze comes.
  blocked["a.example"] = Blocked::kFrozen;
  s->review_blocks(now);
  decide();
  EXPECT_EQ(s->blocked_leases(), 2U);
  EXPECT_EQ(closed.size(), 2U);
  (void)s->settle(kRelay1, {base::Epoch(5), handed[0].lease});
  ask(grant_of[handed[0].request.value]);
  decide();
  EXPECT_EQ(handed.size(), 2U);
  EXPECT_EQ(sent_away.size(), 1U);
  (void)s->grant_ended(kRelay1, grant_of[handed[0].request.value].grant);
  add("a.example", 9);
  settle_down();
  EXPECT_EQ(handed.size(), 2U);
  EXPECT_EQ(s->blocked_leases(), 1U);
  blocked.clear();
  s->review_blocks(now);
  settle_down();
  EXPECT_GE(handed.size(), 3U);
}

TEST_F(ScheduleTest, AFreezeSendsParkedConnectionsAway) {
  s->deliverer_up(kRelay1, false);
  add("a.example", 1);
  settle_down();
  (void)s->settle(kRelay1, {base::Epoch(5), handed[0].lease});
  ask(opened[0]);
  decide();
  blocked["a.example"] = Blocked::kOff;
  s->review_blocks(now);
  decide();
  EXPECT_EQ(sent_away.size(), 1U);
  EXPECT_TRUE(closed.empty());
}

TEST_F(ScheduleTest, ADeadDeliverersLeasesComeBack) {
  s->deliverer_up(kRelay1, false);
  for (std::uint64_t m = 1; m <= 4; ++m) add("a.example", m);
  settle_down();
  const auto lost = s->deliverer_down(kRelay1);
  EXPECT_EQ(lost.size(), handed.size());
  EXPECT_FALSE(s->leased(base::MessageId(1), 0));
  EXPECT_TRUE(s->leases().empty());
  // Its late outcome belongs to nobody; a request by its old grant is sent away.
  EXPECT_FALSE(s->settle(kRelay1, {base::Epoch(5), handed[0].lease}));
  s->ask(kRelay1, base::RequestId(77), opened[0].grant);
  decide();
  EXPECT_EQ(sent_away.size(), 1U);
  for (const auto& lease : lost) add("a.example", lease.message.value, 0, 100);
  s->deliverer_up(kRelay2, false);
  const auto before = handed.size();
  now = QueueTime(100);
  settle_down();
  EXPECT_EQ(handed.size() - before, 4U);
}

TEST_F(ScheduleTest, LeasesOfAnEarlierLifeAreAdopted) {
  s->set_open(false);
  add("a.example", 1, 0);
  add("a.example", 1, 1);
  const LeaseKey key{base::Epoch(4), base::LeaseId(9)};
  const std::vector<Placed> first{{"a.example", 0}};
  EXPECT_TRUE(s->adopt(kRelay1, key, base::MessageId(1), first));
  EXPECT_FALSE(s->adopt(kRelay2, {base::Epoch(4), base::LeaseId(10)}, base::MessageId(1), first));
  s->deliverer_up(kRelay1, false);
  s->set_open(true);
  settle_down();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].recipients, (std::vector<std::uint32_t>{1}));
  EXPECT_FALSE(s->settle(kRelay2, key));  // not its lease
  EXPECT_TRUE(s->settle(kRelay1, key));
}

// An earlier lease lost one of its recipients to a later one, and is of the others still.
TEST_F(ScheduleTest, OfTwoLeasesOfAnEarlierLifeTheFirstNamedHasARecipient) {
  s->set_open(false);
  for (const auto number : {0U, 1U, 2U}) add("a.example", 1, number);
  const LeaseKey later{base::Epoch(4), base::LeaseId(9)};
  const LeaseKey earlier{base::Epoch(4), base::LeaseId(5)};
  const base::MessageId id(1);
  const Placed zero{"a.example", 0}, one{"a.example", 1};
  EXPECT_TRUE(s->adopt(kRelay1, later, id, std::vector{zero}));
  EXPECT_TRUE(s->adopt(kRelay1, earlier, id, std::vector{zero, one, one}));
  s->deliverer_up(kRelay1, false);
  s->set_open(true);
  settle_down();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].recipients, (std::vector<std::uint32_t>{2}));
  EXPECT_EQ(s->settle(kRelay1, earlier)->recipients, (std::vector<std::uint32_t>{1}));
  EXPECT_EQ(s->settle(kRelay1, later)->recipients, (std::vector<std::uint32_t>{0}));
}

TEST_F(ScheduleTest, HeldMailWaitsForItsRelease) {
  s->deliverer_up(kRelay1, false);
  add("a.example", 1, 0, 0, true);
  settle_down();
  EXPECT_TRUE(opened.empty());
  EXPECT_EQ(s->find("a.example")->counts.held, 1U);
  s->hold("a.example", base::MessageId(1), false, now);
  settle_down();
  EXPECT_EQ(handed.size(), 1U);
}

TEST_F(ScheduleTest, RetryMakesDueNow) {
  s->deliverer_up(kRelay1, false);
  add("a.example", 1, 0, 100'000);
  remembered["a.example:25"] = {QueueTime(50'000), 2};
  settle_down();
  EXPECT_TRUE(opened.empty());
  remembered.clear();
  EXPECT_EQ(s->end_wait("a.example", now), std::vector<std::string>{"a.example:25"});
  s->expedite("a.example", base::MessageId(1), now);
  settle_down();
  EXPECT_EQ(handed.size(), 1U);
}

TEST_F(ScheduleTest, ARecipientThatIsThereGetsTheNewTimeAndHold) {
  s->deliverer_up(kRelay1, false);
  add("a.example", 1, 0, 5000);
  add("a.example", 1, 0, 7000);
  EXPECT_EQ(s->find("a.example")->counts.waiting, 1U);
  EXPECT_EQ(s->next_wake(), QueueTime(7000));
  add("a.example", 1, 0, 7000, true);
  EXPECT_EQ(s->find("a.example")->counts.held, 1U);
  EXPECT_TRUE(s->held("a.example", base::MessageId(1)));
  EXPECT_EQ(s->next_wake(), std::nullopt);
  add("a.example", 1);
  settle_down();
  ASSERT_EQ(handed.size(), 1U);
  add("a.example", 1, 0, 9000, true);  // in delivery: left alone
  EXPECT_EQ(s->find("a.example")->counts.leased, 1U);
  EXPECT_EQ(s->find("a.example")->counts.held, 0U);
}

TEST_F(ScheduleTest, MessagesAreListedInOrderAPageAtATime) {
  for (std::uint64_t m = 1; m <= 5; ++m)
    for (std::uint32_t n = 0; n < 100; ++n) add("a.example", m * 10, n);
  add("b.example", 7);
  using Ids = std::vector<base::MessageId>;
  const base::MessageId one(10), two(20), three(30), four(40), five(50);
  EXPECT_EQ(s->messages("a.example", base::MessageId(), 2), (Ids{one, two}));
  EXPECT_EQ(s->messages("a.example", two, 2), (Ids{three, four}));
  EXPECT_EQ(s->messages("a.example", four, 2), (Ids{five}));
  EXPECT_EQ(s->messages("a.example", five, 2), Ids{});
  EXPECT_EQ(s->last_message("a.example"), five);
  EXPECT_EQ(s->find("a.example")->messages(), 5U);
  EXPECT_EQ(s->find("a.example")->bytes, 500U);
  EXPECT_EQ(s->take("a.example", three).size(), 100U);
  EXPECT_EQ(s->find("a.example")->bytes, 400U);
  EXPECT_EQ(s->last_message("c.example"), std::nullopt);
}

// A message with very many recipients takes its turn like any other, however many leases it needs.
TEST_F(ScheduleTest, ALargeMessageDoesNotKeepOthersWaiting) {
  s->deliverer_up(kRelay1, false);
  for (std::uint32_t n = 0; n < 1000; ++n)
    add("a.example", outbound("a.example", 1), 1, n);
  for (std::uint64_t m = 2; m <= 3; ++m) add("a.example", outbound("a.example", 1), m);
  settle_down();
  for (int n = 0; n < 4; ++n) {
    ask(opened[0]);
    decide();
  }
  std::vector<std::uint64_t> order;
  for (const auto& out : handed) order.push_back(out.message.value);
  EXPECT_EQ(order, (std::vector<std::uint64_t>{1, 2, 3, 1, 1}));
  EXPECT_EQ(s->find("a.example")->counts.leased, 110U);
}

TEST_F(ScheduleTest, WhatComesLaterWaitsForADeadHopToo) {
  s->deliverer_up(kRelay1, false);
  add("a.example", 1);
  decide();
  fail(opened[0], 5000, 3);
  EXPECT_EQ(s->take("a.example", base::MessageId(1)).size(), 1U);
  EXPECT_EQ(s->find("a.example"), nullptr);
  EXPECT_EQ(s->next_wake(), std::nullopt);
  remembered["a.example:25"] = {QueueTime(5000), 3};  // the store knows it
  add("a.example", 2);
  settle_down();
  EXPECT_EQ(opened.size(), 1U);
  EXPECT_EQ(s->find_hop("a.example:25")->failures, 3U);
  EXPECT_EQ(s->next_wake(), QueueTime(5000));
  now = QueueTime(5000);
  settle_down();
  EXPECT_EQ(handed.size(), 1U);
}

// --- Senders ----------------------------------------------------------------------------------------

// One sender with ten thousand messages does not keep another's one waiting.
TEST_F(ScheduleTest, SendersOfAQueueTakeTurns) {
  s->deliverer_up(kRelay1, false);
  const auto to = outbound("a.example", 1);
  for (std::uint64_t m = 1; m <= 10'000; ++m)
    s->add("a.example", to, {base::MessageId(m), 0, 4096, 7, now, false}, now);
  for (std::uint64_t m = 10'001; m <= 10'003; ++m)
    s->add("a.example", to, {base::MessageId(m), 0, 4096, 8, now, false}, now);
  settle_down();
  for (int n = 0; n < 60; ++n) {
    deliver_last();
    decide();
  }
  std::vector<std::uint64_t> bulk;
  std::uint64_t others = 0;
  for (const auto& out : handed)
    if (out.message.value > 10'000)
      ++others;
    else
      bulk.push_back(out.message.value);
  EXPECT_EQ(others, 3U);
  EXPECT_TRUE(std::is_sorted(bulk.begin(), bulk.end()));  // one sender's mail keeps its order
}

// Its mail was held, and is let go: it has had no turn for that, and stands behind nobody.
TEST_F(ScheduleTest, ASenderWhoseMailWasHeldHasItsTurnsAgain) {
  s->deliverer_up(kRelay1, false);
  const auto to = outbound("a.example", 1);
  for (std::uint64_t m = 1; m <= 100; ++m)
    s->add("a.example", to, {base::MessageId(m), 0, 4096, 8, now, false}, now);
  for (std::uint64_t m = 101; m <= 10'000; ++m)
    s->add("a.example", to, {base::MessageId(m), 0, 4096, 7, now, false}, now);
  for (const bool held : {true, false})
    for (std::uint64_t m = 50; m <= 100; ++m) s->hold("a.example", base::MessageId(m), held, now);
  settle_down();
  for (int n = 0; n < 160; ++n) {
    deliver_last();
    decide();
  }
  const auto of_held = std::count_if(handed.begin(), handed.end(), [](const HandOut& out) {
    return out.message.value >= 50 && out.message.value <= 100;
  });
  EXPECT_GE(of_held, 45);
}

// Whatever happens, in whatever order: no recipient is in two leases, none is forgotten.
TEST_F(ScheduleTest, RandomLifeLosesAndDoublesNothing) {
  limit({.relay_slots = 6, .turn = 3});
  std::mt19937_64 random(8);
  std::map<std::uint64_t, std::string> open;  // messages not yet delivered
  s->deliverer_up(kRelay1, false);
  DelivererId up = kRelay1;
  std::uint64_t id = 0;
  std::size_t seen = 0;
  std::vector<HandOut> busy;
  const auto take_in = [&] {
    settle_down();
    for (; seen < handed.size(); ++seen) {
      ASSERT_TRUE(open.contains(handed[seen].message.value));
      for (const auto& other : busy) ASSERT_NE(other.message, handed[seen].message);
      busy.push_back(handed[seen]);
    }
    for (const auto& away : std::exchange(sent_away, {}))
      (void)s->grant_ended(up, grant_of[away.request.value].grant);
    for (const auto& close : std::exchange(closed, {})) (void)s->grant_ended(up, close.grant);
  };
  for (int step = 0; step < 5000; ++step) {
    const auto dice = random() % 100;
    if (dice < 40) {
      const auto queue = "q" + std::to_string(random() % 12);
      open[++id] = queue;
      add(queue, id);
    } else if (dice < 90 && !busy.empty()) {
      const auto at = busy.begin() + static_cast<std::ptrdiff_t>(random() % busy.size());
      const auto out = *at;
      busy.erase(at);
      ASSERT_TRUE(s->settle(up, {base::Epoch(5), out.lease}));
      if (random() % 4 == 0)
        add(out.queue, out.message.value, 0, now.count() + 50);
      else
        open.erase(out.message.value);
      if (random() % 5 == 0)
        (void)s->grant_ended(up, grant_of[out.request.value].grant);
      else
        ask(grant_of[out.request.value]);
    } else if (dice < 92) {
      const auto queue = "q" + std::to_string(random() % 12);
      if (!blocked.erase(queue)) blocked[queue] = Blocked::kFrozen;
      s->review_blocks(now);
    } else if (dice < 93) {
      for (const auto& lease : s->deliverer_down(up)) add(lease.queue, lease.message.value);
      busy.clear();
      seen = handed.size();
      up = up == kRelay1 ? kRelay2 : kRelay1;
      s->deliverer_up(up, false);
    }
    now += base::Millis(1);
    take_in();
    if (HasFatalFailure()) return;
  }
  blocked.clear();
  s->review_blocks(now);
  for (int n = 0; n < 200'000 && !open.empty(); ++n) {
    now += base::Millis(10);
    take_in();
    if (busy.empty()) continue;
    const auto out = busy.back();
    busy.pop_back();
    ASSERT_TRUE(s->settle(up, {base::Epoch(5), out.lease}));
    open.erase(out.message.value);
    ask(grant_of[out.request.value]);
  }
  EXPECT_TRUE(open.empty());
}

// --- What of a message comes next --------------------------------------------------------------------

TEST_F(ScheduleTest, TellsWhichRecipientOfAMessageIsTriedNext) {
  const base::MessageId one(1), other(2);
  s->deliverer_up(kRelay1, false);
  EXPECT_FALSE(s->next_try("a.example", one));
  add("a.example", 1, 0, 900);
  add("a.example", 1, 1, 500);
  add("a.example", 2, 0, 100);
  ASSERT_TRUE(s->next_try("a.example", one));
  EXPECT_EQ(s->next_try("a.example", one)->time, QueueTime(500));
  EXPECT_EQ(s->next_try("a.example", one)->number, 1U);
  blocked["a.example"] = Blocked::kFrozen;
  s->review_blocks(now);
  EXPECT_FALSE(s->next_try("a.example", one));
  blocked.clear();
  s->review_blocks(now);
  add("a.example", 1, 2);  // now
  EXPECT_EQ(s->next_try("a.example", one)->time, now);
  EXPECT_EQ(s->next_try("a.example", one)->number, 2U);
  settle_down();  // what is in delivery is no further try
  EXPECT_EQ(s->next_try("a.example", one)->number, 1U);
  add("b.example", 2, 0, 0, true);
  EXPECT_FALSE(s->next_try("b.example", other));  // held
}

TEST_F(ScheduleTest, WhatIsTriedNextWaitsForItsNextHop) {
  const base::MessageId one(1);
  s->deliverer_up(kRelay1, false);
  auto_ask = false;
  add("a.example", 1);
  decide();
  fail(opened.back(), 700);
  ASSERT_TRUE(s->next_try("a.example", one));
  EXPECT_EQ(s->next_try("a.example", one)->time, QueueTime(700));
  frozen_hops.insert("a.example:25");
  s->review_blocks(now);
  EXPECT_FALSE(s->next_try("a.example", one));
}

}  // namespace
}  // namespace postern::queued
