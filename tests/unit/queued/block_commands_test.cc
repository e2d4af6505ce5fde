// What an operator stops and lets go, over a real channel: what he is told, how long clocks stand,
// what ends by itself, and what is broken off.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/unit/queued/fake_control.h"

namespace postern::queued {
namespace {

constexpr base::Millis kDay{24LL * 3600 * 1000};

class BlockCommandsTest : public ::testing::Test, protected ControlRig {
 protected:
  void SetUp() override { start(); }
  // The relay's lease of the only message there is.
  ipc::Lease lease() {
    connect(relay);
    for (const auto& grant : relay.grants) (void)relay.ask(grant);
    turn();
    EXPECT_FALSE(relay.leases.empty());
    return relay.leases.empty() ? ipc::Lease{} : relay.leases.back();
  }
  ipc::Quiet await_quiet() {
    const auto before = tool.quiet.size();
    tell(tool, ipc::AwaitQuiet{});
    for (int n = 0; n < 400 && tool.quiet.size() == before; ++n) {
      turn(1);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // its timer is the loop's
    }
    EXPECT_EQ(tool.quiet.size(), before + 1);
    return tool.quiet.empty() ? ipc::Quiet{} : tool.quiet.back();
  }
  // One that fails to arrive, so that its age matters.
  void defer(base::MessageId id) {
    engine->conclude(
        id, {{0, {ipc::Result::kDeferred, ipc::FailureClass::kData, {451, 4, 0, 0, "later"}}}}, "",
        {});
    turn();
  }
  void take(base::MessageId id) { (void)engine->schedule().take("far.example", id); }
  FakeRelay relay;
};

TEST_F(BlockCommandsTest, WhatIsInFlightIsCountedAndItsEndIsTold) {
  (void)mail("a@far.example");
  const auto leased = lease();
  EXPECT_EQ(run(ipc::Freeze{.queue = "far.example", .reason = "full"}), "0 far.example is frozen");
  EXPECT_EQ(tool.done.back().in_flight, 1U);
  tell(tool, ipc::AwaitQuiet{});
  EXPECT_TRUE(tool.quiet.empty());
  relay.answer(leased, ipc::Result::kDelivered, 250, "ok");
  for (int n = 0; n < 400 && tool.quiet.empty(); ++n) {
    turn(1);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ASSERT_EQ(tool.quiet.size(), 1U);
  EXPECT_EQ(tool.quiet[0].in_flight, 0U);
  // Who stopped nothing waits for nothing.
  FakeControl other;
  serve(other, ControlLevel::kView);
  other.connection->send(ipc::AwaitQuiet{base::RequestId(1)});
  for (int n = 0; n < 400 && other.quiet.empty(); ++n) turn(1);
  ASSERT_EQ(other.quiet.size(), 1U);
}

TEST_F(BlockCommandsTest, OnlyWhatAFreezeStopsIsCounted) {
  (void)mail("a@far.example");
  (void)lease();
  EXPECT_EQ(run(ipc::Freeze{.queue = "near.example", .reason = "x", .future = true}),
            "0 near.example is frozen");
  EXPECT_EQ(tool.done.back().in_flight, 0U);
}

TEST_F(BlockCommandsTest, AFreezeEndsByTheWallClockHoweverItGotThere) {
  (void)mail("a@far.example");
  const auto until = clock.wall() + base::Millis(60'000);
  EXPECT_EQ(run(ipc::Freeze{.queue = "far.example", .reason = "x", .until = clock.wall()}),
            "64 that time is over already");
  ASSERT_EQ(run(ipc::Freeze{.queue = "far.example", .reason = "x", .until = until}),
            "0 far.example is frozen");
  clock.wall_ms += 59'000;  // the wall clock alone is set
  engine->end_due_freezes();
  turn();
  EXPECT_NE(engine->blocks().frozen("far.example"), nullptr);
  EXPECT_EQ(list_blocks(*engine, {}).rows[0].until, until);
  clock.wall_ms += 1'000;
  engine->end_due_freezes();
  turn();
  EXPECT_EQ(engine->blocks().frozen("far.example"), nullptr);
  EXPECT_EQ(engine->schedule().find("far.example")->blocked, Blocked::kNo);
  end();
  begin();  // and that is durable
  EXPECT_TRUE(engine->blocks().freezes().empty());
}

TEST_F(BlockCommandsTest, AFreezeWhoseTimeCameWhileTheServerWasDownIsOver) {
  (void)mail("a@far.example");
  const auto soon = clock.wall() + base::Millis(60'000);
  ASSERT_EQ(run(ipc::Freeze{.queue = "far.example", .reason = "x", .until = soon}).substr(0, 2),
            "0 ");
  ASSERT_EQ(
      run(ipc::Freeze{.queue = "kept.example", .reason = "x", .until = soon + kDay, .future = true})
          .substr(0, 2),
      "0 ");
  end();
  clock.advance(base::Millis(61'000));
  begin();
  EXPECT_EQ(engine->blocks().frozen("far.example"), nullptr);
  EXPECT_NE(engine->blocks().frozen("kept.example"), nullptr);
  FakeRelay fresh;
  connect(fresh);
  EXPECT_FALSE(fresh.grants.empty());
  turn();
  const auto saved = Blocks::from_text(disk.content("control.json"));
  ASSERT_TRUE(saved) << saved.error();
  EXPECT_EQ(saved->freezes().size(), 1U);
}

TEST_F(BlockCommandsTest, AFreezeThatKeepsTheClockLetsMailExpire) {
  const auto kept = mail("a@far.example");
  const auto still = mail("b@near.example");
  ASSERT_EQ(
      run(ipc::Freeze{.queue = "far.example", .reason = "x", .keep_clock = true}).substr(0, 2),
      "0 ");
  ASSERT_EQ(run(ipc::Freeze{.queue = "near.example", .reason = "x"}).substr(0, 2), "0 ");
  pass(base::Millis(1'500'000));
  ASSERT_EQ(run(ipc::Unfreeze{.queue = "near.example"}),
            "0 near.example is not frozen any more; expire within 24h: 1");
  take(kept);
  defer(kept);
  EXPECT_EQ(look(kept), nullptr);
  EXPECT_NE(look(still), nullptr);
}

// Its own time is taken off once, whatever stood over it.
TEST_F(BlockCommandsTest, AHoldInAFreezeCountsOnce) {
  const auto id = mail("a@far.example");
  pass(base::Millis(100'000));
  engine->hold(id, "by anna: suspect");
  turn();
  pass(base::Millis(200'000));
  ASSERT_EQ(run(ipc::Freeze{.queue = "far.example", .reason = "x"}).substr(0, 2), "0 ");
  pass(base::Millis(400'000));
  engine->end_hold(id);
  turn();
  pass(base::Millis(300'000));
  ASSERT_EQ(run(ipc::Unfreeze{.queue = "far.example"}).substr(0, 2), "0 ");
  const auto left = [&] {
    const Message* message = look(id);
    return message == nullptr ? std::nullopt : engine->left(*message, message->recipients[0]);
  };
  EXPECT_EQ(left(), base::Millis(1'000'000 - 100'000));
  end();
  begin();
  EXPECT_EQ(left(), base::Millis(1'000'000 - 100'000));
  pass(base::Millis(900'000));
  take(id);
  defer(id);
  ASSERT_NE(look(id), nullptr);  // to the hour; its life has been as long as that of others
  take(id);
  pass(base::Millis(1));
  defer(id);
  EXPECT_EQ(look(id), nullptr);
}

TEST_F(BlockCommandsTest, WhatIsResumedTellsHowMuchOfItExpiresSoon) {
  config.retry.expire = 5 * kDay;
  engine->configure(config);
  turn();
  (void)mail("old@far.example");
  (void)mail("old@near.example");
  pass(4 * kDay + base::Millis(1));
  (void)mail("young@far.example");
  ASSERT_EQ(run(ipc::SwitchOutbound{.reason = "x"}).substr(0, 2), "0 ");
  ASSERT_EQ(run(ipc::Freeze{.queue = "far.example", .reason = "x"}).substr(0, 2), "0 ");
  EXPECT_EQ(run(ipc::Unfreeze{.queue = "far.example"}),
            "0 far.example is not frozen any more; outbound is disabled; expire within 24h: 0");
  EXPECT_EQ(run(ipc::SwitchOutbound{.enable = true}),
            "0 outbound is enabled; expire within 24h: 2");
  ASSERT_EQ(run(ipc::Freeze{.queue = "*", .reason = "x"}).substr(0, 2), "0 ");
  EXPECT_EQ(run(ipc::Unfreeze{.queue = "*"}), "0 * is not frozen any more; expire within 24h: 2");
}

// Mail is kept in the order of its age, so behind what is too young to expire soon nobody looks.
TEST_F(BlockCommandsTest, WhatIsResumedIsLookedAtAsFarAsItMayExpireSoon) {
  config.retry.expire = 5 * kDay;
  config.retry.notify = kDay / 2;
  engine->configure(config);
  (void)mail("old@far.example");
  pass(4 * kDay + base::Millis(1));
  for (int n = 0; n < 600; ++n) (void)mail("young@far.example");
  ASSERT_EQ(run(ipc::SwitchOutbound{.reason = "x"}).substr(0, 2), "0 ");
  const auto scans = [this, before = index_rows->scans] { return index_rows->scans - before; };
  EXPECT_EQ(run(ipc::SwitchOutbound{.enable = true}), "0 outbound is enabled; expire within 24h: 1");
  EXPECT_EQ(scans(), 1U);
}

// What was imported is as old as it was elsewhere.
TEST_F(BlockCommandsTest, WhatWasImportedMayExpireSoonBehindYoungerMail) {
  config.retry.expire = 5 * kDay;
  engine->configure(config);
  pass(5 * kDay);
  for (int n = 0; n < 300; ++n) (void)mail("young@far.example");
  auto record = envelope();
  record.origin = base::MessageId(7);
  record.born = store->clock().now() - 4 * kDay - base::Millis(1);
  record.body_size = 1;
  store->accept(record, std::make_shared<const std::string>("x"),
                [this, id = record.id](bool) noexcept { engine->admit(id); });
  turn();
  for (int n = 0; n < 300; ++n) (void)mail("young@far.example");
  ASSERT_EQ(run(ipc::SwitchOutbound{.reason = "x"}).substr(0, 2), "0 ");
  EXPECT_EQ(run(ipc::SwitchOutbound{.enable = true}), "0 outbound is enabled; expire within 24h: 1");
}

TEST_F(BlockCommandsTest, WhatIsCutIsToldToTheDelivererAndWhatMayHaveArrivedIsNamed) {
  const auto id = mail("a@far.example");
  const auto leased = lease();
  EXPECT_EQ(run(ipc::SwitchOutbound{.now = true, .reason = "spam"}), "0 outbound is disabled");
  EXPECT_EQ(tool.done.back().in_flight, 1U);
  turn();
  ASSERT_EQ(relay.broken_off.size(), 1U);
  EXPECT_EQ(relay.broken_off[0].lease, leased.lease);
  EXPECT_EQ(relay.broken_off[0].epoch, leased.epoch);
  relay.answer(leased, ipc::Result::kUnknown, 0, "broken off");
  const auto quiet = await_quiet();
  EXPECT_EQ(quiet.in_flight, 0U);
  ASSERT_EQ(quiet.may_repeat.size(), 1U);
  EXPECT_EQ(quiet.may_repeat[0], id);
  EXPECT_NE(look(id), nullptr);
}

TEST_F(BlockCommandsTest, WhatWasCutBeforeItsEndComesBackUntried) {
  const auto id = mail("a@far.example");
  const auto leased = lease();
  EXPECT_EQ(run(ipc::SwitchOutbound{.now = true, .reason = "spam"}), "0 outbound is disabled");
  relay.answer(leased, ipc::Result::kReturned, 0, "");
  EXPECT_EQ(await_quiet().may_repeat_count, 0U);
  ASSERT_NE(look(id), nullptr);
  EXPECT_EQ(look(id)->recipients[0].tries, 0U);
}

TEST_F(BlockCommandsTest, ADelivererThatDiesWhileItIsCutMayHaveSentIt) {
  (void)mail("a@far.example");
  (void)lease();
  EXPECT_EQ(run(ipc::SwitchOutbound{.now = true, .reason = "spam"}), "0 outbound is disabled");
  relay.connection.reset();
  EXPECT_EQ(await_quiet().may_repeat_count, 1U);
}

TEST_F(BlockCommandsTest, WhatIsSparedIsNeitherCountedNorCut) {
  config.routes.push_back({.to = {"corp.example"}, .via = {config::HopSpec{}}, .internal = true});
  engine->configure(config);
  turn();
  (void)mail("a@corp.example");
  (void)lease();
  EXPECT_EQ(run(ipc::SwitchOutbound{.now = true, .reason = "spam"}), "0 outbound is disabled");
  EXPECT_EQ(tool.done.back().in_flight, 0U);
  EXPECT_TRUE(relay.broken_off.empty());
  EXPECT_EQ(engine->router().internal(8), std::vector<std::string>{"corp.example"});
  EXPECT_EQ(run(ipc::SwitchOutbound{.all = true, .reason = "all"}).substr(0, 2), "0 ");
  EXPECT_EQ(tool.done.back().in_flight, 1U);
}

TEST_F(BlockCommandsTest, AHopIsFrozenIfARouteNamesIt) {
  config.routes.push_back(
      {.to = {"corp.example"},
       .via = {{.kind = config::HopKind::kHost, .host = "relay.example", .port = 2525}}});
  engine->configure(config);
  turn();
  (void)mail("a@corp.example");
  EXPECT_EQ(run(ipc::Freeze{.queue = "other.example", .hop = true, .reason = "x"}).substr(0, 3),
            "65 ");
  EXPECT_EQ(
      run(ipc::Freeze{.queue = "a b", .hop = true, .reason = "x", .future = true}).substr(0, 3),
      "64 ");
  EXPECT_EQ(run(ipc::Freeze{.queue = "Relay.example", .hop = true, .reason = "slow"}),
            "0 --hop relay.example is frozen");
  tell(tool, ipc::ListQueues{});
  ASSERT_EQ(tool.queues.back().rows.size(), 1U);
  EXPECT_EQ(tool.queues.back().rows[0].state, ipc::State::kFrozen);
  EXPECT_EQ(tool.queues.back().rows[0].why, "--hop relay.example: slow");
  connect(relay);
  EXPECT_TRUE(relay.grants.empty());
  EXPECT_EQ(run(ipc::Unfreeze{.queue = "relay.example", .hop = true}),
            "0 --hop relay.example is not frozen any more; expire within 24h: 1");
  turn();
  EXPECT_FALSE(relay.grants.empty());
}

// Which MX hosts a queue leads to is forgotten with the process, how long these were frozen is not.
TEST_F(BlockCommandsTest, NothingExpiresForTheTimeThatAnMxHostWasFrozen) {
  const auto id = mail("a@far.example");
  connect(relay);  // now its host is known
  ASSERT_EQ(run(ipc::Freeze{.queue = "far.example:25", .hop = true, .reason = "x"}),
            "0 --hop far.example:25 is frozen");
  pass(base::Millis(400'000));
  EXPECT_EQ(run(ipc::Unfreeze{.queue = "far.example:25", .hop = true}),
            "0 --hop far.example:25 is not frozen any more; expire within 24h: 1");
  ASSERT_EQ(run(ipc::Freeze{.queue = "far.example:25", .hop = true, .reason = "x"}).substr(0, 2), "0 ");
  pass(base::Millis(1'100'000));
  end();
  begin();
  engine->hop_failed({"far.example", "far.example"}, ipc::FailureClass::kDns, {0, 4, 4, 3, "no answer"}, "");
  turn(60);
  ASSERT_NE(look(id), nullptr);
  EXPECT_EQ(engine->left(*look(id), look(id)->recipients[0]), base::Millis(1'000'000));
  // A domain whose hosts are never found is not spared for ever.
  pass(base::Millis(1'000'001));
  engine->hop_failed({"far.example", "far.example"}, ipc::FailureClass::kDns, {0, 4, 4, 3, "no answer"}, "");
  turn(60);
  EXPECT_EQ(look(id), nullptr);
}

// Behind a start nobody knows where mail leads by MX, but where it was tried last.
TEST_F(BlockCommandsTest, WhatMayLeadToAnUnfrozenHostIsToldApart) {
  const auto tried = mail("a@far.example");
  (void)mail("b@near.example");  // never tried
  take(tried);
  engine->conclude(tried,
                   {{0, {ipc::Result::kDeferred, ipc::FailureClass::kMailbox, {451, 4, 2, 1, "later"}, {}}}},
                   "MX1.example.net[192.0.2.9]:25", {});
  turn();
  const ipc::Freeze freeze{.queue = "mx1.example.net", .hop = true, .reason = "x", .future = true};
  const ipc::Unfreeze unfreeze{.queue = "mx1.example.net", .hop = true};
  ASSERT_EQ(run(freeze).substr(0, 2), "0 ");
  EXPECT_EQ(run(unfreeze), "0 --hop mx1.example.net is not frozen any more; expire within 24h: 1, and 1 more if they "
                           "lead there, which is not known yet");
  tell(tool, ipc::ListMessages{.selector = {.hop = "mx1.example.net"}});
  ASSERT_EQ(tool.messages.back().rows.size(), 1U);
  EXPECT_EQ(tool.messages.back().rows[0].id, tried);
  // When that is known there is nothing to guess.
  connect(relay);
  turn();
  ASSERT_EQ(run(freeze).substr(0, 2), "0 ");
  EXPECT_EQ(run(unfreeze).find("not known yet"), std::string::npos);
}

// It was typed without its port.
TEST_F(BlockCommandsTest, AFrozenNextHopHasOneRow) {
  config.routes.push_back(
      {.to = {"corp.example"}, .via = {{.kind = config::HopKind::kHost, .host = "relay.example", .port = 2525}}});
  engine->configure(config);
  turn();
  (void)mail("a@corp.example");
  connect(relay);
  ASSERT_EQ(run(ipc::Freeze{.queue = "relay.example", .hop = true, .reason = "slow"}).substr(0, 2), "0 ");
  ASSERT_EQ(run(ipc::Freeze{.queue = "mx.example.net", .hop = true, .reason = "x", .future = true}).substr(0, 2), "0 ");
  tell(tool, ipc::ListQueues{.hops = true});
  std::vector<std::string> names;
  for (const auto& row : tool.queues.back().rows) {
    names.push_back(row.queue);
    EXPECT_EQ(row.state, ipc::State::kFrozen) << row.queue;
  }
  EXPECT_EQ(names.size(), 2U);
  EXPECT_EQ(std::ranges::count(names, "mx.example.net"), 1);
  EXPECT_TRUE(std::ranges::any_of(names, [](const auto& name) { return name.starts_with("relay.example"); }));
  tell(tool, ipc::ListQueues{.hops = true, .after = names.back()});
  EXPECT_TRUE(tool.queues.back().rows.empty());
}

// An exception by such a name would be none.
TEST_F(BlockCommandsTest, WhatNoFreezeCanBeCalledIsNotUnfrozen) {
  ASSERT_EQ(run(ipc::Freeze{.queue = "*.example.net", .hop = true, .reason = "x", .future = true}).substr(0, 2), "0 ");
  for (const auto* name : {"mx1.example.net,mx2.example.net:25", "mx1.example.net:25/verified", "mx1.example.net>mx2"})
    EXPECT_EQ(run(ipc::Unfreeze{.queue = name, .hop = true}).substr(0, 3), "64 ") << name;
  EXPECT_EQ(run(ipc::Unfreeze{.queue = "a b"}).substr(0, 3), "64 ");
  EXPECT_TRUE(engine->blocks().exceptions().empty());
}

TEST_F(BlockCommandsTest, AHostThatCallsIsANextHopToo) {
  config.routes.push_back({.to = {"inner.example", "*.branch.example"}, .via = {{.kind = config::HopKind::kTurn}}});
  engine->configure(config);
  turn();
  for (const auto* known : {"turn:inner.example", "turn:a.branch.example"})
    EXPECT_EQ(run(ipc::Freeze{.queue = known, .hop = true, .reason = "x"}).substr(0, 2), "0 ") << known;
  for (const auto* unknown : {"turn:far.example", "turn:inner.example.org", "turn"})
    EXPECT_EQ(run(ipc::Freeze{.queue = unknown, .hop = true, .reason = "x"}).substr(0, 3), "65 ") << unknown;
  (void)mail("a@inner.example");
  tell(tool, ipc::ListQueues{});
  ASSERT_EQ(tool.queues.back().rows.size(), 1U);
  EXPECT_EQ(tool.queues.back().rows[0].state, ipc::State::kFrozen);
  EXPECT_EQ(tool.queues.back().rows[0].why, "--hop turn:inner.example: x");
  tell(tool, ipc::ListQueues{.hops = true});
  ASSERT_FALSE(tool.queues.back().rows.empty());
  for (const auto& row : tool.queues.back().rows) EXPECT_EQ(row.state, ipc::State::kFrozen) << row.queue;
}

TEST_F(BlockCommandsTest, ConfiguredNamesAreKnownWithoutMail) {
  config.routes.push_back({.to = {"corp.example", "*.lab.example"}, .via = {config::HopSpec{}}});
  engine->configure(config);
  turn();
  for (const auto* known :
       {"corp.example", "example.org", "local", "*.example", "*.lab.example", "a.lab.example", "*"})
    EXPECT_EQ(run(ipc::Freeze{.queue = known, .reason = "x"}).substr(0, 2), "0 ") << known;
  for (const auto* unknown : {"corp.exampel", "*.corp.example", "far.example"})
    EXPECT_EQ(run(ipc::Freeze{.queue = unknown, .reason = "x"}).substr(0, 2), "65") << unknown;
}

TEST_F(BlockCommandsTest, IntakeIsSwitchedForEverySmtpdAndForGood) {
  FakeSmtpd smtpd;
  connect(smtpd);
  EXPECT_EQ(run(ipc::SwitchIntake{.reason = "moving"}), "0 intake is disabled");
  ASSERT_EQ(smtpd.intake.size(), 2U);
  EXPECT_FALSE(smtpd.intake[1].open);
  EXPECT_EQ(smtpd.intake[1].refusal.code, 421);
  // One that did not hear of it in time is refused behind the final dot.
  send(smtpd, submit_frame(1, 1, 1), {"a@far.example"}, "x");
  turn();
  ASSERT_EQ(smtpd.submitted.size(), 1U);
  EXPECT_EQ(smtpd.submitted[0].refusal.code, 421);
  tell(tool, ipc::ListBlocks{});
  EXPECT_EQ(tool.blocks.back().rows[0].kind, ipc::BlockKind::kIntake);
  EXPECT_EQ(tool.blocks.back().rows[0].who, "anna");
  FakeSmtpd second;
  connect(second, 1);
  EXPECT_EQ(second.intake.at(0).refusal.code, 421);
  EXPECT_EQ(run(ipc::SwitchIntake{.enable = true}), "0 intake is enabled");
  EXPECT_TRUE(smtpd.intake.back().open);
  EXPECT_TRUE(second.intake.back().open);
  EXPECT_EQ(run(ipc::SwitchIntake{.enable = true}).substr(0, 2), "65");
}

TEST_F(BlockCommandsTest, IntakeThatWasOffAtTheStartIsOpenedAgain) {
  ASSERT_EQ(run(ipc::SwitchIntake{.reason = "moving"}), "0 intake is disabled");
  tool.connection.reset();
  end();
  start();
  FakeSmtpd smtpd;
  connect(smtpd);
  EXPECT_EQ(smtpd.intake.at(0).refusal.code, 421);
  EXPECT_EQ(run(ipc::SwitchIntake{.enable = true}), "0 intake is enabled");
  EXPECT_TRUE(smtpd.intake.back().open);
}

TEST_F(BlockCommandsTest, ExceptionsAreListed) {
  (void)mail("a@mx.example.net");
  ASSERT_EQ(run(ipc::Freeze{.queue = "*.example.net", .reason = "x"}).substr(0, 2), "0 ");
  ASSERT_EQ(
      run(ipc::Unfreeze{.queue = "mx.example.net"}),
      "0 mx.example.net is an exception to the freeze of *.example.net now; expire within 24h: 1");
  const auto rows = list_blocks(*engine, {}).rows;
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[1].kind, ipc::BlockKind::kException);
  EXPECT_EQ(rows[1].name, "mx.example.net");
  EXPECT_EQ(engine->schedule().find("mx.example.net")->blocked, Blocked::kNo);
}

}  // namespace
}  // namespace postern::queued
