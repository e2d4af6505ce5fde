#include "queued/fresh_segment.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "queued/journal_files.h"

namespace postern::queued {
namespace {

constexpr std::uint64_t kPieces = 64;  // of a segment
constexpr std::uint64_t kSmallestPiece = 64 << 10, kLargestPiece = 1 << 20;

}  // namespace

std::uint64_t FreshSegment::piece_of(std::uint64_t size) {
  return round_up(std::clamp(size / kPieces, kSmallestPiece, kLargestPiece));
}

FreshSegment::FreshSegment(os::Disk& disk, std::string name, std::uint64_t size)
    : disk_(disk),
      name_(std::move(name)),
      path_(journal_path(name_).append(kUnfinished)),
      size_(size) {}

os::Result<std::optional<SegmentFile>> FreshSegment::write_piece() {
  auto done = write_some();
  if (done && whole()) return finish();
  if (done) done = file_->flush_data();
  if (done) return std::nullopt;
  remove();
  return std::unexpected(done.error());
}

os::Result<SegmentFile> FreshSegment::finish() {
  os::Result<void> done;
  while (done && !whole()) done = write_some();
  if (done) done = publish();
  if (!done) {
    remove();
    return std::unexpected(done.error());
  }
  return SegmentFile{name_, std::move(file_), size_};
}

os::Result<void> FreshSegment::write_some() {
  // An attempt that must fail would take the last room from others for a while.
  const auto free = disk_.free_bytes();
  if (!free) return std::unexpected(free.error());
  if (*free < size_ - written_) return os::failure("make " + journal_path(name_), ENOSPC);
  if (!file_) {
    auto opened = disk_.open(path_, os::OpenMode::kCreateExclusive);
    if (!opened) return std::unexpected(opened.error());
    file_ = *std::move(opened);
  }
  std::string bytes = written_ == 0 ? spare_block() : std::string();
  bytes.resize(std::min(piece_of(size_), size_ - written_), '\0');
  if (auto done = file_->write_at(written_, bytes); !done) return done;
  written_ += bytes.size();
  return {};
}

os::Result<void> FreshSegment::publish() {
  auto done = file_->flush();
  if (done) done = disk_.rename(path_, journal_path(name_));
  if (!done) return done;
  path_ = journal_path(name_);
  return disk_.flush_directory("journal");
}

void FreshSegment::remove() {
  if (file_) (void)disk_.unlink(path_);
  file_ = nullptr;
}

}  // namespace postern::queued
