// Journal: the writing side. Entries are appended on the loop; a flusher thread takes all that waits,
// writes it as one batch and flushes once (group commit), then tells how far it came. The order of
// durability stands in Journal::commit().
//
// Urgent entries are flushed at once; others may wait 10 ms for company before they are written, and
// 90 ms more before they are flushed, and then not sooner than 100 ms after the last flush. Any failed
// write or flush is final: nothing more is written, and Progress::error says what happened. A missing spare
// segment is not: the flusher waits for give(), and wanted() says how large it must be.
// An entry that may be refused never takes a segment of the reserve: while the disk is short of room, it
// is left out instead, before it has a place and a sequence number, and so never is in the journal.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/os/disk.h"
#include "queued/segment.h"

namespace postern::queued {

struct SegmentFile {
  std::string name;  // in journal/
  std::shared_ptr<os::File> file;
  std::uint64_t capacity = 0;  // bytes
};

struct JournalEntry {
  RecordType type = RecordType::kClock;
  std::string fields;
  std::shared_ptr<const std::string> body;  // null: none
  bool urgent = false;
  bool may_refuse = false;  // a message that comes in: it can be sent away, what became of one cannot
};

// Where a life of the journal begins.
struct JournalStart {
  base::Epoch epoch;
  std::uint64_t segment = 1;  // number of the first new segment
  base::SequenceNumber first{1};
  SegmentEnd predecessor;
  std::uint64_t oldest_needed = 1;
};

struct OpenedSegment {
  std::uint64_t number = 0;
  SegmentFile file;
  std::uint64_t oldest_needed = 0;  // as its header says, durably
};

// What happened since the last collect().
struct Progress {
  std::vector<Place> placed;           // of further entries, in order; in segment 0: refused
  std::vector<OpenedSegment> opened;   // in order
  std::vector<std::uint32_t> flushes;  // microseconds that each took
  std::uint64_t written = 0;           // how many entries are, in all, refused ones among them
  std::uint64_t flushed = 0;
  std::optional<os::Error> error;
};

class Journal {
 public:
  // `progressed` runs in the flusher thread. Without a thread, entries wait for pump().
  Journal(const JournalStart& start, bool threaded,
          std::move_only_function<void() noexcept> progressed);
  // Writes and flushes what was appended.
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Gathers an entry; kick() hands over what was gathered.
  void append(JournalEntry entry);
  void kick();
  // A file full of zeros, or one whose segment no header needs any more.
  void give(SegmentFile spare);
  struct Spares {
    std::size_t whole = 0;  // of the full size
    std::size_t all = 0;
    std::uint64_t bytes = 0;
    bool awaited = false;  // an entry waits for one, whether or not it may be refused
  };
  [[nodiscard]] Spares spares();
  // The capacity that the spare must have without which an entry that cannot be refused waits; 0: none
  // does.
  [[nodiscard]] std::uint64_t wanted();
  // What entries that may be refused leave alone.
  struct Room {
    std::uint64_t whole_size = 0;  // capacity of a segment of full size
    std::size_t reserve = 0;       // that many spares of full size
    bool is_short = false;         // no further one can be made now, so nobody waits for it
  };
  void set_room(const Room& room);
  // Begins a new segment if a spare is there, so that a header names what is needed now.
  void rotate();
  // Segments below this number hold nothing that lives and is not flushed elsewhere.
  void set_oldest_needed(std::uint64_t number);
  [[nodiscard]] Progress collect();
  [[nodiscard]] std::uint64_t appended() const { return appended_; }
  // Without a thread: writes all that was handed over, and flushes it, or only what is urgent; false if
  // there was nothing.
  bool pump(bool flush = true);
  // Waits until all that was appended is flushed; for the start, before anything is answered. Whenever
  // a further spare is wanted, `make` is to give() it; false: it cannot, and so what is left waits on.
  using Maker = std::move_only_function<os::Result<bool>(std::uint64_t capacity)>;
  [[nodiscard]] os::Result<bool> finish(Maker make);

  static constexpr std::chrono::milliseconds kCoalesce{10};
  static constexpr std::chrono::milliseconds kUnflushed{90};
  static constexpr std::chrono::milliseconds kBetweenFlushes{100};

 private:
  using Instant = std::chrono::steady_clock::time_point;
  struct Batch {
    std::vector<JournalEntry> entries;
    bool urgent = false;
    bool rotate = false;
    bool is_short = false;  // of room
  };

  void run();
  bool wait_for_work(std::unique_lock<std::mutex>& lock, Batch& batch);
  // When what is not urgent is flushed: at most 100 ms after it was written, at most ten times a second.
  [[nodiscard]] Instant flush_at() const;
  // The rest runs in the flusher thread (or in pump()), without the lock.
  void commit(Batch batch);
  os::Result<void> place(const JournalEntry& entry);
  os::Result<void> write_out();
  os::Result<void> flush();
  // False: the entry is refused.
  os::Result<bool> make_place(const JournalEntry& entry, std::uint64_t size);
  [[nodiscard]] bool must_refuse(const JournalEntry& entry);
  os::Result<void> rotate_now();
  // False: there is no spare for it.
  os::Result<bool> open_next(std::uint64_t size, bool may_refuse);
  std::optional<SegmentFile> take_spare(std::uint64_t size, bool may_refuse);
  [[nodiscard]] std::deque<SegmentFile>::iterator find_spare(std::uint64_t size, bool may_refuse);
  void publish(std::optional<os::Error> error);

  const JournalStart start_;
  std::move_only_function<void() noexcept> progressed_;

  // Of the loop.
  std::vector<JournalEntry> gathered_;
  std::uint64_t appended_ = 0;

  // Shared.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable published_;
  std::deque<JournalEntry> waiting_;
  bool urgent_ = false;
  Instant oldest_waiting_;
  std::deque<SegmentFile> spares_;
  std::uint64_t wanted_ = 0;
  bool awaited_ = false;
  Room room_;
  bool rotate_ = false;
  std::uint64_t oldest_needed_;
  Progress progress_;
  bool stopping_ = false;

  // Of the flusher.
  SegmentFile current_;
  SegmentEnd end_;      // of what is placed, with the current segment's number
  std::string buffer_;  // frames that are placed and not yet written
  std::uint64_t buffer_at_ = 0;
  base::SequenceNumber flushed_sequence_;
  base::SequenceNumber next_sequence_;  // each entry has one, refused ones too
  std::uint32_t skipped_ = 0;           // refused since the last record
  Progress news_;
  bool is_short_ = false;  // of room, when the batch began
  bool unflushed_ = false;
  Instant unflushed_since_;
  Instant flush_begun_;  // the last one
  bool failed_ = false;
  bool threaded_;
  std::thread thread_;
};

}  // namespace postern::queued
