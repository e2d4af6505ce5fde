#include "queued/worker.h"

#include <utility>

namespace postern::queued {

Worker::Worker(event::Loop& loop, bool threaded)
    : waker_(loop, [this]() noexcept { deliver(); }) {
  if (threaded) thread_ = std::thread([this] { run(); });
}

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Worker::post(Work work) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(work));
  }
  changed_.notify_one();
}

bool Worker::pump() {
  bool any = false;
  for (; !waiting_.empty(); any = true) {
    auto work = std::move(waiting_.front());
    waiting_.pop_front();
    if (auto then = work()) then();
  }
  return any;
}

void Worker::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    auto work = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    auto then = work();
    lock.lock();
    if (!then) continue;
    finished_.push_back(std::move(then));
    if (finished_.size() > 1) continue;  // the loop is told already
    lock.unlock();                       // or it would wake only to wait for us
    waker_.notify();
    lock.lock();
  }
}

void Worker::deliver() {
  std::vector<event::Callback> finished;
  {
    const std::lock_guard lock(mutex_);
    finished.swap(finished_);
  }
  for (auto& then : finished) then();
}

}  // namespace postern::queued
