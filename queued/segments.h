// Segments: the loop's side of the journal's files. Which segments hold what lives, when the oldest may
// go, and that a spare one is always ready. Files are made and moved in the store thread.
//
// Segments are given back strictly oldest first, for an outcome always stands behind its message, so a
// dropped prefix is always safe. A segment that is given back is reused only after a later header said
// on disk that it is not needed; so recovery always finds the needed ones without a gap.
#pragma once

#include <deque>
#include <functional>
#include <string>

#include "queued/recovery.h"
#include "queued/worker.h"

namespace postern::queued {

class Segments {
 public:
  Segments(os::Disk& disk, Worker& worker, std::uint64_t segment_size);

  // What recovery found. `fatal` hears of a failure that is not a full disk.
  void begin(Recovered& recovered, Journal& journal,
             std::move_only_function<void(const std::string&) noexcept> fatal);
  // Makes the first spare at once, before anything runs; for the start.
  os::Result<void> make_first();

  void opened(const OpenedSegment& segment);
  // Entries up to `flushed` are on disk: released segments may be named as free.
  void advance(std::uint64_t flushed);

  // The oldest segment that is not released and not the newest; 0: none.
  [[nodiscard]] std::uint64_t oldest() const;
  // It holds nothing any more, once `appended` entries are flushed.
  void release(std::uint64_t number, std::uint64_t appended);
  // More segments than what lives justifies, or damage to leave behind?
  [[nodiscard]] bool wants_compaction(std::uint64_t live_bytes);
  [[nodiscard]] std::shared_ptr<os::File> file(std::uint64_t number) const;
  [[nodiscard]] std::uint64_t bytes() const;
  [[nodiscard]] bool starved() const { return starved_; }
  // Once a second, and after each opening: makes spares.
  void refill();

 private:
  struct Segment {
    ChainSegment is;
    bool released = false;
    std::uint64_t release_at = 0;  // entries that must be flushed first
  };
  void recycle(Segment segment);
  void set_aside(const SegmentFile& file, std::uint64_t number);
  os::Result<SegmentFile> make(const std::string& name);
  std::string new_name();

  os::Disk& disk_;
  Worker& worker_;
  std::uint64_t segment_size_;
  Journal* journal_ = nullptr;
  std::move_only_function<void(const std::string&) noexcept> fatal_;
  std::deque<Segment> chain_;
  std::uint64_t damaged_below_ = 0;
  // A pass copies what lives in all segments up to this one; 0: none is under way.
  std::uint64_t pass_end_ = 0;
  std::uint64_t held_after_pass_ = 0;  // segments
  std::uint64_t live_after_pass_ = 0;  // bytes
  std::uint64_t next_name_ = 1;
  bool making_ = false;
  bool starved_ = false;
  bool failed_ = false;
};

}  // namespace postern::queued
