#include "deliverd/local/workers.h"

#include <utility>

namespace postern::local {

Workers::Workers(event::Loop& loop, std::size_t threads)
    : waker_(loop, [this]() noexcept { on_finished(); }) {
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

Workers::~Workers() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Workers::submit(Work work) {
  {
    const std::scoped_lock lock(mutex_);
    waiting_.push_back(std::move(work));
  }
  changed_.notify_one();
}

void Workers::run() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    auto work = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    auto next = work();
    work = nullptr;  // with all that it holds, outside the lock
    lock.lock();
    finished_.push_back(std::move(next));
    waker_.notify();
  }
}

void Workers::on_finished() noexcept {
  std::vector<event::Callback> finished;
  {
    const std::scoped_lock lock(mutex_);
    finished.swap(finished_);
  }
  for (auto& next : finished) next();
}

}  // namespace postern::local
