// Looking at the queue beside mail: how much of the time it gets, and that it gets all of it where there is
// no mail.
#include "queued/throttle.h"

#include <gtest/gtest.h>

namespace postern::queued {
namespace {

TEST(Share, WhatIsUsedIsMadeUpFor) {
  Share share;
  EXPECT_EQ(share.wait(Micros(1000)), Micros(0));
  share.used(Micros(1000), Micros(3000));
  EXPECT_EQ(share.wait(Micros(3000)), Micros(18'000)) << "nine times as long";
  EXPECT_EQ(share.wait(Micros(21'000)), Micros(0));
  // What is used too early is added, and nobody saves up.
  share.used(Micros(19'000), Micros(20'000));
  EXPECT_EQ(share.wait(Micros(20'000)), Micros(11'000));
  share.used(Micros(50'000), Micros(51'000));
  EXPECT_EQ(share.wait(Micros(51'000)), Micros(9000));
}

class ThrottleTest : public ::testing::Test {
 protected:
  // Looks `times` times for 2 ms each, and how long it took until the last was done.
  std::chrono::milliseconds look(int times) {
    int done = 0;
    const auto begin = std::chrono::steady_clock::now();
    for (int n = 0; n < times; ++n)
      throttle.run([&]() noexcept {
        const Throttle::Use use(throttle);
        const Throttle::Use within(throttle);
        const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
        while (std::chrono::steady_clock::now() < until) {
        }
        ++done;
      });
    EXPECT_GE(done, 1) << "the first has nothing to wait for";
    while (done < times) {
      if (flows) ++mail;
      loop.run_once(true);
    }
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
  }
  event::Loop loop;
  std::uint64_t mail = 0;
  bool flows = false;
  Throttle throttle{loop, [this] { return mail; }};
};

TEST_F(ThrottleTest, BesideMailItGetsATenthOfTheTime) {
  ++mail;
  flows = true;
  const auto credit = std::chrono::duration_cast<std::chrono::milliseconds>(Throttle::kCredit).count();
  EXPECT_GE(look(30).count(), 29 * 20 - credit);
}

TEST_F(ThrottleTest, WithoutMailNobodyWaits) {
  int done = 0;
  for (int n = 0; n < 100; ++n)
    throttle.run([&]() noexcept {
      const Throttle::Use use(throttle);
      ++done;
    });
  EXPECT_EQ(done, 100) << "all at once, in the turn that they were asked for in";
}

TEST_F(ThrottleTest, TheyKeepTheirOrder) {
  mail = 1;
  std::string order;
  const auto look_long = [&](char name) {
    throttle.run([&, name]() noexcept {
      const Throttle::Use use(throttle);
      const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(40);
      while (std::chrono::steady_clock::now() < until) {
      }
      order += name;
    });
  };
  for (const char name : {'a', 'b', 'c'}) look_long(name);
  EXPECT_EQ(order, "a") << "it has used up more than it may have ahead";
  while (order.size() < 3) loop.run_once(true);
  EXPECT_EQ(order, "abc");
}

}  // namespace
}  // namespace postern::queued
