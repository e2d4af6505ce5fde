// JournalFiles: what lies in journal/: which file is which segment, by its header or, where that is
// damaged, by its records; which are spare, and which are neither and are to be set aside. Used by
// the recovery, before anything runs. Names damage, never repairs it by guessing, and writes
// nothing.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/os/disk.h"
#include "queued/journal.h"
#include "queued/recovery_attempt.h"

namespace postern::queued {

[[nodiscard]] std::string journal_path(const std::string& name);

// Ends the name of a file while it is made: what a power cut leaves of one may hold anything, and nothing of ours.
inline constexpr std::string_view kUnfinished = ".new";

struct FoundSegment {
  SegmentFile file;
  SegmentHeader header;
};

class JournalFiles {
 public:
  // Both outlive this. `known`: the epoch of a life that wrote to the index; 0: there is none.
  JournalFiles(os::Disk& disk, RecoveryAttempt& attempt, base::Epoch known);

  // Looks at all files of journal/ (made if missing). An error means that they cannot be read at
  // all, or that a newer version wrote them.
  os::Result<void> find();

  // From the oldest segment that is needed to the newest one; gaps are damage, and named.
  [[nodiscard]] const std::map<std::uint64_t, FoundSegment>& chain() const { return chain_; }
  [[nodiscard]] bool used() const { return used_; }  // there was a journal
  // A segment's first bytes. What the disk refuses again and again is taken for zeros, which are damage.
  os::Result<std::string> read(const FoundSegment& segment, std::uint64_t most);
  // Files that hold nothing needed; nothing is spare that may be what damage left.
  std::vector<SegmentFile> take_spares() { return std::move(spares_); }
  std::vector<SegmentFile> take_set_aside() { return std::move(set_aside_); }

  // A sentence each, and the segments that are to be left behind.
  void add_damage(std::string sentence, std::uint64_t segment = 0);
  [[nodiscard]] const std::vector<std::string>& damage() const { return damage_; }
  [[nodiscard]] const std::set<std::uint64_t>& damaged() const { return damaged_; }

 private:
  struct File {
    SegmentFile file;
    std::string block;  // the first one
  };
  os::Result<File> look_into(const std::string& name);
  os::Result<std::string> read_bytes(const SegmentFile& file, std::uint64_t size);
  void sort(File file);
  void settle_twins();
  // How much speaks for one of two files that name the same segment: first its successor, then what it
  // holds.
  struct Worth {
    bool vouched = false;
    std::uint64_t records = 0;
    auto operator<=>(const Worth&) const = default;
  };
  [[nodiscard]] Worth worth(const FoundSegment& segment);
  void doubt_headers();
  [[nodiscard]] bool vouched(const FoundSegment& segment);
  os::Result<void> order();
  bool rescue(std::uint64_t number, std::uint64_t longest);
  std::optional<SegmentHeader> header_by_records(const File& file, std::uint64_t number,
                                                 std::uint64_t longest);
  std::string read_some(const File& file, std::uint64_t offset, std::uint64_t size);
  void sort_out_rest();
  [[nodiscard]] bool spare(const File& file);
  void set_aside(SegmentFile file, const std::string& why);

  os::Disk& disk_;
  RecoveryAttempt& attempt_;
  const base::Epoch known_;
  std::map<std::uint64_t, FoundSegment> chain_;
  std::vector<FoundSegment> twins_;  // of segments in the chain
  std::vector<File> nameless_;
  std::optional<os::Error> trouble_;  // the last read that failed
  bool used_ = false;
  std::vector<SegmentFile> spares_;
  std::vector<SegmentFile> set_aside_;
  std::vector<std::string> damage_;
  std::set<std::uint64_t> damaged_;
};

}  // namespace postern::queued
