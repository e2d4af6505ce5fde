// Segments: the loop's side of the journal's files. Which segments hold what lives, when the oldest may
// go, and that a spare one is always ready. Files are made and moved in the store thread.
//
// Segments are given back strictly oldest first, for an outcome always stands behind its message, so a
// dropped prefix is always safe. A segment that is given back is reused only after a later header said
// on disk that it is not needed; so recovery always finds the needed ones without a gap. Where several
// wait for that, a new segment is begun early. It is marked as a spare before it lies about: should that
// later header be damaged, nobody may read it, for what ended its messages may stand in one that is gone.
//
// Some spares are a reserve that acceptances may not open. When a disk is so full that none can be made
// and none is left, a small segment is made of what Reserve gives up, so that a start, outcomes, and with
// them the release of others, are possible.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "queued/fresh_segment.h"
#include "queued/recovery.h"
#include "queued/reserve.h"
#include "queued/worker.h"

namespace postern::queued {

class Segments {
 public:
  // `configured`: the whole reserve in bytes; at least two segments are kept.
  Segments(os::Disk& disk, Worker& worker, Reserve& reserve, std::uint64_t segment_size,
           std::uint64_t configured);

  // What recovery found. `fatal` hears of a failure that is not that something is used up.
  void begin(Recovered& recovered, Journal& journal,
             std::move_only_function<void(const std::string&) noexcept> fatal);
  // Makes the first spare at once, before anything runs; for the start. On a full disk a small one, or
  // none where there is no room at all: then the journal waits.
  os::Result<void> make_first();
  // A further spare at once, for what is written again at the start. False: there is no room for one.
  os::Result<bool> make_further(std::uint64_t capacity);

  void opened(const OpenedSegment& segment);
  // The newest segment is filled so far: the next one is made twice as fast, in pieces.
  void placed(const Place& last);
  // Entries up to `flushed` are on disk: released segments may be named as free.
  void advance(std::uint64_t flushed);

  // The oldest segment that is not released and not the newest; 0: none.
  [[nodiscard]] std::uint64_t oldest() const;
  // It holds nothing any more, once `appended` entries are flushed.
  void release(std::uint64_t number, std::uint64_t appended);
  // More segments than what lives justifies, or damage to leave behind?
  [[nodiscard]] bool wants_compaction(std::uint64_t live_bytes);
  [[nodiscard]] std::shared_ptr<os::File> file(std::uint64_t number) const;
  // Smtpds may still ask for what earlier lives wrote into segments from this number on: they are not
  // given back before forget_asked().
  void hold_asked(std::uint64_t from) { asked_from_ = from; }
  void forget_asked() { asked_from_ = kNone; }
  // Something in it cannot be read: it is set aside in its time, and not used again.
  void keep(std::uint64_t number);
  [[nodiscard]] std::uint64_t bytes() const;
  // No spare but the reserve is left, and none can be made: nothing can be accepted.
  [[nodiscard]] bool starved() const;
  // Once a second, and after each opening: makes spares.
  void refill();
  // Once a second: begins a segment early, so that those that hold nothing can be reused or removed.
  void rotate();

 private:
  struct Segment {
    ChainSegment is;
    bool released = false;
    std::uint64_t release_at = 0;  // entries that must be flushed first
  };
  void recycle(Segment segment);
  void set_aside(const SegmentFile& file, std::uint64_t number);
  [[nodiscard]] bool fills_soon() const;
  void make(std::unique_ptr<FreshSegment> fresh, bool at_once, std::uint64_t wanted);
  os::Result<SegmentFile> make_small(const std::string& name, std::uint64_t capacity);
  void made(os::Result<SegmentFile> file);
  void set_short(bool is_short);
  std::string new_name();

  os::Disk& disk_;
  Worker& worker_;
  Reserve& reserve_;
  const std::uint64_t segment_size_;
  const std::size_t kept_;  // spares that are the reserve
  Journal* journal_ = nullptr;
  std::move_only_function<void(const std::string&) noexcept> fatal_;
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};
  std::deque<Segment> chain_;
  std::uint64_t asked_from_ = kNone;
  std::uint64_t damaged_below_ = 0;
  // A pass copies what lives in all segments up to this one; 0: none is under way.
  std::uint64_t pass_end_ = 0;
  std::uint64_t held_after_pass_ = 0;  // segments
  std::uint64_t live_after_pass_ = 0;  // bytes
  std::uint64_t next_name_ = 1;
  std::uint64_t needed_ = 0;  // what the next header will name as the oldest needed
  std::size_t marking_ = 0;  // spares that are being marked
  std::uint64_t filled_ = 0;             // bytes of the newest segment
  std::unique_ptr<FreshSegment> fresh_;  // the next spare, in part; not while the store thread has it
  bool making_ = false;
  bool short_ = false;  // the last attempt to make a spare found no room
  bool failed_ = false;
};

}  // namespace postern::queued
