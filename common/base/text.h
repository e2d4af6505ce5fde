// Small helpers for ASCII text. Locale-free: TZ and locale are never consulted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/clock.h"

namespace postern::base {

[[nodiscard]] constexpr char ascii_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
[[nodiscard]] std::string to_lower(std::string_view text);
[[nodiscard]] bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept;
[[nodiscard]] bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) noexcept;

// The empty part is in every text.
[[nodiscard]] bool contains_ignoring_case(std::string_view text, std::string_view part) noexcept;

// Without spaces and tabs at both ends.
[[nodiscard]] std::string_view trim(std::string_view text) noexcept;

// A decimal number without sign that fits 64 bits; nullopt for anything else.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text) noexcept;

// Printable ASCII of `text`, at most `limit` bytes of it: every other byte becomes \xHH, a backslash
// becomes \\. For what others sent and people will read (terminal, log, notices).
[[nodiscard]] std::string printable(std::string_view text, std::size_t limit = 1024);

// 2026-11-23T03:21:45.123Z
[[nodiscard]] std::string iso8601(WallTime t);
// Mon, 23 Nov 2026 03:21:45 +0000 (RFC 5322 3.3)
[[nodiscard]] std::string rfc5322_date(WallTime t);

}  // namespace postern::base
