// The wall clock jumps by an hour, a day, ten years, both ways, while the steady clock goes on, and
// both ways across a restart: nothing expires, retries keep their distance, ids rise.
#include <gtest/gtest.h>

#include <chrono>

#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
constexpr auto kTenYears = hours(24 * 3653);

class ClockTest : public ::testing::TestWithParam<base::Millis>, protected EngineRig {
 protected:
  ClockTest() {
    config.retry.after = {minutes(15)};
    config.retry.notify = base::Millis(0);  // only what expires is told of
    config.retry.expire = hours(48);
  }
  void jump(base::Millis by) { clock.wall_ms += by.count(); }
  // The one lease that is asked for now, deferred.
  void defer(FakeRelay& relay) {
    const auto seen = relay.leases.size();
    for (int n = 0; n < 50 && relay.grants.size() <= used_; ++n) turn(1);
    ASSERT_GT(relay.grants.size(), used_) << "nothing is due";
    (void)relay.ask(relay.grants[used_++]);
    turn();
    ASSERT_EQ(relay.leases.size(), seen + 1);
    relay.answer(relay.leases.back(), ipc::Result::kDeferred, 451, "later");
    turn();
  }
  [[nodiscard]] QueueTime due(base::MessageId id) { return look(id)->recipients.at(0).next_try; }
  std::size_t used_ = 0;
};

TEST_P(ClockTest, AJumpWhileRunningChangesNothing) {
  begin();
  std::vector<base::MessageId> ids;
  for (int n = 0; n < 5; ++n) ids.push_back(mail("a" + std::to_string(n) + "@far.example"));
  const auto queue_time = store->clock().now();
  jump(GetParam());
  EXPECT_EQ(store->clock().now(), queue_time);
  store->tick();
  turn();
  const auto later = mail("later@far.example");
  EXPECT_GT(later, ids.back());
  jump(-GetParam());
  EXPECT_GT(mail("last@far.example"), later);
  EXPECT_EQ(store->count(), 7U);
}

TEST_P(ClockTest, RetriesKeepTheirDistance) {
  config.retry.expire = hours(1);
  begin();
  const auto id = mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  for (int round = 0; round < 3; ++round) {
    defer(relay);
    if (HasFatalFailure()) return;
    const auto at = due(id);
    EXPECT_EQ(at - store->clock().now(), minutes(15));
    jump(GetParam());
    EXPECT_EQ(due(id), at);
    // Not before its time, by the steady clock, and then at once.
    pass(minutes(14));
    EXPECT_EQ(relay.leases.size(), static_cast<std::size_t>(round + 1));
    pass(minutes(1) + base::Millis(1000));
  }
  EXPECT_NE(look(id), nullptr);  // 48 minutes old, whatever the wall says
  pass(minutes(15));
  defer(relay);
  EXPECT_EQ(look(id), nullptr);  // and expired when an hour has passed
}

// The tables are asked anew then; how long ago the last attempt was, no jump changes.
TEST_P(ClockTest, AReloadAfterAJumpKeepsTheDistance) {
  begin();
  const auto id = mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  defer(relay);
  if (HasFatalFailure()) return;
  const auto expect_waiting = [&](QueueTime until) {
    engine->configure(config);
    turn();
    const auto* message = look(id);
    EXPECT_EQ(engine->due(*message, message->recipients.at(0), "far.example"), until);
  };
  const auto at = due(id);
  jump(GetParam());
  expect_waiting(at);
  // Also by the row, in the next life.
  end();
  jump(-GetParam());
  begin();
  expect_waiting(due(id));
}

TEST_P(ClockTest, AJumpAcrossARestartCountsForADayAtMost) {
  begin();
  const auto id = mail("a@far.example");
  const auto before = store->clock().now();
  end();
  jump(GetParam());
  clock.steady_ms = 5;  // another boot
  begin();
  const auto gap = store->clock().now() - before;
  EXPECT_GE(gap, base::Millis(0));
  EXPECT_LE(gap, hours(24));
  if (GetParam() > base::Millis(0) && GetParam() < hours(24)) {
    EXPECT_EQ(gap, GetParam());
  }
  const auto later = mail("b@far.example");
  EXPECT_GT(later, id);
  // Nothing expires; everything is tried.
  FakeRelay relay;
  connect(relay);
  EXPECT_FALSE(relay.grants.empty());
  EXPECT_EQ(store->count(), 2U);
  defer(relay);
  if (HasFatalFailure()) return;
  EXPECT_EQ(store->count(), 2U) << "nor does a failed attempt end it, for it is no two days old";
  // And back: the queue clock stands still rather than go back.
  const auto forth = store->clock().now();
  end();
  jump(-GetParam());
  begin();
  EXPECT_GE(store->clock().now(), forth);
  EXPECT_LE(store->clock().now() - forth, hours(24));
  EXPECT_GT(mail("c@far.example"), later);
  EXPECT_EQ(store->count(), 3U);
}

TEST_P(ClockTest, IdsRiseThoughNothingIsLeftOfTheHighest) {
  begin();
  jump(GetParam());
  const auto highest = mail("a@far.example");
  conclude(highest, Fate::kDelivered);
  turn();
  jump(-GetParam());
  store->tick();
  turn();
  end();
  begin();
  EXPECT_GT(mail("b@far.example"), highest);
}

TEST_P(ClockTest, TokensAreRememberedByTheSteadyClock) {
  begin();
  const auto id = mail("a@far.example");
  const auto token_of = look(id)->token;
  jump(GetParam());
  store->tick();
  EXPECT_EQ(store->find_token(token_of), id);
  clock.advance(minutes(3));
  store->tick();
  EXPECT_FALSE(store->find_token(token_of));
}

INSTANTIATE_TEST_SUITE_P(Jumps, ClockTest,
                         ::testing::Values(hours(1), -hours(1), hours(24), -hours(24), kTenYears,
                                           -kTenYears));

}  // namespace
}  // namespace postern::queued
