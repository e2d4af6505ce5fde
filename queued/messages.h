// What the journal's records add up to: all messages that live, and the queues that wait. The same
// apply() serves replay and life, so that memory cannot say what the journal does not. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "queued/message.h"

namespace postern::queued {

class Messages {
 public:
  // A message begins, or is replaced by what a kState record says. `place`: of the record.
  Message& put(const MessageRecord& record, const Place& place);
  // Recipients' fates; those of an unknown message are ignored. True if the message ended by it; it is
  // gone then. The notice of the record is for the caller to put().
  bool apply(const OutcomeRecord& record);
  void apply(const QueueRecord& record);
  void apply(const ReleaseRecord& record);
  void apply(const HoldRecord& record);
  // The message's newest whole record stands here now.
  void move(Message& message, const Place& place);

  [[nodiscard]] Message* find(base::MessageId id);
  [[nodiscard]] const Message* find(base::MessageId id) const;
  // The one with the lowest id above `after`.
  [[nodiscard]] Message* next(base::MessageId after);
  [[nodiscard]] const Message* next(base::MessageId after) const;

  [[nodiscard]] std::uint64_t count() const { return messages_.size(); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  // prefixes and bodies
  [[nodiscard]] std::uint64_t large_bytes() const { return large_bytes_; }
  // Bytes of the records that live messages stand in.
  [[nodiscard]] std::uint64_t live_bytes() const { return live_bytes_; }
  // How many messages have their newest whole record in this segment.
  [[nodiscard]] std::uint64_t in_segment(std::uint64_t number) const;
  // The first of them at or behind `cursor`, which moves behind it; null: no further one.
  [[nodiscard]] Message* next_in_segment(std::uint64_t number, std::size_t& cursor);
  // Queues with failures, by name.
  [[nodiscard]] const std::map<std::string, QueueRecord, std::less<>>& waits() const {
    return waits_;
  }
  // The newest record of this queue's wait stands in this segment.
  void wait_stands(const std::string& queue, std::uint64_t segment);
  // Takes out the waits whose newest record stands in this segment or an older one.
  [[nodiscard]] std::vector<QueueRecord> take_waits(std::uint64_t segment);

 private:
  void count_in(const Message& message);
  void count_out(const Message& message);

  std::map<base::MessageId, Message> messages_;
  std::map<std::string, QueueRecord, std::less<>> waits_;
  std::map<std::string, std::uint64_t, std::less<>> wait_segments_;  // those that are known
  struct Segment {
    std::uint64_t live = 0;
    std::vector<base::MessageId> came;  // all that were ever put here
  };
  std::map<std::uint64_t, Segment> segments_;
  std::uint64_t bytes_ = 0;
  std::uint64_t large_bytes_ = 0;
  std::uint64_t live_bytes_ = 0;
};

// All that is left of a message, as a kState record says it.
[[nodiscard]] MessageRecord to_record(const Message& message);

// The recipient with this number; null: there is none.
[[nodiscard]] const Recipient* find_recipient(const Message& message, std::uint32_t number);

}  // namespace postern::queued
