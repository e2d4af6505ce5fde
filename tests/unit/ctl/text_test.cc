#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "ctl/human.h"
#include "ctl/table.h"
#include "ctl/until.h"

namespace postern::ctl {
namespace {

using base::Millis;
using base::WallTime;

constexpr std::int64_t kSecond = 1000, kMinute = 60 * kSecond, kHour = 60 * kMinute,
                       kDay = 24 * kHour;
constexpr WallTime kToday{1'790'000'000'000};  // Mon 2026-09-21 14:13:20 UTC

class Zone : public testing::Test {
 protected:
  void use(const char* zone) {
    ::setenv("TZ", zone, 1);
    ::tzset();
  }
  void SetUp() override { use("UTC"); }
  void TearDown() override { use("UTC"); }
};

TEST(Human, Sizes) {
  EXPECT_EQ(size_text(0), "0");
  EXPECT_EQ(size_text(1023), "1023");
  EXPECT_EQ(size_text(1024), "1.0K");
  EXPECT_EQ(size_text(4200), "4.1K");
  EXPECT_EQ(size_text(10'200), "10K");
  EXPECT_EQ(size_text(1'048'575), "1.0M");
  EXPECT_EQ(size_text(412ULL << 20), "412M");
  EXPECT_EQ(size_text(~0ULL), "16E");
}

TEST(Human, Spans) {
  EXPECT_EQ(span_text(Millis(-5)), "0s");
  EXPECT_EQ(span_text(Millis(8 * kSecond + 999)), "8s");
  EXPECT_EQ(span_text(Millis(12 * kMinute)), "12m");
  EXPECT_EQ(span_text(Millis(3 * kHour + 5 * kMinute)), "3h05m");
  EXPECT_EQ(span_text(Millis(2 * kDay + 4 * kHour)), "2d04h");
}

TEST_F(Zone, TimesAreLocalAndAsShortAsTheirDistanceAllows) {
  EXPECT_EQ(local_time(WallTime{0}, kToday), "-");
  EXPECT_EQ(local_time(kToday, kToday), "14:13:20");
  EXPECT_EQ(local_time(kToday - Millis(kDay), kToday), "Sun 14:13");
  EXPECT_EQ(local_time(kToday + Millis(5 * kDay), kToday), "Sat 14:13");
  EXPECT_EQ(local_time(kToday - Millis(7 * kDay), kToday), "2026-09-14 14:13");
  EXPECT_EQ(local_now(kToday), "Mon 14:13:20 UTC");
  use("EST5");
  EXPECT_EQ(local_time(kToday, kToday), "09:13:20");
  EXPECT_EQ(local_now(kToday), "Mon 09:13:20 EST");
}

TEST_F(Zone, AnEndIsATimeOfDayADateOrASpan) {
  const auto until = [](std::string_view text) {
    const auto at = parse_until(text, kToday);
    return at ? local_time(*at, WallTime{0}) : at.error();
  };
  EXPECT_EQ(parse_until("14:13:21", kToday).value(), kToday + Millis(kSecond));
  EXPECT_EQ(until("18:00"), "2026-09-21 18:00");
  EXPECT_EQ(until("14:13"), "2026-09-22 14:13");  // its next time
  EXPECT_EQ(until("2026-12-24 18:00"), "2026-12-24 18:00");
  EXPECT_EQ(until("2026-12-24T18:00:05"), "2026-12-24 18:00");
  EXPECT_EQ(until("2026-12-24"), "2026-12-24 00:00");
  EXPECT_EQ(until("+2h"), "2026-09-21 16:13");
  EXPECT_EQ(parse_until("90m", kToday).value(), kToday + Millis(90 * kMinute));
  EXPECT_EQ(until("2026-09-21 14:13"), "2026-09-21 14:13 is over already");
  EXPECT_EQ(until("0"), "0 is over already");
  for (const auto* bad :
       {"", "x", "25:00", "18:60", "1800", "18:00x", "2026-13-01", "2026-02-30", "2026-12-24 ",
        "2026-12-24x18:00", "-2h", "+", "2 h", "18:00:", "\x1b[2J"})
    EXPECT_NE(until(bad).find("expected a time"), std::string::npos) << bad << " is " << until(bad);
  // The zone is that of whoever types; its clocks are put forward and back.
  use("EST5");
  EXPECT_EQ(parse_until("18:00", kToday).value(),
            WallTime{kToday.ms - kToday.ms % kDay} + Millis(23 * kHour));
  use("CET-1CEST,M3.5.0,M10.5.0/3");
  const WallTime eve{1'792'836'000'000};  // Sat 2026-10-24 12:00 CEST; that night has 25 hours
  EXPECT_EQ(parse_until("12:00", eve).value(), eve + Millis(25 * kHour));
  EXPECT_EQ(parse_until("+24h", eve).value(), eve + Millis(24 * kHour));
}

TEST(Table, AlignsAndKeepsItsWidths) {
  Table table({{"NAME"}, {"N", Align::kRight}, {"WHY"}}, 0);
  EXPECT_EQ(table.take(), "");
  table.add({"example.net", "5", "slow"});
  table.add({"a", "1234", ""});
  EXPECT_EQ(table.take(),
            "NAME            N  WHY\n"
            "example.net     5  slow\n"
            "a            1234\n");
  table.add({"b", "7", "x"});
  EXPECT_EQ(table.take(), "b               7  x\n");
}

TEST(Table, CutsAtTheTerminal) {
  Table table({{"A"}, {"B"}}, 12);
  table.add({"0123456789", "0123456789"});
  EXPECT_EQ(table.take(),
            "A        ...\n"
            "012345678...\n");
}

// Characters count by the columns that they take.
TEST(Table, AlignsWhatIsBeyondAscii) {
  Table table({{"A"}, {"B"}}, 0);
  table.add({"b\xc3\xb6" "b", "x"});
  table.add({"\xe4\xb8\xad", "y"});
  table.add({"bob", "z"});
  EXPECT_EQ(table.take(), "A    B\nb\xc3\xb6" "b  x\n\xe4\xb8\xad   y\nbob  z\n");
  Table narrow({{"A"}}, 6);
  narrow.add({"\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad"});
  narrow.add({"\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6"});
  EXPECT_EQ(narrow.take(), "A\n\xe4\xb8\xad...\n\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\n");
}

}  // namespace
}  // namespace postern::ctl
