#include "common/config/units.h"

#include <fmt/format.h>

#include <array>
#include <limits>

#include "common/base/text.h"

namespace postern::config {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::uint64_t kKi = 1024;
constexpr std::array<Unit, 9> kSizes{{{"TiB", kKi* kKi* kKi* kKi},
                                      {"TB", 1'000'000'000'000},
                                      {"GiB", kKi* kKi* kKi},
                                      {"GB", 1'000'000'000},
                                      {"MiB", kKi* kKi},
                                      {"MB", 1'000'000},
                                      {"KiB", kKi},
                                      {"KB", 1'000},
                                      {"B", 1}}};
constexpr std::array<Unit, 5> kDurations{
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};
constexpr std::uint64_t kLongest = 36'525ULL * 86'400'000;

template <std::size_t n>
std::optional<std::uint64_t> parse(std::string_view text, const std::array<Unit, n>& units,
                                   std::uint64_t largest) {
  if (text == "0") return 0;
  const auto end = text.find_first_not_of("0123456789");
  if (end == std::string_view::npos) return std::nullopt;
  const auto number = base::parse_number(text.substr(0, end));
  if (!number) return std::nullopt;
  for (const auto& unit : units) {
    if (text.substr(end) != unit.name) continue;
    if (*number > largest / unit.factor) return std::nullopt;
    return *number * unit.factor;
  }
  return std::nullopt;
}

template <std::size_t n>
std::string text(std::uint64_t value, const std::array<Unit, n>& units) {
  const Unit* best = nullptr;
  for (const auto& unit : units)
    if (value % unit.factor == 0 && (best == nullptr || unit.factor > best->factor)) best = &unit;
  return value == 0 ? "0" : fmt::format("{}{}", value / best->factor, best->name);
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
  return parse(text, kSizes, std::numeric_limits<std::int64_t>::max());
}

std::string size_text(std::uint64_t bytes) {
  return text(bytes, kSizes);
}

std::optional<base::Millis> parse_duration(std::string_view text) {
  const auto ms = parse(text, kDurations, kLongest);
  if (!ms) return std::nullopt;
  return base::Millis(static_cast<std::int64_t>(*ms));
}

std::optional<std::pair<std::uint32_t, std::uint32_t>> parse_count(std::string_view text) {
  static constexpr std::pair<std::string_view, std::uint32_t> kPeriods[] = {
      {"s", 1}, {"min", 60}, {"h", 3'600}, {"day", 86'400}};
  if (text == "0") return std::pair(0U, 0U);
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto count = base::parse_number(text.substr(0, slash));
  if (!count || *count == 0 || *count > std::numeric_limits<std::uint32_t>::max())
    return std::nullopt;
  for (const auto& [name, seconds] : kPeriods)
    if (text.substr(slash + 1) == name) return std::pair(static_cast<std::uint32_t>(*count), seconds);
  return std::nullopt;
}

std::optional<std::uint64_t> parse_rate(std::string_view text) {
  const auto rate = parse_count(text);
  if (!rate) return std::nullopt;
  if (rate->first == 0) return 0;
  const auto interval = std::uint64_t{rate->second} * 1'000'000 / rate->first;
  return interval == 0 ? std::nullopt : std::optional(interval);
}

std::string duration_text(base::Millis duration) {
  return text(static_cast<std::uint64_t>(duration.count()), kDurations);
}

}  // namespace postern::config
