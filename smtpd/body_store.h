// BodyStore: where the body of a transaction waits for its end: in memory up to 256 KiB and as long
// as the budget of all sessions lasts, otherwise in a file that queued made.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "smtpd/protocol.h"
#include "smtpd/queue_link.h"

namespace postern::smtpd {

class BodyStore {
 public:
  // `resumed` is called when a paused body may go on.
  BodyStore(QueueLink& link, BodyBudget& budget, event::Callback resumed);
  ~BodyStore();
  BodyStore(const BodyStore&) = delete;
  BodyStore& operator=(const BodyStore&) = delete;

  // kPause: until `resumed`. A body that cannot be kept is swallowed, and failure() says so.
  [[nodiscard]] Flow add(std::string_view bytes);
  // Why the body is not here whole: there is no file or no room for it, or the file was lost with
  // its queued. Nothing of it was ever submitted.
  [[nodiscard]] std::optional<mail::Reply> failure() const;
  // Moves the whole body into the submission; the store is empty afterwards.
  void move_to(Submission& submission);
  // Gives the body up, and its file back.
  void clear();

 private:
  void move_to_file();
  void on_file(QueueLink::LargeFile file) noexcept;
  void write(std::string_view bytes);
  void begin_flush();
  void drop_memory() noexcept;

  QueueLink& link_;
  BodyShare share_;
  event::Callback resumed_;
  std::string memory_;
  QueueLink::LargeFile file_;
  std::uint64_t size_ = 0;
  std::uint64_t flushing_ = 0;  // of the file: what is on its way to the disk already
  bool eight_bit_ = false;  // such bytes went into the file
  bool opening_ = false;
  bool failed_ = false;
  std::shared_ptr<std::uint64_t> round_ = std::make_shared<std::uint64_t>(0);  // one per message
};

}  // namespace postern::smtpd
