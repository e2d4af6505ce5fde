// Workers: a few threads for work that has to wait for the disk. Work runs on one of them and
// returns what is then to be done on the loop.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "common/event/loop.h"

namespace postern::local {

class Workers {
 public:
  using Work = std::move_only_function<event::Callback() noexcept>;

  Workers(event::Loop& loop, std::size_t threads);
  // Finishes the work that a thread has begun; the rest, and what was to be done on the loop, is
  // dropped.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void submit(Work work);

 private:
  void run() noexcept;
  void on_finished() noexcept;

  event::Waker waker_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> waiting_;
  std::vector<event::Callback> finished_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace postern::local
