// Mail from the store to the deliverers and back: outcomes, retries, expiry, notices, blocks.
#include <gtest/gtest.h>

#include "queued/explain.h"
#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

class EngineTest : public ::testing::Test, protected EngineRig {
 protected:
  // The next lease of the relay: asks on the newest grant until there is one.
  ipc::Lease next_lease(FakeRelay& relay) {
    const auto before = relay.leases.size();
    for (const auto& grant : std::exchange(relay.grants, {})) {
      used.push_back(grant);
      (void)relay.ask(grant);
    }
    turn();
    if (relay.leases.size() == before && !used.empty()) {
      (void)relay.ask(used.back());
      turn();
    }
    EXPECT_GT(relay.leases.size(), before);
    return relay.leases.empty() ? ipc::Lease{} : relay.leases.back();
  }
  std::vector<ipc::Grant> used;
};

TEST_F(EngineTest, AMessageIsLeasedDeliveredAndGone) {
  begin();
  const auto id = mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  const auto lease = next_lease(relay);
  EXPECT_EQ(lease.message, id);
  EXPECT_EQ(lease.prefix, "Received: by test\r\n");
  ASSERT_EQ(lease.recipients.size(), 1U);
  EXPECT_EQ(relay.bodies[lease.lease.value], "Subject: x\r\n\r\nhello\r\n");
  relay.answer(lease, ipc::Result::kDelivered, 250, "ok");
  turn();
  EXPECT_EQ(relay.saved.size(), 1U);
  EXPECT_EQ(store->count(), 0U);
  end();
  begin();
  EXPECT_EQ(store->count(), 0U);
}

// RFC 6531: what was said with a message stays with it.
TEST_F(EngineTest, SmtpUtf8IsKeptAndHandedOut) {
  begin();
  FakeSmtpd smtpd;
  connect(smtpd);
  auto said = submit_frame(1, 1, 5);
  said.smtputf8 = true;
  said.from = mail::ReversePath(address("b\xc3\xb6" "b@example.org"));
  send(smtpd, said, {"j\xc3\xbcrg@far.example"}, "x\r\n\r\n");
  send(smtpd, submit_frame(2, 2, 5), {"a@far.example"}, "x\r\n\r\n");
  for (int n = 0; n < 30; ++n) turn(1);
  ASSERT_EQ(smtpd.submitted.size(), 2U);
  const auto id = smtpd.submitted[0].id;
  EXPECT_NE(prefix(id).find("with UTF8SMTP id"), std::string::npos);
  EXPECT_NE(prefix(id).find("for <j\xc3\xbcrg@far.example>"), std::string::npos);
  end();
  begin();
  EXPECT_TRUE(look(id)->smtputf8);
  EXPECT_FALSE(look(smtpd.submitted[1].id)->smtputf8);
  FakeRelay relay;
  connect(relay);
  (void)next_lease(relay);
  if (relay.leases.size() < 2) (void)next_lease(relay);
  ASSERT_EQ(relay.leases.size(), 2U);
  for (const auto& lease : relay.leases) EXPECT_EQ(lease.smtputf8, lease.message == id);
}

// What a route puts in place of our domain is said to the next hop alone.
TEST_F(EngineTest, AMaskIsForTheNextHopAlone) {
  config.routes.push_back({.to = {"far.example"},
                           .via = {{config::HopKind::kHost, "relay.example", 25}},
                           .masquerade = mail::Domain::parse("corp.example").value()});
  begin();
  const auto id = mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  const auto lease = next_lease(relay);
  EXPECT_EQ(lease.message, id);
  EXPECT_EQ(lease.from.text(), "ann@corp.example");
  EXPECT_EQ(look(id)->from.text(), "ann@example.org");
  const auto told = explain_queue(*engine, {{}, "far.example"});
  EXPECT_EQ(told.way.via, "smtp://relay.example:25 (our senders at corp.example)");
  relay.answer(lease, ipc::Result::kFailed, 550, "no such user");
  turn();
  const auto all = messages();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].recipients[0].address.text(), "ann@example.org") << "who sent it is told";
}

TEST_F(EngineTest, TheNullSenderWearsNoMask) {
  config.routes.push_back({.to = {"far.example"},
                           .via = {{config::HopKind::kHost, "relay.example", 25}},
                           .masquerade = mail::Domain::parse("corp.example").value()});
  begin();
  (void)mail("a@far.example", "Subject: x\r\n\r\nhello\r\n", true);
  FakeRelay relay;
  connect(relay);
  EXPECT_TRUE(next_lease(relay).from.is_null());
}

// RFC 8689 4.1: so with REQUIRETLS, for all recipients.
TEST_F(EngineTest, RequireTlsIsKeptAndHandedOut) {
  begin();
  FakeSmtpd smtpd;
  connect(smtpd);
  auto said = submit_frame(1, 1, 5, 2);
  said.tls_wish = mail::TlsWish::kRequired;
  send(smtpd, said, {"a@far.example", "b@far.example"}, "x\r\n\r\n");
  send(smtpd, submit_frame(2, 2, 5), {"a@far.example"}, "x\r\n\r\n");
  for (int n = 0; n < 30; ++n) turn(1);
  ASSERT_EQ(smtpd.submitted.size(), 2U);
  const auto id = smtpd.submitted[0].id;
  end();
  begin();
  EXPECT_EQ(look(id)->tls_wish, mail::TlsWish::kRequired);
  EXPECT_EQ(look(smtpd.submitted[1].id)->tls_wish, mail::TlsWish::kUnsaid);
  FakeRelay relay;
  connect(relay);
  (void)next_lease(relay);
  if (relay.leases.size() < 2) (void)next_lease(relay);
  ASSERT_EQ(relay.leases.size(), 2U);
  for (const auto& lease : relay.leases)
    EXPECT_EQ(lease.tls_wish == mail::TlsWish::kRequired, lease.message == id);
}

TEST_F(EngineTest, ADeferredMessageFollowsTheRetryTable) {
  begin();
  const auto id = mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  relay.answer(next_lease(relay), ipc::Result::kDeferred, 451, "later");
  turn();
  EXPECT_EQ(look(id)->recipients[0].tries, 1U);
  pass(base::Millis(59'000));
  EXPECT_EQ(relay.leases.size(), 1U);
  pass(base::Millis(1'500));
  relay.answer(next_lease(relay), ipc::Result::kDeferred, 451, "later");
  turn();
  pass(base::Millis(100'000));
  EXPECT_EQ(relay.leases.size(), 2U);
  pass(base::Millis(20'500));
  (void)next_lease(relay);
  EXPECT_EQ(relay.leases.size(), 3U);
}

TEST_F(EngineTest, APermanentFailureCausesOneNoticeAndThatNone) {
  begin();
  (void)mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  relay.answer(next_lease(relay), ipc::Result::kFailed, 550, "no such user");
  turn();
  ASSERT_EQ(store->count(), 1U);
  const auto all = messages();
  const Message* notice = &all.at(0);
  EXPECT_TRUE(notice->notice);
  EXPECT_TRUE(notice->from.is_null());
  EXPECT_EQ(notice->recipients[0].address.text(), "ann@example.org");
  const auto text = body(notice->id);
  EXPECT_NE(text.find("a@far.example"), std::string::npos);
  EXPECT_NE(text.find("no such user"), std::string::npos);
  EXPECT_NE(text.find("Subject: x"), std::string::npos);
  EXPECT_EQ(text.find("hello"), std::string::npos);
  EXPECT_EQ(engine->counters().bounces.total(), 1U);
  // The notice goes to our own mailbox, by the local queue.
  EXPECT_NE(engine->schedule().find("local"), nullptr);
  // One that itself fails ends without another.
  const auto id = notice->id;
  (void)engine->schedule().take("local", id);
  engine->conclude(id, {{0, {ipc::Result::kFailed, ipc::FailureClass::kMailbox, {}}}}, "", {});
  turn();
  EXPECT_EQ(store->count(), 0U);
}

TEST_F(EngineTest, ExpiryComesOnlyAfterAFailedAttempt) {
  begin();
  const auto id = mail("a@far.example");
  pass(base::Millis(2'000'000));
  EXPECT_NE(look(id), nullptr);
  FakeRelay relay;
  connect(relay);
  relay.answer(next_lease(relay), ipc::Result::kDeferred, 451, "mailbox busy");
  turn();
  EXPECT_EQ(look(id), nullptr);
  ASSERT_EQ(store->count(), 1U);
  const auto text = body(messages().at(0).id);
  EXPECT_NE(text.find("Status: 4.1.1\r\n"), std::string::npos);
  EXPECT_NE(text.find("Diagnostic-Code: smtp; 451 4.1.1 mailbox busy\r\n"), std::string::npos);
}

TEST_F(EngineTest, ADeadQueueWaitsAsAWholeAndItsOldMessagesExpire) {
  begin();
  const auto old = mail("a@far.example");
  pass(base::Millis(1'500'000));
  const auto young = mail("b@far.example");
  FakeRelay relay;
  connect(relay);
  const auto granted = relay.grants;
  ASSERT_FALSE(granted.empty());
  for (const auto& grant : granted)
    relay.connection->send(ipc::GrantEnded{grant.grant,
                                           ipc::GrantEnd::kTemporary,
                                           ipc::FailureClass::kConnect,
                                           {0, 4, 4, 1, "connection refused"},
                                           "mx.far.example"});
  turn(20);
  for (int n = 0; n < 50 && look(old) != nullptr; ++n) turn(1);
  EXPECT_EQ(look(old), nullptr);
  EXPECT_NE(look(young), nullptr);
  EXPECT_EQ(look(young)->recipients[0].tries, 0U);  // untouched
  ASSERT_EQ(store->waits().size(), 1U);
  EXPECT_EQ(store->waits().at("far.example:25").failures, 1U);  // connections that fail together count once
  const auto* queue = engine->schedule().find("far.example");
  ASSERT_NE(queue, nullptr);
  EXPECT_EQ(queue->hop()->until, engine->now() + base::Millis(60'000));
  // A restart knows of the wait.
  end();
  begin();
  FakeRelay again;
  connect(again);
  EXPECT_TRUE(again.grants.empty());
  EXPECT_EQ(engine->schedule().find_hop("far.example:25")->failures, 1U);
}

void end_for_good(FakeRelay& relay, base::GrantId grant) {
  relay.connection->send(
      ipc::GrantEnded{grant, ipc::GrantEnd::kPermanent, ipc::FailureClass::kDns, {0, 5, 1, 2, "no such domain"}, ""});
}

TEST_F(EngineTest, ANextHopThatCanNeverBeFailsTheQueue) {
  begin();
  for (int n = 0; n < 120; ++n) (void)mail("a@nowhere.example");
  FakeRelay relay;
  connect(relay);
  ASSERT_FALSE(relay.grants.empty());
  end_for_good(relay, relay.grants[0].grant);
  for (int n = 0; n < 100 && engine->counters().failed.total() < 120; ++n) turn(2);
  EXPECT_EQ(engine->counters().failed.total(), 120U);
  EXPECT_EQ(store->count(), 120U);  // one notice for each occasion
}

// Its mail ends a few in each turn; a reload may lead the rest elsewhere.
TEST_F(EngineTest, ANextHopThatCanNeverBeFailsNoMailBehindAReload) {
  constexpr std::size_t kMany = 300;  // six slices
  begin();
  for (std::size_t n = 0; n < kMany; ++n) (void)mail("a@nowhere.example");
  FakeRelay relay;
  connect(relay);
  ASSERT_FALSE(relay.grants.empty());
  end_for_good(relay, relay.grants[0].grant);
  const auto left = [&] {
    const auto* queue = engine->schedule().find("nowhere.example");
    return queue == nullptr ? std::size_t{0} : std::size_t{queue->messages()};
  };
  auto changed = config;
  changed.routes.push_back({.to = {"*"}, .via = {{config::HopKind::kHost, "smart.example", 25}}});
  std::size_t before = 0;
  event::Timer reload(*loop, [&]() noexcept {  // between two slices
    before = left();
    before == kMany ? reload.start(base::Millis(0)) : engine->configure(changed);
  });
  reload.start(base::Millis(0));
  turn(100);
  ASSERT_LT(before, kMany);
  ASSERT_GT(before, 0U) << "all ended at once: there is nothing to see";
  for (int n = 0; n < 100 && engine->counters().failed.total() < kMany - before; ++n) turn(2);
  EXPECT_EQ(left(), before);
  EXPECT_EQ(engine->counters().failed.total(), kMany - before);
}

// What a connection has met that was opened by other rules is no word on those that hold now.
TEST_F(EngineTest, WhatWasFoundOutBeforeAReloadEndsNothingAndHoldsNothingUp) {
  begin();
  const auto id = mail("a@nowhere.example");
  for (const auto end : {ipc::GrantEnd::kPermanent, ipc::GrantEnd::kTemporary}) {
    FakeRelay relay;
    relay.finds_hosts = false;
    connect(relay);
    ASSERT_EQ(relay.looking.size(), 1U);
    const auto before = relay.looking.begin()->first;
    engine->configure(config);
    turn(20);  // the message has its place again
    relay.connection->send(ipc::GrantEnded{before, end, ipc::FailureClass::kDns, {0, 5, 1, 2, "no such domain"}, ""});
    turn(20);
    ASSERT_NE(look(id), nullptr);
    EXPECT_EQ(look(id)->recipients[0].tries, 0U);
    EXPECT_EQ(engine->counters().failed.total(), 0U);
    EXPECT_TRUE(store->waits().empty());
    ASSERT_EQ(relay.looking.size(), 2U) << "it is looked for anew";
    EXPECT_GT(relay.looking.rbegin()->first, before);
  }
}

TEST_F(EngineTest, ADeadDeliverersMessageComesBackAndIsHeldTheSecondTime) {
  begin();
  const auto id = mail("a@far.example");
  for (int death = 0; death < 2; ++death) {
    FakeRelay relay;
    connect(relay);
    used.clear();
    (void)next_lease(relay);
    ASSERT_EQ(relay.leases.size(), 1U);
    relay.connection.reset();
    turn();
    EXPECT_EQ(look(id)->recipients[0].tries, static_cast<std::uint32_t>(death) + 1);
    pass(base::Millis(300'000));
  }
  EXPECT_EQ(look(id)->held, "crashed the deliverer");
  FakeRelay relay;
  connect(relay);
  EXPECT_TRUE(relay.grants.empty());
  engine->end_hold(id);
  turn();
  EXPECT_FALSE(relay.grants.empty());
  EXPECT_TRUE(look(id)->held.empty());
}

TEST_F(EngineTest, ADeathCountsOnceHoweverManyLeasesAMessageHas) {
  begin();
  const auto id = mail(std::vector<std::string>{"a@far.example", "b@near.example"});
  FakeRelay relay;
  connect(relay);
  for (std::size_t lease = 0; lease < 2; ++lease) {
    ASSERT_GT(relay.grants.size(), lease);
    (void)relay.ask(relay.grants[lease]);
    turn();
  }
  ASSERT_EQ(relay.leases.size(), 2U);
  relay.connection.reset();
  turn();
  EXPECT_EQ(look(id)->held, "");
}

TEST_F(EngineTest, ASurvivingDelivererFinishesItsLeaseAfterARestart) {
  begin();
  const auto id = mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  const auto lease = next_lease(relay);
  relay.connection.reset();
  delivery->stop();
  end();
  begin();
  FakeRelay again;
  connect(again, 0, {{lease.lease, lease.epoch, id, {0}}});
  EXPECT_TRUE(again.grants.empty());  // it is in delivery
  again.answer(lease, ipc::Result::kDelivered, 250, "ok");
  turn();
  EXPECT_EQ(store->count(), 0U);
  EXPECT_EQ(again.saved.size(), 1U);
  // Said twice: dropped, and confirmed all the same.
  again.answer(lease, ipc::Result::kDelivered, 250, "ok");
  turn();
  EXPECT_EQ(again.saved.size(), 2U);
}

TEST_F(EngineTest, AFreezeIsDurableBeforeItIsReportedAndStopsTheQueue) {
  begin();
  (void)mail("a@far.example");
  std::string said;
  const auto from = disk.log.size();
  engine->change_blocks(
      [this](Blocks& blocks) noexcept {
        return blocks.freeze({.queue = "far.example",
                              .reason = "full",
                              .who = "anna",
                              .since = clock.wall(),
                              .from = engine->now()});
      },
      [&](Blocks::Said s) noexcept {
        said = s ? *s : "error: " + s.error();
        EXPECT_TRUE(std::find(disk.log.begin() + static_cast<std::ptrdiff_t>(from), disk.log.end(),
                              "flush_directory .") != disk.log.end());
      });
  EXPECT_TRUE(said.empty());
  turn();
  EXPECT_NE(said.find("is frozen"), std::string::npos);
  FakeRelay relay;
  connect(relay);
  EXPECT_TRUE(relay.grants.empty());
  end();
  begin();
  EXPECT_NE(engine->blocks().frozen("far.example"), nullptr);
  connect(relay);
  EXPECT_TRUE(relay.grants.empty());
}

TEST_F(EngineTest, AHoldCallsBackWhatADelivererHasNotBegun) {
  begin();
  const auto id = mail("a@far.example");
  (void)mail("b@near.example");
  FakeRelay relay;
  connect(relay);
  (void)next_lease(relay);
  if (relay.leases.size() < 2) (void)next_lease(relay);
  ASSERT_EQ(relay.leases.size(), 2U);
  const auto& lease = relay.leases[relay.leases[0].message == id ? 0 : 1];
  ASSERT_EQ(lease.message, id);
  engine->hold(id, "suspect");
  engine->recall(id);
  turn();
  ASSERT_EQ(relay.cancelled.size(), 1U);
  const auto grant = relay.cancelled[0].grant;
  EXPECT_EQ(std::count_if(used.begin(), used.end(),
                          [&](const ipc::Grant& g) { return g.grant == grant && g.queue == "far.example"; }),
            1);
  relay.answer(lease, ipc::Result::kReturned, 0, "");
  turn();
  EXPECT_TRUE(engine->schedule().held("far.example", id));
}

TEST_F(EngineTest, ABlockThatCannotBeSavedIsNotInForce) {
  begin();
  disk.fail_at = disk.operations;
  disk.error = ENOSPC;
  std::string said;
  engine->change_blocks(
      [](Blocks& blocks) noexcept { return blocks.disable_outbound({.disabled = true}); },
      [&](Blocks::Said s) noexcept { said = s ? "saved" : s.error(); });
  turn();
  EXPECT_NE(said.find("not saved"), std::string::npos);
  EXPECT_FALSE(engine->blocks().outbound().disabled);
}

TEST_F(EngineTest, DamagedOrMissingBlocksStartWithOutboundDisabled) {
  begin();
  EXPECT_FALSE(engine->blocks().outbound().disabled);  // a fresh spool
  end();
  disk.content("control.json")[20] = '#';
  begin();
  EXPECT_TRUE(engine->blocks().outbound().disabled);
  EXPECT_EQ(engine->blocks().outbound().who, "recovery");
  end();
  (void)disk.unlink("control.json");
  begin();
  EXPECT_EQ(engine->blocks().outbound().who, "recovery");
  end();
  begin();  // it stays so until somebody enables it
  EXPECT_TRUE(engine->blocks().outbound().disabled);
}

TEST_F(EngineTest, BlockedTimeDoesNotAge) {
  begin();
  const auto id = mail("a@far.example");
  const auto change = [&](auto what) {
    engine->change_blocks(std::move(what), [](Blocks::Said) noexcept {});
    turn();
  };
  change([this](Blocks& b) noexcept {
    return b.disable_outbound({.disabled = true, .from = engine->now()});
  });
  pass(base::Millis(5'000'000));
  change([this](Blocks& b) noexcept { return b.enable_outbound(engine->now()); });
  FakeRelay relay;
  connect(relay);
  relay.answer(next_lease(relay), ipc::Result::kDeferred, 451, "later");
  turn();
  EXPECT_NE(look(id), nullptr);
  pass(base::Millis(1'500'000));
  relay.answer(next_lease(relay), ipc::Result::kDeferred, 451, "later");
  turn();
  EXPECT_EQ(look(id), nullptr);
}

TEST_F(EngineTest, HeldTimeDoesNotAge) {
  begin();
  const auto id = mail("a@far.example");
  engine->hold(id, "by anna: suspect");
  turn();
  pass(base::Millis(5'000'000));
  end();
  begin();  // when it began is durable
  engine->end_hold(id);
  turn();
  FakeRelay relay;
  connect(relay);
  relay.answer(next_lease(relay), ipc::Result::kDeferred, 451, "later");
  turn();
  ASSERT_NE(look(id), nullptr);
  ASSERT_EQ(look(id)->former_holds.size(), 1U);
  EXPECT_EQ(look(id)->former_holds[0].to - look(id)->former_holds[0].from, base::Millis(5'000'000));
  pass(base::Millis(1'500'000));
  relay.answer(next_lease(relay), ipc::Result::kDeferred, 451, "later");
  turn();
  EXPECT_EQ(look(id), nullptr);
}

TEST_F(EngineTest, AHoldInDeliveryAppliesToWhatIsLeft) {
  begin();
  const auto id = mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  const auto lease = next_lease(relay);
  engine->hold(id, "by anna: suspect");
  turn();
  relay.answer(lease, ipc::Result::kDeferred, 451, "later");
  turn();
  pass(base::Millis(300'000));
  EXPECT_EQ(relay.leases.size(), 1U);
  EXPECT_EQ(look(id)->recipients[0].tries, 1U);
  EXPECT_EQ(engine->schedule().find("far.example")->counts.held, 1U);
}

TEST_F(EngineTest, ADamagedBodyIsHeldAndNeverSent) {
  cache = 0;
  begin();
  const auto id = mail("a@far.example", "Subject: precious\r\n\r\n");
  for (const auto& name : disk.files("journal")) {
    auto& bytes = disk.content(name);
    if (const auto at = bytes.find("precious"); at != std::string::npos) bytes[at] = 'P';
  }
  FakeRelay relay;
  connect(relay);
  ASSERT_FALSE(relay.grants.empty());
  (void)relay.ask(relay.grants[0]);
  turn();
  EXPECT_TRUE(relay.leases.empty());
  EXPECT_FALSE(look(id)->held.empty());
  (void)mail("b@far.example");  // the same connection serves the next one
  EXPECT_EQ(relay.leases.size(), 1U);
}

TEST_F(EngineTest, AReloadReroutesWhatIsQueued) {
  begin();
  (void)mail("a@far.example");
  auto changed = config;
  changed.routes.push_back({.to = {"*"}, .via = {{config::HopKind::kHost, "smart.example", 26}}});
  engine->configure(changed);
  FakeRelay relay;
  connect(relay);
  ASSERT_FALSE(relay.grants.empty());
  EXPECT_EQ(relay.grants[0].hop.host, "smart.example");
}

TEST_F(EngineTest, RoutesThatRefuseOrDiscardEndMailAtOnce) {
  config.routes.push_back({.to = {"no.example"}, .via = {{.kind = config::HopKind::kRefuse}}});
  config.routes.push_back({.to = {"void.example"}, .via = {{.kind = config::HopKind::kDiscard}}});
  begin();
  (void)mail("a@void.example");
  EXPECT_EQ(store->count(), 0U);
  (void)mail("a@no.example");
  turn();
  ASSERT_EQ(store->count(), 1U);
  EXPECT_TRUE(messages().at(0).notice);
}

}  // namespace
}  // namespace postern::queued
