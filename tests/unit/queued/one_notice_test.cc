// One notice of what comes in several parts: successes of a message whose recipients are tried in several leases, and
// delays. What is told is told once, whatever happens between.
#include "tests/unit/queued/notices_rig.h"

namespace postern::queued {
namespace {

using Told = std::map<std::string, std::string>;  // what is told of an address

class OneNotice : public NoticesTest {
 protected:
  static constexpr std::uint32_t kLease = ipc::kLeaseRecipients;

  base::MessageId post_many(std::uint32_t count, const char* notify, const char* from = "ann@example.org") {
    auto record = envelope(0);
    record.from = mail::ReversePath(address(from));
    for (std::uint32_t n = 0; n < count; ++n)
      record.recipients.push_back({.number = n,
                                   .address = address("u" + std::to_string(n) + "@far.example"),
                                   .notify = mail::Notify::parse(notify).value_or(mail::Notify())});
    return post(std::move(record), "hello\r\n");
  }
  // A lease of this queue, on its next connection, or again on the last one.
  void take(const std::string& queue = "far.example") {
    const auto of_queue = [&] {
      std::vector<ipc::Grant> all;
      std::ranges::copy_if(relay.grants, std::back_inserter(all), [&](const auto& grant) { return grant.queue == queue; });
      return all;
    };
    for (int n = 0; n < 50 && of_queue().empty(); ++n) turn(1);
    const auto grants = of_queue();
    ASSERT_FALSE(grants.empty()) << queue;
    const auto leases = relay.leases.size();
    auto& asked = asked_[queue];
    asked = std::min(asked + 1, grants.size());
    relay.ask(grants[asked - 1]);
    turn();
    ASSERT_EQ(relay.leases.size(), leases + 1) << queue;
  }
  void say(std::size_t lease, ipc::Result result) {
    const auto code = result == ipc::Result::kDelivered ? 250 : result == ipc::Result::kFailed ? 550 : 451;
    relay.answer(relay.leases.at(lease), result, static_cast<std::uint16_t>(code), "said");
  }
  void answer(std::size_t lease, ipc::Result result) {
    say(lease, result);
    turn();
  }
  // All its parts are in delivery.
  base::MessageId leased(std::uint32_t count, const char* notify, const char* from = "ann@example.org") {
    const auto id = post_many(count, notify, from);
    connect(relay);
    for (std::uint32_t n = 0; n < count; n += kLease) take();
    return id;
  }
  void restart() {
    end();
    relay = {};
    asked_.clear();
    begin();
  }
  // Of each address, over all notices that are there; twice: "both".
  Told told() {
    Told all;
    for (const auto& notice : notices()) add_told(body(notice.id), all);
    return all;
  }
  static void add_told(const std::string& text, Told& all) {
    const std::string who = "Final-Recipient: rfc822; ", what = "\r\nAction: ";
    for (auto at = text.find(who); at != std::string::npos; at = text.find(who, at + 1)) {
      const auto begin = at + who.size(), end = text.find(what, begin);
      const auto action = end + what.size();
      const auto [known, fresh] = all.try_emplace(text.substr(begin, end - begin),
                                                  text.substr(action, text.find('\r', action) - action));
      if (!fresh) known->second = "both";
    }
  }
  static Told all_of(std::uint32_t from, std::uint32_t to, const std::string& action) {
    Told all;
    for (auto n = from; n < to; ++n) all["u" + std::to_string(n) + "@far.example"] = action;
    return all;
  }
  // The recipients of this lease.
  Told all_in(std::size_t lease, const std::string& action) {
    Told all;
    for (const auto& recipient : relay.leases.at(lease).recipients) all[recipient.address.text()] = action;
    return all;
  }
  std::optional<Schedule::Standing> standing(base::MessageId id, const std::string& queue = "local") {
    return engine->schedule().standing(queue, id, 0);
  }
  void freeze(const std::string& queue) {
    engine->change_blocks(
        [&](Blocks& blocks) noexcept { return blocks.freeze({queue, "work", "root", clock.wall(), engine->now()}); },
        [](Blocks::Said said) noexcept { EXPECT_TRUE(said); });
    turn();
  }
  FakeRelay relay;

 private:
  std::map<std::string, std::size_t> asked_;
};

// --- Successes --------------------------------------------------------------------------------------

class OneNoticeOfSuccess : public OneNotice {};

TEST_F(OneNoticeOfSuccess, OfTwoLeasesThatEndOneAfterTheOther) {
  begin();
  const auto id = leased(2 * kLease, "SUCCESS");
  answer(0, ipc::Result::kDelivered);
  EXPECT_EQ(relay.saved.size(), 1U);  // a delivery waits for nothing
  ASSERT_EQ(notices().size(), 1U);
  const auto first = notices()[0].id;
  EXPECT_EQ(standing(first)->stage, Stage::kWaiting);
  EXPECT_EQ(standing(first)->due, engine->now() + Engine::kGatherTime);
  answer(1, ipc::Result::kDelivered);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
  ASSERT_EQ(notices().size(), 1U);
  EXPECT_EQ(look(first), nullptr);
  EXPECT_EQ(standing(first), std::nullopt);
  EXPECT_EQ(standing(notices()[0].id)->stage, Stage::kReady);
  EXPECT_EQ(look(id), nullptr);
  EXPECT_EQ(store->count(), 1U);
  EXPECT_EQ(engine->counters().bounces.total(), 0U);
  restart();
  EXPECT_EQ(look(first), nullptr);
  EXPECT_EQ(notices().size(), 1U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
}

// The record of the first is still on its way into the journal when it is replaced.
TEST_F(OneNoticeOfSuccess, OfTwoLeasesThatEndTogether) {
  begin();
  (void)leased(2 * kLease, "SUCCESS");
  say(0, ipc::Result::kDelivered);
  say(1, ipc::Result::kDelivered);
  turn();
  EXPECT_EQ(relay.saved.size(), 2U);
  EXPECT_EQ(notices().size(), 1U);
  EXPECT_EQ(store->count(), 1U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
  EXPECT_EQ(standing(notices().at(0).id)->stage, Stage::kReady);
  restart();
  EXPECT_EQ(notices().size(), 1U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
}

TEST_F(OneNoticeOfSuccess, OfAHundredThatAreReadyMeanwhile) {
  begin();
  (void)post_many(100, "SUCCESS");
  connect(relay);
  for (std::size_t n = 0; n < 3; ++n) {
    take();
    answer(n, ipc::Result::kDelivered);
  }
  EXPECT_EQ(notices().size(), 1U);
  EXPECT_EQ(told(), all_of(0, 100, "delivered"));
}

// Each report is written a few times, not as often as leases come.
TEST_F(OneNoticeOfSuccess, OfManyLeasesOnlyFewWaitMeanwhile) {
  begin();
  constexpr std::size_t kLeases = 20;
  (void)post_many(kLeases * kLease, "SUCCESS");
  connect(relay);
  std::map<base::MessageId, std::size_t> made;  // with their sizes
  for (std::size_t n = 0; n < kLeases; ++n) {
    take();
    answer(n, ipc::Result::kDelivered);
    const auto all = notices();
    EXPECT_LE(all.size(), 5U);
    for (const auto& notice : all) made[notice.id] = notice.size();
    EXPECT_EQ(told().size(), (n + 1) * kLease);
  }
  ASSERT_EQ(notices().size(), 1U);
  std::size_t written = 0;
  for (const auto& [id, size] : made) written += size;
  EXPECT_LT(written, 5 * notices()[0].size());
  EXPECT_EQ(told(), all_of(0, kLeases * kLease, "delivered"));
}

TEST_F(OneNoticeOfSuccess, IsSentAfterAWhileWhateverIsComing) {
  begin();
  (void)leased(2 * kLease, "SUCCESS");
  answer(0, ipc::Result::kDelivered);
  const auto first = notices().at(0).id;
  pass(Engine::kGatherTime - base::Millis(1));
  EXPECT_EQ(standing(first)->stage, Stage::kWaiting);
  pass(base::Millis(1));
  EXPECT_EQ(standing(first)->stage, Stage::kReady);
  answer(1, ipc::Result::kDelivered);
  EXPECT_EQ(notices().size(), 2U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
}

TEST_F(OneNoticeOfSuccess, WaitsNotLongerBecauseMoreCame) {
  begin();
  (void)leased(3 * kLease, "SUCCESS");
  answer(0, ipc::Result::kDelivered);
  const auto due = engine->now() + Engine::kGatherTime;
  pass(base::Millis(10'000));
  answer(1, ipc::Result::kDelivered);
  ASSERT_EQ(notices().size(), 1U);
  EXPECT_EQ(standing(notices()[0].id)->due, due);
}

TEST_F(OneNoticeOfSuccess, IsSentAtOnceWhereTheRestIsPutOff) {
  begin();
  const auto id = leased(2 * kLease, "SUCCESS");
  answer(0, ipc::Result::kDelivered);
  answer(1, ipc::Result::kDeferred);
  ASSERT_EQ(notices().size(), 1U);
  EXPECT_EQ(standing(notices()[0].id)->stage, Stage::kReady);
  // What is tried again is another go.
  pass(base::Millis(60'000));
  EXPECT_EQ(look(id)->open, kLease);
  take();
  answer(2, ipc::Result::kDelivered);
  EXPECT_EQ(notices().size(), 2U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
}

TEST_F(OneNoticeOfSuccess, TellsOfTheFailuresOfItsQueueToo) {
  begin();
  const auto id = leased(3 * kLease, "SUCCESS,FAILURE");
  answer(0, ipc::Result::kDelivered);
  answer(1, ipc::Result::kFailed);
  EXPECT_EQ(told(), all_in(0, "delivered"));
  EXPECT_EQ(engine->counters().bounces.total(), 0U);
  answer(2, ipc::Result::kDelivered);
  EXPECT_EQ(notices().size(), 1U);
  auto all = all_of(0, 3 * kLease, "delivered");
  for (const auto& [who, action] : all_in(1, "failed")) all[who] = action;
  EXPECT_EQ(told(), all);
  EXPECT_EQ(engine->counters().bounces.total(), 1U);
  EXPECT_EQ(look(id), nullptr);
}

TEST_F(OneNoticeOfSuccess, OfAnotherQueueIsAnotherOne) {
  begin();
  (void)post({{"a@far.example", "SUCCESS"}, {"b@away.example", "SUCCESS"}});
  connect(relay);
  take("far.example");
  take("away.example");
  answer(0, ipc::Result::kDelivered);
  ASSERT_EQ(notices().size(), 1U);
  EXPECT_EQ(standing(notices()[0].id)->stage, Stage::kReady);
  answer(1, ipc::Result::kDelivered);
  EXPECT_EQ(notices().size(), 2U);
}

TEST_F(OneNoticeOfSuccess, LeavesAnEarlierOneThatIsInDelivery) {
  begin();
  (void)leased(2 * kLease, "SUCCESS", "ann@away.example");
  answer(0, ipc::Result::kDelivered);
  const auto first = notices().at(0).id;
  engine->retry({first});  // the operator will have it now
  turn();
  take("away.example");
  EXPECT_EQ(relay.leases[2].message, first);
  answer(1, ipc::Result::kDelivered);
  EXPECT_EQ(notices().size(), 2U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
  answer(2, ipc::Result::kDelivered);
  EXPECT_EQ(look(first), nullptr);
  EXPECT_EQ(told(), all_in(1, "delivered"));
}

TEST_F(OneNoticeOfSuccess, LeavesAnEarlierOneThatWasTried) {
  begin();
  (void)leased(2 * kLease, "SUCCESS", "ann@away.example");
  answer(0, ipc::Result::kDelivered);
  const auto first = notices().at(0).id;
  engine->retry({first});
  turn();
  take("away.example");
  answer(2, ipc::Result::kUnknown);  // it may have arrived
  answer(1, ipc::Result::kDelivered);
  ASSERT_NE(look(first), nullptr);
  EXPECT_EQ(notices().size(), 2U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
}

TEST_F(OneNoticeOfSuccess, LeavesAnEarlierOneThatIsHeld) {
  begin();
  (void)leased(2 * kLease, "SUCCESS");
  answer(0, ipc::Result::kDelivered);
  const auto first = notices().at(0).id;
  engine->hold(first, "by root: a look");
  turn();
  answer(1, ipc::Result::kDelivered);
  EXPECT_EQ(notices().size(), 2U);
  EXPECT_EQ(look(first)->held, "by root: a look");
  EXPECT_EQ(standing(first)->stage, Stage::kHeld);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
}

TEST_F(OneNoticeOfSuccess, DoesNotBringBackOneThatWasRemoved) {
  begin();
  (void)leased(2 * kLease, "SUCCESS");
  answer(0, ipc::Result::kDelivered);
  const auto first = notices().at(0).id;
  (void)look(first);  // it is in memory
  engine->remove(first, "by root");
  turn();
  EXPECT_TRUE(notices().empty());
  answer(1, ipc::Result::kDelivered);
  EXPECT_EQ(told(), all_in(1, "delivered"));
}

TEST_F(OneNoticeOfSuccess, WaitsWhereItsSendersQueueIsFrozen) {
  begin();
  (void)leased(2 * kLease, "SUCCESS", "ann@away.example");
  answer(0, ipc::Result::kDelivered);
  freeze("away.example");
  answer(1, ipc::Result::kDelivered);
  ASSERT_EQ(notices().size(), 1U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
  EXPECT_EQ(standing(notices()[0].id, "away.example")->stage, Stage::kReady);
  EXPECT_TRUE(std::ranges::none_of(relay.grants, [](const auto& grant) { return grant.queue == "away.example"; }));
}

TEST_F(OneNoticeOfSuccess, AFreezeOfTheRestSendsIt) {
  begin();
  (void)leased(2 * kLease, "SUCCESS");
  answer(0, ipc::Result::kDelivered);
  relay.answer(relay.leases.at(1), ipc::Result::kReturned, 0, "");
  turn();
  ASSERT_EQ(notices().size(), 1U);
  EXPECT_EQ(standing(notices()[0].id)->stage, Stage::kWaiting);
  freeze("far.example");
  EXPECT_NE(standing(notices()[0].id)->stage, Stage::kWaiting);
}

TEST_F(OneNoticeOfSuccess, AStopLeavesEachAsItIs) {
  begin();
  (void)leased(2 * kLease, "SUCCESS");
  answer(0, ipc::Result::kDelivered);
  delivery->stop();
  answer(1, ipc::Result::kDelivered);
  EXPECT_EQ(notices().size(), 2U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
  EXPECT_TRUE(delivery->idle());
}

// What is known of the first goes with the process, the notice does not.
TEST_F(OneNoticeOfSuccess, ACrashBetweenMakesTwoAndLosesNone) {
  begin();
  (void)leased(2 * kLease, "SUCCESS");
  answer(0, ipc::Result::kDelivered);
  const auto first = notices().at(0).id;
  restart();
  EXPECT_EQ(standing(first)->stage, Stage::kWaiting);
  connect(relay);
  take();
  answer(0, ipc::Result::kDelivered);
  EXPECT_EQ(notices().size(), 2U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
  pass(Engine::kGatherTime);
  EXPECT_EQ(standing(first)->stage, Stage::kReady);
}

// The reload comes while a success waits to be written, and refuses what is ready.
TEST_F(OneNoticeOfSuccess, AReloadThatRefusesTheRestTellsOfAll) {
  begin();
  const auto id = post_many(2 * kLease, "SUCCESS,FAILURE");
  connect(relay);
  take();
  answer(0, ipc::Result::kDelivered);
  ASSERT_EQ(notices().size(), 1U);
  config.routes.push_back({{"far.example"}, {{.kind = config::HopKind::kRefuse}}, 1, false, 1});
  engine->configure(config);
  turn(20);
  EXPECT_EQ(look(id), nullptr);
  EXPECT_EQ(notices().size(), 1U);
  auto all = all_of(0, 2 * kLease, "failed");
  for (const auto& [who, action] : all_in(0, "delivered")) all[who] = action;
  EXPECT_EQ(told(), all);
}

// Two successes come, and somewhere in what follows the power goes: who is reported is not open, and is reported once.
class OneNoticeCrash : public OneNotice, public ::testing::WithParamInterface<std::uint64_t> {};

TEST_P(OneNoticeCrash, TellsOfEachDeliveryOnce) {
  begin();
  const auto id = leased(2 * kLease, "SUCCESS");
  disk.halt_at = disk.operations + GetParam();
  answer(0, ipc::Result::kDelivered);
  answer(1, ipc::Result::kDelivered);
  end();
  relay = {};
  disk.cut_power(GetParam());
  for (int n = 0; n < 2; ++n) {
    begin();
    auto expected = all_of(0, 2 * kLease, "delivered");
    if (const auto* message = look(id); message != nullptr)
      for (const auto& recipient : message->recipients)
        if (recipient.open()) expected.erase(recipient.address.text());
    EXPECT_EQ(told(), expected) << n;
    end();
  }
  begin();
}

INSTANTIATE_TEST_SUITE_P(AtEachOperation, OneNoticeCrash, ::testing::Range<std::uint64_t>(0, 32));

// --- Delays -----------------------------------------------------------------------------------------

class OneNoticeOfDelay : public OneNotice {
 protected:
  void SetUp() override {
    config.retry.notify = kHour;
    config.retry.expire = 10 * kHour;
  }
  // All its parts are in delivery, and it is late.
  base::MessageId late(std::uint32_t count) {
    begin();
    const auto id = post_many(count, "");
    pass(kHour);
    connect(relay);
    for (std::uint32_t n = 0; n < count; n += kLease) take();
    return id;
  }
};

TEST_F(OneNoticeOfDelay, OfTwoLeasesThatArePutOff) {
  const auto id = late(2 * kLease);
  answer(0, ipc::Result::kDeferred);
  EXPECT_EQ(relay.saved.size(), 1U);  // the deferral waits for nothing
  const auto number = relay.leases[0].recipients[0].number;
  EXPECT_EQ(look(id)->recipients[number].tries, 1U);
  EXPECT_FALSE(look(id)->recipients[number].delay_told);
  EXPECT_TRUE(notices().empty());
  answer(1, ipc::Result::kDeferred);
  EXPECT_EQ(notices().size(), 1U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delayed"));
  EXPECT_TRUE(look(id)->recipients[number].delay_told);
  EXPECT_TRUE(engine->idle());
  restart();
  EXPECT_TRUE(look(id)->recipients[number].delay_told);
  EXPECT_EQ(notices().size(), 1U);
}

TEST_F(OneNoticeOfDelay, OfTwoLeasesThatArePutOffTogether) {
  (void)late(2 * kLease);
  say(0, ipc::Result::kDeferred);
  say(1, ipc::Result::kDeferred);
  turn();
  EXPECT_EQ(notices().size(), 1U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delayed"));
}

TEST_F(OneNoticeOfDelay, ARetryActsAtOnceWhileItWaitsAndWhoIsDeliveredIsNotNamed) {
  const auto id = late(2 * kLease);
  answer(0, ipc::Result::kDeferred);
  engine->retry({id});
  turn();
  take();
  EXPECT_EQ(all_in(2, ""), all_in(0, ""));
  answer(2, ipc::Result::kDelivered);
  EXPECT_TRUE(notices().empty());
  answer(1, ipc::Result::kDeferred);
  EXPECT_EQ(notices().size(), 1U);
  EXPECT_EQ(told(), all_in(1, "delayed"));
  EXPECT_EQ(look(id)->open, kLease);
}

TEST_F(OneNoticeOfDelay, OfOneThatIsTriedTwiceMeanwhileTheLastAnswerIsTold) {
  const auto id = late(2 * kLease);
  answer(0, ipc::Result::kDeferred);
  engine->retry({id});
  turn();
  take();
  relay.answer(relay.leases[2], ipc::Result::kDeferred, 452, "full now");
  turn();
  answer(1, ipc::Result::kDeferred);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delayed"));
  EXPECT_TRUE(has(only_notice(), "full now"));
}

TEST_F(OneNoticeOfDelay, WaitsOnlySoLong) {
  (void)late(2 * kLease);
  answer(0, ipc::Result::kDeferred);
  pass(Engine::kGatherTime - base::Millis(1));
  EXPECT_TRUE(notices().empty());
  pass(base::Millis(1));
  EXPECT_EQ(told(), all_in(0, "delayed"));
  answer(1, ipc::Result::kDeferred);
  EXPECT_EQ(notices().size(), 2U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delayed"));
}

TEST_F(OneNoticeOfDelay, AHoldTellsAtOnce) {
  const auto id = late(2 * kLease);
  answer(0, ipc::Result::kDeferred);
  answer(1, ipc::Result::kReturned);
  EXPECT_TRUE(notices().empty());
  engine->hold(id, "looked at");
  turn();
  EXPECT_EQ(told(), all_in(0, "delayed"));
}

TEST_F(OneNoticeOfDelay, AFreezeTellsAtOnce) {
  (void)late(2 * kLease);
  answer(0, ipc::Result::kDeferred);
  answer(1, ipc::Result::kReturned);
  EXPECT_TRUE(notices().empty());
  freeze("far.example");
  EXPECT_EQ(told(), all_in(0, "delayed"));
}

TEST_F(OneNoticeOfDelay, AStopTellsAtOnce) {
  (void)late(2 * kLease);
  answer(0, ipc::Result::kDeferred);
  delivery->stop();
  turn();
  EXPECT_EQ(told(), all_in(0, "delayed"));
  EXPECT_TRUE(engine->idle());
  answer(1, ipc::Result::kDeferred);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delayed"));
}

TEST_F(OneNoticeOfDelay, IsNoneOfAMessageThatEndsMeanwhile) {
  const auto id = late(2 * kLease);
  answer(0, ipc::Result::kDeferred);
  engine->retry({id});
  turn();
  take();
  answer(2, ipc::Result::kDelivered);
  answer(1, ipc::Result::kDelivered);
  EXPECT_EQ(store->count(), 0U);
  EXPECT_TRUE(engine->idle());
  pass(2 * Engine::kGatherTime);
  EXPECT_EQ(store->count(), 0U);
}

// Nothing was told, and nothing says that it was: the next failed attempt does.
TEST_F(OneNoticeOfDelay, ACrashBeforeItHasItToldAfterTheNextAttempt) {
  const auto id = late(2 * kLease);
  answer(0, ipc::Result::kDeferred);
  restart();
  EXPECT_TRUE(notices().empty());
  conclude(id, std::vector<Attempt>(2 * kLease, deferred()));
  EXPECT_EQ(notices().size(), 1U);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delayed"));
  conclude(id, std::vector<Attempt>(2 * kLease, deferred()));
  EXPECT_EQ(notices().size(), 1U);
}

TEST_F(OneNoticeOfDelay, IsAnotherOneThanThatOfFailures) {
  const auto id = late(2 * kLease);
  answer(0, ipc::Result::kDeferred);
  answer(1, ipc::Result::kFailed);
  EXPECT_EQ(notices().size(), 2U);
  auto all = all_in(0, "delayed");
  all.merge(all_in(1, "failed"));
  EXPECT_EQ(told(), all);
  EXPECT_EQ(engine->counters().bounces.total(), 1U);
  EXPECT_EQ(look(id)->open, kLease);
}

// --- A later go --------------------------------------------------------------------------------------

// Its parts are due one after the other, as they were put off.
class OneNoticeOfALaterGo : public OneNotice {
 protected:
  static constexpr base::Millis kApart{5'000};
  void put_off(const char* notify) {
    config.retry.notify = kHour / 80;  // after the first go
    begin();
    (void)post_many(2 * kLease, notify);
    connect(relay);
    take();
    answer(0, ipc::Result::kDeferred);
    pass(kApart);
    take();
    answer(1, ipc::Result::kDeferred);
    EXPECT_TRUE(notices().empty());
    pass(base::Millis(60'000) - kApart);
  }
  void try_both(ipc::Result result) {
    take();
    answer(2, result);
    pass(kApart);
    take();
    answer(3, result);
    ASSERT_EQ(notices().size(), 1U);
    EXPECT_EQ(standing(notices()[0].id)->stage, Stage::kReady);
  }
};

TEST_F(OneNoticeOfALaterGo, OfSuccesses) {
  put_off("SUCCESS");
  try_both(ipc::Result::kDelivered);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delivered"));
}

TEST_F(OneNoticeOfALaterGo, OfFailures) {
  put_off("FAILURE");
  try_both(ipc::Result::kFailed);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "failed"));
}

TEST_F(OneNoticeOfALaterGo, OfDelays) {
  put_off("DELAY");
  try_both(ipc::Result::kDeferred);
  EXPECT_EQ(told(), all_of(0, 2 * kLease, "delayed"));
}

// What was tried in this go is not waited for, however soon it comes again.
TEST_F(OneNoticeOfALaterGo, IsNotThisOne) {
  config.retry.after = {base::Millis(1'000)};
  begin();
  (void)leased(3 * kLease, "SUCCESS,FAILURE");
  answer(0, ipc::Result::kDelivered);
  answer(1, ipc::Result::kDeferred);
  answer(2, ipc::Result::kFailed);
  ASSERT_EQ(notices().size(), 1U);
  EXPECT_EQ(standing(notices()[0].id)->stage, Stage::kReady);
}

// --- Delays of whole queues

class OneNoticeOfDeadHops : public OneNoticeOfDelay {
 protected:
  void fail(const std::string& queue, const std::string& said) {
    engine->hop_failed({queue, queue}, ipc::FailureClass::kConnect, {0, 4, 4, 1, said}, "");
    turn(60);
  }
};

TEST_F(OneNoticeOfDeadHops, OfTwoThatAreLateTogether) {
  begin();
  const auto id = post({{"a@one.example"}, {"b@two.example"}, {"c@two.example", "NEVER"}});
  pass(kHour);
  fail("one.example", "one is down");
  EXPECT_TRUE(notices().empty());  // the other one is being tried
  fail("two.example", "two is down");
  const auto text = only_notice();
  EXPECT_EQ(told(), (Told{{"a@one.example", "delayed"}, {"b@two.example", "delayed"}}));
  EXPECT_TRUE(has(text, "one is down") && has(text, "two is down"));
  EXPECT_TRUE(look(id)->recipients[0].delay_told && look(id)->recipients[1].delay_told);
  pass(kHour);
  fail("one.example", "one is down");
  fail("two.example", "two is down");
  EXPECT_EQ(notices().size(), 1U);
}

// At once, for nothing of it is coming.
TEST_F(OneNoticeOfDeadHops, OfAllQueuesThatGoByTheSameOne) {
  config.routes.push_back({.to = {"*"}, .via = {{config::HopKind::kHost, "smart.example", 25}}});
  begin();
  const auto id = post({{"a@one.example"}, {"b@two.example"}, {"c@three.example"}});
  freeze("three.example");
  pass(kHour);
  engine->hop_failed({"one.example", "smart.example:25"}, ipc::FailureClass::kConnect, {0, 4, 4, 1, "it is down"}, "");
  turn(60);
  EXPECT_EQ(notices().size(), 1U);
  EXPECT_EQ(told(), (Told{{"a@one.example", "delayed"}, {"b@two.example", "delayed"}}));
  EXPECT_FALSE(look(id)->recipients[2].delay_told);
}

TEST_F(OneNoticeOfDeadHops, DoesNotWaitLongForTheOther) {
  begin();
  (void)post({{"a@one.example"}, {"b@two.example"}});
  pass(kHour);
  fail("one.example", "one is down");
  pass(Engine::kGatherTime);
  EXPECT_EQ(told(), (Told{{"a@one.example", "delayed"}}));
  fail("two.example", "two is down");
  EXPECT_EQ(notices().size(), 2U);
}

TEST_F(OneNoticeOfDeadHops, DoesNotWaitForWhatIsFrozen) {
  begin();
  (void)post({{"a@one.example"}, {"b@two.example"}});
  freeze("two.example");
  pass(kHour);
  fail("one.example", "one is down");
  EXPECT_EQ(told(), (Told{{"a@one.example", "delayed"}}));
}

TEST_F(OneNoticeOfDeadHops, TellsEachSenderOfItsOwn) {
  begin();
  auto record = envelope(0);
  record.from = mail::ReversePath(address("ann@example.org"));
  record.recipients.push_back({.number = 0, .address = address("a@one.example")});
  record.recipients.push_back(
      {.number = 1, .address = address("b@one.example"), .sender = address("bob@example.org")});
  (void)post(std::move(record), "hello\r\n");
  pass(kHour);
  fail("one.example", "one is down");
  ASSERT_EQ(notices().size(), 2U);
  EXPECT_EQ(told(), (Told{{"a@one.example", "delayed"}, {"b@one.example", "delayed"}}));
}

}  // namespace
}  // namespace postern::queued
