// Recipients that only a next hop knows: what is remembered, for how long, what RCPT is answered, and
// how questions go from an smtpd to a relay and back.
#include "queued/asking.h"

#include <gtest/gtest.h>

#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

mail::Reply no() { return {550, {5, 1, 1}, {"no"}}; }

// --- What is remembered -----------------------------------------------------------------------------

TEST(RecipientCacheTest, KnowsForAWhileWhatItWasTold) {
  RecipientCache cache({base::Millis(100), base::Millis(10), 10, 10});
  const base::SteadyTime start{1'000};
  EXPECT_FALSE(cache.find("a@x", start));
  cache.keep("a@x", {}, start);
  cache.keep("b@x", {no()}, start);
  ASSERT_TRUE(cache.find("a@x", start));
  EXPECT_FALSE(cache.find("a@x", start)->refusal);
  ASSERT_TRUE(cache.find("b@x", start));
  EXPECT_EQ(cache.find("b@x", start)->refusal->code, 550);
  EXPECT_TRUE(cache.find("b@x", start + base::Millis(9)));
  EXPECT_FALSE(cache.find("b@x", start + base::Millis(10)));  // one that is made meanwhile is soon known
  EXPECT_TRUE(cache.find("a@x", start + base::Millis(99)));
  EXPECT_FALSE(cache.find("a@x", start + base::Millis(100)));
}

TEST(RecipientCacheTest, InventedOnesNeverPushOutKnownOnes) {
  RecipientCache cache({base::Millis(100), base::Millis(100), 3, 5});
  const base::SteadyTime now{1'000};
  for (const auto* known : {"a@x", "b@x", "c@x"}) cache.keep(known, {}, now);
  for (int n = 0; n < 1'000; ++n) cache.keep(std::to_string(n) + "@x", {no()}, now);
  EXPECT_EQ(cache.size(), 8U);
  for (const auto* known : {"a@x", "b@x", "c@x"}) EXPECT_TRUE(cache.find(known, now));
  EXPECT_FALSE(cache.find("994@x", now));
  EXPECT_TRUE(cache.find("995@x", now));
  cache.keep("d@x", {}, now);
  EXPECT_FALSE(cache.find("a@x", now));
  EXPECT_EQ(cache.size(), 8U);
}

TEST(RecipientCacheTest, TheLastWordCounts) {
  RecipientCache cache({base::Millis(100), base::Millis(50), 10, 10});
  base::SteadyTime now{1'000};
  cache.keep("a@x", {no()}, now);
  now = now + base::Millis(20);
  cache.keep("a@x", {}, now);
  now = now + base::Millis(40);  // beyond the first one's end, which must not take the second along
  cache.keep("b@x", {no()}, now);
  ASSERT_TRUE(cache.find("a@x", now));
  EXPECT_FALSE(cache.find("a@x", now)->refusal);
  cache.clear();
  EXPECT_FALSE(cache.find("a@x", now));
  EXPECT_EQ(cache.size(), 0U);
}

// --- What RCPT is answered --------------------------------------------------------------------------

std::string answer(ipc::Result result, ipc::ReplyText reply) {
  const auto said = answer_to_rcpt(address("a@in.example"), {{}, result, std::move(reply), ""});
  return said ? said->text() : "accepted";
}

TEST(AnswerToRcpt, OnlyTheNextHopsOwnWordDecides) {
  using enum ipc::Result;
  EXPECT_EQ(answer(kDelivered, {250, 2, 1, 5, "ok"}), "accepted");
  EXPECT_EQ(answer(kFailed, {550, 5, 1, 1, "unknown"}),
            "550 5.1.1 <a@in.example>: not accepted by the next hop: 550 5.1.1 unknown");
  EXPECT_EQ(answer(kFailed, {553, 0, 0, 0, "unknown"}),
            "550 5.1.1 <a@in.example>: not accepted by the next hop: 553 unknown");
  EXPECT_EQ(answer(kFailed, {552, 5, 2, 2, "full"}),
            "550 5.2.2 <a@in.example>: not accepted by the next hop: 552 5.2.2 full");
  EXPECT_EQ(answer(kDeferred, {451, 4, 7, 1, "greylisted"}),
            "451 4.3.0 <a@in.example>: the next hop says: 451 4.7.1 greylisted");
  for (const auto result : {kDeferred, kUnknown, kReturned})
    EXPECT_EQ(answer(result, {0, 4, 4, 1, "connection refused by 10.0.0.10"}),
              "451 4.4.1 <a@in.example>: the next hop cannot be asked, try again later");
}

TEST(AnswerToRcpt, ItsWordsAreCleanAndShort) {
  const auto said = answer_to_rcpt(address("a@in.example"),
                                   {{}, ipc::Result::kFailed, {550, 5, 1, 1, std::string(500, 'x')}, ""});
  std::string wire;
  said->append_to(wire);
  EXPECT_LE(wire.size(), 512U);
  EXPECT_EQ(answer(ipc::Result::kFailed, {550, 5, 1, 1, "a\r\n250 b"}).find('\n'), std::string::npos);
}

// --- Questions under way ----------------------------------------------------------------------------

class AskingTest : public ::testing::Test {
 protected:
  AskingTest() {
    asking.set_probe([this](const ipc::Probe& probe) noexcept {
      if (able) probes.push_back(probe);
      return able;
    });
    route.queue = "in.example";
    route.destination.via = {{config::HopKind::kHost, "10.0.0.10", 25}};
  }
  void ask(const std::string& to, bool blocked = false) {
    asking.ask(address(to), route, blocked, [this](const std::optional<mail::Reply>& said) noexcept {
      answers.push_back(said ? said->text() : "accepted");
    });
  }
  void answer_all(ipc::Result result, ipc::ReplyText reply = {}) {
    for (const auto& probe : std::exchange(probes, {})) asking.probed({probe.request, result, reply, "hop"});
  }
  TestClock wall;
  QueueClock clock{wall, QueueTime(0)};
  Asking asking{clock};
  Route route;
  std::vector<ipc::Probe> probes;
  std::vector<std::string> answers;
  bool able = true;
};

TEST_F(AskingTest, AsksOnceAndRemembers) {
  ask("a@in.example");
  ask("a@in.example");
  ASSERT_EQ(probes.size(), 1U);
  EXPECT_EQ(probes[0].queue, "in.example");
  EXPECT_EQ(probes[0].hop.host, "10.0.0.10");
  EXPECT_TRUE(answers.empty());
  answer_all(ipc::Result::kDelivered);
  EXPECT_EQ(answers, (std::vector<std::string>{"accepted", "accepted"}));
  ask("a@in.example");
  EXPECT_TRUE(probes.empty());
  EXPECT_EQ(answers.size(), 3U);
  asking.forget();
  ask("a@in.example");
  EXPECT_EQ(probes.size(), 1U);
}

TEST_F(AskingTest, WhatNobodyCouldSayIsAskedAgain) {
  ask("a@in.example");
  answer_all(ipc::Result::kDeferred, {0, 4, 4, 1, "refused"});
  ask("a@in.example");
  EXPECT_EQ(probes.size(), 1U);
  answer_all(ipc::Result::kFailed, {550, 5, 1, 1, "no"});
  ask("a@in.example");
  EXPECT_TRUE(probes.empty());
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_TRUE(answers[0].starts_with("451 4.4.1"));
  EXPECT_TRUE(answers[1].starts_with("550 5.1.1"));
  EXPECT_TRUE(answers[2].starts_with("550 5.1.1"));
}

TEST_F(AskingTest, AStoppedQueueAnswersFromMemoryAlone) {
  ask("a@in.example");
  answer_all(ipc::Result::kDelivered);
  ask("a@in.example", true);
  ask("b@in.example", true);
  EXPECT_TRUE(probes.empty());
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_EQ(answers[1], "accepted");
  EXPECT_TRUE(answers[2].starts_with("451 4.3.2"));
}

TEST_F(AskingTest, WithoutADelivererNobodyIsAcceptedOrRefused) {
  able = false;
  ask("a@in.example");
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_TRUE(answers[0].starts_with("451 4.3.2"));
  able = true;
  ask("a@in.example");
  EXPECT_EQ(probes.size(), 1U);
}

TEST_F(AskingTest, ASilentNextHopLeavesRoomForOthers) {
  for (std::size_t n = 0; n < Asking::kMostOfQueue + 5; ++n) ask(std::to_string(n) + "@in.example");
  EXPECT_EQ(probes.size(), Asking::kMostOfQueue);
  EXPECT_EQ(answers.size(), 5U);
  route.queue = "other.example";
  ask("a@other.example");
  EXPECT_EQ(probes.size(), Asking::kMostOfQueue + 1);
  for (int n = 0; n < 200; ++n) ask("a@other.example");
  EXPECT_EQ(answers.size(), 5U + 200 - (Asking::kMostWaiting - 1));
  answer_all(ipc::Result::kDelivered);
  route.queue = "in.example";
  ask("new@in.example");
  EXPECT_EQ(probes.size(), 1U);
}

// --- From an smtpd to a relay and back --------------------------------------------------------------

class AskedRecipient : public ::testing::Test, protected EngineRig {
 protected:
  AskedRecipient() {
    config::DomainRights domain;
    domain.names = {mail::Domain::parse("in.example").value()};
    domain.recipients = config::RecipientsKind::kAsk;
    config.rights.domains.push_back(domain);
    config.domain_hops.push_back({config::HopKind::kHost, "10.0.0.10", 25});
  }
  void ask(const std::string& to) {
    smtpd.connection->send(ipc::AskRecipient{base::RequestId(++request), address(to)});
    turn();
  }
  void begin_all() {
    begin();
    connect(relay);
    connect(smtpd);
  }
  void expect_unasked_behind(Freeze freeze) {
    engine->change_blocks([freeze](Blocks& blocks) noexcept { return blocks.freeze(freeze); },
                          [](Blocks::Said) noexcept {});
    turn();
    ask("a@in.example");
    EXPECT_TRUE(relay.probes.empty());
    ASSERT_EQ(smtpd.known.size(), 1U);
    EXPECT_EQ(smtpd.known[0].refusal.code, 451);
  }
  FakeRelay relay;
  FakeSmtpd smtpd;
  std::uint64_t request = 0;
};

TEST_F(AskedRecipient, TheRelayIsAskedAndTheAnswerComesBack) {
  begin_all();
  ask("a@in.example");
  ASSERT_EQ(relay.probes.size(), 1U);
  EXPECT_EQ(relay.probes[0].queue, "in.example");
  relay.connection->send(
      ipc::Probed{relay.probes[0].request, ipc::Result::kFailed, {550, 5, 1, 1, "no"}, "hop"});
  turn();
  ASSERT_EQ(smtpd.known.size(), 1U);
  EXPECT_EQ(smtpd.known[0].refusal.code, 550);
  ask("a@in.example");
  EXPECT_EQ(relay.probes.size(), 1U);
  EXPECT_EQ(smtpd.known.size(), 2U);
}

TEST_F(AskedRecipient, NobodyElseIsProbedForAnSmtpd) {
  begin_all();
  for (const auto* other : {"ann@example.org", "x@far.example", "postmaster@in.example"}) ask(other);
  EXPECT_TRUE(relay.probes.empty());
  ASSERT_EQ(smtpd.known.size(), 3U);
  for (const auto& known : smtpd.known) EXPECT_EQ(known.refusal.code, 451);
}

TEST_F(AskedRecipient, ADelivererThatDiesIsNoAnswer) {
  begin_all();
  ask("a@in.example");
  relay.connection.reset();
  turn();
  ASSERT_EQ(smtpd.known.size(), 1U);
  EXPECT_EQ(smtpd.known[0].refusal.code, 451);
}

TEST_F(AskedRecipient, AFrozenDomainIsNotAsked) {
  begin_all();
  expect_unasked_behind({"in.example", "work", "root", clock.wall(), engine->now()});
}

TEST_F(AskedRecipient, AFrozenHostIsNotAsked) {
  config.domain_hops.back() = config::HopSpec{};
  begin_all();
  (void)mail("b@in.example");
  for (int n = 0; n < 50 && relay.grants.empty(); ++n) turn(1);
  ASSERT_FALSE(relay.grants.empty()) << "its host is known";
  expect_unasked_behind({.queue = "in.example:25",
                         .reason = "work",
                         .who = "root",
                         .since = clock.wall(),
                         .from = engine->now(),
                         .hop = true});
}

}  // namespace
}  // namespace postern::queued
