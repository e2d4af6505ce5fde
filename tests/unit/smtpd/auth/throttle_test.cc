// How long logins wait.
#include "smtpd/auth/throttle.h"
#include "tests/unit/mail/spelled.h"

#include <gtest/gtest.h>

#include <vector>

namespace postern::smtpd::auth {
namespace {

using base::Millis;


struct ThrottleTest : testing::Test {
  Throttle throttle;
  base::SteadyTime now{1'000'000};
  const base::IpAddress here = ip("192.0.2.1"), there = ip("198.51.100.1");

  std::int64_t wait(const base::IpAddress& client, const std::string& account) {
    const auto admitted = throttle.admit(client, account, now);
    return admitted ? admitted->time.count() : -1;
  }
  // One attempt that waits as it is told, and fails.
  std::int64_t fail(const base::IpAddress& client, const std::string& account) {
    const auto waited = wait(client, account);
    now = now + Millis(std::max<std::int64_t>(waited, 0));
    if (waited >= 0) {
      throttle.failed(client, account, now);
      throttle.ended(client, account);
    }
    return waited;
  }
};

TEST_F(ThrottleTest, PausesDoubleUpToTheirMost) {
  const std::int64_t expected[] = {0, 0, 0, 250, 500, 1000, 2000, 4000, 8000, 15000, 15000};
  for (const auto pause : expected) EXPECT_EQ(fail(here, "bob"), pause);
}

TEST_F(ThrottleTest, AnAccountIsSlowFromEverywhereButWhereItIsKnown) {
  throttle.succeeded(here, "bob", now);
  for (int i = 0; i < 8; ++i) (void)fail(ip("203.0.113." + std::to_string(i)), "bob");
  EXPECT_GT(wait(there, "bob"), 0);
  EXPECT_EQ(wait(here, "bob"), 0);
  EXPECT_EQ(wait(ip("192.0.2.77"), "bob"), 0);  // the same network
  EXPECT_EQ(wait(there, "amy"), 0);
}

TEST_F(ThrottleTest, ANetworkIsSlowForEveryAccount) {
  for (int i = 0; i < 8; ++i) (void)fail(here, "a" + std::to_string(i));
  EXPECT_GT(wait(ip("192.0.2.200"), "amy"), 0);
  EXPECT_EQ(wait(ip("192.0.3.1"), "amy"), 0);
  // To log in in between does not help.
  throttle.succeeded(here, "mallory", now);
  EXPECT_GT(wait(here, "amy"), 0);
}

TEST_F(ThrottleTest, AttemptsAtOnceQueueUpAndThenAreRefused) {
  for (int i = 0; i < 12; ++i) (void)fail(here, "");
  now = now + Throttle::kMostPause;
  EXPECT_EQ(wait(here, "a"), 0);
  EXPECT_EQ(wait(here, "b"), 15'000);
  EXPECT_EQ(wait(here, "c"), 30'000);
  EXPECT_EQ(wait(here, "d"), -1);
}

TEST_F(ThrottleTest, AttemptsThatAreUnderWayAreWaitedFor) {
  for (std::uint32_t i = 0; i < Throttle::kFreeFailures; ++i) EXPECT_EQ(wait(here, "bob"), 0);
  for (const auto& client : {here, there}) {
    const auto asks_again = throttle.admit(client, "bob", now);
    ASSERT_TRUE(asks_again);
    EXPECT_TRUE(asks_again->again);
    EXPECT_EQ(asks_again->time, Throttle::kFirstPause);
  }
  EXPECT_EQ(wait(here, "amy"), 0);
  throttle.ended(here, "bob");
  EXPECT_EQ(wait(there, "bob"), 0);
}

TEST_F(ThrottleTest, AttemptsOfANetworkAreWaitedForToo) {
  throttle.succeeded(here, "bob", now);
  for (std::uint32_t i = 0; i < Throttle::kMostAtOnce; ++i)
    EXPECT_EQ(wait(i % 2 == 0 ? here : ip("192.0.2.77"), "bob"), 0) << "where he is known he waits for no guesser";
  EXPECT_EQ(wait(here, "bob"), Throttle::kFirstPause.count());
  throttle.ended(ip("192.0.2.200"), "bob");
  EXPECT_EQ(wait(here, "bob"), 0);
}

// As many connections as there may be guess no more often than a few.
TEST_F(ThrottleTest, GuessesAtOnceAreAsSlowAsOthers) {
  const auto end = now + Millis(30'000);
  std::vector<base::SteadyTime> waiting;  // until then
  std::size_t judged = 0;
  for (; now < end; now = now + Millis(50)) {
    const auto over = std::erase_if(waiting, [&](base::SteadyTime until) { return until <= now; });
    for (std::size_t i = 0; i < over; ++i) {
      throttle.failed(there, "bob", now);
      throttle.ended(there, "bob");
    }
    judged += over;
    for (int connection = 0; connection < 100; ++connection) {
      const auto admitted = throttle.admit(there, "bob", now);
      if (!admitted || admitted->again) break;
      waiting.push_back(now + admitted->time);
    }
  }
  EXPECT_LE(judged, 20U);
  EXPECT_GE(judged, 5U);
}

TEST_F(ThrottleTest, ALoginOfTheOwnerHelpsNoGuesser) {
  for (int i = 0; i < 8; ++i) (void)fail(there, "bob");
  throttle.succeeded(here, "bob", now);
  EXPECT_GT(wait(ip("203.0.113.1"), "bob"), 0);
}

TEST_F(ThrottleTest, FailuresAreForgotten) {
  for (int i = 0; i < 8; ++i) (void)fail(here, "bob");
  now = now + Throttle::kForgetAfter * Throttle::kMostFailures;
  EXPECT_EQ(fail(here, "bob"), 0);
  EXPECT_EQ(fail(here, "bob"), 0);
}

TEST_F(ThrottleTest, ItsMemoryIsBounded) {
  for (std::uint32_t i = 0; i < Throttle::kMostEntries + 1000; ++i) {
    base::IpAddress client{base::IpFamily::kV6, {}};
    for (std::size_t b = 0; b < 4; ++b) client.bytes[b] = static_cast<std::uint8_t>(i >> 8 * b);
    throttle.failed(client, std::to_string(i), now);
  }
  EXPECT_EQ(throttle.entries(), 2 * Throttle::kMostEntries);
}

}  // namespace
}  // namespace postern::smtpd::auth
