// FreshSegment: a segment's file while it is made. All its blocks are written once, so that a later
// overwrite changes no metadata. Written at once, 64 MiB would hold up the journal's flushes for as long as
// the disk takes; so it can be made in pieces too, each of which is on disk before the next.
//
// It has its name when it is whole; until then the next start removes it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/os/disk.h"
#include "queued/journal.h"

namespace postern::queued {

class FreshSegment {
 public:
  // Bytes that are written at once: a 64th of `size`, but no less than 64 KiB and no more than 1 MiB.
  [[nodiscard]] static std::uint64_t piece_of(std::uint64_t size);
  // `name` in journal/; `size` in bytes.
  FreshSegment(os::Disk& disk, std::string name, std::uint64_t size);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::uint64_t written() const { return written_; }  // bytes

  // The next piece, on disk when this returns; after the last one, the file. After a failure nothing is
  // left of it.
  [[nodiscard]] os::Result<std::optional<SegmentFile>> write_piece();
  // All that is missing.
  [[nodiscard]] os::Result<SegmentFile> finish();
  // Gives it up.
  void remove();

 private:
  [[nodiscard]] bool whole() const { return written_ == size_; }
  os::Result<void> write_some();
  os::Result<void> publish();

  os::Disk& disk_;
  std::string name_;
  std::string path_;  // as it is called now
  std::uint64_t size_;
  std::uint64_t written_ = 0;
  std::shared_ptr<os::File> file_;
};

}  // namespace postern::queued
