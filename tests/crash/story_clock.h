// StoryClock: the time of a story, which passes only when the story says so. While one lives, the
// whole program goes by it (interpose.cc): one at a time, and not in a process with threads that
// wait.
#pragma once

#include "common/base/check.h"
#include "common/base/clock.h"

namespace postern::crash {

class StoryClock final : public base::Clock {
 public:
  static constexpr std::int64_t kBegin = 1'780'000'000'000;

  explicit StoryClock(std::int64_t wall) : wall_ms(wall) {
    CHECK(present_ == nullptr);
    present_ = this;
  }
  ~StoryClock() override { present_ = nullptr; }
  StoryClock(const StoryClock&) = delete;
  StoryClock& operator=(const StoryClock&) = delete;

  base::WallTime wall() const noexcept override { return {wall_ms}; }
  base::SteadyTime steady() const noexcept override { return {steady_ms}; }
  void advance(std::int64_t ms) {
    wall_ms += ms;
    steady_ms += ms;
  }
  // Null: time is real.
  [[nodiscard]] static const StoryClock* present() noexcept { return present_; }

  std::int64_t wall_ms;
  std::int64_t steady_ms = 1'000'000;

 private:
  static inline const StoryClock* present_ = nullptr;
};

}  // namespace postern::crash
