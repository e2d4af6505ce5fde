// The queue clock: ages and deadlines of mail run on it. It is monotonic while queued runs, and over a
// restart it advances by the wall clock's gap, at most [retry] max_gap: a clock that jumps expires
// nothing. Pure.
#pragma once

#include <algorithm>

#include "common/base/clock.h"

namespace postern::queued {

// A place on the queue clock: time since the spool's first start.
using QueueTime = base::Millis;

// Where the clock stood, as the journal tells.
struct ClockReading {
  QueueTime queue{0};
  base::WallTime wall;  // 0: never read before
};

// Where the clock goes on after a restart.
[[nodiscard]] inline QueueTime resume_clock(const ClockReading& last, base::WallTime now,
                                            base::Millis max_gap) {
  if (last.wall.ms == 0) return last.queue;
  return last.queue + std::clamp(now - last.wall, base::Millis(0), max_gap);
}

class QueueClock {
 public:
  // `clock` outlives this; the queue clock stands at `start` now.
  QueueClock(const base::Clock& clock, QueueTime start)
      : clock_(clock), start_(start), begun_(clock.steady()) {}

  [[nodiscard]] QueueTime now() const { return start_ + (clock_.steady() - begun_); }
  [[nodiscard]] base::WallTime wall() const { return clock_.wall(); }
  [[nodiscard]] base::SteadyTime steady() const { return clock_.steady(); }
  [[nodiscard]] ClockReading reading() const { return {now(), wall()}; }
  // What the wall clock shows, as far as one can tell, when the queue clock stands at `t`.
  [[nodiscard]] base::WallTime wall_at(QueueTime t) const { return wall() + (t - now()); }

 private:
  const base::Clock& clock_;
  QueueTime start_;
  base::SteadyTime begun_;
};

}  // namespace postern::queued
