#include "bench/load/sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "bench/ledger/mix.h"
#include "common/base/text.h"
#include "common/config/units.h"

namespace postern::bench {
namespace {

constexpr std::uint64_t kWhichRange = 1, kWithinRange = 2, kFirstNormal = 3, kSecondNormal = 4;

std::optional<std::uint64_t> size_of(std::string_view text) {
  const auto size = base::parse_number(text) ? base::parse_number(text) : config::parse_size(text);
  return size && *size <= Sizes::kMost ? size : std::nullopt;
}

std::unexpected<std::string> mistake(std::string_view text, std::string_view what) {
  return std::unexpected(fmt::format("\"{}\": {}", base::printable(text), what));
}

std::string_view next_line(std::string_view& lines) {
  const auto end = lines.find('\n');
  const auto line = lines.substr(0, end);
  lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
  return base::trim(line);
}

}  // namespace

std::expected<Sizes::Range, std::string> Sizes::parse_range(std::string_view text) {
  const auto dash = text.find('-');
  const auto least = size_of(text.substr(0, dash));
  const auto most = dash == std::string_view::npos ? least : size_of(text.substr(dash + 1));
  if (!least || !most || *least > *most)
    return mistake(
        text,
        "a size is a number like 4096, 4KiB or 1MiB, at most 1GiB, or two of them: 1KiB-64KiB");
  return Range{1, *least, *most};
}

std::expected<Sizes, std::string> Sizes::parse(std::string_view text) {
  constexpr std::string_view kUniform = "uniform:", kLognormal = "lognormal:";
  Sizes sizes;
  if (text.starts_with(kLognormal)) {
    const auto rest = text.substr(kLognormal.size());
    const auto comma = rest.find(',');
    const auto median = size_of(rest.substr(0, comma));
    const std::string factor(comma == std::string_view::npos ? std::string_view()
                                                             : rest.substr(comma + 1));
    char* end = nullptr;
    sizes.factor_ = std::strtod(factor.c_str(), &end);
    if (!median || *median == 0 || factor.empty() || *end != '\0' || !(sizes.factor_ >= 1) ||
        sizes.factor_ > 100)
      return mistake(text, "write lognormal:MEDIAN,FACTOR with a factor from 1 to 100");
    sizes.median_ = static_cast<double>(*median);
    return sizes;
  }
  auto range = parse_range(text.starts_with(kUniform) ? text.substr(kUniform.size()) : text);
  if (!range) return std::unexpected(std::move(range.error()));
  sizes.ranges_.push_back(*range);
  return sizes;
}

std::expected<Sizes, std::string> Sizes::parse_weights(std::string_view lines) {
  Sizes sizes;
  double sum = 0;
  while (!lines.empty()) {
    const auto line = next_line(lines);
    if (line.empty() || line.starts_with('#')) continue;
    const auto space = line.find(' ');
    const auto weight = base::parse_number(line.substr(0, space));
    if (!weight || space == std::string_view::npos) return mistake(line, "write WEIGHT SIZE");
    auto range = parse_range(base::trim(line.substr(space)));
    if (!range) return std::unexpected(std::move(range.error()));
    if (sizes.ranges_.size() == kMaxWeights) return std::unexpected("too many weights");
    sum += static_cast<double>(*weight);
    range->up_to = sum;
    sizes.ranges_.push_back(*range);
  }
  if (sum <= 0) return std::unexpected("no line has a weight");
  for (auto& range : sizes.ranges_) range.up_to /= sum;
  sizes.ranges_.back().up_to = 1;
  return sizes;
}

std::uint64_t Sizes::pick(std::uint64_t seed, std::uint64_t number) const noexcept {
  if (ranges_.empty()) {
    // Box and Muller: two uniform numbers, the first not 0, make a normal one.
    const double u = 1 - fraction(mix(seed, number, kFirstNormal));
    const double v = fraction(mix(seed, number, kSecondNormal));
    const double normal = std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
    const double size = median_ * std::pow(factor_, normal);
    return static_cast<std::uint64_t>(std::min(size, static_cast<double>(kMost)));
  }
  const double which = fraction(mix(seed, number, kWhichRange));
  const auto range = std::ranges::find_if(ranges_, [&](const Range& r) { return which < r.up_to; });
  const auto& chosen = range == ranges_.end() ? ranges_.back() : *range;
  const auto width = chosen.most - chosen.least + 1;
  return chosen.least + mix(seed, number, kWithinRange) % width;
}

}  // namespace postern::bench
