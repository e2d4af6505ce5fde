// Hasher: holds passwords against the hashes of our own file, in threads of its own: a hash takes tens
// of milliseconds, and the loop never waits. What is asked beyond kMostWaiting is not answered, so that
// a flood of guesses costs no more than the threads can do.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "common/event/loop.h"
#include "smtpd/auth/accounts.h"
#include "smtpd/auth/checker.h"

namespace postern::smtpd::auth {

class Hasher final : public Checker {
 public:
  static constexpr std::size_t kThreads = 2;
  static constexpr std::size_t kMostWaiting = 200;

  Hasher(event::Loop& loop, std::shared_ptr<const Accounts> accounts);
  // Answers that are outstanding never come.
  ~Hasher() override;
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  void use(std::shared_ptr<const Accounts> accounts) { accounts_ = std::move(accounts); }
  void check(const std::string& account, std::string password, const base::IpAddress& client,
             Checked checked) override;

 private:
  struct Job {
    Accounts::Stored stored;
    std::string account;
    std::string password;
    Checked checked;
    Verdict verdict;
  };
  void run() noexcept;
  void deliver() noexcept;

  std::shared_ptr<const Accounts> accounts_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<Job>> waiting_;
  std::vector<std::unique_ptr<Job>> finished_;
  bool stopping_ = false;
  event::Waker waker_;
  std::vector<std::thread> threads_;
};

}  // namespace postern::smtpd::auth
