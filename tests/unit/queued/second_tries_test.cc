// Whom a next hop refuses by its policy goes by the second path of his route, and nobody else: in the same try, once,
// whatever happens in between.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <set>

#include "queued/explain.h"
#include "queued/listings.h"
#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

using ::testing::HasSubstr;

const ipc::ReplyText kTaken{250, 2, 0, 0, "taken"};
const ipc::ReplyText kBlocked{550, 5, 7, 1, "your address is blocked"};
const ipc::ReplyText kGreylisted{450, 4, 7, 1, "greylisted by policy"};
const ipc::ReplyText kNobody{550, 5, 1, 1, "no such user"};
const ipc::ReplyText kBusy{451, 4, 3, 0, "busy"};

using Said = std::pair<ipc::Result, ipc::ReplyText>;
const Said kDelivered{ipc::Result::kDelivered, kTaken};
const Said kRefused{ipc::Result::kFailed, kBlocked};

class SecondTries : public ::testing::Test, protected EngineRig {
 protected:
  SecondTries() {
    config.routes.push_back({.to = {"far.example"},
                             .via = {{config::HopKind::kHost, "first.example", 25},
                                     {config::HopKind::kHost, "second.example", 25}},
                             .second_path = true});
  }
  // What the host is given next; one without recipients: nothing.
  ipc::Lease next(FakeRelay& relay, const std::string& at) {
    for (int n = 0; n < 20; ++n) {
      for (const auto& lease : relay.leases) {
        if (answered_.contains({lease.epoch.value, lease.lease.value})) continue;
        EXPECT_EQ(asked_.at(lease.request.value).hop.host, at);
        return lease;
      }
      ask(relay, at);
      turn(2);
    }
    return {};
  }
  // By the newest connection there, unless it waits for an answer.
  void ask(FakeRelay& relay, const std::string& at) {
    const auto grant = std::find_if(relay.grants.rbegin(), relay.grants.rend(),
                                    [&](const ipc::Grant& one) { return one.hop.host == at; });
    const auto waits = [&](const auto& one) { return one.second.grant == grant->grant; };
    if (grant == relay.grants.rend() || std::ranges::any_of(asked_, waits)) return;
    asked_[relay.ask(*grant).value] = *grant;
  }
  // One result for each recipient of the lease; its connection may ask again.
  void say(FakeRelay& relay, const ipc::Lease& lease, const std::string& at, const std::vector<Said>& said) {
    ASSERT_EQ(lease.recipients.size(), said.size());
    ipc::Outcome outcome;
    outcome.request = base::RequestId(++relay.request);
    outcome.lease = lease.lease;
    outcome.epoch = lease.epoch;
    outcome.message = lease.message;
    outcome.remote = at + "[192.0.2.9]:25";
    for (std::size_t n = 0; n < said.size(); ++n) {
      ipc::RecipientResult one;
      one.number = lease.recipients[n].number;
      one.result = said[n].first;
      one.failure = ipc::FailureClass::kPolicy;
      one.reply = said[n].second;
      outcome.results.push_back(one);
    }
    answered_.insert({lease.epoch.value, lease.lease.value});
    asked_.erase(lease.request.value);
    relay.connection->send(outcome);
    turn();
  }
  void end_life() {
    asked_.clear();
    end();
  }
  // What the first host says of one recipient; the message.
  base::MessageId first_says(FakeRelay& relay, const Said& said) {
    const auto id = mail("a@far.example");
    connect(relay);
    say(relay, next(relay, "first.example"), "first.example", {said});
    return id;
  }
  void freeze_second(bool frozen) {
    engine->change_blocks(
        [=, this](Blocks& blocks) noexcept {
          return frozen ? blocks.freeze({.queue = "second.example:25",
                                         .reason = "full",
                                         .who = "anna",
                                         .since = clock.wall(),
                                         .from = engine->now(),
                                         .hop = true})
                        : blocks.unfreeze("second.example:25", true, "anna", clock.wall(), engine->now());
        },
        [](Blocks::Said said) noexcept { EXPECT_TRUE(said); });
    turn();
  }
  std::size_t notices() {
    const auto all = messages();
    return static_cast<std::size_t>(std::ranges::count_if(all, [](const Message& m) { return m.notice; }));
  }
  std::string last_reply(base::MessageId id) { return text_of(look(id)->recipients.at(0).trouble->reply); }

 private:
  std::map<std::uint64_t, ipc::Grant> asked_;  // by request: connections that wait for work, or have it
  std::set<std::pair<std::uint64_t, std::uint64_t>> answered_;  // leases, by epoch and number
};

TEST_F(SecondTries, OnlyTheRecipientsThatWereSoRefused) {
  begin();
  const auto id = mail(std::vector<std::string>{"a@far.example", "b@far.example", "c@far.example", "d@far.example"});
  FakeRelay relay;
  connect(relay);
  const auto first = next(relay, "first.example");
  say(relay, first, "first.example",
      {kDelivered, kRefused, {ipc::Result::kFailed, kNobody}, {ipc::Result::kDeferred, kBusy}});
  EXPECT_EQ(notices(), 0U) << "c waits for b";
  const auto second = next(relay, "second.example");
  ASSERT_EQ(second.recipients.size(), 1U);
  EXPECT_EQ(second.recipients[0].address.text(), "b@far.example");
  EXPECT_EQ(second.message, id);
  say(relay, second, "second.example", {kDelivered});
  turn(20);
  EXPECT_EQ(notices(), 1U) << "of c alone";
  const auto* message = look(id);
  ASSERT_NE(message, nullptr);
  EXPECT_EQ(message->open, 1U);
  EXPECT_TRUE(message->recipients[3].open());
  EXPECT_EQ(message->recipients[3].tries, 1U);
  EXPECT_EQ(relay.saved.size(), 2U);
}

TEST_F(SecondTries, TheOtherHostsRefusalIsTheResult) {
  begin();
  FakeRelay relay;
  const auto id = first_says(relay, kRefused);
  EXPECT_TRUE(look(id)->recipients[0].goes_on());
  EXPECT_EQ(look(id)->recipients[0].tries, 1U);
  say(relay, next(relay, "second.example"), "second.example", {{ipc::Result::kFailed, kBlocked}});
  EXPECT_EQ(look(id), nullptr);
  EXPECT_EQ(notices(), 1U);
  EXPECT_TRUE(engine->schedule().seconds().empty());
}

TEST_F(SecondTries, BothAreOneTryAndTheNextOneBeginsAnew) {
  begin();
  FakeRelay relay;
  const auto id = first_says(relay, {ipc::Result::kDeferred, kGreylisted});
  say(relay, next(relay, "second.example"), "second.example", {{ipc::Result::kDeferred, kGreylisted}});
  const auto& recipient = look(id)->recipients[0];
  EXPECT_EQ(recipient.tries, 1U);
  EXPECT_FALSE(recipient.goes_on());
  EXPECT_EQ(recipient.next_try - recipient.tried, base::Millis(60'000)) << "by the table's first wait";
  EXPECT_THAT(last_reply(id), HasSubstr("450 4.7.1 greylisted by policy (second path; first.example[192.0.2.9]:25 said "
                                        "450 4.7.1 greylisted by policy)"));
  EXPECT_TRUE(next(relay, "second.example").recipients.empty());
  pass(base::Millis(60'500));
  const auto again = next(relay, "first.example");
  ASSERT_EQ(again.recipients.size(), 1U);
  say(relay, again, "first.example", {kRefused});
  say(relay, next(relay, "second.example"), "second.example", {{ipc::Result::kDeferred, kBusy}});
  EXPECT_EQ(look(id)->recipients[0].tries, 2U);
  EXPECT_EQ(look(id)->recipients[0].next_try - look(id)->recipients[0].tried, base::Millis(120'000));
  EXPECT_EQ(notices(), 0U);
}

TEST_F(SecondTries, NothingElseTakesIt) {
  const Said others[] = {{ipc::Result::kFailed, kNobody},
                         {ipc::Result::kDeferred, kBusy},
                         {ipc::Result::kDeferred, {451, 0, 0, 0, "7.1 it says"}},
                         {ipc::Result::kDeferred, {0, 4, 7, 4, "TLS is not offered"}},  // our own words
                         {ipc::Result::kFailed, {0, 5, 7, 10, "requires TLS"}},
                         {ipc::Result::kUnknown, {0, 4, 4, 2, "it broke off"}},
                         {ipc::Result::kUnknown, kBlocked},
                         {ipc::Result::kReturned, kBlocked}};
  for (const auto& said : others) {
    begin();
    FakeRelay relay;
    (void)first_says(relay, said);
    EXPECT_TRUE(next(relay, "second.example").recipients.empty()) << said.second.text;
    EXPECT_TRUE(engine->schedule().seconds().empty());
    for (const auto& message : messages()) engine->remove(message.id, "by the test");
    end_life();
  }
}

TEST_F(SecondTries, WithoutTheWordOfTheRouteThereIsNone) {
  config.routes[0].second_path = false;
  begin();
  FakeRelay relay;
  const auto id = first_says(relay, kRefused);
  EXPECT_EQ(look(id), nullptr);
  EXPECT_EQ(notices(), 1U);
}

TEST_F(SecondTries, BehindTheLastWayThereIsNone) {
  begin();
  const auto id = mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  relay.connection->send(ipc::GrantEnded{relay.grants.at(0).grant, ipc::GrantEnd::kTemporary,
                                         ipc::FailureClass::kConnect, {0, 4, 4, 1, "refused"}, "first.example"});
  say(relay, next(relay, "second.example"), "second.example", {kRefused});
  EXPECT_EQ(look(id), nullptr);
  EXPECT_EQ(notices(), 1U);
}

TEST_F(SecondTries, OnTheWayItIsTold) {
  begin();
  FakeRelay relay;
  const auto id = first_says(relay, kRefused);
  const auto* message = look(id);
  const auto told = explanation(*engine, *message, message->recipients[0]);
  EXPECT_EQ(told.way.via, "smtp://second.example:25 (second path)");
  EXPECT_EQ(told.way.number, 2U);
  EXPECT_EQ(told.way.of, 2U);
  EXPECT_EQ(told.last_reply, "550 5.7.1 your address is blocked");
  EXPECT_EQ(told.remote, "first.example[192.0.2.9]:25");
  EXPECT_EQ(told.tries, 1U);
}

TEST_F(SecondTries, AMessageOnBothPathsIsOneForWhoLooks) {
  begin();
  const auto id = mail(std::vector<std::string>{"a@far.example", "b@far.example"});
  FakeRelay relay;
  connect(relay);
  say(relay, next(relay, "first.example"), "first.example", {kRefused, {ipc::Result::kDeferred, kBusy}});
  ASSERT_EQ(engine->schedule().seconds().size(), 1U);
  EXPECT_EQ(engine->schedule().find("far.example")->messages(), 1U);
  std::vector<ipc::QueueRow> rows;
  list_queues(*engine, {}, [&](const ipc::QueueRows& page) noexcept {
    for (const auto& row : page.rows) rows.push_back(row);
  });
  turn();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].messages, 1U);
  EXPECT_EQ(rows[0].bytes, look(id)->size());
  const auto told = explain_queue(*engine, {.name = "far.example"});
  EXPECT_EQ(told.messages, 1U);
  EXPECT_EQ(told.bytes, look(id)->size());
  EXPECT_EQ(told.ready + told.waiting, 2U) << "these are recipients";
}

TEST_F(SecondTries, AQueueAllOfWhichGoesThereIsExplainedByThat) {
  begin();
  FakeRelay relay;
  first_says(relay, kRefused);
  ASSERT_EQ(engine->schedule().find("far.example")->messages(), 0U);
  const auto told = explain_queue(*engine, {.name = "far.example"});
  EXPECT_NE(told.oldest.ms, 0);
  EXPECT_EQ(told.way.number, 2U);
  EXPECT_EQ(told.way.of, 2U);
  EXPECT_EQ(told.way.hop, "second.example:25");
  ASSERT_EQ(told.hops.size(), 2U);
  EXPECT_EQ(told.hops[1].name, "second.example:25");
  EXPECT_FALSE(told.hops[0].current);
  EXPECT_TRUE(told.hops[1].current);
}

// As all that waits for the host is.
TEST_F(SecondTries, WhoGoesByASecondPathIsStartedToo) {
  config.rights.listeners[0].etrn_from = {base::parse_network("10.0.0.0/8").value()};
  begin();
  FakeSmtpd smtpd;
  connect(smtpd);
  FakeRelay relay;
  first_says(relay, kRefused);
  ASSERT_EQ(engine->schedule().find("far.example")->messages(), 0U);
  const auto before = store->health().records;
  ipc::StartQueue start;
  start.request = base::RequestId(1);
  start.origin = base::parse_ip("10.1.2.3").value();
  start.queue = "far.example";
  smtpd.connection->send(start);
  turn(20);
  ASSERT_EQ(smtpd.queues_started.size(), 1U);
  EXPECT_EQ(smtpd.queues_started[0].reply.code, 253);
  EXPECT_EQ(smtpd.queues_started[0].reply.text, "1 pending messages for node far.example started");
  EXPECT_EQ(store->health().records, before + 1) << "that it is to be tried";
  EXPECT_EQ(next(relay, "second.example").recipients.size(), 1U) << "and it still goes there";
}

TEST_F(SecondTries, AFrozenHostLeavesItDeferred) {
  begin();
  freeze_second(true);
  FakeRelay relay;
  const auto id = first_says(relay, kRefused);
  turn(20);
  ASSERT_NE(look(id), nullptr);
  EXPECT_EQ(notices(), 0U);
  EXPECT_THAT(last_reply(id), HasSubstr("next hop second.example:25 is frozen: full"));
  EXPECT_THAT(last_reply(id), HasSubstr("said 550 5.7.1 your address is blocked"));
  EXPECT_EQ(look(id)->recipients[0].tries, 1U);
  EXPECT_FALSE(look(id)->recipients[0].goes_on());
  EXPECT_TRUE(engine->schedule().seconds().empty());
  freeze_second(false);
  pass(base::Millis(60'500));
  say(relay, next(relay, "first.example"), "first.example", {kRefused});
  say(relay, next(relay, "second.example"), "second.example", {kDelivered});
  EXPECT_EQ(look(id), nullptr);
  EXPECT_EQ(notices(), 0U);
}

// Its connection is told to go before it could get anything.
TEST_F(SecondTries, AHostThatIsFrozenWhileTheBodyIsReadGetsNothing) {
  begin();
  FakeRelay relay;
  const auto id = first_says(relay, kRefused);
  late_store->set_bodies_slow(true);
  EXPECT_TRUE(next(relay, "second.example").recipients.empty());
  ASSERT_EQ(late_store->unread(), 1U);
  freeze_second(true);
  late_store->set_bodies_slow(false);
  turn(20);
  EXPECT_EQ(relay.leases.size(), 1U) << "that of the first host";
  EXPECT_EQ(relay.no_work.size(), 1U);
  EXPECT_THAT(last_reply(id), HasSubstr("next hop second.example:25 is frozen: full"));
  EXPECT_FALSE(look(id)->recipients[0].goes_on());
}

TEST_F(SecondTries, ADeadHostLeavesItDeferred) {
  begin();
  FakeRelay relay;
  const auto id = first_says(relay, kRefused);
  turn(10);
  ASSERT_EQ(relay.grants.back().hop.host, "second.example");
  relay.connection->send(ipc::GrantEnded{relay.grants.back().grant, ipc::GrantEnd::kTemporary,
                                         ipc::FailureClass::kConnect, {0, 4, 4, 1, "connection refused"}, "second"});
  turn(20);
  ASSERT_NE(look(id), nullptr);
  EXPECT_EQ(notices(), 0U);
  EXPECT_THAT(last_reply(id), HasSubstr("connection refused (second path; first.example"));
  EXPECT_EQ(look(id)->recipients[0].tries, 1U);
  EXPECT_TRUE(engine->schedule().seconds().empty());
}

TEST_F(SecondTries, WhatComesBackUntriedGoesThereAgain) {
  begin();
  FakeRelay relay;
  const auto id = first_says(relay, kRefused);
  say(relay, next(relay, "second.example"), "second.example", {{ipc::Result::kReturned, {}}});
  const auto again = next(relay, "second.example");
  ASSERT_EQ(again.recipients.size(), 1U);
  EXPECT_EQ(again.message, id);
  say(relay, again, "second.example", {kDelivered});
  EXPECT_EQ(look(id), nullptr);
}

TEST_F(SecondTries, AnUnknownEndThereIsNoRefusal) {
  begin();
  FakeRelay relay;
  const auto id = first_says(relay, kRefused);
  say(relay, next(relay, "second.example"), "second.example", {{ipc::Result::kUnknown, {}}});
  ASSERT_NE(look(id), nullptr);
  EXPECT_EQ(look(id)->recipients[0].tries, 1U);
  EXPECT_EQ(look(id)->recipients[0].next_try - look(id)->recipients[0].tried, base::Millis(60'000));
}

TEST_F(SecondTries, ARestartInBetweenTriesAgain) {
  begin();
  base::MessageId id;
  {
    FakeRelay relay;
    id = first_says(relay, kRefused);
  }
  end_life();
  begin();
  ASSERT_NE(look(id), nullptr);
  EXPECT_TRUE(look(id)->recipients[0].goes_on());
  EXPECT_EQ(notices(), 0U);
  FakeRelay relay;
  connect(relay);
  say(relay, next(relay, "first.example"), "first.example", {{ipc::Result::kDeferred, kBusy}});
  EXPECT_EQ(look(id)->recipients[0].tries, 1U) << "the same try";
  pass(base::Millis(60'500));
  say(relay, next(relay, "first.example"), "first.example", {kRefused});
  EXPECT_EQ(look(id)->recipients[0].tries, 2U);
  say(relay, next(relay, "second.example"), "second.example", {kRefused});
  EXPECT_EQ(look(id), nullptr);
  EXPECT_EQ(notices(), 1U);
}

TEST_F(SecondTries, ARefusalFromAnEarlierLifeFailsNobody) {
  begin();
  const auto id = mail("a@far.example");
  ipc::Lease lease;
  {
    FakeRelay relay;
    connect(relay);
    lease = next(relay, "first.example");
    pass(base::Millis(1000));
  }
  end_life();
  begin();
  FakeRelay relay;
  connect(relay, 0, {{lease.lease, lease.epoch, id, {0}}});
  say(relay, lease, "first.example", {kRefused});
  ASSERT_NE(look(id), nullptr);
  EXPECT_EQ(notices(), 0U);
  say(relay, next(relay, "first.example"), "first.example", {kRefused});
  say(relay, next(relay, "second.example"), "second.example", {kDelivered});
  EXPECT_EQ(look(id), nullptr);
  EXPECT_EQ(notices(), 0U);
}

TEST_F(SecondTries, OtherRoutesBeginAnew) {
  begin();
  const auto id = mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  const auto lease = next(relay, "first.example");
  auto changed = config;
  std::swap(changed.routes[0].via[0], changed.routes[0].via[1]);
  engine->configure(changed);
  turn();
  say(relay, lease, "first.example", {kRefused});
  ASSERT_NE(look(id), nullptr);
  EXPECT_TRUE(engine->schedule().seconds().empty()) << "nobody knows which way of these it was";
  say(relay, next(relay, "second.example"), "second.example", {kRefused});
  say(relay, next(relay, "first.example"), "first.example", {kRefused});
  EXPECT_EQ(look(id), nullptr);
  EXPECT_EQ(notices(), 1U);
}

TEST_F(SecondTries, AHoldInBetweenStopsIt) {
  begin();
  FakeRelay relay;
  const auto id = first_says(relay, kRefused);
  engine->hold(id, "by anna: a look");
  turn();
  EXPECT_TRUE(next(relay, "second.example").recipients.empty());
  engine->end_hold(id);
  turn();
  say(relay, next(relay, "second.example"), "second.example", {kDelivered});
  EXPECT_EQ(look(id), nullptr);
}

}  // namespace
}  // namespace postern::queued
