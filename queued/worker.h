// Worker: one thread for work that blocks (files, directories, cold bodies), behind a queue in order.
// What it finds comes back to the loop as a continuation.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "common/event/loop.h"

namespace postern::queued {

class Worker {
 public:
  // Runs in the thread; what it returns runs on the loop.
  using Work = std::move_only_function<event::Callback() noexcept>;

  // Without a thread, work waits for pump().
  Worker(event::Loop& loop, bool threaded);
  // Work that has not begun is dropped.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void post(Work work);
  // Without a thread: does all that waits; false if there was nothing.
  bool pump();

 private:
  void run();
  void deliver();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> waiting_;
  std::vector<event::Callback> finished_;
  bool stopping_ = false;
  event::Waker waker_;
  std::thread thread_;
};

}  // namespace postern::queued
