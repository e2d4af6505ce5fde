#include "common/config/units.h"

#include <gtest/gtest.h>

namespace postern::config {
namespace {

TEST(Units, Sizes) {
  EXPECT_EQ(parse_size("0"), 0U);
  EXPECT_EQ(parse_size("512B"), 512U);
  EXPECT_EQ(parse_size("100KB"), 100'000U);
  EXPECT_EQ(parse_size("100KiB"), 102'400U);
  EXPECT_EQ(parse_size("25MiB"), 25U << 20);
  EXPECT_EQ(parse_size("1GiB"), 1U << 30);
  EXPECT_EQ(parse_size("2TB"), 2'000'000'000'000U);
  EXPECT_EQ(parse_size("8388607TiB"), 8'388'607ULL << 40);
  for (const char* bad : {"", "1", "25", "MiB", "-1MiB", "1.5MiB", "1 MiB", "1mib", "1MiBs",
                          "8388608TiB", "99999999999999999999B", "0x1KB", "1M"})
    EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
}

TEST(Units, Durations) {
  EXPECT_EQ(parse_duration("0"), base::Millis(0));
  EXPECT_EQ(parse_duration("500ms"), base::Millis(500));
  EXPECT_EQ(parse_duration("30s"), base::Millis(30'000));
  EXPECT_EQ(parse_duration("15m"), base::Millis(900'000));
  EXPECT_EQ(parse_duration("1h"), base::Millis(3'600'000));
  EXPECT_EQ(parse_duration("5d"), base::Millis(432'000'000));
  EXPECT_EQ(parse_duration("36525d"), base::Millis(36'525LL * 86'400'000));
  for (const char* bad :
       {"", "5", "m", "-5m", "1.5h", "5 m", "5M", "1h30m", "36526d", "5w", "5min"})
    EXPECT_EQ(parse_duration(bad), std::nullopt) << bad;
}

TEST(Units, RatesAreTimesBetween) {
  EXPECT_EQ(parse_rate("600/min"), 100'000U);
  EXPECT_EQ(parse_rate("20/s"), 50'000U);
  EXPECT_EQ(parse_rate("200/h"), 18'000'000U);
  EXPECT_EQ(parse_rate("1/day"), 86'400'000'000U);
  EXPECT_EQ(parse_rate("0"), 0U);
  for (const char* bad : {"", "5", "/s", "0/s", "-1/s", "1/m", "1/2s", "1 /s", "1000001/s", "1/s "})
    EXPECT_EQ(parse_rate(bad), std::nullopt) << bad;
}

TEST(Units, TextParsesBack) {
  for (const std::uint64_t size :
       {0ULL, 1ULL, 1000ULL, 1024ULL, 25ULL << 20, 1ULL << 40, 1'000'000ULL})
    EXPECT_EQ(parse_size(size_text(size)), size);
  for (const int ms : {0, 1, 999, 1000, 90'000, 3'600'000, 86'400'000})
    EXPECT_EQ(parse_duration(duration_text(base::Millis(ms))), base::Millis(ms));
  EXPECT_EQ(size_text(25ULL << 20), "25MiB");
  EXPECT_EQ(duration_text(base::Millis(900'000)), "15m");
}

}  // namespace
}  // namespace postern::config
