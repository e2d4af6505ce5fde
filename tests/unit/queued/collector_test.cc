// When hosts that keep our mail are called, and what becomes of the sessions that they turned round.
#include "queued/collector.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "tests/unit/event/until.h"
#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

using ipc::CollectEnd;
constexpr base::SteadyTime kStart{1'000'000};
constexpr base::Millis kEvery{600'000};

base::SteadyTime after(std::int64_t ms) { return kStart + base::Millis(ms); }

// --- The plan ---------------------------------------------------------------------------------------

TEST(CallPlanTest, WithoutWaitingEachCallComesAPeriodAfterTheLast) {
  CallPlan plan(kEvery, false);
  for (const auto end : {CollectEnd::kServed, CollectEnd::kNothing, CollectEnd::kFailed}) {
    plan.begin(kStart);
    EXPECT_EQ(plan.end(end, false, after(5'000)), after(5'000) + kEvery);
  }
}

TEST(CallPlanTest, WhoWaitsCallsAgainBehindASession) {
  CallPlan plan(kEvery, true);
  plan.begin(kStart);
  EXPECT_EQ(plan.end(CollectEnd::kServed, false, after(5'000)), after(5'000));
  plan.begin(kStart);
  EXPECT_EQ(plan.end(CollectEnd::kServed, false, after(10)), after(1'000));  // not in a circle
  EXPECT_EQ(plan.end(CollectEnd::kNothing, false, after(5'000)), after(5'000) + kEvery);
}

TEST(CallPlanTest, WhoWaitsCallsLessAndLessWhereItFails) {
  CallPlan plan(base::Millis(5'000), true);
  for (const std::int64_t pause : {1'000, 2'000, 4'000, 5'000, 5'000})
    EXPECT_EQ(plan.end(CollectEnd::kFailed, false, kStart), after(pause));
  plan.begin(kStart);
  (void)plan.end(CollectEnd::kServed, false, kStart);
  EXPECT_EQ(plan.end(CollectEnd::kFailed, false, kStart), after(1'000));
  EXPECT_EQ(plan.end(CollectEnd::kFailed, true, kStart), after(5'000));  // it will be refused again
}

// --- The collector ----------------------------------------------------------------------------------

struct Calls {
  Collector::Outlets outlets() {
    return {[this]() noexcept { return ready; },
            [this](const ipc::Collect& call) noexcept {
              if (relay) calls.push_back(call);
              return relay;
            },
            [this](const ipc::EndCollect& end) noexcept { ended.push_back(end.request); },
            [this](const ipc::ServeTurned& turned, base::UniqueFd) noexcept {
              served.push_back(turned);
              return true;
            }};
  }
  template <class Done>
  void until(Done done) {
    event::until(loop, std::move(done));
  }
  void end(CollectEnd how, std::uint16_t code = 0) {
    ipc::Collected collected;
    collected.request = calls.back().request;
    collected.end = how;
    collected.reply.code = code;
    collector.collected(collected);
  }

  event::Loop loop;
  bool ready = true, relay = true;
  std::vector<ipc::Collect> calls;
  std::vector<base::RequestId> ended;
  std::vector<ipc::ServeTurned> served;
  Collector collector{loop, base::system_clock(), outlets()};
};

config::CollectConfig calling(std::string name, bool wait = true, base::Millis every = kEvery) {
  config::CollectConfig collect;
  collect.hop = {.kind = config::HopKind::kHost, .host = std::move(name), .port = 366};
  collect.every = every;
  collect.wait = wait;
  return collect;
}

base::UniqueFd any_fd() { return base::UniqueFd::adopt(::eventfd(0, EFD_CLOEXEC)); }

TEST(CollectorTest, CallsEachHostOnceAtATime) {
  Calls c;
  c.collector.configure({calling("a.example"), calling("b.example")});
  c.until([&] { return c.calls.size() == 2; });
  EXPECT_EQ(c.calls[0].hop.host, "a.example");
  EXPECT_EQ(c.calls[1].hop.host, "b.example");
  c.end(CollectEnd::kServed);
  c.until([&] { return c.calls.size() == 3; });
  EXPECT_EQ(c.calls[2].hop.host, "b.example");
}

TEST(CollectorTest, WaitsWhileNobodyCouldServe) {
  Calls c;
  c.ready = false;
  c.collector.configure({calling("a.example")});
  c.loop.run_once(true);
  EXPECT_TRUE(c.calls.empty());
  c.ready = true;
  c.relay = false;
  c.loop.run_once(true);
  EXPECT_TRUE(c.calls.empty());
  c.relay = true;
  c.until([&] { return !c.calls.empty(); });
}

// A time would be one that passes and brings nothing.
TEST(CollectorTest, NoTimeOfTheNextCallIsToldWhileNobodyIsCalled) {
  Calls c;
  c.collector.configure({calling("a.example")});
  c.until([&] { return !c.calls.empty(); });
  c.end(CollectEnd::kNothing);
  EXPECT_NE(c.collector.rows(1).at(0).next.ms, 0);
  c.ready = false;
  EXPECT_EQ(c.collector.rows(1).at(0).next.ms, 0);
}

TEST(CollectorTest, HandsOnOneSessionOfACall) {
  Calls c;
  c.collector.configure({calling("a.example")});
  c.until([&] { return !c.calls.empty(); });
  ipc::TurnedRound turned;
  turned.request = c.calls[0].request;
  turned.client = *base::parse_ip("192.0.2.1");
  turned.tls = "TLSv1.3 X";
  turned.tls_peer = "a.example";
  c.collector.turned(turned, {});  // nothing came with it
  EXPECT_TRUE(c.served.empty());
  c.collector.turned(turned, any_fd());
  c.collector.turned(turned, any_fd());
  turned.request = turned.request.next();
  c.collector.turned(turned, any_fd());
  ASSERT_EQ(c.served.size(), 1U);
  EXPECT_EQ(base::to_string(c.served[0].client), "192.0.2.1");
  EXPECT_EQ(c.served[0].tls, "TLSv1.3 X");
  EXPECT_EQ(c.served[0].tls_peer, "a.example");
  const auto rows = c.collector.rows(8);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].from, "a.example:366");
  EXPECT_TRUE(rows[0].calling && rows[0].serving);
  c.end(CollectEnd::kFailed, 535);
  const auto ended = c.collector.rows(8);
  EXPECT_FALSE(ended[0].calling || ended[0].serving);
  EXPECT_TRUE(ended[0].result.starts_with("failed: 535")) << ended[0].result;
  EXPECT_GT(ended[0].next, ended[0].last + kEvery / 2);
  EXPECT_TRUE(c.collector.rows(0).empty());
}

TEST(CollectorTest, FollowsTheConfiguration) {
  Calls c;
  c.collector.configure({calling("a.example"), calling("b.example")});
  c.until([&] { return c.calls.size() == 2; });
  c.collector.configure({calling("b.example", true, base::Millis(60'000)), calling("c.example")});
  EXPECT_EQ(c.ended, std::vector{c.calls[0].request});  // nobody wants it any more
  c.until([&] { return c.calls.size() == 3; });
  EXPECT_EQ(c.calls[2].hop.host, "c.example");  // the call of b.example goes on
  c.collector.stop();
  c.end(CollectEnd::kServed);
  EXPECT_EQ(c.calls.size(), 3U);
}

// --- By way of the channels -------------------------------------------------------------------------

struct Path : EngineRig {
  void begin_with_calls() {
    config.collects = {calling("a.example")};
    ASSERT_NO_FATAL_FAILURE(begin());
    delivery->on_collect(
        [this](const ipc::TurnedRound& turned, base::UniqueFd fd) noexcept {
          turns.push_back(turned.request);
          sessions.push_back(std::move(fd));
        },
        [this](const ipc::Collected& end) noexcept { ended.push_back(end); });
  }
  [[nodiscard]] static ipc::Descriptors one_fd() {
    ipc::Descriptors descriptors;
    descriptors.push_back(any_fd());
    return descriptors;
  }
  std::vector<base::RequestId> turns;
  std::vector<base::UniqueFd> sessions;
  std::vector<ipc::Collected> ended;
};

TEST(CollectPath, GoesToARelayAndFromThereToAnSmtpd) {
  Path rig;
  ASSERT_NO_FATAL_FAILURE(rig.begin_with_calls());
  const ipc::Collect call{base::RequestId(7), calling("a.example").hop, {}};
  EXPECT_FALSE(rig.delivery->collect(call));  // nobody can make it,
  EXPECT_FALSE(rig.intake->can_serve());      // and nobody could serve what comes of it
  EXPECT_FALSE(rig.intake->serve({}, any_fd()));
  FakeRelay relay;
  FakeSmtpd smtpd;
  rig.connect(relay);
  rig.connect(smtpd);
  EXPECT_TRUE(rig.intake->can_serve());
  EXPECT_TRUE(rig.delivery->collect(call));
  rig.turn();
  ASSERT_EQ(relay.calls.size(), 1U);
  EXPECT_EQ(relay.calls[0].hop, call.hop);
  // Of a call that nobody asked for nothing is believed.
  relay.connection->send(ipc::TurnedRound{base::RequestId(8), {}, {}}, Path::one_fd());
  relay.connection->send(ipc::TurnedRound{base::RequestId(7), *base::parse_ip("192.0.2.1"), {}}, Path::one_fd());
  rig.turn();
  ASSERT_EQ(rig.turns, std::vector{base::RequestId(7)});
  EXPECT_TRUE(rig.intake->serve({*base::parse_ip("192.0.2.1")}, std::move(rig.sessions[0])));
  rig.turn();
  ASSERT_EQ(smtpd.turned.size(), 1U);
  EXPECT_EQ(base::to_string(smtpd.turned[0].first.client), "192.0.2.1");
  EXPECT_EQ(smtpd.turned[0].second, 1U);
  rig.delivery->end_collect({base::RequestId(7)});
  rig.turn();
  EXPECT_EQ(relay.calls_ended.size(), 1U);
  relay.connection.reset();  // it dies
  rig.turn();
  ASSERT_EQ(rig.ended.size(), 1U);
  EXPECT_EQ(rig.ended[0].end, ipc::CollectEnd::kFailed);
}

// What such a session submits is judged as a stranger's, wherever the host seems to be; where nobody is called there
// can be none.
TEST(CollectPath, ATurnedSessionNeverRelays) {
  for (const bool collects : {true, false}) {
    Path rig;
    rig.config.rights.listeners.resize(1);
    rig.config.rights.listeners[0].relay_from = {base::parse_network("10.0.0.0/8").value()};
    if (collects) rig.config.collects = {calling("a.example")};
    ASSERT_NO_FATAL_FAILURE(rig.begin());
    FakeSmtpd smtpd;
    rig.connect(smtpd);
    std::uint8_t number = 0;
    for (const auto* to : {"x@far.example", "ann@example.org"}) {
      ++number;
      auto submit = rig.submit_frame(number, number, 6);
      submit.listener = config::kTurned;
      rig.send(smtpd, submit, {to}, "A: b\r\n");
      for (int n = 0; n < 100 && smtpd.submitted.size() < number; ++n) rig.turn(1);
      ASSERT_EQ(smtpd.submitted.size(), number);
      const bool ours = std::string_view(to).starts_with("ann@");
      EXPECT_EQ(smtpd.submitted.back().refusal.code, ours && collects ? 0 : 550) << to;
    }
  }
}

}  // namespace
}  // namespace postern::queued
