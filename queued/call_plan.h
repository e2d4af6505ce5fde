// CallPlan: when a host that keeps our mail is called next. Pure.
//
// Where we wait, a session that is over is followed by the next call, and calls that fail come ever less often. Mail
// that is not there, or a refusal that will not change by itself, is worth no hurry in either case.
#pragma once

#include <algorithm>

#include "common/base/clock.h"
#include "common/ipc/collect.h"

namespace postern::queued {

class CallPlan {
 public:
  static constexpr base::Millis kLeast{1'000};  // from the begin of one call to that of the next

  CallPlan(base::Millis every, bool wait) noexcept : every_(every), wait_(wait) {}

  void configure(base::Millis every, bool wait) noexcept {
    every_ = every;
    wait_ = wait;
  }
  void begin(base::SteadyTime now) noexcept { began_ = now; }
  // When to call next. `final`: it would be refused again.
  [[nodiscard]] base::SteadyTime end(ipc::CollectEnd end, bool final, base::SteadyTime now) noexcept {
    if (end != ipc::CollectEnd::kFailed) pause_ = kLeast;
    if (!wait_ || end == ipc::CollectEnd::kNothing || final) return now + every_;
    if (end == ipc::CollectEnd::kServed) return std::max(now, began_ + kLeast);
    const auto pause = std::min(pause_, every_);
    pause_ = 2 * pause;
    return now + pause;
  }

 private:
  base::Millis every_;
  bool wait_;
  base::Millis pause_ = kLeast;  // behind the next failure
  base::SteadyTime began_;
};

}  // namespace postern::queued
