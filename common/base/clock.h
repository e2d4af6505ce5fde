// Time: wall-clock instants for people and records, monotonic instants for timers. Both in
// milliseconds, as types that do not mix. A Clock is passed to whoever needs time, so that tests own it.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace postern::base {

using Millis = std::chrono::milliseconds;

// Milliseconds since 1970-01-01T00:00:00Z by the system's clock.
struct WallTime {
  std::int64_t ms = 0;
  friend constexpr auto operator<=>(const WallTime&, const WallTime&) noexcept = default;
  friend constexpr WallTime operator+(WallTime t, Millis d) noexcept { return {t.ms + d.count()}; }
  friend constexpr WallTime operator-(WallTime t, Millis d) noexcept { return {t.ms - d.count()}; }
  friend constexpr Millis operator-(WallTime a, WallTime b) noexcept { return Millis(a.ms - b.ms); }
};

// Milliseconds since an arbitrary point; never jumps.
struct SteadyTime {
  std::int64_t ms = 0;
  friend constexpr auto operator<=>(const SteadyTime&, const SteadyTime&) noexcept = default;
  friend constexpr SteadyTime operator+(SteadyTime t, Millis d) noexcept { return {t.ms + d.count()}; }
  friend constexpr SteadyTime operator-(SteadyTime t, Millis d) noexcept { return {t.ms - d.count()}; }
  friend constexpr Millis operator-(SteadyTime a, SteadyTime b) noexcept { return Millis(a.ms - b.ms); }
};

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual WallTime wall() const noexcept = 0;
  [[nodiscard]] virtual SteadyTime steady() const noexcept = 0;
};

// The system's clocks (CLOCK_REALTIME, CLOCK_MONOTONIC).
[[nodiscard]] const Clock& system_clock() noexcept;

}  // namespace postern::base
