// What deliverers and smtpds may do to others' mail by what they say, and routes with several ways.
#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <thread>

#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

class SiblingsTest : public ::testing::Test, protected EngineRig {
 protected:
  void two_ways() {
    config.routes.push_back({.to = {"*"},
                             .via = {{config::HopKind::kHost, "first.example", 25},
                                     {config::HopKind::kHost, "second.example", 25}}});
  }
  // queued starts anew while a deliverer has `lease`, of a message that has its row.
  void restart_with(ipc::Lease& lease) {
    begin();
    (void)mail("a@far.example");
    FakeRelay relay;
    connect(relay);
    ASSERT_EQ(relay.grants.size(), 1U);
    (void)relay.ask(relay.grants[0]);
    turn();
    ASSERT_EQ(relay.leases.size(), 1U);
    lease = relay.leases[0];
    pass(base::Millis(1000));
    end();
    begin();
    pass(base::Millis(1000));
  }
  void fail(FakeRelay& relay, const ipc::Grant& grant, ipc::GrantEnd end) {
    relay.connection->send(ipc::GrantEnded{
        grant.grant, end, ipc::FailureClass::kConnect, {0, 4, 4, 1, "refused"}, "first.example"});
  }
};

// Two connections to the first way fail together: that is one failure, and the second way is tried.
TEST_F(SiblingsTest, ConnectionsOfOneWayThatFailTogetherLeaveTheNextWay) {
  two_ways();
  begin();
  for (int n = 0; n < 10; ++n) (void)mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  const auto first = std::exchange(relay.grants, {});
  ASSERT_GE(first.size(), 2U);
  for (const auto& grant : first) fail(relay, grant, ipc::GrantEnd::kTemporary);
  turn(20);
  EXPECT_EQ(store->waits().at("first.example:25").failures, 1U);
  ASSERT_FALSE(relay.grants.empty());
  for (const auto& grant : relay.grants) EXPECT_EQ(grant.hop.host, "second.example");
  for (const auto& grant : std::exchange(relay.grants, {})) fail(relay, grant, ipc::GrantEnd::kTemporary);
  turn(20);
  EXPECT_EQ(store->waits().at("second.example:25").failures, 1U);
}

// It is no failure of the next hop: nothing is remembered, nothing waits, only fewer are tried.
TEST_F(SiblingsTest, OneRefusedConnectionBesideWorkingOnesHalves) {
  constexpr std::uint32_t kWorking = 8;
  config.routes.push_back(
      {.to = {"*"}, .via = {{config::HopKind::kHost, "first.example", 25}}, .connections = kWorking + 1});
  begin();
  for (int n = 0; n < 40; ++n) (void)mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  std::size_t asked = 0;
  for (; asked < kWorking; turn()) {
    ASSERT_LT(asked, relay.grants.size());
    (void)relay.ask(relay.grants[asked++]);
  }
  ASSERT_EQ(relay.leases.size(), kWorking);
  ASSERT_EQ(relay.grants.size(), kWorking + 1U);
  fail(relay, relay.grants[kWorking], ipc::GrantEnd::kTemporary);
  turn();
  const auto* hop = engine->schedule().find_hop("first.example:25");
  ASSERT_NE(hop, nullptr);
  EXPECT_EQ(hop->grants, kWorking);
  EXPECT_EQ(hop->most(), kWorking / 2);
  EXPECT_EQ(hop->until, QueueTime(0));
  EXPECT_TRUE(store->waits().empty());
  // Those that are too many go when they ask for more, and no others come.
  for (std::uint32_t n = 0; n < kWorking; ++n) (void)relay.ask(relay.grants[n]);
  turn();
  EXPECT_EQ(relay.no_work.size(), kWorking / 2);
  EXPECT_EQ(relay.leases.size(), kWorking + kWorking / 2);
  EXPECT_EQ(relay.grants.size(), kWorking + 1U);
  // A round of successes bears one more.
  for (std::uint32_t n = 0; n < kWorking / 2; ++n)
    relay.answer(relay.leases[n], ipc::Result::kDelivered, 250, "ok");
  turn();
  EXPECT_EQ(hop->most(), kWorking / 2 + 1);
}

TEST_F(SiblingsTest, OnlyTheLastWayOfARouteEndsMail) {
  two_ways();
  begin();
  const auto id = mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  ASSERT_EQ(relay.grants.size(), 1U);
  fail(relay, relay.grants[0], ipc::GrantEnd::kPermanent);
  turn(20);
  EXPECT_NE(look(id), nullptr);
  ASSERT_EQ(relay.grants.size(), 2U);
  EXPECT_EQ(relay.grants[1].hop.host, "second.example");
}

// Mail that ends while a new configuration is applied: the next message is still found.
TEST_F(SiblingsTest, AReloadMayEndAllThatIsQueued) {
  begin();
  for (int n = 0; n < 5; ++n) (void)mail("a@void.example");
  const auto last = mail("a@far.example");
  config.routes.push_back({.to = {"void.example"}, .via = {{.kind = config::HopKind::kDiscard}}});
  engine->configure(config);
  turn();
  EXPECT_EQ(store->count(), 1U);
  EXPECT_NE(look(last), nullptr);
  // And so it does at a start.
  config.routes.push_back({.to = {"far.example"}, .via = {{.kind = config::HopKind::kDiscard}}});
  end();
  begin();
  EXPECT_EQ(store->count(), 0U);
}

TEST_F(SiblingsTest, AReloadClosesConnectionsToTheFormerNextHop) {
  begin();
  (void)mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  ASSERT_EQ(relay.grants.size(), 1U);
  auto changed = config;
  changed.routes.push_back({.to = {"*"}, .via = {{config::HopKind::kHost, "smart.example", 26}}});
  engine->configure(changed);
  engine->poke();
  turn();
  ASSERT_EQ(relay.cancelled.size(), 1U);
  EXPECT_EQ(relay.cancelled[0].grant, relay.grants[0].grant);
}

// A deliverer claims leases that it never had.
TEST_F(SiblingsTest, OnlyWhatADelivererHadIsAdopted) {
  begin();
  const auto id = mail("a@far.example");
  const auto local = mail("bob@example.org");
  FakeRelay relay;
  // Of this life, with a number that is handed out later; and a mailbox's, by a relay.
  connect(relay, 0,
          {{base::LeaseId(1), store->epoch(), id, {0}}, {base::LeaseId(7), base::Epoch(3), local, {0}}});
  EXPECT_TRUE(engine->schedule().leases().empty());
  ASSERT_EQ(relay.grants.size(), 1U);
  (void)relay.ask(relay.grants[0]);
  turn();
  ASSERT_EQ(relay.leases.size(), 1U);
  // Another one, later: nothing of an earlier life is believed any more, nor what a sibling has lost.
  const auto lease = relay.leases[0];
  relay.connection.reset();
  turn();
  FakeRelay other;
  connect(other, 1, {{base::LeaseId(9), base::Epoch(3), id, {0}}, {lease.lease, lease.epoch, id, {0}}});
  EXPECT_TRUE(engine->schedule().leases().empty());
  // Who lost it with its channel has it still.
  FakeRelay again;
  connect(again, 0, {{lease.lease, lease.epoch, id, {0}}});
  EXPECT_EQ(engine->schedule().leases().size(), 1U);
  again.answer(lease, ipc::Result::kDelivered, 250, "ok");
  turn();
  EXPECT_EQ(look(id), nullptr);
}

// A deliverer that outlives queued tells what it holds and how it went in one breath, while the
// message has to be read from the index first.
TEST_F(SiblingsTest, AnOutcomeWaitsUntilItsMessageIsRead) {
  ipc::Lease lease;
  ASSERT_NO_FATAL_FAILURE(restart_with(lease));
  FakeRelay again;
  auto pair = ipc::make_channel_pair();
  again.connection = std::make_unique<FakeRelay::Connection>(*loop, std::move(pair.a), again);
  delivery->connect(ipc::Role::kRelay, 0, std::move(pair.b));
  again.connection->send(ipc::HeldLeases{{{lease.lease, lease.epoch, lease.message, {0}}}, true});
  again.answer(lease, ipc::Result::kDelivered, 250, "ok");
  delivery->expect(1);
  turn();
  EXPECT_TRUE(engine->schedule().leases().empty());
  EXPECT_EQ(again.saved.size(), 1U);
  EXPECT_EQ(store->count(), 0U);
}

// It was handed out anew while the failure of its first lease was not told yet; then queued ended. The deliverer of the
// first one may be the first to come back.
TEST_F(SiblingsTest, TheLaterOfTwoLeasesSaysHowItStands) {
  ipc::Lease first;
  ASSERT_NO_FATAL_FAILURE(restart_with(first));
  auto second = first;
  second.lease = base::LeaseId(first.lease.value + 1);
  FakeRelay relays[2];
  const auto come_back = [&](std::uint32_t index, const ipc::Lease& lease, ipc::Result result, std::uint16_t code) {
    auto pair = ipc::make_channel_pair();
    relays[index].connection = std::make_unique<FakeRelay::Connection>(*loop, std::move(pair.a), relays[index]);
    delivery->connect(ipc::Role::kRelay, index, std::move(pair.b));
    relays[index].connection->send(ipc::HeldLeases{{{lease.lease, lease.epoch, lease.message, {0}}}, true});
    relays[index].answer(lease, result, code, "so it is");
    turn();
  };
  come_back(0, first, ipc::Result::kFailed, 550);
  come_back(1, second, ipc::Result::kDelivered, 250);
  EXPECT_NE(look(first.message), nullptr);
  delivery->expect(2);
  turn();
  EXPECT_EQ(look(first.message), nullptr);
  EXPECT_EQ(store->count(), 0U) << "nor is there a notice";
  for (const auto& relay : relays) EXPECT_EQ(relay.saved.size(), 1U);
}

// So that the next life can tell which of two was the later one, if this one hands it out anew; whatever a liar says.
TEST_F(SiblingsTest, LeasesOfALaterLifeHaveHigherNumbers) {
  begin();
  const auto held = mail("a@far.example");
  (void)mail("b@near.example");
  FakeRelay relay;
  connect(relay, 0,
          {{base::LeaseId(700), base::Epoch(3), held, {0}},
           {base::LeaseId(std::numeric_limits<std::uint64_t>::max()), base::Epoch(4), held, {0}}});
  ASSERT_EQ(relay.grants.size(), 1U);
  (void)relay.ask(relay.grants[0]);
  turn();
  ASSERT_EQ(relay.leases.size(), 1U);
  EXPECT_EQ(relay.leases[0].lease.value, 701U);
}

// What it stands still for is not taken off the deliverers' time to say what they hold.
TEST_F(SiblingsTest, AStandstillOfTheHostCostsNoLease) {
  ipc::Lease lease;
  ASSERT_NO_FATAL_FAILURE(restart_with(lease));
  std::this_thread::sleep_for(std::chrono::milliseconds(2'100));  // longer than the whole patience
  FakeRelay again;
  connect(again, 0, {{lease.lease, lease.epoch, lease.message, {0}}});
  delivery->expect(1);
  turn();
  EXPECT_EQ(engine->schedule().leases().size(), 1U);
  EXPECT_TRUE(again.grants.empty());
}

// The body is still being read when the queue is frozen: the message stays.
TEST_F(SiblingsTest, NothingIsHandedOutOnceAFreezeIsInForce) {
  cache = 0;
  begin();
  (void)mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  ASSERT_EQ(relay.grants.size(), 1U);
  (void)relay.ask(relay.grants[0]);
  while (engine->schedule().leases().empty()) loop->run_once(false);  // the reader waits for pump()
  engine->change_blocks(
      [this](Blocks& blocks) noexcept {
        return blocks.freeze({.queue = "far.example",
                              .reason = "full",
                              .who = "anna",
                              .since = clock.wall(),
                              .from = engine->now()});
      },
      [](Blocks::Said) noexcept {});
  turn();
  EXPECT_TRUE(relay.leases.empty());
  EXPECT_EQ(relay.no_work.size(), 1U);
  EXPECT_TRUE(engine->schedule().leases().empty());
  EXPECT_EQ(engine->schedule().find("far.example")->counts.ready, 1U);
}

// More bodies at once than a channel holds: they wait, and the channel stands.
TEST_F(SiblingsTest, ManyLargeBodiesDoNotCostTheChannel) {
  const std::string body(255 * 1024, 'x');
  begin();
  for (int n = 0; n < 300; ++n) (void)mail("a@far" + std::to_string(n) + ".example", body);
  FakeRelay relay;
  connect(relay);
  turn(50);
  ASSERT_EQ(relay.grants.size(), 300U);
  for (const auto& grant : relay.grants) (void)relay.ask(grant);
  for (int n = 0; n < 20'000 && relay.leases.size() < 300; ++n) turn(1);
  EXPECT_EQ(relay.leases.size(), 300U);
  EXPECT_FALSE(relay.is_closed);
}

// Waits of queues without mail do not pile up for ever.
TEST_F(SiblingsTest, OldWaitsGoWithTheSegmentThatToldThem) {
  segment_size = 64 * 1024;
  ASSERT_TRUE(open()) << fatal;
  for (int n = 0; n < 200; ++n) {
    QueueRecord wait;
    wait.queue = "dead" + std::to_string(n) + ".example";
    wait.failures = 3;
    wait.until = store->clock().now() + base::Millis(60'000);
    store->note(std::move(wait));
    store->pump();
  }
  const auto churn = [&] {
    for (int n = 0; n < 400; ++n) conclude(accept(std::string(1000, 'x')), Fate::kDelivered);
    store->pump();
  };
  churn();
  EXPECT_EQ(store->waits().size(), 200U);
  kill();
  ASSERT_TRUE(open()) << fatal;
  EXPECT_EQ(store->waits().size(), 200U);
  clock.advance(base::Millis(2 * 24 * 3600 * 1000LL));
  churn();
  EXPECT_TRUE(store->waits().empty());
}

// What is gone from the journal keeps its number to itself, whatever the wall clock says.
TEST_F(SiblingsTest, NumbersRiseThoughTheClockIsSetBack) {
  ASSERT_TRUE(open()) << fatal;
  base::MessageId last;
  for (int n = 0; n < 400; ++n) {
    last = accept(std::string(1000, 'x'));
    conclude(last, Fate::kDelivered);
  }
  store->pump();
  clock.wall_ms += 1000;
  store->settle({});
  for (int n = 0; n < 4; ++n) store->pump();
  kill();
  clock.wall_ms -= 3'600'000;
  ASSERT_TRUE(open()) << fatal;
  EXPECT_GT(store->new_id(), last);
}

// smtpd asks, a relay answers, and whose end comes leaves nobody waiting.
TEST_F(SiblingsTest, NamesOfClientsAreAskedOfARelay) {
  begin();
  FakeSmtpd smtpd;
  connect(smtpd);
  const auto client = base::parse_ip("192.0.2.7").value();
  smtpd.connection->send(ipc::AskName{base::RequestId(1), client});
  turn();
  ASSERT_EQ(smtpd.named.size(), 1U);  // there is no relay
  EXPECT_EQ(smtpd.named[0].state, ipc::NameState::kUnclear);
  FakeRelay relay;
  connect(relay);
  smtpd.connection->send(ipc::AskName{base::RequestId(2), client});
  smtpd.connection->send(ipc::AskName{base::RequestId(3), client});
  turn();
  ASSERT_EQ(relay.names.size(), 2U);
  EXPECT_EQ(relay.names[0].client, client);
  relay.connection->send(ipc::NameKnown{relay.names[0].request, ipc::NameState::kConfirmed, "c.example", base::Millis(7)});
  turn();
  ASSERT_EQ(smtpd.named.size(), 2U);
  EXPECT_EQ(smtpd.named[1].request, base::RequestId(2));
  EXPECT_EQ(smtpd.named[1].name, "c.example");
  EXPECT_EQ(smtpd.named[1].ttl, base::Millis(7));
  relay.connection.reset();
  turn();
  ASSERT_EQ(smtpd.named.size(), 3U);
  EXPECT_EQ(smtpd.named[2].state, ipc::NameState::kUnclear);
}

}  // namespace
}  // namespace postern::queued
