#include "common/base/clock.h"

#include <ctime>

namespace postern::base {
namespace {

std::int64_t read_clock(clockid_t id) noexcept {
  timespec now{};
  ::clock_gettime(id, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

class SystemClock final : public Clock {
 public:
  WallTime wall() const noexcept override { return {read_clock(CLOCK_REALTIME)}; }
  SteadyTime steady() const noexcept override { return {read_clock(CLOCK_MONOTONIC)}; }
};

}  // namespace

const Clock& system_clock() noexcept {
  static const SystemClock clock;
  return clock;
}

}  // namespace postern::base
