#include "smtpd/auth/hasher.h"

#include <utility>

#include "common/base/secret.h"

namespace postern::smtpd::auth {

Hasher::Hasher(event::Loop& loop, std::shared_ptr<const Accounts> accounts)
    : accounts_(std::move(accounts)),
      waker_(loop, [this]() noexcept { deliver(); }) {
  for (std::size_t i = 0; i < kThreads; ++i) threads_.emplace_back([this] { run(); });
}

Hasher::~Hasher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Hasher::check(const std::string& account, std::string password, const base::IpAddress&,
                   Checked checked) {
  auto job = std::make_unique<Job>(
      Job{accounts_->stored(account), account, std::move(password), std::move(checked), {}});
  const std::lock_guard lock(mutex_);
  if (waiting_.size() >= kMostWaiting) {
    job->verdict.result = Verdict::Result::kUnavailable;
    finished_.push_back(std::move(job));
    return waker_.notify();
  }
  waiting_.push_back(std::move(job));
  changed_.notify_one();
}

void Hasher::run() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    auto job = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    const bool right = job->stored.accepts(job->password);
    base::wipe(job->password);
    job->verdict = {right ? Verdict::Result::kRight : Verdict::Result::kWrong, job->account};
    lock.lock();
    finished_.push_back(std::move(job));
    waker_.notify();
  }
}

void Hasher::deliver() noexcept {
  std::vector<std::unique_ptr<Job>> finished;
  {
    const std::lock_guard lock(mutex_);
    finished.swap(finished_);
  }
  for (auto& job : finished) job->checked(std::move(job->verdict));
}

}  // namespace postern::smtpd::auth
