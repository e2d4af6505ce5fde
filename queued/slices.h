// Slices: long work on the loop, a piece at a time, so that mail goes on in between.
#pragma once

#include <deque>
#include <functional>
#include <utility>

#include "common/event/loop.h"

namespace postern::queued {

class Slices {
 public:
  // One piece; true while there is more.
  using Task = std::move_only_function<bool() noexcept>;

  explicit Slices(event::Loop& loop) : timer_(loop, [this]() noexcept { step(); }) {}

  void add(Task task) {
    tasks_.push_back(std::move(task));
    if (!timer_.running()) timer_.start(base::Millis(0));
  }

 private:
  void step() {
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    if (task()) tasks_.push_back(std::move(task));
    if (!tasks_.empty() && !timer_.running()) timer_.start(base::Millis(0));
  }
  std::deque<Task> tasks_;
  event::Timer timer_;
};

}  // namespace postern::queued
