// Which rule holds for which failure in which queue, how long waits are, and what changed tables do to
// mail that waits.
#include "queued/retry.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

using config::FailureClass;

constexpr base::Millis minutes(int n) { return base::Millis(n * 60'000); }

config::RetryConfig plain() {
  config::RetryConfig config;
  config.after = {minutes(15), minutes(30), minutes(60)};
  config.spread = 0;
  return config;
}

config::RetryRule rule(std::vector<std::string> to, std::optional<FailureClass> on, int after) {
  config::RetryRule rule;
  rule.to = std::move(to);
  rule.on = on;
  if (after > 0) rule.after = {minutes(after)};
  return rule;
}

base::Millis first_wait(const config::RetryConfig& config, std::string_view queue,
                        FailureClass failure) {
  const RetryTables tables(config);
  return retry_delay(tables.terms(queue, failure), 1, 0);
}

// --- Which rule -------------------------------------------------------------------------------------

TEST(RetryTables, WithoutRulesTheListHoldsForAll) {
  const RetryTables tables(plain());
  for (const auto* queue : {"a.example", "local"}) {
    const auto terms = tables.terms(queue, FailureClass::kConnect);
    EXPECT_EQ(terms.rule, nullptr);
    EXPECT_EQ(retry_delay(terms, 1, 0), minutes(15));
    EXPECT_EQ(retry_delay(terms, 2, 0), minutes(30));
    EXPECT_EQ(retry_delay(terms, 3, 0), minutes(60));
    EXPECT_EQ(retry_delay(terms, 4, 0), minutes(60));
  }
}

TEST(RetryTables, TheMostSpecificDestinationWinsThenTheClassOfFailure) {
  auto config = plain();
  config.rules = {rule({"*"}, FailureClass::kDns, 1),           rule({"*"}, {}, 2),
                  rule({"*.example"}, FailureClass::kDns, 3),   rule({"*.slow.example"}, {}, 4),
                  rule({"slow.example"}, FailureClass::kTls, 5), rule({"slow.example"}, {}, 6),
                  rule({"local"}, FailureClass::kLocal, 7)};
  EXPECT_EQ(first_wait(config, "slow.example", FailureClass::kTls), minutes(5));
  EXPECT_EQ(first_wait(config, "slow.example", FailureClass::kDns), minutes(6));
  EXPECT_EQ(first_wait(config, "a.slow.example", FailureClass::kDns), minutes(4));
  EXPECT_EQ(first_wait(config, "fast.example", FailureClass::kDns), minutes(3));
  EXPECT_EQ(first_wait(config, "fast.example", FailureClass::kConnect), minutes(2));  // no rule of "*.example" is for it
  EXPECT_EQ(first_wait(config, "other.test", FailureClass::kDns), minutes(1));
  EXPECT_EQ(first_wait(config, "local", FailureClass::kLocal), minutes(7));
  EXPECT_EQ(first_wait(config, "local", FailureClass::kConnect), minutes(2));
}

TEST(RetryTables, ARuleForOtherFailuresLeavesRoomForALessSpecificOne) {
  auto config = plain();
  config.rules = {rule({"slow.example"}, FailureClass::kConnect, 1), rule({"*"}, FailureClass::kMailbox, 2)};
  EXPECT_EQ(first_wait(config, "slow.example", FailureClass::kConnect), minutes(1));
  EXPECT_EQ(first_wait(config, "slow.example", FailureClass::kMailbox), minutes(2));
  EXPECT_EQ(first_wait(config, "slow.example", FailureClass::kData), minutes(15));
}

TEST(RetryTables, WhatARuleDoesNotSayIsSaidByTheSection) {
  auto config = plain();
  config.notify = minutes(100);
  config.expire = minutes(1000);
  config.rules = {rule({"a.example"}, {}, 0), rule({"b.example"}, FailureClass::kDns, 2)};
  config.rules[0].expire = minutes(50);
  config.rules[1].notify = base::Millis(0);
  const RetryTables tables(config);
  const auto a = tables.terms("a.example", FailureClass::kData);
  EXPECT_EQ(a.rule->expire, minutes(50));
  EXPECT_EQ(a.expire, minutes(50));
  EXPECT_EQ(a.notify, minutes(100));
  EXPECT_EQ(a.after.front(), minutes(15));
  const auto b = tables.terms("b.example", FailureClass::kDns);
  EXPECT_EQ(b.expire, minutes(1000));
  EXPECT_EQ(b.notify, base::Millis(0));
  EXPECT_EQ(b.after.front(), minutes(2));
  EXPECT_FALSE(is_late(b, minutes(900)));
  // The least age that matters to anybody.
  EXPECT_EQ(tables.youngest(), minutes(50));
}

TEST(RetryTables, TheShortestLifeIsWithoutTheAgeOfDelays) {
  auto config = plain();
  config.notify = minutes(20);
  config.expire = minutes(1000);
  config.rules = {rule({"a.example"}, {}, 0), rule({"b.example"}, FailureClass::kDns, 2)};
  config.rules[0].expire = minutes(50);
  config.rules[1].expire = base::Millis(0);
  EXPECT_EQ(RetryTables(config).shortest_life(), minutes(50));
  EXPECT_EQ(RetryTables(config).youngest(), minutes(20));
  config.expire = config.notify = base::Millis(0);
  config.rules.clear();
  EXPECT_EQ(RetryTables(config).shortest_life(), base::Millis::max());
  EXPECT_EQ(RetryTables(config).youngest(), base::Millis::max());
}

// --- How long ---------------------------------------------------------------------------------------

TEST(RetryDelay, IsNeverShorterThanSaidAndAtMostTheSpreadLonger) {
  auto config = plain();
  config.spread = 10;
  const RetryTables tables(config);
  const auto terms = tables.terms("a.example", FailureClass::kConnect);
  EXPECT_EQ(retry_delay(terms, 1, 0), minutes(15));
  const auto most = minutes(15).count() / 10;
  EXPECT_EQ(retry_delay(terms, 1, static_cast<std::uint64_t>(most)), minutes(15) + base::Millis(most));
  EXPECT_EQ(retry_delay(terms, 1, static_cast<std::uint64_t>(most) + 1), minutes(15));
}

TEST(RetryDelay, NeighboursDoNotComeBackTogether) {
  auto config = plain();
  config.spread = 10;
  const RetryTables tables(config);
  const auto terms = tables.terms("a.example", FailureClass::kConnect);
  constexpr int kHerd = 1000;
  std::vector<int> tenths(10);
  for (std::uint64_t id = 1; id <= kHerd; ++id) {
    const auto more = retry_delay(terms, 1, lot_of(base::MessageId(id), 1)) - minutes(15);
    ++tenths[static_cast<std::size_t>(more.count() * 10 / (minutes(15).count() / 10 + 1))];
  }
  for (const int n : tenths) EXPECT_NEAR(n, kHerd / 10, 40);
  // The same message does not wait as long each time, and its recipients stay together.
  EXPECT_NE(lot_of(base::MessageId(7), 1), lot_of(base::MessageId(7), 2));
  EXPECT_EQ(lot_of(base::MessageId(7), 1), lot_of(base::MessageId(7), 1));
  EXPECT_NE(lot_of("a.example", 1), lot_of("b.example", 1));
}

TEST(Judge, UsesTheTermsOfItsFailure) {
  auto config = plain();
  config.expire = minutes(1000);
  config.rules = {rule({"a.example"}, FailureClass::kData, 2)};
  config.rules[0].expire = minutes(10);
  const RetryTables tables(config);
  const base::MessageId id(1);
  const auto judged = [&](FailureClass failure, base::Millis age) {
    return judge(tables.terms("a.example", failure), id, {},
                 {ipc::Result::kDeferred, failure, {451, 4, 0, 0, "later"}, {}}, age, minutes(100));
  };
  EXPECT_EQ(judged(FailureClass::kData, minutes(1)).next_try, minutes(102));
  EXPECT_EQ(judged(FailureClass::kDns, minutes(1)).next_try, minutes(115));
  EXPECT_EQ(judged(FailureClass::kData, minutes(11)).fate, Fate::kFailed);
  EXPECT_EQ(judged(FailureClass::kDns, minutes(11)).fate, Fate::kDeferred);
}

// --- Tables that change -----------------------------------------------------------------------------

TEST(DueBy, NewTablesBringForwardAndNeverPutOff) {
  auto config = plain();
  Recipient recipient;
  recipient.tries = 2;
  recipient.trouble = std::make_shared<const Trouble>(Trouble{FailureClass::kConnect, {}, ""});
  recipient.tried = minutes(100);
  recipient.next_try = minutes(130);  // by the list
  const base::MessageId id(1);
  EXPECT_EQ(due_by(RetryTables(config), "a.example", id, recipient), minutes(130));
  config.rules = {rule({"a.example"}, FailureClass::kConnect, 5)};
  EXPECT_EQ(due_by(RetryTables(config), "a.example", id, recipient), minutes(105));
  config.rules = {rule({"a.example"}, FailureClass::kConnect, 500)};
  EXPECT_EQ(due_by(RetryTables(config), "a.example", id, recipient), minutes(130));
  config.rules = {rule({"a.example"}, FailureClass::kDns, 5)};  // it failed otherwise
  EXPECT_EQ(due_by(RetryTables(config), "a.example", id, recipient), minutes(130));
  config.rules = {rule({"a.example"}, FailureClass::kConnect, 5)};
  recipient.tried = QueueTime(-1);  // nobody knows
  EXPECT_EQ(due_by(RetryTables(config), "a.example", id, recipient), minutes(130));
  recipient.tries = 0;
  EXPECT_EQ(due_by(RetryTables(config), "a.example", id, recipient), minutes(130));
}

class RetryReload : public ::testing::Test, protected EngineRig {
 protected:
  RetryReload() { config.retry = plain(); }
  void defer_one(FakeRelay& relay) {
    ASSERT_FALSE(relay.grants.empty());
    relay.ask(relay.grants.back());
    turn();
    ASSERT_FALSE(relay.leases.empty());
    relay.answer(relay.leases.back(), ipc::Result::kDeferred, 451, "later");
    turn();
  }
  base::Millis due_in(base::MessageId id) {
    const auto* message = look(id);
    const auto& recipient = message->recipients.front();
    return engine->due(*message, recipient, engine->router().route(recipient.address).queue) -
           engine->now();
  }
};

TEST_F(RetryReload, MailThatWaitsIsTriedEarlierWhereTheNewTableSaysSo) {
  begin();
  const auto id = mail("a@slow.example");
  FakeRelay relay;
  connect(relay);
  defer_one(relay);
  EXPECT_EQ(due_in(id), minutes(15));
  pass(minutes(4));
  config.retry.rules = {rule({"slow.example"}, FailureClass::kConnect, 5)};
  engine->configure(config);
  turn();
  EXPECT_EQ(due_in(id), minutes(1));
  relay.ask(relay.grants.back());
  turn();
  EXPECT_EQ(relay.leases.size(), 1U);
  pass(minutes(1));
  EXPECT_EQ(relay.leases.size(), 2U);  // it is tried then
}

TEST_F(RetryReload, MailThatWaitsIsNotPutOff) {
  begin();
  const auto id = mail("a@slow.example");
  FakeRelay relay;
  connect(relay);
  defer_one(relay);
  config.retry.after = {minutes(500)};
  engine->configure(config);
  turn();
  EXPECT_EQ(due_in(id), minutes(15));
}

TEST_F(RetryReload, TheTablesOfTheStartHoldForWhatAnEarlierLifeDeferred) {
  begin();
  const auto id = mail("a@slow.example");
  FakeRelay relay;
  connect(relay);
  defer_one(relay);
  end();
  config.retry.rules = {rule({"*.example"}, {}, 2)};
  begin();
  EXPECT_EQ(due_in(id), minutes(2));
}

TEST_F(RetryReload, ANextHopThatIsDeadToo) {
  begin();
  (void)mail("a@slow.example");
  engine->hop_failed({"slow.example", "slow.example"}, FailureClass::kConnect, {0, 4, 4, 1, "refused"}, "");
  turn();
  EXPECT_EQ(engine->schedule().find("slow.example")->hop()->until - engine->now(), minutes(15));
  pass(minutes(1));
  config.retry.rules = {rule({"slow.example"}, FailureClass::kConnect, 3)};
  engine->configure(config);
  turn();
  EXPECT_EQ(engine->schedule().find("slow.example")->hop()->until - engine->now(), minutes(2));
  config.retry.rules = {rule({"slow.example"}, FailureClass::kConnect, 300)};
  engine->configure(config);
  turn();
  EXPECT_EQ(engine->schedule().find("slow.example")->hop()->until - engine->now(), minutes(14));  // as its last attempt saw it
  end();
  config.retry.rules = {rule({"slow.example"}, FailureClass::kConnect, 2)};
  begin();
  EXPECT_EQ(engine->schedule().find("slow.example")->hop()->until - engine->now(), minutes(1));
}

TEST_F(RetryReload, RetryActsAtOnceAndOverridesNoBlock) {
  config.retry.rules = {rule({"slow.example"}, {}, 500)};
  begin();
  const auto id = mail("a@slow.example");
  FakeRelay relay;
  connect(relay);
  defer_one(relay);
  engine->change_blocks(
      [this](Blocks& blocks) noexcept {
        return blocks.freeze({"slow.example", "work", "root", clock.wall(), engine->now()});
      },
      [](Blocks::Said) noexcept {});
  turn();
  const auto leases = relay.leases.size();
  engine->retry({id});
  turn(20);
  EXPECT_EQ(relay.leases.size(), leases);
  EXPECT_LE(due_in(id), base::Millis(0));
}

}  // namespace
}  // namespace postern::queued
