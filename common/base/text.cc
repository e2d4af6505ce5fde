#include "common/base/text.h"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace postern::base {

std::string to_lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), ascii_lower);
  return lower;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return ascii_lower(x) == ascii_lower(y);
         });
}

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) noexcept {
  return text.size() >= prefix.size() && equals_ignoring_case(text.substr(0, prefix.size()), prefix);
}

bool contains_ignoring_case(std::string_view text, std::string_view part) noexcept {
  const auto equal = [](char x, char y) { return ascii_lower(x) == ascii_lower(y); };
  return part.empty() ||
         std::search(text.begin(), text.end(), part.begin(), part.end(), equal) != text.end();
}

std::string_view trim(std::string_view text) noexcept {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::optional<std::uint64_t> parse_number(std::string_view text) noexcept {
  if (text.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    if (__builtin_mul_overflow(value, 10U, &value) ||
        __builtin_add_overflow(value, static_cast<std::uint64_t>(c - '0'), &value))
      return std::nullopt;
  }
  return value;
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  for (const char c : text.substr(0, limit)) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c >= ' ' && c <= '~') {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<std::uint8_t>(c));
    }
  }
  if (text.size() > limit) out += "...";
  return out;
}

namespace {

struct Calendar {
  int year = 0;
  unsigned month = 0, day = 0, weekday = 0;  // January is 1, Sunday is 0
  std::int64_t hour = 0, minute = 0, second = 0, ms = 0;
};

// By arithmetic alone: gmtime_r(3) would load a time zone on its first call, which a sandbox forbids.
Calendar calendar(WallTime t) {
  using namespace std::chrono;
  // Years 1 to 9999, lest a clock gone wrong (or a lie) breaks the format.
  constexpr std::int64_t kFirst = -62'135'596'800'000, kLast = 253'402'300'799'999;
  const sys_time<milliseconds> time{milliseconds(std::clamp(t.ms, kFirst, kLast))};
  const auto days = floor<std::chrono::days>(time);
  const year_month_day date(days);
  const hh_mm_ss clock(time - days);
  return {static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
          static_cast<unsigned>(date.day()), weekday(days).c_encoding(), clock.hours().count(),
          clock.minutes().count(), clock.seconds().count(), clock.subseconds().count()};
}

// Of either text, whose numbers have as many digits as they say: once for each message, or line of log.
constexpr std::size_t kRoom = 40;

}  // namespace

std::string iso8601(WallTime t) {
  const auto p = calendar(t);
  char text[kRoom];
  char* const end =
      fmt::format_to(text, FMT_COMPILE("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z"), p.year, p.month,
                     p.day, p.hour, p.minute, p.second, p.ms);
  return {text, end};
}

std::string rfc5322_date(WallTime t) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto p = calendar(t);
  char text[kRoom];
  char* const end =
      fmt::format_to(text, FMT_COMPILE("{}, {:02} {} {:04} {:02}:{:02}:{:02} +0000"), kDays[p.weekday],
                     p.day, kMonths[p.month - 1], p.year, p.hour, p.minute, p.second);
  return {text, end};
}

}  // namespace postern::base
