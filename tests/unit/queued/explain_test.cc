// Why mail does not move, and all that is told with it.
#include "tests/unit/queued/explain_rig.h"

namespace postern::queued {
namespace {

TEST_F(ExplainTest, OfTwoTimesTheLaterOneBinds) {
  prepare();
  set_up(Blocker::kHopDead);
  pass(base::Millis(5'000));
  set_up(Blocker::kRetry);
  auto found = blockers();
  ASSERT_GE(found.size(), 2U);
  EXPECT_EQ(found[0], Blocker::kRetry);
  EXPECT_EQ(found[1], Blocker::kHopDead);
  EXPECT_EQ(explained().next, store->clock().wall() + base::Millis(60'000));
  pass(base::Millis(56'000));  // the hop fails again
  fail_hop();
  found = blockers();
  ASSERT_GE(found.size(), 2U);
  EXPECT_EQ(found[0], Blocker::kHopDead);
  EXPECT_EQ(found[1], Blocker::kRetry);
  EXPECT_EQ(explained().next, store->clock().wall() + base::Millis(120'000));
}

TEST_F(ExplainTest, WhatIsUnderWayIsTold) {
  prepare();
  EXPECT_EQ(blockers(), std::vector{Blocker::kConnecting});
  auto told = explained();
  EXPECT_EQ(told.state, ipc::State::kReady);
  EXPECT_EQ(told.obstacles[0].name, kHop);
  EXPECT_EQ(told.next.ms, 0);
  set_up(Blocker::kDelivering);
  told = explained();
  ASSERT_EQ(told.obstacles.size(), 1U);
  EXPECT_EQ(told.state, ipc::State::kDelivering);
  EXPECT_EQ(told.obstacles[0].blocker, Blocker::kDelivering);
  EXPECT_EQ(told.obstacles[0].name, kHop);
  EXPECT_EQ(told.obstacles[0].since, store->clock().wall());
  pass(base::Millis(7'000));
  EXPECT_EQ(explained().obstacles[0].since, store->clock().wall() - base::Millis(7'000));
}

TEST_F(ExplainTest, AHopThatWasFrozenBeforeMailCameForItIsTold) {
  begin();
  set_up(Blocker::kHopFrozen);
  prepare_mail("a@far.example");
  EXPECT_EQ(blockers(), std::vector{Blocker::kHopFrozen});
  const auto told = explained();
  EXPECT_EQ(told.state, ipc::State::kFrozen);
  EXPECT_EQ(told.obstacles[0].name, kHop);
  EXPECT_EQ(told.obstacles[0].who, "dora");
  EXPECT_EQ(told.next.ms, 0);
  for (const auto* name : {"far.example", "10.9.0.1:2525"}) {
    const auto queue_told = explain_queue(*engine, {{}, name});
    EXPECT_EQ(queue_told.state, ipc::State::kFrozen) << name;
    ASSERT_EQ(queue_told.obstacles.size(), 1U) << name;
    EXPECT_EQ(queue_told.obstacles[0].blocker, Blocker::kHopFrozen);
  }
  set_up(Blocker::kFrozen);
  EXPECT_EQ(blockers(), (std::vector{Blocker::kFrozen, Blocker::kHopFrozen}));
}

TEST_F(ExplainTest, AServerThatStillReadsItsMailSaysSo) {
  begin_unread();
  main = mail("a@far.example");
  EXPECT_EQ(blockers(),
            (std::vector{Blocker::kLoading, Blocker::kStarting, Blocker::kNoDeliverer}));
  engine->start();
  turn();
  EXPECT_EQ(blockers(), (std::vector{Blocker::kStarting, Blocker::kNoDeliverer}));
}

TEST_F(ExplainTest, AHopThatNoMailIsForNamesTheDelivererThatIsNotThere) {
  begin_unread();
  for (const auto* name : {"unix:/run/lmtp", "10.9.0.1:2525"}) {
    change([&](Blocks& b) noexcept {
      return b.freeze({.queue = name, .who = "dora", .since = clock.wall(), .from = engine->now(), .hop = true});
    });
    const auto& obstacles = explain_queue(*engine, {{}, name}).obstacles;
    const auto missing = std::ranges::find(obstacles, Blocker::kNoDeliverer, &ipc::Obstacle::blocker);
    ASSERT_NE(missing, obstacles.end()) << name;
    EXPECT_EQ(missing->name, name[0] == 'u' ? "local" : "relay");
  }
}

// A queue's freeze lets its clock go on, that of its next hop does not.
TEST_F(ExplainTest, OfTwoFreezesOneThatStopsTheClockStopsIt) {
  prepare();
  const auto freeze = [this](const std::string& name, bool hop, bool keep_clock) {
    change([&](Blocks& b) noexcept {
      return b.freeze({.queue = name, .who = "dora", .since = clock.wall(), .from = engine->now(),
                       .keep_clock = keep_clock, .hop = hop});
    });
  };
  freeze("far.example", false, true);
  EXPECT_FALSE(explained().clock_stands);
  const auto expires = explained().expires;
  freeze(std::string(kHop), true, false);
  EXPECT_TRUE(explained().clock_stands);
  pass(base::Millis(50'000));
  EXPECT_EQ(explained().expires, expires + base::Millis(50'000));
}

// The name of a socket keeps its case.
TEST_F(ExplainTest, ASocketIsFoundByItsName) {
  config.routes.push_back({.to = {"inner.example"},
                           .via = {{.kind = config::HopKind::kSocket, .host = "/run/Dovecot/LMTP"}}});
  begin();
  (void)mail("a@inner.example");
  const auto* known = engine->schedule().find("inner.example");
  ASSERT_NE(known, nullptr);
  const auto& name = known->hop()->name();
  EXPECT_NE(name.find("Dovecot"), std::string::npos);
  EXPECT_TRUE(explain_queue(*engine, {{}, name}).found) << name;
}

TEST_F(ExplainTest, AServerWithoutAFreeConnectionSaysSo) {
  begin();
  const auto slots = use_all_connections();
  main = mail("a@far.example");
  queue = "far.example";
  EXPECT_EQ(blockers(), std::vector{Blocker::kSlots});
  EXPECT_EQ(explained().obstacles[0].count, slots);
  EXPECT_EQ(explained().obstacles[0].of, slots);
}

// Nobody can even ask where its hosts are.
TEST_F(ExplainTest, AServerWithoutAFreeConnectionSaysSoOfMailByMxToo) {
  begin();
  const auto slots = use_all_connections();
  main = mail("a@mx.example");
  queue = "mx.example";
  EXPECT_EQ(blockers(), std::vector{Blocker::kSlots});
  const auto told = explained();
  EXPECT_EQ(told.obstacles[0].of, slots);
  EXPECT_EQ(told.next.ms, 0) << "nobody can tell when one is free";
  const auto queue_told = explain_queue(*engine, {{}, queue});
  ASSERT_EQ(queue_told.obstacles.size(), 1U);
  EXPECT_EQ(queue_told.obstacles[0].blocker, Blocker::kSlots);
  EXPECT_EQ(queue_told.next.ms, 0);
}

// --- All that is told -------------------------------------------------------------------------------

TEST_F(ExplainTest, LinesOfTheConfigurationAreNamed) {
  config.domain_places = {{21, "postern.toml"}};
  config.start_disabled = true;
  prepare();
  auto told = explained();
  EXPECT_EQ(told.way.by, ipc::RoutedBy::kRoute);
  EXPECT_EQ(told.way.place, "conf.d/routes.toml:46");
  EXPECT_EQ(told.way.via, "smtp://10.9.0.1:2525");
  EXPECT_EQ(told.retry.place, "postern.toml:67");
  ASSERT_FALSE(told.obstacles.empty());
  EXPECT_EQ(told.obstacles[0].blocker, Blocker::kOff);
  EXPECT_EQ(told.obstacles[0].place, "postern.toml:12");
  main = mail("a@elsewhere.example");
  told = explained();
  EXPECT_EQ(told.way.by, ipc::RoutedBy::kNothing);
  EXPECT_EQ(told.way.via, "mx");
  main = mail("bob@example.org");
  told = explained();
  EXPECT_EQ(told.way.by, ipc::RoutedBy::kDomain);
  EXPECT_EQ(told.way.place, "postern.toml:21");
  EXPECT_EQ(told.way.via, "mailbox");
}

TEST_F(ExplainTest, WhoAndWhyAndSinceWhenAreTold) {
  prepare();
  set_up(Blocker::kOff);
  set_up(Blocker::kFrozen);
  pass(base::Millis(9'000));
  set_up(Blocker::kHeld);
  const auto told = explained();
  ASSERT_GE(told.obstacles.size(), 3U);
  EXPECT_EQ(told.state, ipc::State::kHeld);
  EXPECT_EQ(told.next.ms, 0);
  EXPECT_TRUE(told.clock_stands);
  const auto& [held, frozen, off] =
      std::tie(told.obstacles[0], told.obstacles[1], told.obstacles[2]);
  EXPECT_EQ(held.who, "anna");
  EXPECT_EQ(held.reason, "phish");
  EXPECT_EQ(held.since, store->clock().wall());
  EXPECT_EQ(frozen.name, "*.example");
  EXPECT_EQ(frozen.who, "bert");
  EXPECT_EQ(frozen.reason, "moving");
  EXPECT_EQ(frozen.since, store->clock().wall() - base::Millis(9'000));
  EXPECT_EQ(off.who, "carl");
  EXPECT_EQ(off.reason, "spam run");
}

TEST_F(ExplainTest, TheSenderHearsAndItEndsWhenItWasTold) {
  config.retry.notify = base::Millis(300'000);
  prepare();
  const auto arrived = store->clock().wall();
  pass(base::Millis(100'000));
  auto told = explained();
  EXPECT_EQ(told.notice, arrived + base::Millis(300'000));
  EXPECT_EQ(told.expires, arrived + base::Millis(1'000'000));
  // Its clock stands while it is held, and both move on.
  set_up(Blocker::kHeld);
  pass(base::Millis(50'000));
  lift(Blocker::kHeld);
  told = explained();
  EXPECT_FALSE(told.clock_stands);
  EXPECT_EQ(told.notice, arrived + base::Millis(350'000));
  EXPECT_EQ(told.expires, arrived + base::Millis(1'050'000));
  main = mail("a@far.example", "x\r\n", true);
  EXPECT_EQ(explained().notice.ms, 0);  // there is nobody to tell
}

// Of a message that was read from its row.
TEST_F(ExplainTest, HowItsLastTryWasSecuredIsTold) {
  prepare();
  EXPECT_EQ(explained().tls, "");
  set_up(Blocker::kRetry);
  turn();
  EXPECT_EQ(explained().tls, "TLSv1.3 x; yes: mx; opportunistic: no policy");
  std::optional<ipc::Shown> page;
  show(*engine, {.id = main}, [&](const ipc::Shown& answer) noexcept { page = answer; });
  for (int n = 0; n < 30 && !page; ++n) turn(1);
  ASSERT_TRUE(page && page->recipients.size() == 1);
  EXPECT_EQ(page->recipients[0].tls, "TLSv1.3 x; yes: mx; opportunistic: no policy");
}

TEST_F(ExplainTest, RecipientsComeInPagesAndAlikeOnesTogether) {
  begin();
  auto record = envelope(0);
  for (std::uint32_t n = 0; n < 150; ++n)
    record.recipients.push_back(
        {.number = n,
         .address = address("u" + std::to_string(n) + (n < 130 ? "@far" : "@other") + ".example")});
  const auto id = record.id;
  store->accept(std::move(record), std::make_shared<const std::string>(),
                [this, id](bool) noexcept { engine->admit(id); });
  turn();
  std::vector<std::size_t> sizes;
  std::vector<std::string> queues;
  ipc::Explain ask{.id = id};
  for (bool more = true; more;) {
    std::optional<ipc::Explained> page;
    explain(*engine, ask, [&](const ipc::Explained& answer) noexcept { page = answer; });
    for (int n = 0; n < 30 && !page; ++n) turn(1);
    ASSERT_TRUE(page && page->found);
    ASSERT_EQ(page->explanations.size(), 1U);
    sizes.push_back(page->explanations[0].recipients.size());
    queues.push_back(page->explanations[0].queue);
    more = page->more;
    ask.after = page->next_after;
  }
  EXPECT_EQ(sizes, (std::vector<std::size_t>{50, 50, 30, 20}));
  EXPECT_EQ(queues.back(), "other.example");
}

TEST_F(ExplainTest, AQueueAndItsNextHopAreExplained) {
  prepare();
  (void)mail("b@near.example");
  set_up(Blocker::kHopDead);
  auto told = explain_queue(*engine, {{}, "Far.Example"});
  ASSERT_TRUE(told.found);
  EXPECT_FALSE(told.is_hop);
  EXPECT_EQ(told.state, ipc::State::kRetry);
  EXPECT_EQ(told.next, store->clock().wall() + base::Millis(60'000));
  EXPECT_EQ(told.messages, 1U);
  EXPECT_EQ(told.ready, 1U);
  EXPECT_EQ(told.way.place, "conf.d/routes.toml:46");
  ASSERT_EQ(told.hops.size(), 1U);
  EXPECT_EQ(told.hops[0].name, kHop);
  EXPECT_EQ(told.hops[0].queues, 2U);
  EXPECT_EQ(told.hops[0].limit, 1U);
  EXPECT_EQ(told.hops[0].failures, 1U);
  EXPECT_EQ(told.hops[0].last_reply, "4.4.1 connect timed out");
  set_up(Blocker::kFrozen);
  told = explain_queue(*engine, {{}, "far.example"});
  EXPECT_EQ(told.state, ipc::State::kFrozen);
  EXPECT_EQ(told.next.ms, 0);
  ASSERT_GE(told.obstacles.size(), 2U);
  EXPECT_EQ(told.obstacles[1].blocker, Blocker::kHopDead);
  told = explain_queue(*engine, {{}, std::string(kHop)});
  ASSERT_TRUE(told.found);
  EXPECT_TRUE(told.is_hop);
  EXPECT_EQ(told.state, ipc::State::kRetry);
  EXPECT_EQ(told.queues, (std::vector<std::string>{"far.example", "near.example"}));
  told = explain_queue(*engine, {{}, "fat.example"});
  EXPECT_FALSE(told.found);
  ASSERT_FALSE(told.near.empty());
  EXPECT_EQ(told.near[0], "far.example");
}

TEST_F(ExplainTest, AQueueOfWhichAllIsHeldOrNotDueSaysSo) {
  prepare();
  set_up(Blocker::kRetry);
  auto told = explain_queue(*engine, {{}, "far.example"});
  EXPECT_EQ(told.state, ipc::State::kRetry);
  EXPECT_EQ(told.next, store->clock().wall() + base::Millis(60'000));
  EXPECT_EQ(told.waiting, 1U);
  set_up(Blocker::kHeld);
  told = explain_queue(*engine, {{}, "far.example"});
  EXPECT_EQ(told.state, ipc::State::kHeld);
  EXPECT_EQ(told.held, 1U);
  EXPECT_EQ(told.next.ms, 0);
}

}  // namespace
}  // namespace postern::queued
