#include "common/base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace postern::base {
namespace {

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78U : 0U);
    table[i] = crc;
  }
  return table;
}
constexpr auto kTable = make_table();

std::uint32_t portable(std::string_view data, std::uint32_t crc) noexcept {
  for (const char c : data) crc = crc >> 8 ^ kTable[(crc ^ static_cast<std::uint8_t>(c)) & 0xFF];
  return crc;
}

#if defined(__x86_64__)
// The instruction takes three cycles, and one can begin in each: so three lanes are read side by side. A
// checksum is linear, so that of a lane counts for what follows when as many zeros have gone through it.
constexpr std::size_t kLane = 1024;

// What kLane zeros make of each byte of a checksum.
constexpr auto make_behind_lane() {
  std::array<std::uint32_t, 32> bits{};
  for (std::size_t bit = 0; bit < bits.size(); ++bit) {
    std::uint32_t crc = 1U << bit;
    for (std::size_t i = 0; i < kLane; ++i) crc = crc >> 8 ^ kTable[crc & 0xFF];
    bits[bit] = crc;
  }
  std::array<std::array<std::uint32_t, 256>, 4> made{};
  for (std::size_t byte = 0; byte < made.size(); ++byte)
    for (std::size_t value = 0; value < 256; ++value)
      for (std::size_t bit = 0; bit < 8; ++bit)
        if ((value >> bit & 1) != 0) made[byte][value] ^= bits[8 * byte + bit];
  return made;
}
constexpr auto kBehindLane = make_behind_lane();

std::uint32_t behind_lane(std::uint32_t crc) noexcept {
  return kBehindLane[0][crc & 0xFF] ^ kBehindLane[1][crc >> 8 & 0xFF] ^
         kBehindLane[2][crc >> 16 & 0xFF] ^ kBehindLane[3][crc >> 24];
}

std::uint64_t eight_bytes(const char* at) noexcept {
  std::uint64_t bytes;
  std::memcpy(&bytes, at, sizeof bytes);
  return bytes;
}

__attribute__((target("sse4.2"))) std::uint32_t with_sse42(std::string_view data,
                                                          std::uint32_t crc) noexcept {
  const char* p = data.data();
  std::size_t left = data.size();
  std::uint64_t wide = crc;
  for (; left >= 3 * kLane; p += 3 * kLane, left -= 3 * kLane) {
    std::uint64_t second = 0, third = 0;
    for (std::size_t at = 0; at < kLane; at += 8) {
      wide = _mm_crc32_u64(wide, eight_bytes(p + at));
      second = _mm_crc32_u64(second, eight_bytes(p + kLane + at));
      third = _mm_crc32_u64(third, eight_bytes(p + 2 * kLane + at));
    }
    const auto both = behind_lane(static_cast<std::uint32_t>(wide)) ^ static_cast<std::uint32_t>(second);
    wide = behind_lane(both) ^ static_cast<std::uint32_t>(third);
  }
  for (; left >= 8; p += 8, left -= 8) wide = _mm_crc32_u64(wide, eight_bytes(p));
  auto narrow = static_cast<std::uint32_t>(wide);
  for (; left > 0; ++p, --left) narrow = _mm_crc32_u8(narrow, static_cast<std::uint8_t>(*p));
  return narrow;
}
#endif

}  // namespace

std::uint32_t crc32c(std::string_view data, std::uint32_t crc) noexcept {
  crc = ~crc;
#if defined(__x86_64__)
  static const bool has_sse42 = __builtin_cpu_supports("sse4.2");
  if (has_sse42) return ~with_sse42(data, crc);
#endif
  return ~portable(data, crc);
}

}  // namespace postern::base
