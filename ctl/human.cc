#include "ctl/human.h"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <ctime>

namespace postern::ctl {
namespace {

std::tm local(base::WallTime t) {
  const auto seconds = static_cast<std::time_t>(t.ms / 1000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  return parts;
}

std::string format(const std::tm& parts, const char* how) {
  std::array<char, 64> text{};
  const auto size = std::strftime(text.data(), text.size(), how, &parts);
  return {text.data(), size};
}

}  // namespace

std::string size_text(std::uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes);
  static constexpr std::string_view kUnits = "KMGTPE";
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (value /= 1024; value >= 1023.5 && unit + 1 < kUnits.size(); value /= 1024) ++unit;
  return value < 9.95 ? fmt::format(FMT_COMPILE("{:.1f}{}"), value, kUnits[unit])
                      : fmt::format(FMT_COMPILE("{:.0f}{}"), value, kUnits[unit]);
}

std::string span_text(base::Millis span) {
  const auto seconds = span.count() < 0 ? 0 : span.count() / 1000;
  const auto minutes = seconds / 60;
  const auto hours = minutes / 60;
  const auto days = hours / 24;
  if (days > 0) return fmt::format(FMT_COMPILE("{}d{:02}h"), days, hours % 24);
  if (hours > 0) return fmt::format(FMT_COMPILE("{}h{:02}m"), hours, minutes % 60);
  if (minutes > 0) return fmt::format(FMT_COMPILE("{}m"), minutes);
  return fmt::format(FMT_COMPILE("{}s"), seconds);
}

std::string local_time(base::WallTime t, base::WallTime now) {
  if (t.ms == 0) return "-";
  const auto parts = local(t);
  const auto today = local(now);
  if (parts.tm_year == today.tm_year && parts.tm_yday == today.tm_yday)
    return format(parts, "%H:%M:%S");
  constexpr std::int64_t kSixDays = 6LL * 24 * 3600 * 1000;
  if (std::llabs(t.ms - now.ms) < kSixDays) return format(parts, "%a %H:%M");
  return format(parts, "%Y-%m-%d %H:%M");
}

std::string local_now(base::WallTime now) {
  return format(local(now), "%a %H:%M:%S %Z");
}

}  // namespace postern::ctl
