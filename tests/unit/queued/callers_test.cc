// ATRN as its smtpd, the relay and the operator see it: who may, what he hears, and when it is over.
#include <gtest/gtest.h>
#include <unistd.h>

#include "queued/explain.h"
#include "queued/listings.h"
#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

class CallersTest : public ::testing::Test, protected EngineRig {
 protected:
  CallersTest() {
    config.routes.push_back({.to = {"inner.example", "branch.example", "other.example"},
                             .via = {{.kind = config::HopKind::kTurn}},
                             .line = 46,
                             .file = "postern.toml"});
    config.accounts = {{.name = "amy", .atrn = {"inner.example", "branch.example"}},
                       {.name = "bob"},
                       {.name = "wes", .atrn = {"inner.example", "branch.example"}, .atrn_wait = base::Millis(60'000)},
                       {.name = "zoe", .atrn = {"inner.example"}, .atrn_wait = base::Millis(60'000)}};
  }
  void SetUp() override {
    begin();
    connect(smtpd);
    connect(relay);
    for (const auto* name : {"amy", "bob", "wes", "zoe"}) intake->tickets().give(session(name), 0, name);
  }
  static base::Token session(std::string_view account) {
    base::Token token;
    token.bytes.fill(static_cast<std::uint8_t>(account.front()));
    return token;
  }
  // What ATRN gets.
  std::string atrn(std::string_view account, std::vector<std::string> queues, std::string tls = {}) {
    ipc::TurnSession turned;
    turned.request = base::RequestId(++request);
    turned.origin = base::parse_ip("192.0.2.9").value();
    turned.session = session(account);
    turned.tls = std::move(tls);
    turned.queues = std::move(queues);
    smtpd.connection->send(turned);
    turn();
    EXPECT_EQ(smtpd.sessions_turned.back().request, turned.request);
    const auto reply = smtpd.sessions_turned.back().reply;
    EXPECT_EQ(smtpd.lent.valid(), reply.code == 250);
    return text_of(reply);
  }
  void change(Engine::Change change) {
    engine->change_blocks(std::move(change), [](Blocks::Said said) noexcept { EXPECT_TRUE(said); });
    turn(20);
  }
  FakeSmtpd smtpd;
  FakeRelay relay;
  std::uint64_t request = 0;
};

constexpr const char* kRefused = "450 4.7.1 ATRN request refused";
constexpr const char* kNow = "250 2.0.0 Ok, now reversing the connection";

TEST_F(CallersTest, MailWaitsUntilItsHostCalls) {
  const auto id = mail("a@inner.example");
  turn();
  EXPECT_TRUE(relay.grants.empty());
  ASSERT_EQ(atrn("amy", {"inner.example"}, "TLSv1.3 X"), kNow);
  ASSERT_EQ(relay.grants.size(), 1U);
  const auto& grant = relay.grants.front();
  EXPECT_EQ(grant.queue, "inner.example");
  ASSERT_TRUE(grant.turned);
  EXPECT_EQ(grant.turned->remote, "amy[192.0.2.9]");
  EXPECT_EQ(grant.turned->tls, "TLSv1.3 X");
  EXPECT_EQ(grant.turned->wait, base::Millis(0));
  // They are the ends of one pair.
  ASSERT_EQ(::write(smtpd.lent.get(), "220", 3), 3);
  char bytes[4] = {};
  EXPECT_EQ(::read(relay.turned[grant.grant].get(), bytes, 3), 3);
  (void)relay.ask(grant);
  turn();
  ASSERT_EQ(relay.leases.size(), 1U);
  EXPECT_EQ(relay.leases.front().message, id);
  relay.answer(relay.leases.front(), ipc::Result::kDelivered, 250, "ok");
  (void)relay.ask(grant);
  turn();
  EXPECT_EQ(relay.no_work.size(), 1U);
  EXPECT_EQ(look(id), nullptr);
}

TEST_F(CallersTest, OnlyWhoMayTakesWhatHeMay) {
  (void)mail("a@inner.example");
  (void)mail("a@other.example");
  EXPECT_EQ(atrn("bob", {"inner.example"}), kRefused);
  EXPECT_EQ(atrn("bob", {}), kRefused);
  EXPECT_EQ(atrn("amy", {"other.example"}), kRefused);
  EXPECT_EQ(atrn("amy", {"inner.example", "other.example"}), kRefused) << "as a whole";
  EXPECT_EQ(atrn("eve", {"inner.example"}), "451 4.7.0 Your login is not known any more, try again");
  EXPECT_EQ(atrn("amy", {"branch.example"}), "453 4.0.0 You have no mail");
  EXPECT_TRUE(relay.grants.empty());
  EXPECT_EQ(atrn("amy", {}), kNow) << "all that are hers";
}

// Another smtpd has stolen the name of a session.
TEST_F(CallersTest, ATicketIsOfOneSmtpd) {
  (void)mail("a@inner.example");
  FakeSmtpd other;
  connect(other, 1);
  ipc::TurnSession turned;
  turned.request = base::RequestId(1);
  turned.session = session("amy");
  other.connection->send(turned);
  turn();
  ASSERT_EQ(other.sessions_turned.size(), 1U);
  EXPECT_EQ(other.sessions_turned.back().reply.code, 451);
  EXPECT_FALSE(other.lent.valid());
}

TEST_F(CallersTest, WhereTlsIsDemandedItMustBeThere) {
  config.routes.back().via.front().tls = config::HopTls::kRequired;
  engine->configure(config);
  (void)mail("a@inner.example");
  EXPECT_EQ(atrn("amy", {"inner.example"}), "530 5.7.0 Must issue a STARTTLS command first");
  EXPECT_EQ(atrn("amy", {"inner.example"}, "TLSv1.3 X"), kNow);
}

TEST_F(CallersTest, BlocksHoldAndTheClientDoesNotHearWhich) {
  (void)mail("a@inner.example");
  change([this](Blocks& b) noexcept {
    return b.freeze({"inner.example", "moving", "bert", clock.wall(), engine->now()});
  });
  EXPECT_EQ(atrn("amy", {"inner.example"}), kRefused);
  (void)mail("a@branch.example");
  EXPECT_EQ(atrn("amy", {}), kNow) << "for the other one";
  (void)relay.ask(relay.grants.front());
  turn();
  ASSERT_EQ(relay.leases.size(), 1U);
  EXPECT_EQ(relay.leases.front().recipients.front().address.text(), "a@branch.example");
}

// Not: taken, and sent away at once.
TEST_F(CallersTest, AFreezeOfNextHopsHoldsToo) {
  const auto id = mail("a@inner.example");
  for (const auto* name : {"turn:inner.example", "*"}) {
    change([&](Blocks& b) noexcept {
      return b.freeze({.queue = name, .reason = "moving", .who = "bert", .hop = true});
    });
    EXPECT_EQ(atrn("amy", {"inner.example"}), kRefused) << name;
    const auto stands = standing(*engine, *look(id), look(id)->recipients.front());
    EXPECT_EQ(stands.state, ipc::State::kFrozen);
    EXPECT_EQ(stands.why, std::string("--hop ") + name + ": moving");
    const auto told = explanation(*engine, *look(id), look(id)->recipients.front());
    ASSERT_FALSE(told.obstacles.empty());
    EXPECT_EQ(told.obstacles.front().blocker, ipc::Blocker::kHopFrozen);
    EXPECT_EQ(told.obstacles.front().name, "turn:inner.example");
    EXPECT_EQ(told.obstacles.front().freeze, name);
    change([&](Blocks& b) noexcept { return b.unfreeze(name, true, "bert", clock.wall(), engine->now()); });
  }
  EXPECT_EQ(atrn("amy", {"inner.example"}), kNow);
}

// Spared or not, that is a matter of the route, as for mail that we bring ourselves.
TEST_F(CallersTest, OutboundOffSparesAnInternalRoute) {
  config.routes.back().internal = true;
  engine->configure(config);
  ASSERT_EQ(atrn("zoe", {"inner.example"}), kNow);
  (void)relay.ask(relay.grants.front());
  const auto off = [this](bool all) {
    change([=, this](Blocks& b) noexcept {
      return b.disable_outbound({true, all, "spam run", "carl", clock.wall(), engine->now()});
    });
  };
  off(false);
  (void)mail("a@inner.example");
  turn();
  ASSERT_EQ(relay.leases.size(), 1U) << "its session goes on";
  relay.answer(relay.leases.front(), ipc::Result::kDelivered, 250, "ok");
  (void)relay.ask(relay.grants.front());
  turn();
  EXPECT_TRUE(relay.no_work.empty());
  off(true);
  EXPECT_EQ(relay.no_work.size(), 1U) << "and ends";
  EXPECT_EQ(atrn("zoe", {"inner.example"}), kRefused);
}

// While it waits for the other one: nobody calls again where a connection stands.
TEST_F(CallersTest, WhatIsLetGoDuringItsCallGoes) {
  change([this](Blocks& b) noexcept {
    return b.freeze({"inner.example", "moving", "bert", clock.wall(), engine->now()});
  });
  const auto id = mail("a@inner.example");
  ASSERT_EQ(atrn("wes", {}), kNow);
  (void)relay.ask(relay.grants.front());
  turn();
  EXPECT_TRUE(relay.leases.empty());
  EXPECT_TRUE(relay.no_work.empty());
  change([this](Blocks& b) noexcept {
    return b.unfreeze("inner.example", false, "bert", clock.wall(), engine->now());
  });
  ASSERT_EQ(relay.leases.size(), 1U);
  EXPECT_EQ(relay.leases.front().message, id);
}

// Or it would be told so again and again, for as long as that lasts.
TEST_F(CallersTest, AFreezeOfAllNextHopsIsNoTimeToCall) {
  (void)mail("a@inner.example");
  ASSERT_EQ(atrn("wes", {"branch.example"}), kNow);
  (void)relay.ask(relay.grants.front());
  turn();
  change([this](Blocks& b) noexcept {
    return b.freeze({.queue = "*", .reason = "moving", .who = "bert", .since = clock.wall(), .from = engine->now(), .hop = true});
  });
  EXPECT_EQ(relay.no_work.size(), 1U);
  EXPECT_EQ(atrn("amy", {"inner.example"}), kRefused);
  change([this](Blocks& b) noexcept { return b.unfreeze("*", true, "bert", clock.wall(), engine->now()); });
  EXPECT_EQ(atrn("amy", {"inner.example"}), kNow);
}

TEST_F(CallersTest, WhoWaitsGetsWhatComes) {
  ASSERT_EQ(atrn("zoe", {"inner.example"}), kNow);
  ASSERT_EQ(relay.grants.size(), 1U);
  EXPECT_EQ(relay.grants.front().turned->wait, base::Millis(60'000));
  (void)relay.ask(relay.grants.front());
  turn();
  EXPECT_TRUE(relay.no_work.empty());
  (void)mail("a@inner.example");
  turn();
  EXPECT_EQ(relay.leases.size(), 1U);
}

TEST_F(CallersTest, ALockEndsIt) {
  ASSERT_EQ(atrn("zoe", {}), kNow);
  (void)relay.ask(relay.grants.front());
  turn();
  change([](Blocks& b) noexcept { return b.lock({.account = "zoe", .reason = "spam"}); });
  EXPECT_EQ(relay.no_work.size(), 1U);
  EXPECT_EQ(smtpd.ended, std::vector<std::string>{"zoe"});
}

TEST_F(CallersTest, ARightThatIsGoneEndsIt) {
  ASSERT_EQ(atrn("zoe", {}), kNow);
  (void)relay.ask(relay.grants.front());
  turn();
  engine->configure(config);
  intake->callers().review();
  turn();
  EXPECT_TRUE(relay.no_work.empty()) << "it is as it was";
  config.accounts.back().atrn.clear();
  engine->configure(config);
  intake->callers().review();
  turn();
  EXPECT_EQ(relay.no_work.size(), 1U);
}

// Nobody has mail: what the routes say now, the calls that stand have to tell.
TEST_F(CallersTest, TheLimitOfItsRouteIsTheOneThatHoldsNow) {
  ASSERT_EQ(atrn("zoe", {"inner.example"}), kNow);
  (void)relay.ask(relay.grants.front());
  turn();
  const auto reload = [&](std::uint32_t connections) {
    config.routes.back().connections = connections;
    engine->configure(config);
    intake->callers().review();
    turn();
  };
  reload(1);
  EXPECT_EQ(atrn("wes", {"inner.example"}), "451 4.3.2 Unable to process the ATRN request now");
  reload(2);
  EXPECT_EQ(atrn("wes", {"inner.example"}), kNow);
  EXPECT_TRUE(relay.no_work.empty());
}

TEST_F(CallersTest, WithoutARelayItCannotBeNow) {
  (void)mail("a@inner.example");
  relay.connection.reset();
  turn();
  EXPECT_EQ(atrn("amy", {"inner.example"}), "451 4.3.2 Unable to process the ATRN request now");
}

TEST_F(CallersTest, WhatWaitsForItsTimeIsTriedWhenItsHostCalls) {
  const auto id = mail("a@inner.example");
  ASSERT_EQ(atrn("amy", {"inner.example"}), kNow);
  (void)relay.ask(relay.grants.back());
  turn();
  relay.answer(relay.leases.back(), ipc::Result::kDeferred, 451, "later");
  relay.connection->send(ipc::GrantEnded{relay.grants.back().grant, {}, {}, {}, ""});
  turn();
  clock.advance(base::Millis(10'000));
  ASSERT_EQ(atrn("amy", {"inner.example"}), kNow);
  turn();
  (void)relay.ask(relay.grants.back());
  turn();
  ASSERT_EQ(relay.leases.size(), 2U);
  EXPECT_EQ(relay.leases.back().message, id);
}

TEST_F(CallersTest, PeopleAreToldWhatItWaitsFor) {
  const auto id = mail("a@inner.example");
  const Message* message = look(id);
  const auto told = explanation(*engine, *message, message->recipients.front());
  EXPECT_EQ(told.state, ipc::State::kUncalled);
  ASSERT_EQ(told.obstacles.size(), 1U);
  EXPECT_EQ(told.obstacles.front().blocker, ipc::Blocker::kUncalled);
  EXPECT_EQ(told.obstacles.front().name, "inner.example");
  EXPECT_EQ(told.obstacles.front().place, "postern.toml:46");
  EXPECT_EQ(told.next.ms, 0);
  EXPECT_EQ(told.way.via, "turn:");
  const auto stands = standing(*engine, *look(id), look(id)->recipients.front());
  EXPECT_EQ(stands.state, ipc::State::kUncalled);
  EXPECT_EQ(stands.why, "waits until its host calls: ATRN (postern.toml:46)");
  ASSERT_EQ(atrn("amy", {}), kNow);
  EXPECT_EQ(standing(*engine, *look(id), look(id)->recipients.front()).state, ipc::State::kReady);
}

// Nor is it ready for anybody who only counts it.
TEST_F(CallersTest, ItIsCountedAsWaitingForACall) {
  mail("a@inner.example");
  mail("b@inner.example");
  mail("a@far.example");
  EXPECT_EQ(totals(*engine).uncalled, 2U);
  EXPECT_EQ(totals(*engine).ready, 1U);
  change([](Blocks& blocks) noexcept {
    return blocks.freeze({.queue = "inner.example", .reason = "full", .who = "anna"});
  });
  EXPECT_EQ(totals(*engine).uncalled, 0U);
  EXPECT_EQ(totals(*engine).frozen, 2U);
  change([this](Blocks& blocks) noexcept {
    return blocks.unfreeze("inner.example", false, "anna", clock.wall(), engine->now());
  });
  EXPECT_EQ(totals(*engine).uncalled, 2U);
  ASSERT_EQ(atrn("amy", {}), kNow);
  EXPECT_EQ(totals(*engine).uncalled, 0U);
  EXPECT_EQ(totals(*engine).ready, 3U);
}

// It has called for both, and is at the other one.
TEST_F(CallersTest, ACallIsForAllOfItsQueuesUntilItEnds) {
  const base::MessageId ids[] = {mail("a@inner.example"), mail("a@branch.example")};
  ASSERT_EQ(atrn("wes", {}), kNow);
  (void)relay.ask(relay.grants.front());
  turn();
  ASSERT_EQ(relay.leases.size(), 1U);
  const auto other = relay.leases.front().message == ids[0] ? ids[1] : ids[0];
  const auto state = [&] { return explanation(*engine, *look(other), look(other)->recipients.front()).state; };
  EXPECT_EQ(state(), ipc::State::kReady);
  EXPECT_EQ(standing(*engine, *look(other), look(other)->recipients.front()).state, ipc::State::kReady);
  change([](Blocks& b) noexcept { return b.lock({.account = "wes", .reason = "spam"}); });
  EXPECT_EQ(relay.cancelled.size(), 1U);
  EXPECT_EQ(state(), ipc::State::kUncalled) << "it is told to go";
  EXPECT_EQ(standing(*engine, *look(other), look(other)->recipients.front()).state, ipc::State::kUncalled);
}

// It is no failure that nobody calls, and ends nothing but by its age.
TEST_F(CallersTest, MailForWhichNobodyCallsEndsByItsAge) {
  const auto id = mail("a@inner.example");
  engine->end_uncalled();
  pass(base::Millis(700'000));
  engine->end_uncalled();
  turn(20);
  EXPECT_NE(look(id), nullptr);
  pass(base::Millis(700'000));
  engine->end_uncalled();
  turn(20);
  EXPECT_EQ(look(id), nullptr);
}

}  // namespace
}  // namespace postern::queued
