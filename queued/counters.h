// Counters: what happened, since the start and in the last whole minute. Pure.
#pragma once

#include <cstdint>

#include "common/base/clock.h"

namespace postern::queued {

class Counter {
 public:
  void add(base::SteadyTime now, std::uint64_t n = 1) {
    roll(now);
    total_ += n;
    current_ += n;
  }
  [[nodiscard]] std::uint64_t total() const { return total_; }
  [[nodiscard]] std::uint64_t last_minute(base::SteadyTime now) {
    roll(now);
    return last_;
  }

 private:
  void roll(base::SteadyTime now) {
    const auto minute = now.ms / 60'000;
    if (minute == minute_) return;
    last_ = minute == minute_ + 1 ? current_ : 0;
    current_ = 0;
    minute_ = minute;
  }
  std::uint64_t total_ = 0;
  std::uint64_t current_ = 0;
  std::uint64_t last_ = 0;
  std::int64_t minute_ = -1;
};

struct Counters {
  Counter accepted, refused, delivered, deferred, failed, bounces;
  // That came or went, well or not.
  [[nodiscard]] std::uint64_t messages() const {
    return accepted.total() + refused.total() + delivered.total() + deferred.total() + failed.total();
  }
};

}  // namespace postern::queued
