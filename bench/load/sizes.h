// Sizes: how large the bodies are, as a distribution. The size of message N depends on seed and N
// alone.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace postern::bench {

class Sizes {
 public:
  static constexpr std::uint64_t kMost = std::uint64_t{1} << 30;
  static constexpr std::size_t kMaxWeights = 10'000;

  // "4KiB", "uniform:1KiB-64KiB", "lognormal:8KiB,2" (the median, and the factor that a standard
  // deviation makes: two thirds lie within median / 2 and median * 2). An error is a sentence.
  [[nodiscard]] static std::expected<Sizes, std::string> parse(std::string_view text);
  // Lines of "WEIGHT SIZE" or "WEIGHT SIZE-SIZE"; empty ones and those that begin with # say
  // nothing.
  [[nodiscard]] static std::expected<Sizes, std::string> parse_weights(std::string_view lines);

  [[nodiscard]] std::uint64_t pick(std::uint64_t seed, std::uint64_t number) const noexcept;

 private:
  struct Range {
    double up_to;  // the share of all that this and the ranges before it have
    std::uint64_t least, most;
  };
  static std::expected<Range, std::string> parse_range(std::string_view text);
  std::vector<Range> ranges_;  // none: lognormal
  double median_ = 0, factor_ = 1;
};

}  // namespace postern::bench
