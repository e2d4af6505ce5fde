// Messages: what the journal's records add up to. It holds the *resident* messages (new, changed since
// they were last saved, or lately looked at), sums over all of them, and the queues that wait; the others
// are rows of the index, and whoever needs one brings it in with adopt(). A resident message is always
// right where a row may be old. The same apply() serves replay and life, so that memory cannot say what
// the journal does not. Pure.
//
// Every change names its record's sequence number. A row knows the last record that is in it, so a record
// that is replayed onto a newer row changes nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "queued/index.h"
#include "queued/row.h"

namespace postern::queued {

class Messages {
 public:
  using Sequence = base::SequenceNumber;
  // Brings in the row of a message that is not resident, if there is one; for the replay.
  using Source = std::function<std::optional<Message>(base::MessageId)>;
  void set_source(Source source) { source_ = std::move(source); }

  // --- records
  // A message begins, or is replaced by what a kState record says. `place`: of the record. Null: its row
  // has this record already.
  Message* put(MessageRecord&& record, const Place& place, Sequence sequence);
  // Recipients' fates; those of a message that is not resident are ignored. True if the message ended by
  // it; it is gone then. The notice of the record is for the caller to put(). Those that it replaces are gone
  // too; one that is not put yet never will be.
  bool apply(const OutcomeRecord& record, Sequence sequence);
  void apply(const QueueRecord& record);
  void apply(const RetryRecord& record, Sequence sequence);
  void apply(const HoldRecord& record, Sequence sequence);
  // The message's newest whole record stands here now.
  void move(Message& message, const Place& place, Sequence sequence);

  // --- residents
  [[nodiscard]] Message* find(base::MessageId id);
  [[nodiscard]] const Message* find(base::MessageId id) const;
  // The resident one, or what the source brings in; null: there is no such message.
  Message* bring_in(base::MessageId id);
  // It ended, and a row that says otherwise may still be read.
  [[nodiscard]] bool ended(base::MessageId id) const { return ended_.contains(id); }
  // A message from its row; the resident one wins. Null: it ended.
  Message* adopt(Message message);
  // The first one with an id above `after`; null: none.
  [[nodiscard]] const Message* next(base::MessageId after) const;
  [[nodiscard]] std::size_t residents() const { return residents_.size(); }
  // Gives up saved messages, those saved first, until `most` are left; only once every row was counted.
  void evict(std::size_t most);
  // Rows are read elsewhere meanwhile, in the order in which the reads began. What was saved since a read
  // began stays resident until it is done, so that the old row it may bring is known for old.
  void read_begins() { ++reads_begun_; }
  void read_ends() { ++reads_done_; }
  // Keeps a body in memory; beyond `budget` bytes in all the oldest bodies go.
  void keep_body(Message& message, std::shared_ptr<const std::string> body, std::uint64_t budget);

  // --- sums over all messages: those that were put, and the rows that were counted, in their order
  void count_row(const Message& row);
  void count_all();  // there are no further rows
  [[nodiscard]] bool all_counted() const { return counted_upto_.value == ~0ULL; }
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  // prefixes and bodies
  [[nodiscard]] std::uint64_t large_bytes() const { return large_bytes_; }
  // Bytes of the records that live messages stand in.
  [[nodiscard]] std::uint64_t live_bytes() const { return live_bytes_; }
  // How many messages have their newest whole record in this segment.
  [[nodiscard]] std::uint64_t in_segment(std::uint64_t number) const;
  // Ids of messages that may stand in this segment, from `cursor` on, which moves on.
  [[nodiscard]] std::vector<base::MessageId> ids_in_segment(std::uint64_t number,
                                                            std::size_t& cursor, std::size_t limit);

  // --- queues with failures, by name
  [[nodiscard]] const std::map<std::string, QueueRecord, std::less<>>& waits() const {
    return waits_;
  }
  void adopt(const WaitRow& row);
  // The newest record of this queue's wait stands in this segment.
  void wait_stands(const std::string& queue, std::uint64_t segment);
  // Takes out the waits whose newest record stands in this segment or an older one.
  [[nodiscard]] std::vector<QueueRecord> take_waits(std::uint64_t segment);

  // --- saving
  struct Changes {
    std::vector<IndexChange> rows;
    Sequence covered;  // all records up to this one are in the rows, once these are saved
    std::vector<std::pair<base::MessageId, Sequence>> messages;  // and their first unsaved record
    std::vector<std::string> waits;
  };
  // Changes by flushed records, at most `limit` messages. Messages without a row that began after record
  // `settled` are left for later, since most end soon and never need one.
  [[nodiscard]] Changes changes(Sequence flushed, Sequence settled, std::size_t limit);
  // They are on disk.
  void saved(const Changes& changes);
  // They are not.
  void unsaved(const Changes& changes);
  [[nodiscard]] std::size_t changed() const { return changed_.size() + changed_waits_.size(); }

 private:
  void touch(base::MessageId id, Saving& saving, Sequence sequence);
  void end(Message& message, Sequence sequence);
  void end_replaced(base::MessageId notice, Sequence sequence);
  void count_in(const Message& message);
  void count_out(const Message& message);
  void tidy_idle();
  void drop_body(Message& message);
  Saving* saving_of(base::MessageId id);
  void forget_rowless(Sequence flushed);

  Source source_;
  std::map<base::MessageId, Message> residents_;
  std::unordered_map<base::MessageId, Saving> ended_;
  std::set<std::pair<Sequence, base::MessageId>> changed_;  // by their first unsaved record
  std::deque<std::pair<Sequence, base::MessageId>> rowless_;  // ended without a row, by their last record
  std::deque<base::MessageId> idle_;    // saved residents, oldest first; may name others too
  std::deque<base::MessageId> buried_;  // ended, their rows gone, oldest first
  std::deque<base::MessageId> bodied_;  // with bodies, oldest first; may name others too
  std::uint64_t body_bytes_ = 0;
  std::uint64_t reads_begun_ = 0, reads_done_ = 0;

  std::map<std::string, QueueRecord, std::less<>> waits_;
  std::map<std::string, std::uint64_t, std::less<>> wait_segments_;  // those that are known
  std::set<std::string> changed_waits_;

  struct Segment {
    std::uint64_t live = 0;
    std::vector<base::MessageId> came;  // all that were ever put here
  };
  std::map<std::uint64_t, Segment> segments_;
  base::MessageId counted_upto_;
  std::uint64_t count_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t large_bytes_ = 0;
  std::uint64_t live_bytes_ = 0;
};

}  // namespace postern::queued
