// How many messages expire soon, as a status tells it: which count, how little is read for that, and what is told
// while it takes long.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/unit/queued/fake_control.h"

namespace postern::queued {
namespace {

constexpr base::Millis kDay{24LL * 3600 * 1000};

class ExpiringTest : public ::testing::Test, protected ControlRig {
 protected:
  void SetUp() override {
    config.retry.expire = 5 * kDay;
    config.retry.notify = kDay / 2;
    start();
  }
  // The loop's own timers run by the clock of the machine.
  void await(std::size_t told) {
    for (int n = 0; n < 1'000 && tool.status.size() < told; ++n) {
      turn(1);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  ipc::Status status() {
    const auto before = tool.status.size();
    tell(tool, ipc::AskStatus{});
    await(before + 1);
    EXPECT_EQ(tool.status.size(), before + 1);
    return tool.status.empty() ? ipc::Status{} : tool.status.back();
  }
  std::optional<std::uint64_t> expiring() { return status().expiring; }
};

TEST_F(ExpiringTest, OnlyWhatHasLessThanADayLeft) {
  EXPECT_EQ(expiring(), 0U);
  (void)mail("old@far.example");
  (void)mail(std::vector<std::string>{"old@far.example", "old@near.example"});
  pass(4 * kDay - base::Millis(1'000));
  (void)mail("young@far.example");
  EXPECT_EQ(expiring(), 0U);
  pass(base::Millis(1'000));
  EXPECT_EQ(expiring(), 2U);  // messages
  const auto now = clock.wall();
  EXPECT_EQ(status().expiring_when, now);
}

// As if nothing stopped its clock any more, but with the time that it stood still.
TEST_F(ExpiringTest, WhatIsStoppedCountsByTheTimeThatItHasLeft) {
  (void)mail("off@far.example");
  const auto held = mail("held@near.example");
  pass(3 * kDay + kDay / 2);
  ASSERT_EQ(run(ipc::Freeze{.queue = "far.example", .reason = "x"}).substr(0, 2), "0 ");
  engine->hold(held, "by anna: a look");
  turn();
  pass(kDay);
  EXPECT_EQ(expiring(), 0U);  // their clocks stand
  ASSERT_EQ(run(ipc::Unfreeze{.queue = "far.example"}).substr(0, 2), "0 ");
  pass(kDay / 2);
  EXPECT_EQ(expiring(), 1U);
  ASSERT_EQ(run(ipc::SwitchOutbound{.reason = "x"}).substr(0, 2), "0 ");
  EXPECT_EQ(expiring(), 1U);
}

TEST_F(ExpiringTest, ByTheTableOfItsQueue) {
  config.retry.rules.push_back({.to = {"far.example"}, .expire = kDay / 4});
  engine->configure(config);
  turn();
  (void)mail("a@near.example");
  (void)mail("a@far.example");
  EXPECT_EQ(expiring(), 1U);
}

TEST_F(ExpiringTest, NothingEverExpiresWithoutATime) {
  config.retry.expire = base::Millis(0);
  engine->configure(config);
  turn();
  (void)mail("a@far.example");
  pass(100 * kDay);
  EXPECT_EQ(expiring(), 0U);
}

TEST_F(ExpiringTest, BehindYoungMailNobodyLooks) {
  (void)mail("old@far.example");
  pass(4 * kDay + base::Millis(1));
  for (int n = 0; n < 600; ++n) (void)mail("young@far.example");
  const auto before = index_rows->scans;
  EXPECT_EQ(expiring(), 1U);
  EXPECT_EQ(index_rows->scans, before + 1);
}

TEST_F(ExpiringTest, AllOldMailIsLookedAt) {
  for (int n = 0; n < 600; ++n) (void)mail("old@far.example");
  pass(4 * kDay + base::Millis(1));
  EXPECT_EQ(expiring(), 600U);
}

TEST_F(ExpiringTest, AStatusDoesNotWaitForALongCount) {
  late_store->set_scans_slow(true);
  (void)mail("old@far.example");
  pass(4 * kDay + base::Millis(1));
  auto first = status();
  EXPECT_EQ(first.expiring, std::nullopt);
  EXPECT_EQ(first.expiring_when, base::WallTime{});
  EXPECT_EQ(late_store->unscanned(), 1U);
  const auto begun = clock.wall();
  clock.advance(base::Millis(3'000));
  (void)expiring();
  EXPECT_EQ(late_store->unscanned(), 1U) << "one count at a time";
  late_store->let_scan();
  turn();
  // It took 3 seconds, so it rests for a minute; what is told is of when it was begun.
  for (const auto more : {0, 59'999}) {
    clock.advance(base::Millis(more));
    const auto told = status();
    EXPECT_EQ(told.expiring, 1U);
    EXPECT_EQ(told.expiring_when, begun);
    EXPECT_EQ(late_store->unscanned(), 0U);
  }
  clock.advance(base::Millis(1));
  (void)mail("young@far.example");
  late_store->set_scans_slow(false);
  EXPECT_EQ(status().expiring_when, clock.wall());
}

TEST_F(ExpiringTest, WhoeverAskedWhileItCountsIsToldOnce) {
  FakeControl other;
  serve(other, ControlLevel::kView);
  late_store->set_scans_slow(true);
  (void)mail("old@far.example");
  for (auto* client : {&tool, &other}) client->connection->send(ipc::AskStatus{base::RequestId(++request)});
  turn();
  EXPECT_TRUE(tool.status.empty());
  EXPECT_TRUE(other.status.empty());
  EXPECT_EQ(late_store->unscanned(), 1U) << "one count is for both";
  late_store->set_scans_slow(false);
  await(1);
  turn();
  for (auto* client : {&tool, &other}) {
    ASSERT_EQ(client->status.size(), 1U);
    EXPECT_EQ(client->status[0].expiring, 0U);
  }
}

// Its session is gone when it is there.
TEST_F(ExpiringTest, WhoeverLeftIsNotTold) {
  late_store->set_scans_slow(true);
  tool.connection->send(ipc::AskStatus{base::RequestId(++request)});
  turn();
  tool.connection.reset();
  turn();
  late_store->set_scans_slow(false);
  turn();
  EXPECT_TRUE(tool.status.empty());
}

}  // namespace
}  // namespace postern::queued
