#include "queued/segments.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "common/base/fault.h"
#include "common/base/text.h"
#include "queued/journal_files.h"

namespace postern::queued {
namespace {

constexpr std::size_t kFewest = 4;       // segments below which nothing is compacted
constexpr std::size_t kFewestKept = 2;   // spares that are the reserve
constexpr std::size_t kAhead = 1;        // spares beside them that are ready ahead of need
constexpr std::size_t kMostAhead = 2;    // more are removed
constexpr std::size_t kIdle = 2;         // segments that wait for a header before it is written early
constexpr std::uint64_t kSmallest = 16 * 1024;
constexpr std::size_t kLastPieces = 4;   // of the reserve, that no segment is made of
constexpr std::uint64_t kFaster = 2;     // times as fast as a segment fills, the next one is made

}  // namespace

Segments::Segments(os::Disk& disk, Worker& worker, Reserve& reserve, std::uint64_t segment_size,
                   std::uint64_t configured)
    : disk_(disk),
      worker_(worker),
      reserve_(reserve),
      segment_size_(segment_size),
      kept_(std::max<std::size_t>(configured / segment_size, kFewestKept)) {}

void Segments::begin(Recovered& recovered, Journal& journal,
                     std::move_only_function<void(const std::string&) noexcept> fatal) {
  journal_ = &journal;
  fatal_ = std::move(fatal);
  damaged_below_ = recovered.damaged_below;
  const auto note_name = [this](const std::string& name) {
    if (const auto number = base::parse_number(name))
      next_name_ = std::max(next_name_, *number + 1);
  };
  for (auto& segment : recovered.chain) {
    note_name(segment.file.name);
    chain_.push_back({std::move(segment)});
  }
  for (const auto& file : recovered.set_aside) {
    note_name(file.name);
    set_aside(file, 0);
  }
  for (auto& spare : recovered.spares) {
    note_name(spare.name);
    journal_->give(std::move(spare));
  }
  journal_->set_room({segment_size_, kept_, false});
}

os::Result<void> Segments::make_first() {
  if (journal_->spares().whole > kept_) return {};
  auto file = FreshSegment(disk_, new_name(), segment_size_).finish();
  if (!file && !is_exhausted(file.error())) return std::unexpected(file.error());
  made(std::move(file));
  // A full disk: each start costs a small one only, lest a few starts use up the reserve.
  if (short_)
    if (auto small = make_small(new_name(), 0)) journal_->give(*std::move(small));
  return {};
}

os::Result<bool> Segments::make_further(std::uint64_t capacity) {
  const auto size = std::max(segment_size_, round_up(capacity));
  auto file = FreshSegment(disk_, new_name(), size).finish();
  if (!file && !is_exhausted(file.error())) return std::unexpected(file.error());
  const bool made_whole = file.has_value();
  made(std::move(file));
  if (made_whole) return true;
  auto small = make_small(new_name(), capacity);
  if (small) journal_->give(*std::move(small));
  return small.has_value();
}

void Segments::opened(const OpenedSegment& segment) {
  chain_.push_back({{segment.number, segment.file, false}});
  filled_ = 0;
  // This header is on disk, so nobody looks for what is older than it says.
  while (!chain_.empty() && chain_.front().is.number < segment.oldest_needed) {
    recycle(std::move(chain_.front()));
    chain_.pop_front();
  }
  refill();
}

void Segments::advance(std::uint64_t flushed) {
  for (const auto& segment : chain_) {
    needed_ = segment.is.number;
    if (!segment.released || segment.release_at > flushed || needed_ >= asked_from_) break;
  }
  if (needed_ != 0) journal_->set_oldest_needed(needed_);
}

void Segments::rotate() {
  const auto idle = std::count_if(chain_.begin(), chain_.end(),
                                  [this](const Segment& s) { return s.is.number < needed_; });
  if (static_cast<std::size_t>(idle) >= kIdle) journal_->rotate();
}

std::uint64_t Segments::oldest() const {
  for (std::size_t i = 0; i + 1 < chain_.size(); ++i)
    if (!chain_[i].released) return chain_[i].is.number;
  return 0;
}

void Segments::release(std::uint64_t number, std::uint64_t appended) {
  for (auto& segment : chain_) {
    if (segment.is.number != number) continue;
    segment.released = true;
    segment.release_at = appended;
  }
  if (fault::planted(fault::Fault::kSegmentReusedEarly) && chain_.front().released) {
    recycle(std::move(chain_.front()));
    chain_.pop_front();
  }
}

bool Segments::wants_compaction(std::uint64_t live_bytes) {
  const auto number = oldest();
  if (number == 0) return false;
  const auto spares = journal_->spares();
  if (short_ && spares.all < 2) return false;  // the last one is for outcomes
  if (number < damaged_below_) return true;
  const auto held = static_cast<std::uint64_t>(
      std::count_if(chain_.begin(), chain_.end(), [](const Segment& s) { return !s.released; }));
  const bool large = held > (short_ ? 1 : kFewest) && held * segment_size_ > 2 * live_bytes;
  if (pass_end_ != 0 && (!large || number > pass_end_)) {
    pass_end_ = 0;
    held_after_pass_ = held;
    live_after_pass_ = live_bytes;
  }
  // What a pass could not make smaller, the next one could not either: it waits until much has changed.
  const bool changed = 2 * held >= 3 * held_after_pass_ || 2 * live_bytes <= live_after_pass_;
  const bool fits = !short_ || 2 * live_bytes <= spares.bytes;
  if (pass_end_ == 0 && large && changed && fits) pass_end_ = chain_.back().is.number;
  return pass_end_ != 0;
}

std::shared_ptr<os::File> Segments::file(std::uint64_t number) const {
  for (const auto& segment : chain_)
    if (segment.is.number == number) return segment.is.file.file;
  return nullptr;
}

void Segments::keep(std::uint64_t number) {
  for (auto& segment : chain_)
    if (segment.is.number == number) segment.is.damaged = true;
}

std::uint64_t Segments::bytes() const {
  std::uint64_t sum = journal_->spares().bytes + (fresh_ ? fresh_->written() : 0);
  for (const auto& segment : chain_) sum += segment.is.file.capacity;
  return sum;
}

bool Segments::starved() const { return short_ && journal_->spares().whole <= kept_; }

void Segments::recycle(Segment segment) {
  if (segment.is.damaged) return set_aside(segment.is.file, segment.is.number);
  // A reader may still hold the file open; it checks what it reads, and asks anew if it was reused.
  if (segment.is.file.capacity == segment_size_ &&
      journal_->spares().whole + marking_ < kept_ + kMostAhead) {
    ++marking_;
    return worker_.post([this, file = std::move(segment.is.file)]() mutable noexcept -> event::Callback {
      (void)file.file->write_at(0, spare_block());  // whoever uses it writes there too, and sees a failure
      return [this, file = std::move(file)]() mutable noexcept {
        --marking_;
        journal_->give(std::move(file));
      };
    });
  }
  worker_.post([this, name = segment.is.file.name]() noexcept -> event::Callback {
    (void)disk_.unlink(journal_path(name));  // a file that stays is found as a spare at the next start
    return {};
  });
}

void Segments::set_aside(const SegmentFile& file, std::uint64_t number) {
  worker_.post([this, name = file.name, number]() noexcept -> event::Callback {
    (void)disk_.make_directory("damaged");
    // Where this fails, the file is found and reported again at the next start.
    (void)disk_.rename(journal_path(name), fmt::format("damaged/{}.damaged-{}", name, number));
    (void)disk_.flush_directory("damaged");
    (void)disk_.flush_directory("journal");
    return {};
  });
}

void Segments::placed(const Place& last) {
  if (chain_.empty() || chain_.back().is.number != last.segment) return;
  filled_ = last.offset + last.size;
  if (fresh_) refill();
}

void Segments::refill() {
  if (making_ || failed_) return;
  // What came when segments were larger may fit into none of today's size.
  const auto wanted = journal_->wanted();
  const auto spares = journal_->spares();
  const auto ready = spares.whole + marking_;
  if (wanted <= segment_size_ && ready >= kept_ + kAhead) return set_short(false);
  if (wanted > segment_size_)
    return make(std::make_unique<FreshSegment>(disk_, new_name(), round_up(wanted)), true, wanted);
  if (!fresh_) fresh_ = std::make_unique<FreshSegment>(disk_, new_name(), segment_size_);
  const bool at_once = short_ || spares.awaited || wanted != 0 || ready < kept_ || fills_soon();
  if (!at_once && fresh_->written() > kFaster * filled_) return;
  make(std::move(fresh_), at_once, wanted);
}

// Then there is no more time to make the next one in pieces; nor beside a small one, which the next message
// may not fit.
bool Segments::fills_soon() const {
  if (chain_.empty()) return true;
  const auto capacity = chain_.back().is.file.capacity;
  return capacity < segment_size_ || filled_ >= capacity / 4 * 3;
}

// One piece, or all that is missing. What lies there of another one makes room for a large one.
void Segments::make(std::unique_ptr<FreshSegment> fresh, bool at_once, std::uint64_t wanted) {
  making_ = true;
  worker_.post([this, fresh = std::move(fresh), rest = std::move(fresh_), at_once, wanted,
                none = journal_->spares().all == 0 || wanted != 0]() mutable noexcept -> event::Callback {
    if (rest) rest->remove();
    os::Result<std::optional<SegmentFile>> file = at_once ? fresh->finish() : fresh->write_piece();
    os::Result<SegmentFile> small = os::failure("make a small segment", ENOSPC);
    if (!file && is_exhausted(file.error()) && none) small = make_small(fresh->name(), wanted);
    return [this, fresh = std::move(fresh), file = std::move(file),
            small = std::move(small)]() mutable noexcept {
      making_ = false;
      if (small) journal_->give(*std::move(small));
      if (!file)
        made(std::unexpected(file.error()));
      else if (*file)
        made(**std::move(file));
      else
        fresh_ = std::move(fresh);
      if (!short_) refill();
    };
  });
}

void Segments::made(os::Result<SegmentFile> file) {
  if (file) {
    journal_->give(*std::move(file));
    set_short(false);
  } else if (is_exhausted(file.error())) {
    set_short(true);  // tried again each second
  } else {
    failed_ = true;
    fatal_(file.error().text());
  }
}

void Segments::set_short(bool is_short) {
  if (std::exchange(short_, is_short) == is_short) return;
  journal_->set_room({segment_size_, kept_, is_short});
}

// The reserve is left as it is where it would not be enough.
os::Result<SegmentFile> Segments::make_small(const std::string& name, std::uint64_t capacity) {
  const auto least = std::min(segment_size_, std::max(kSmallest, reserve_.piece_size()));
  const auto size = std::max(least, round_up(capacity));
  const auto free = disk_.free_bytes();
  if (!free) return std::unexpected(free.error());
  if (size > *free + (Reserve::kPieces - kLastPieces) * reserve_.piece_size())
    return os::failure("make " + journal_path(name), ENOSPC);
  return reserve_.persist([&] { return FreshSegment(disk_, name, size).finish(); }, kLastPieces);
}

std::string Segments::new_name() { return fmt::format("{:06}", next_name_++); }

}  // namespace postern::queued
