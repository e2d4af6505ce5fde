// Sizes and durations as people write them in the configuration.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/clock.h"

namespace postern::config {

// "25MiB", "1GiB", "100KB", "512B", "0": a whole number and its unit (B, KB, MB, GB, TB by 1000,
// KiB, MiB, GiB, TiB by 1024), in bytes. nullopt for anything else, and for what does not fit 63
// bits.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);
// The shortest exact form: "25MiB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);

// "500ms", "30s", "15m", "1h", "5d", "0". nullopt for anything else, and for over 100 years.
[[nodiscard]] std::optional<base::Millis> parse_duration(std::string_view text);
[[nodiscard]] std::string duration_text(base::Millis duration);

// "600/min", "20/s", "1000/day", "200/h", "0": how often something may happen, as the microseconds from one
// time to the next; 0: no limit. nullopt for anything else, and for more than a million a second.
[[nodiscard]] std::optional<std::uint64_t> parse_rate(std::string_view text);
// The same as how many in how many seconds; {0, 0}: no limit. nullopt also for more than 32 bits hold.
[[nodiscard]] std::optional<std::pair<std::uint32_t, std::uint32_t>> parse_count(
    std::string_view text);

}  // namespace postern::config
