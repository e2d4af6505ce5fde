// One lease of several queues, from the engine: what its outcome is for each of them.
#include "tests/unit/queued/notices_rig.h"

namespace postern::queued {
namespace {

class OneLease : public NoticesTest {
 protected:
  void SetUp() override {
    config.routes.push_back({.to = {"*"}, .via = {{config::HopKind::kHost, "smart.example", 25}}});
    begin();
  }
  // So many domains, a recipient each.
  MessageRecord record_for(std::uint32_t domains) {
    auto record = envelope(0);
    record.from = mail::ReversePath(address("ann@example.org"));
    for (std::uint32_t n = 0; n < domains; ++n)
      record.recipients.push_back(
          {.number = n, .address = address("u@d" + std::to_string(n) + ".example"), .notify = {}});
    return record;
  }
  base::MessageId lease(MessageRecord record) {
    const auto id = post(std::move(record), "hello\r\n");
    connect(relay);
    ask();
    return id;
  }
  void ask() {
    EXPECT_FALSE(relay.grants.empty());
    if (relay.grants.empty()) return;
    (void)relay.ask(relay.grants.front());
    turn();
  }
  void freeze(const std::string& name) {
    engine->change_blocks(
        [name](Blocks& blocks) noexcept { return blocks.freeze({.queue = name, .reason = "full", .who = "anna"}); },
        [](Blocks::Said) noexcept {});
    turn(50);
  }
  // Leases, and recipients whose failures wait, of a queue.
  std::uint64_t in_flight(const std::string& name) {
    const auto is = [&](const Schedule::Queue& queue) { return queue.name() == name; };
    std::uint64_t count =
        engine->concluding([&](const LeaseInfo&, const Schedule::Queue& queue) noexcept { return is(queue); });
    for (const auto& [key, one] : engine->schedule().leases()) count += engine->schedule().any_queue(one, is) ? 1 : 0;
    return count;
  }
  FakeRelay relay;
};

TEST_F(OneLease, OneCopyGoesForAllDomainsOfASmartHost) {
  const auto id = lease(record_for(30));
  ASSERT_EQ(relay.leases.size(), 1U);
  EXPECT_EQ(relay.leases[0].recipients.size(), 30U);
  relay.answer(relay.leases[0], ipc::Result::kDelivered, 250, "taken");
  turn();
  EXPECT_EQ(look(id), nullptr);
  EXPECT_EQ(engine->counters().delivered.total(), 30U);
  EXPECT_TRUE(engine->schedule().leases().empty());
}

TEST_F(OneLease, WhatALeaseDoesNotHoldIsNext) {
  (void)lease(record_for(50));
  ASSERT_EQ(relay.leases.size(), 1U);
  EXPECT_EQ(relay.leases[0].recipients.size(), ipc::kLeaseRecipients);
  relay.answer(relay.leases[0], ipc::Result::kDelivered, 250, "taken");
  ask();
  ASSERT_EQ(relay.leases.size(), 2U);
  EXPECT_EQ(relay.leases[1].recipients.size(), 50 - ipc::kLeaseRecipients);
}

TEST_F(OneLease, AFrozenQueueStays) {
  freeze("d3.example");
  const auto id = lease(record_for(6));
  ASSERT_EQ(relay.leases.size(), 1U);
  EXPECT_EQ(relay.leases[0].recipients.size(), 5U);
  relay.answer(relay.leases[0], ipc::Result::kDelivered, 250, "taken");
  turn();
  ASSERT_NE(look(id), nullptr);
  EXPECT_EQ(look(id)->open, 1U);
  EXPECT_TRUE(look(id)->recipients[3].open());
}

// Each by itself: nobody waits for another's next try.
TEST_F(OneLease, EachRecipientHasItsOwnOutcome) {
  const auto id = lease(record_for(3));
  ASSERT_EQ(relay.leases.size(), 1U);
  ipc::Outcome outcome;
  outcome.request = base::RequestId(++relay.request);
  outcome.lease = relay.leases[0].lease;
  outcome.epoch = relay.leases[0].epoch;
  outcome.message = id;
  outcome.results = {{.number = 0, .result = ipc::Result::kDelivered, .reply = {250, 2, 0, 0, "taken"}},
                     {.number = 1, .result = ipc::Result::kDeferred, .reply = {451, 4, 2, 0, "later"}},
                     {.number = 2, .result = ipc::Result::kReturned}};
  relay.connection->send(outcome);
  turn();
  ASSERT_NE(look(id), nullptr);
  EXPECT_FALSE(look(id)->recipients[0].open());
  EXPECT_EQ(engine->schedule().find("d0.example"), nullptr);
  const auto standing = [&](std::uint32_t n) {
    return engine->schedule().standing("d" + std::to_string(n) + ".example", id, n);
  };
  ASSERT_TRUE(standing(1));
  EXPECT_EQ(standing(1)->stage, Stage::kWaiting);
  ASSERT_TRUE(standing(2));
  EXPECT_EQ(standing(2)->stage, Stage::kReady);
  ask();
  ASSERT_EQ(relay.leases.size(), 2U);
  ASSERT_EQ(relay.leases[1].recipients.size(), 1U);
  EXPECT_EQ(relay.leases[1].recipients[0].number, 2U);
}

TEST_F(OneLease, FailuresAreToldOfInOneNotice) {
  (void)lease(record_for(5));
  ASSERT_EQ(relay.leases.size(), 1U);
  relay.answer(relay.leases[0], ipc::Result::kFailed, 550, "no");
  turn(50);
  ASSERT_EQ(notices().size(), 1U);
  EXPECT_EQ(store->count(), 1U);
}

// Two leases: of d0 alone, whose recipients fill it, and of what is left of d0 and of d1.
TEST_F(OneLease, FailuresOfSeveralQueuesWaitForWhatIsComingInAnyOfThem) {
  MessageRecord record = envelope(0);
  record.from = mail::ReversePath(address("ann@example.org"));
  const auto add = [&](const std::string& to) {
    const auto number = static_cast<std::uint32_t>(record.recipients.size());
    record.recipients.push_back({.number = number, .address = address(to), .notify = {}});
  };
  add("first@d1.example");
  for (std::uint32_t n = 0; n < ipc::kLeaseRecipients + 4; ++n) add("u" + std::to_string(n) + "@d0.example");
  freeze("d1.example");
  (void)lease(std::move(record));
  ASSERT_EQ(relay.leases.size(), 1U);
  EXPECT_EQ(relay.leases[0].recipients.size(), ipc::kLeaseRecipients);
  engine->change_blocks(
      [this](Blocks& blocks) noexcept {
        return blocks.unfreeze("d1.example", false, "anna", clock.wall(), engine->now());
      },
      [](Blocks::Said) noexcept {});
  turn(50);
  for (int n = 0; n < 50 && relay.grants.size() < 2; ++n) turn(1);
  ASSERT_GE(relay.grants.size(), 2U);
  (void)relay.ask(relay.grants[1]);
  turn();
  ASSERT_EQ(relay.leases.size(), 2U);
  EXPECT_EQ(relay.leases[1].recipients.size(), 5U);
  EXPECT_EQ(in_flight("d1.example"), 1U);
  relay.answer(relay.leases[1], ipc::Result::kFailed, 550, "no");
  turn(20);
  EXPECT_TRUE(notices().empty()) << "d0 is still in delivery";
  relay.answer(relay.leases[0], ipc::Result::kFailed, 550, "no");
  turn(50);
  EXPECT_EQ(notices().size(), 1U);
  EXPECT_EQ(store->count(), 1U);
}

TEST_F(OneLease, AFreezeOfAnyOfItsQueuesWaitsForIt) {
  (void)lease(record_for(4));
  ASSERT_EQ(relay.leases.size(), 1U);
  freeze("d2.example");
  EXPECT_EQ(engine->schedule().blocked_leases(), 1U);
  EXPECT_EQ(in_flight("d2.example"), 1U);
  EXPECT_TRUE(std::ranges::any_of(relay.cancelled,
                                  [&](const auto& one) { return one.grant == relay.grants.front().grant; }));
  const auto broken = engine->break_off([](const LeaseInfo&, const Schedule::Queue& queue) noexcept {
    return queue.name() == "d2.example";
  });
  EXPECT_EQ(broken->open.size(), 1U);
  turn();
  ASSERT_EQ(relay.broken_off.size(), 1U);
  relay.answer(relay.leases[0], ipc::Result::kReturned, 0, "");
  turn();
  EXPECT_TRUE(broken->open.empty());
  EXPECT_EQ(in_flight("d2.example"), 0U);
  for (std::uint32_t n = 0; n < 4; ++n)
    EXPECT_EQ(engine->schedule().find("d" + std::to_string(n) + ".example")->counts.ready, 1U) << n;
}

TEST_F(OneLease, AHoldBringsItBackToEachOfItsQueues) {
  const auto id = lease(record_for(3));
  ASSERT_EQ(relay.leases.size(), 1U);
  const auto grant = relay.grants.front().grant;
  engine->hold(id, "by anna: phish");
  engine->recall(id);
  turn();
  ASSERT_EQ(relay.cancelled.size(), 1U);
  EXPECT_EQ(relay.cancelled[0].grant, grant);
  relay.answer(relay.leases[0], ipc::Result::kReturned, 0, "");
  relay.connection->send(ipc::GrantEnded{grant, {}, {}, {}, ""});
  turn();
  for (int n = 0; n < 3; ++n) {
    const auto* queue = engine->schedule().find("d" + std::to_string(n) + ".example");
    ASSERT_NE(queue, nullptr);
    EXPECT_EQ(queue->counts.held, 1U);
    EXPECT_EQ(queue->leases, 0U);
  }
  engine->end_hold(id);
  turn();
  (void)relay.ask(relay.grants.back());  // its connections to the host stand by
  turn();
  ASSERT_EQ(relay.leases.size(), 2U);
  EXPECT_EQ(relay.leases[1].recipients.size(), 3U);
}

TEST_F(OneLease, ALostDelivererLosesItWhole) {
  const auto id = lease(record_for(4));
  ASSERT_EQ(relay.leases.size(), 1U);
  relay.connection.reset();
  turn(20);
  EXPECT_TRUE(engine->schedule().leases().empty());
  ASSERT_NE(look(id), nullptr);
  EXPECT_EQ(look(id)->open, 4U);
  for (const auto& recipient : look(id)->recipients) EXPECT_EQ(recipient.tries, 1U);
}

TEST_F(OneLease, ItOutlivesARestart) {
  const auto id = lease(record_for(4));
  ASSERT_EQ(relay.leases.size(), 1U);
  const auto held = relay.leases[0];
  end();
  relay = {};
  begin();
  FakeRelay after;
  connect(after, 0, {{held.lease, held.epoch, id, {0, 1, 2, 3}}});
  turn(50);
  for (std::uint32_t n = 0; n < 4; ++n) EXPECT_TRUE(engine->schedule().leased(id, n)) << n;
  EXPECT_TRUE(after.grants.empty());
  after.answer(held, ipc::Result::kDelivered, 250, "taken");
  turn(20);
  EXPECT_EQ(look(id), nullptr);
}

// What it demands of the host is a question of the domain.
TEST_F(OneLease, RequireTlsGoesByItself) {
  auto record = record_for(3);
  record.tls_wish = mail::TlsWish::kRequired;
  (void)lease(std::move(record));
  ASSERT_EQ(relay.leases.size(), 1U);
  EXPECT_EQ(relay.leases[0].recipients.size(), 1U);
}

TEST_F(OneLease, ATransactionHasOneSender) {
  auto record = record_for(4);
  record.recipients[1].sender = record.recipients[3].sender = address("owner-news@example.org");
  (void)lease(std::move(record));
  ASSERT_EQ(relay.leases.size(), 1U);
  EXPECT_EQ(relay.leases[0].recipients.size(), 2U);
}

}  // namespace
}  // namespace postern::queued
