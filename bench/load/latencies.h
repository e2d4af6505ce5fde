// Latencies: how long replies took, as counts in bins that are at most 1/32 wide: quantiles of any
// number of values in 15 KiB, within 3 %.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace postern::bench {

class Latencies {
 public:
  void add(std::uint64_t micros) noexcept {
    ++count_;
    ++bins_[bin_of(micros)];
  }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  // The upper end of the bin in which the value of this rank stands, in microseconds; 0 without
  // values.
  [[nodiscard]] std::uint64_t quantile(double share) const noexcept {
    const auto rank = static_cast<std::uint64_t>(share * static_cast<double>(count_));
    std::uint64_t seen = 0;
    for (std::size_t bin = 0; bin < bins_.size(); ++bin) {
      seen += bins_[bin];
      if (seen > rank || (seen == count_ && count_ != 0)) return top_of(bin);
    }
    return 0;
  }

 private:
  static constexpr unsigned kBits = 5;  // of a value behind its leading one
  static constexpr std::size_t kFirst = std::size_t{1} << kBits;

  static constexpr std::size_t bin_of(std::uint64_t value) noexcept {
    if (value < kFirst) return value;
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kBits;
    return (shift + 1) * kFirst + (value >> shift) - kFirst;
  }
  static constexpr std::uint64_t top_of(std::size_t bin) noexcept {
    if (bin < kFirst) return bin;
    const auto shift = bin / kFirst - 1;
    return ((bin % kFirst + kFirst + 1) << shift) - 1;
  }

  std::array<std::uint64_t, (64 - kBits + 1) * kFirst> bins_{};
  std::uint64_t count_ = 0;
};

}  // namespace postern::bench
