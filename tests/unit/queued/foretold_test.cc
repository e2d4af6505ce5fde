// Whether what explain foretells comes, within a second.
#include "tests/unit/queued/explain_rig.h"

namespace postern::queued {
namespace {

class Foretold : public ExplainTest {
 protected:
  // Nothing goes a second before the time that was told, and it goes within a second behind it.
  void expect_it_comes(std::size_t leases_before) {
    const auto next = explained().next;
    ASSERT_GT(next, store->clock().wall());
    later(next - store->clock().wall() - base::Millis(1'000));
    ask_all();
    EXPECT_EQ(relay.leases.size(), leases_before);
    later(base::Millis(2'000));
    ask_all();
    ASSERT_EQ(relay.leases.size(), leases_before + 1);
    EXPECT_EQ(relay.leases.back().message, main);
  }
  // The engine looks each second for freezes that are over.
  void later(base::Millis time) {
    pass(time);
    engine->end_due_freezes();
    turn();
  }
  void ask_all() {
    for (const auto& grant : std::exchange(relay.grants, {})) {
      used = grant.grant;
      (void)relay.ask(grant);
    }
    turn();
  }
  void cannot_connect(const char* mx) {
    const auto grant = relay.grants.back().grant;
    relay.grants.clear();
    relay.connection->send(ipc::GrantEnded{grant,
                                           ipc::GrantEnd::kTemporary,
                                           ipc::FailureClass::kConnect,
                                           {0, 4, 4, 1, "connect timed out"},
                                           mx});
    turn();
  }
  void freeze_until(base::Millis from_now, const std::string& name = "far.example", bool hop = false) {
    change([=, this](Blocks& b) noexcept {
      return b.freeze({.queue = name,
                       .reason = "moving",
                       .who = "bert",
                       .since = clock.wall(),
                       .from = engine->now(),
                       .until = clock.wall() + from_now,
                       .hop = hop});
    });
    for (const auto& grant : std::exchange(relay.cancelled, {}))
      relay.connection->send(ipc::GrantEnded{grant.grant, {}, {}, {}, ""});
    relay.grants.clear();
    turn();
  }
  // The only attempt so far ends so.
  void defer() {
    ask_all();
    ASSERT_EQ(relay.leases.size(), 1U);
    relay.answer(relay.leases.back(), ipc::Result::kDeferred, 451, "later");
    relay.connection->send(ipc::GrantEnded{used, {}, {}, {}, ""});
    turn();
  }
  // And what is told stays the same.
  void restart() {
    const auto before = explained();
    end();
    relay = FakeRelay();
    clock.advance(base::Millis(5'000));
    begin();
    connect(relay);
    const auto after = explained();
    EXPECT_EQ(after.next, before.next);
    EXPECT_EQ(after.state, before.state);
    ASSERT_FALSE(after.obstacles.empty());
    EXPECT_EQ(after.obstacles.front().blocker, before.obstacles.front().blocker);
  }
};

TEST_F(Foretold, AFreezeEndsAtItsTime) {
  prepare();
  freeze_until(base::Millis(600'000));
  const auto told = explained();
  EXPECT_EQ(told.state, ipc::State::kFrozen);
  EXPECT_EQ(told.next, store->clock().wall() + base::Millis(600'000));
  EXPECT_EQ(explain_queue(*engine, {{}, queue}).next, told.next);
  expect_it_comes(0);
}

TEST_F(Foretold, AFreezeOfItsNextHopEndsAtItsTime) {
  prepare();
  freeze_until(base::Millis(600'000), "10.9.0.1", true);
  EXPECT_EQ(explained().state, ipc::State::kFrozen);
  EXPECT_EQ(explain_queue(*engine, {{}, queue}).next, explained().next);
  expect_it_comes(0);
}

TEST_F(Foretold, AFreezeThatEndsBeforeItsOwnTimePutsNothingOff) {
  prepare();
  defer();
  freeze_until(base::Millis(30'000));
  EXPECT_EQ(explained().next, store->clock().wall() + base::Millis(60'000));
  expect_it_comes(1);
}

TEST_F(Foretold, AFreezeThatEndsBehindItsOwnTimeIsWaitedFor) {
  prepare();
  defer();
  freeze_until(base::Millis(600'000));
  EXPECT_EQ(explained().next, store->clock().wall() + base::Millis(600'000));
  expect_it_comes(1);
}

TEST_F(Foretold, HostsThatWereNotFoundAreLookedForAgain) {
  relay.finds_hosts = false;
  prepare("a@mx.example");
  ASSERT_EQ(relay.looking.size(), 1U);
  relay.connection->send(ipc::GrantEnded{relay.looking.begin()->first, ipc::GrantEnd::kTemporary,
                                         ipc::FailureClass::kDns, {0, 4, 4, 3, "no answer"}, ""});
  turn();
  relay.looking.clear();
  relay.finds_hosts = true;
  EXPECT_EQ(explain_queue(*engine, {{}, queue}).next, explained().next);
  expect_it_comes(0);
}

TEST_F(Foretold, WithASpreadAndAfterAReloadItsTimeComes) {
  config.retry.spread = 20;
  prepare();
  defer();
  EXPECT_GE(explained().next, store->clock().wall() + base::Millis(60'000));
  config.retry.after = {base::Millis(40'000)};
  engine->configure(config);
  turn();
  EXPECT_LE(explained().next, store->clock().wall() + base::Millis(48'000));
  expect_it_comes(1);
}

TEST_F(Foretold, AFreezeEndsAtItsTimeAfterARestartToo) {
  prepare();
  freeze_until(base::Millis(600'000));
  later(base::Millis(100'000));
  restart();
  expect_it_comes(0);
}

TEST_F(Foretold, ItsOwnTimeComesAfterARestartToo) {
  prepare();
  ask_all();
  ASSERT_EQ(relay.leases.size(), 1U);
  relay.answer(relay.leases.back(), ipc::Result::kDeferred, 451, "later");
  turn();
  restart();
  expect_it_comes(0);
}

TEST_F(Foretold, ADeadHopIsTriedAgainAfterARestartToo) {
  prepare();
  relay.connection->send(ipc::GrantEnded{relay.grants.back().grant,
                                         ipc::GrantEnd::kTemporary,
                                         ipc::FailureClass::kConnect,
                                         {0, 4, 4, 1, "connect timed out"},
                                         "10.9.0.1"});
  turn();
  EXPECT_EQ(explained().obstacles.at(0).blocker, Blocker::kHopDead);
  restart();
  expect_it_comes(0);
}

TEST_F(Foretold, ItsOwnTimeComes) {
  prepare();
  ask_all();
  ASSERT_EQ(relay.leases.size(), 1U);
  const auto lease = relay.leases.back();
  relay.answer(lease, ipc::Result::kDeferred, 451, "later");
  turn();
  const auto told = explained();
  EXPECT_EQ(told.state, ipc::State::kRetry);
  EXPECT_EQ(told.tries, 1U);
  EXPECT_EQ(told.last_reply, "451 4.1.1 later");
  EXPECT_EQ(told.remote, "mx.far.example[192.0.2.9]:25");
  EXPECT_EQ(told.next, store->clock().wall() + base::Millis(60'000));
  EXPECT_EQ(told.retry.wait, base::Millis(120'000));
  EXPECT_TRUE(told.retry.repeats);
  relay.connection->send(ipc::GrantEnded{used, {}, {}, {}, ""});
  turn();
  expect_it_comes(1);
}

TEST_F(Foretold, ADeadHopIsTriedAgain) {
  prepare();
  cannot_connect("10.9.0.1");
  const auto told = explained();
  EXPECT_EQ(told.state, ipc::State::kRetry);
  ASSERT_EQ(told.obstacles.size(), 1U);
  EXPECT_EQ(told.obstacles[0].blocker, Blocker::kHopDead);
  EXPECT_EQ(told.obstacles[0].count, 1U);
  EXPECT_EQ(told.obstacles[0].reason, "4.4.1 connect timed out");
  EXPECT_EQ(told.retry.failure, ipc::FailureClass::kConnect);
  expect_it_comes(0);
}

TEST_F(Foretold, OfTwoDeadWaysTheOneThatIsTriedFirstCounts) {
  config.routes.front().via.push_back({config::HopKind::kHost, "10.9.0.2", 2525});
  prepare();
  for (const auto* mx : {"10.9.0.1", "10.9.0.2"}) {
    ASSERT_FALSE(relay.grants.empty());
    EXPECT_EQ(relay.grants.back().hop.host, mx);
    cannot_connect(mx);
    pass(base::Millis(10'000));
  }
  const auto told = explained();
  ASSERT_EQ(told.obstacles.size(), 1U);
  EXPECT_EQ(told.obstacles[0].name, "10.9.0.1:2525");
  EXPECT_EQ(told.next, store->clock().wall() + base::Millis(40'000));
  expect_it_comes(0);
}

// While nothing is due the queue stands where it stood.
TEST_F(Foretold, WhatIsDueLaterGoesByAWayThatIsOpenThen) {
  config.routes.front().via.push_back({config::HopKind::kHost, "10.9.0.2", 2525});
  prepare();
  engine->hold(mail("b@far.example"), "by anna: phish");  // so that the queue stays
  turn();
  defer();
  const auto expect_the_other = [this](base::Millis in) {
    ASSERT_EQ(engine->schedule().find(queue)->hop()->name(), kHop);
    const auto told = explained();
    EXPECT_EQ(told.state, ipc::State::kRetry);
    EXPECT_EQ(told.next, store->clock().wall() + in);
    EXPECT_EQ(told.way.hop, "10.9.0.2:2525");
    EXPECT_EQ(told.way.number, 2U);
    EXPECT_EQ(explain_queue(*engine, {{}, queue}).next, told.next);
    const auto stands = standing(*engine, *look(main), look(main)->recipients.front());
    EXPECT_EQ(stands.state, ipc::State::kRetry);
    EXPECT_EQ(stands.next_try, told.next);
    EXPECT_EQ(totals(*engine).frozen, 0U);
  };
  set_up(Blocker::kHopFrozen);
  expect_the_other(base::Millis(60'000));
  lift(Blocker::kHopFrozen);
  later(base::Millis(50'000));
  fail_hop();  // and stays dead until it is due, and longer
  expect_the_other(base::Millis(10'000));
  relay.grants.clear();
  expect_it_comes(1);
  EXPECT_EQ(relay.leases.size(), 2U);
}

// With all of them frozen it is; and so is what is due later.
TEST_F(Foretold, WithoutAWayItWaitsForTheFreezeOfItsOwn) {
  prepare("a@mx.example");
  engine->hold(mail("b@mx.example"), "by anna: phish");
  turn();
  defer();
  freeze_until(base::Millis(600'000), "mx.example", true);
  const auto stands = standing(*engine, *look(main), look(main)->recipients.front());
  EXPECT_EQ(stands.state, ipc::State::kFrozen);
  EXPECT_EQ(stands.why, "--hop mx.example: moving");
  EXPECT_EQ(totals(*engine).frozen, 1U);
  EXPECT_EQ(explained().next, store->clock().wall() + base::Millis(600'000));
  expect_it_comes(1);
}

// Where the queue leads is not known then; what was said of it last is.
TEST_F(Foretold, AnMxHostStaysFrozenAfterARestartToo) {
  prepare("a@mx.example");
  defer();
  freeze_until(base::Millis(600'000), "mx.far.example", true);  // so the host is called that it spoke to
  const auto told = explained();
  EXPECT_EQ(told.state, ipc::State::kFrozen);
  ASSERT_FALSE(told.obstacles.empty());
  EXPECT_EQ(told.obstacles.front().name, "mx.far.example:25");
  EXPECT_EQ(told.obstacles.front().freeze, "mx.far.example");
  EXPECT_EQ(told.next, store->clock().wall() + base::Millis(600'000));
  restart();
  const auto stands = standing(*engine, *look(main), look(main)->recipients.front());
  EXPECT_EQ(stands.state, ipc::State::kFrozen);
  EXPECT_EQ(stands.why, "--hop mx.far.example: moving");
  EXPECT_NE(stands.until.ms, 0);
  EXPECT_TRUE(explained().clock_stands);
  const auto expires = explained().expires;
  later(base::Millis(10'000));
  EXPECT_EQ(explained().expires, expires + base::Millis(10'000));
  // Once it is due, the DNS is asked; there it leads to another host by now.
  later(base::Millis(50'000));
  EXPECT_EQ(explained().state, ipc::State::kReady);
  ask_all();
  EXPECT_EQ(relay.leases.size(), 1U);
}

TEST_F(Foretold, AtARateItsTurnIsATime) {
  config.routes[0].interval = kIntervalMicros;
  prepare();
  set_up(Blocker::kTurn);
  set_up(Blocker::kTurn);
  auto told = explained();
  ASSERT_EQ(told.obstacles.back().blocker, Blocker::kTurn);
  EXPECT_EQ(told.obstacles.back().count, 2U);
  const auto next = told.next;
  EXPECT_EQ(next, store->clock().wall() + base::Millis(60'000));
  for (int n = 0; n < 2; ++n) {
    ask_all();
    ASSERT_EQ(relay.leases.size(), static_cast<std::size_t>(n) + 1);
    EXPECT_NE(relay.leases.back().message, main);
    relay.answer(relay.leases.back(), ipc::Result::kDelivered, 250, "ok");
    relay.connection->send(ipc::GrantEnded{used, {}, {}, {}, ""});
    turn();
    EXPECT_LE(std::abs((explained().next - next).count()), 1'000);
    pass(base::Millis(30'000));
  }
  ask_all();
  ASSERT_EQ(relay.leases.size(), 3U);
  EXPECT_EQ(relay.leases.back().message, main);
  EXPECT_EQ(store->clock().wall(), next);
}

}  // namespace
}  // namespace postern::queued
