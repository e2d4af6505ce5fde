#include "ctl/until.h"

#include <fmt/format.h>

#include <ctime>
#include <optional>

#include "common/base/text.h"
#include "common/config/units.h"

namespace postern::ctl {
namespace {

// The next `digits` digits, as a number from `least` to `most`; takes them off.
std::optional<int> take_number(std::string_view& text, std::size_t digits, int least, int most) {
  const auto number =
      text.size() < digits ? std::nullopt : base::parse_number(text.substr(0, digits));
  if (!number || *number < static_cast<std::uint64_t>(least) ||
      *number > static_cast<std::uint64_t>(most))
    return std::nullopt;
  text.remove_prefix(digits);
  return static_cast<int>(*number);
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

// "2026-12-24"
bool take_date(std::string_view& text, std::tm& parts) {
  const auto year = take_number(text, 4, 1970, 9999);
  const auto month = take(text, '-') ? take_number(text, 2, 1, 12) : std::nullopt;
  const auto day = take(text, '-') ? take_number(text, 2, 1, 31) : std::nullopt;
  if (!year || !month || !day) return false;
  parts.tm_year = *year - 1900;
  parts.tm_mon = *month - 1;
  parts.tm_mday = *day;
  return true;
}

// "18:00", "18:00:30"
bool take_time(std::string_view& text, std::tm& parts) {
  const auto hour = take_number(text, 2, 0, 23);
  const auto minute = take(text, ':') ? take_number(text, 2, 0, 59) : std::nullopt;
  if (!hour || !minute) return false;
  const bool more = take(text, ':');
  const auto second = more ? take_number(text, 2, 0, 59) : std::optional(0);
  if (!second) return false;
  parts.tm_hour = *hour;
  parts.tm_min = *minute;
  parts.tm_sec = *second;
  return true;
}

// nullopt: there is no such day.
std::optional<base::WallTime> wall(std::tm parts) {
  const auto day = parts.tm_mday;
  parts.tm_isdst = -1;
  const auto seconds = ::mktime(&parts);
  if (seconds == -1 || parts.tm_mday != day) return std::nullopt;
  return base::WallTime{static_cast<std::int64_t>(seconds) * 1000};
}

std::optional<base::WallTime> next_time(std::string_view text, base::WallTime now) {
  const auto seconds = static_cast<std::time_t>(now.ms / 1000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  if (!take_time(text, parts) || !text.empty()) return std::nullopt;
  const auto today = wall(parts);
  if (today && *today > now) return today;
  parts.tm_mday += 1;  // mktime() knows how long the month is
  parts.tm_isdst = -1;
  return base::WallTime{static_cast<std::int64_t>(::mktime(&parts)) * 1000};
}

std::optional<base::WallTime> date_and_time(std::string_view text) {
  std::tm parts{};
  if (!take_date(text, parts)) return std::nullopt;
  if (!text.empty() && ((!take(text, ' ') && !take(text, 'T')) || !take_time(text, parts)))
    return std::nullopt;
  return text.empty() ? wall(parts) : std::nullopt;
}

std::optional<base::WallTime> in_so_long(std::string_view text, base::WallTime now) {
  (void)take(text, '+');
  const auto span = config::parse_duration(text);
  return span ? std::optional(now + *span) : std::nullopt;
}

}  // namespace

std::expected<base::WallTime, std::string> parse_until(std::string_view text, base::WallTime now) {
  auto until = next_time(text, now);
  if (!until) until = date_and_time(text);
  if (!until) until = in_so_long(text, now);
  if (!until)
    return std::unexpected(fmt::format(
        "{}: expected a time like 18:00, \"2026-12-24 18:00\", 90m or +2h", base::printable(text)));
  if (*until <= now)
    return std::unexpected(fmt::format("{} is over already", base::printable(text)));
  return *until;
}

}  // namespace postern::ctl
