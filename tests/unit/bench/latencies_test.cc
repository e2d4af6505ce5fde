#include "bench/load/latencies.h"

#include <gtest/gtest.h>

namespace postern::bench {
namespace {

TEST(Latencies, SmallOnesAreExact) {
  Latencies latencies;
  EXPECT_EQ(latencies.quantile(0.5), 0U);
  for (std::uint64_t i = 0; i < 32; ++i) latencies.add(i);
  EXPECT_EQ(latencies.quantile(0), 0U);
  EXPECT_EQ(latencies.quantile(0.5), 16U);
  EXPECT_EQ(latencies.quantile(1), 31U);
}

TEST(Latencies, AnyIsWithinAThirtySecond) {
  for (std::uint64_t value = 1; value < std::uint64_t{1} << 62; value = value * 3 / 2 + 1) {
    Latencies latencies;
    latencies.add(value);
    EXPECT_GE(latencies.quantile(0.5), value);
    EXPECT_LE(static_cast<double>(latencies.quantile(0.5)),
              static_cast<double>(value) * 33 / 32 + 1);
  }
}

TEST(Latencies, QuantilesAreRanks) {
  Latencies latencies;
  for (std::uint64_t i = 1; i <= 1000; ++i) latencies.add(i * 1000);
  EXPECT_NEAR(static_cast<double>(latencies.quantile(0.5)), 500e3, 20e3);
  EXPECT_NEAR(static_cast<double>(latencies.quantile(0.99)), 990e3, 35e3);
}

}  // namespace
}  // namespace postern::bench
