#include "bench/load/sizes.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "bench/load/plan.h"

namespace postern::bench {
namespace {

std::vector<std::uint64_t> picks(const Sizes& sizes, std::size_t count = 4000) {
  std::vector<std::uint64_t> all;
  for (std::size_t n = 1; n <= count; ++n) all.push_back(sizes.pick(1, n));
  std::ranges::sort(all);
  return all;
}

TEST(Sizes, Fixed) {
  const auto all = picks(*Sizes::parse("4KiB"));
  EXPECT_EQ(all.front(), 4096U);
  EXPECT_EQ(all.back(), 4096U);
  EXPECT_EQ(Sizes::parse("100")->pick(1, 1), 100U);
}

TEST(Sizes, UniformFillsItsRange) {
  const auto all = picks(*Sizes::parse("uniform:1KiB-2KiB"));
  EXPECT_GE(all.front(), 1024U);
  EXPECT_LT(all.front(), 1040U);
  EXPECT_LE(all.back(), 2048U);
  EXPECT_GT(all.back(), 2030U);
}

TEST(Sizes, LognormalHasItsMedianAndWidth) {
  const auto all = picks(*Sizes::parse("lognormal:8KiB,2"));
  EXPECT_NEAR(static_cast<double>(all[2000]), 8192, 400);
  const auto within = std::ranges::count_if(all, [](auto s) { return s >= 4096 && s <= 16384; });
  EXPECT_NEAR(static_cast<double>(within), 4000 * 0.683, 100);
}

TEST(Sizes, WeightsAreKept) {
  const auto sizes = Sizes::parse_weights("# of a day\n3 1KiB\n\n1 10KiB-20KiB\n");
  ASSERT_TRUE(sizes);
  const auto all = picks(*sizes);
  EXPECT_NEAR(static_cast<double>(std::ranges::count(all, 1024U)), 3000, 120);
  EXPECT_GE(*std::ranges::upper_bound(all, 1024U), 10240U);
}

TEST(Sizes, DependOnSeedAndNumberAlone) {
  const auto sizes = *Sizes::parse("uniform:1-1000000");
  EXPECT_EQ(sizes.pick(3, 7), sizes.pick(3, 7));
  EXPECT_NE(sizes.pick(3, 7), sizes.pick(3, 8));
  EXPECT_NE(sizes.pick(3, 7), sizes.pick(4, 7));
}

TEST(Sizes, SayWhatIsWrong) {
  for (const char* const text : {"", "x", "uniform:2KiB-1KiB", "lognormal:8KiB", "2GiB",
                                 "lognormal:8KiB,0.5", "lognormal:8KiB,x", "4 KiB x"})
    EXPECT_TRUE(!Sizes::parse(text)) << text;
  for (const char* const text : {"", "0 1KiB", "x 1KiB", "1", "1 x"})
    EXPECT_FALSE(Sizes::parse_weights(text)) << text;
}

TEST(Plan, GivesOutANumberOfMessages) {
  Plan plan(2, 0, 0);
  EXPECT_EQ(plan.take(0), 1U);
  EXPECT_FALSE(plan.finished(0));
  EXPECT_EQ(plan.take(0), 2U);
  EXPECT_TRUE(plan.finished(0));
  EXPECT_EQ(plan.take(0), std::nullopt);
  EXPECT_EQ(plan.never_begun(), 0U);
}

TEST(Plan, EndsWithItsTime) {
  Plan plan(0, 1000, 0);
  EXPECT_TRUE(plan.take(999));
  EXPECT_FALSE(plan.take(1000));
  EXPECT_TRUE(plan.finished(1000));
}

TEST(Plan, KeepsItsRate) {
  Plan plan(0, 0, 10);
  EXPECT_TRUE(plan.take(0));
  EXPECT_FALSE(plan.take(0));
  EXPECT_FALSE(plan.take(99'000));
  EXPECT_TRUE(plan.take(100'000));
  int caught_up = 0;
  while (plan.take(1'000'000)) ++caught_up;
  EXPECT_EQ(caught_up, 9);
}

TEST(Plan, StopsAndCountsWhatWasNeverBegun) {
  Plan plan(10, 0, 0);
  EXPECT_TRUE(plan.take(0));
  plan.stop();
  EXPECT_FALSE(plan.take(0));
  EXPECT_EQ(plan.never_begun(), 9U);
}

}  // namespace
}  // namespace postern::bench
