// Throttle: somebody looks at the queue in at most a tenth of the time while mail comes or goes, so that nobody
// who lists it without end slows it down by much: what the control tool does with an answer takes as much again, of
// the same cores. On an idle server there is nobody to wait for.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "common/event/loop.h"

namespace postern::queued {

using Micros = std::chrono::microseconds;  // since any time

// How much was taken, and until when that is to be made up for. Pure.
class Share {
 public:
  static constexpr int kPart = 10;  // of the time, one

  void used(Micros from, Micros to) { until_ = std::max(until_, from) + kPart * (to - from); }
  [[nodiscard]] Micros wait(Micros now) const { return std::max(Micros(0), until_ - now); }

 private:
  Micros until_{0};
};

class Throttle {
 public:
  static constexpr Micros kCredit{200'000};  // who looks now and then waits for nothing
  using Task = std::move_only_function<void() noexcept>;
  // Messages that came or went since the start.
  using Traffic = std::function<std::uint64_t()>;

  Throttle(event::Loop& loop, Traffic traffic)
      : traffic_(std::move(traffic)), timer_(loop, [this]() noexcept { next(); }) {}

  // Now, or when its turn comes.
  void run(Task task) {
    if (waiting_.empty() && !must_wait()) return task();
    waiting_.push_back(std::move(task));
    if (!timer_.running()) next();
  }

  // The time while one lives is counted, that of several at once only once. What others do for it meanwhile,
  // such as a reader's thread, takes the cores of the mail as well. May outlive the throttle.
  class Use {
   public:
    explicit Use(Throttle& throttle) : throttle_(throttle.self_) {
      if (throttle.uses_++ == 0) throttle.from_ = now();
    }
    ~Use() {
      if (const auto self = throttle_.lock()) (*self)->end_use();
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    std::weak_ptr<Throttle*> throttle_;
  };

 private:
  static constexpr Micros kQuiet{200'000};  // without any mail, and the server is idle

  static Micros now() {
    return std::chrono::duration_cast<Micros>(std::chrono::steady_clock::now().time_since_epoch());
  }
  bool is_busy() {
    if (const auto mail = traffic_(); std::exchange(seen_, mail) != mail) busy_until_ = now() + kQuiet;
    return now() < busy_until_;
  }
  [[nodiscard]] bool must_wait() { return is_busy() && share_.wait(now()) >= kCredit; }

  void end_use() {
    if (--uses_ == 0 && is_busy()) share_.used(from_, now());
  }
  void next() {
    while (!waiting_.empty() && !must_wait()) {
      auto task = std::move(waiting_.front());
      waiting_.pop_front();
      task();
    }
    if (!waiting_.empty())
      timer_.start(std::chrono::ceil<base::Millis>(share_.wait(now()) - kCredit) + base::Millis(1));
  }

  Traffic traffic_;
  std::uint64_t seen_ = 0;
  Micros busy_until_{0};
  Share share_;
  int uses_ = 0;
  Micros from_{0};  // when the first of these began
  std::deque<Task> waiting_;
  event::Timer timer_;
  std::shared_ptr<Throttle*> self_ = std::make_shared<Throttle*>(this);
};

}  // namespace postern::queued
