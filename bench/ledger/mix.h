// Random bits that are the same each time: a hash of numbers instead of a generator with a state,
// so that what belongs to message 17 does not depend on what was made before it. No secret is safe
// in it.
#pragma once

#include <cstdint>

namespace postern::bench {

// The finalizer of splitmix64: every bit of the result depends on every bit of `x`.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

// Bits for one purpose of one number under a seed.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t seed, std::uint64_t number,
                                          std::uint64_t purpose) noexcept {
  return mix(mix(mix(seed) ^ number) ^ purpose);
}

// A number in [0, 1) out of 64 such bits.
[[nodiscard]] constexpr double fraction(std::uint64_t bits) noexcept {
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

}  // namespace postern::bench
