// BodyStore: where the body of a transaction waits for its end: in memory up to 256 KiB and as long as
// the budget of all sessions lasts, otherwise in a file that queued made.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "smtpd/protocol.h"
#include "smtpd/queue_link.h"

namespace postern::smtpd {

// Memory that the bodies of all sessions of this process may hold together.
class BodyBudget {
 public:
  static constexpr std::size_t kBytes = 64U << 20;
  [[nodiscard]] bool take(std::size_t bytes) noexcept {
    if (used_ + bytes > kBytes) return false;
    used_ += bytes;
    return true;
  }
  void give_back(std::size_t bytes) noexcept { used_ -= bytes; }

 private:
  std::size_t used_ = 0;
};

class BodyStore {
 public:
  // `resumed` is called when a paused body may go on.
  BodyStore(QueueLink& link, BodyBudget& budget, event::Callback resumed);
  ~BodyStore();
  BodyStore(const BodyStore&) = delete;
  BodyStore& operator=(const BodyStore&) = delete;

  // kPause: until `resumed`. A body that cannot be kept is swallowed, and failed() says so.
  [[nodiscard]] Flow add(std::string_view bytes);
  // The file could not be had or written, or was lost with its queued.
  [[nodiscard]] bool failed() const noexcept;
  // Moves the body into the submission; the store is empty afterwards.
  void move_to(Submission& submission);
  void clear();

 private:
  void move_to_file();
  void on_file(QueueLink::LargeFile file) noexcept;
  void write(std::string_view bytes);
  void drop_memory() noexcept;

  QueueLink& link_;
  BodyBudget& budget_;
  event::Callback resumed_;
  std::string memory_;
  std::size_t charged_ = 0;  // of the budget
  QueueLink::LargeFile file_;
  std::uint64_t size_ = 0;
  bool opening_ = false;
  bool failed_ = false;
  std::shared_ptr<std::uint64_t> round_ = std::make_shared<std::uint64_t>(0);  // one per message
};

}  // namespace postern::smtpd
