#include "queued/segments.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/base/text.h"

namespace postern::queued {
namespace {

constexpr std::size_t kFewest = 4;       // segments below which nothing is compacted
constexpr std::size_t kSpares = 1;       // ready ahead of need
constexpr std::size_t kMostSpares = 2;   // more are removed
constexpr std::size_t kZeros = 1 << 20;  // bytes written at once while a file is made

std::string path(const std::string& name) { return "journal/" + name; }

bool is_full(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

}  // namespace

Segments::Segments(os::Disk& disk, Worker& worker, std::uint64_t segment_size)
    : disk_(disk), worker_(worker), segment_size_(segment_size) {}

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
}

os::Result<void> Segments::make_first() {
  if (journal_->spares() > 0) return {};
  auto made = make(new_name());
  if (!made) return std::unexpected(made.error());
  journal_->give(*std::move(made));
  return {};
}

void Segments::opened(const OpenedSegment& segment) {
  chain_.push_back({{segment.number, segment.file, false}});
  // This header is on disk, so nobody looks for what is older than it says.
  while (!chain_.empty() && chain_.front().is.number < segment.oldest_needed) {
    recycle(std::move(chain_.front()));
    chain_.pop_front();
  }
  refill();
}

void Segments::advance(std::uint64_t flushed) {
  std::uint64_t needed = 0;
  for (const auto& segment : chain_) {
    needed = segment.is.number;
    if (!segment.released || segment.release_at > flushed) break;
  }
  if (needed != 0) journal_->set_oldest_needed(needed);
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
}

bool Segments::wants_compaction(std::uint64_t live_bytes) {
  const auto number = oldest();
  if (number == 0) return false;
  if (number < damaged_below_) return true;
  const auto held = static_cast<std::uint64_t>(
      std::count_if(chain_.begin(), chain_.end(), [](const Segment& s) { return !s.released; }));
  const bool large = held > kFewest && held * segment_size_ > 2 * live_bytes;
  if (pass_end_ != 0 && (!large || number > pass_end_)) {
    pass_end_ = 0;
    held_after_pass_ = held;
    live_after_pass_ = live_bytes;
  }
  // What a pass could not make smaller, the next one could not either: it waits until much has changed.
  const bool changed = 2 * held >= 3 * held_after_pass_ || 2 * live_bytes <= live_after_pass_;
  if (pass_end_ == 0 && large && changed) pass_end_ = chain_.back().is.number;
  return pass_end_ != 0;
}

std::shared_ptr<os::File> Segments::file(std::uint64_t number) const {
  for (const auto& segment : chain_)
    if (segment.is.number == number) return segment.is.file.file;
  return nullptr;
}

std::uint64_t Segments::bytes() const {
  std::uint64_t sum = journal_->spares() * segment_size_;
  for (const auto& segment : chain_) sum += segment.is.file.capacity;
  return sum;
}

void Segments::recycle(Segment segment) {
  if (segment.is.damaged) return set_aside(segment.is.file, segment.is.number);
  // A reader may still hold the file open; it checks what it reads, and asks anew if it was reused.
  if (segment.is.file.capacity == segment_size_ && journal_->spares() < kMostSpares)
    return journal_->give(std::move(segment.is.file));
  worker_.post([this, name = segment.is.file.name]() noexcept -> event::Callback {
    (void)disk_.unlink(path(name));  // a file that stays is found as a spare at the next start
    return {};
  });
}

void Segments::set_aside(const SegmentFile& file, std::uint64_t number) {
  worker_.post([this, name = file.name, number]() noexcept -> event::Callback {
    (void)disk_.make_directory("damaged");
    // Where this fails, the file is found and reported again at the next start.
    (void)disk_.rename(path(name), fmt::format("damaged/{}.damaged-{}", name, number));
    (void)disk_.flush_directory("damaged");
    (void)disk_.flush_directory("journal");
    return {};
  });
}

void Segments::refill() {
  if (making_ || failed_ || journal_->spares() >= kSpares) return;
  making_ = true;
  worker_.post([this, name = new_name()]() noexcept -> event::Callback {
    auto made = make(name);
    return [this, made = std::move(made)]() mutable noexcept {
      making_ = false;
      if (made) {
        starved_ = false;
        journal_->give(*std::move(made));
        refill();
      } else if (is_full(made.error().number)) {
        starved_ = journal_->spares() == 0;  // tried again each second
      } else {
        failed_ = true;
        fatal_(made.error().text());
      }
    };
  });
}

// In the store thread. All blocks are written once, so that a later overwrite changes no metadata.
os::Result<SegmentFile> Segments::make(const std::string& name) {
  auto file = disk_.open(path(name), os::OpenMode::kCreateExclusive);
  if (!file) return std::unexpected(file.error());
  const std::string zeros(std::min<std::uint64_t>(kZeros, segment_size_), '\0');
  os::Result<void> done;
  for (std::uint64_t at = 0; at < segment_size_ && done; at += zeros.size())
    done = (*file)->write_at(
        at, std::string_view(zeros).substr(0, std::min<std::uint64_t>(zeros.size(), segment_size_ - at)));
  if (done) done = (*file)->flush();
  if (done) done = disk_.flush_directory("journal");
  if (!done) {
    (void)disk_.unlink(path(name));
    return std::unexpected(done.error());
  }
  return SegmentFile{name, std::move(*file), segment_size_};
}

std::string Segments::new_name() { return fmt::format("{:06}", next_name_++); }

}  // namespace postern::queued
