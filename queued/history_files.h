// HistoryFiles: the history on disk, history/<day>-<number>.log below the spool, each with a version in
// its first line. Files are appended to, never flushed, and end with the day (UTC) or with a sixteenth of
// the size that all may have together; then the oldest go. What an earlier version left is read, and not
// gone on with. Used by one thread at a time.
//
// It holds nothing that anybody relies on: what cannot be written is an error to count, a line that was
// cut by a crash is passed over, files of a later version are left alone.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/os/disk.h"
#include "queued/history_line.h"

namespace postern::queued {

struct HistoryLimits {
  base::Millis keep{0};    // files that are older go
  std::uint64_t size = 0;  // bytes of all files; 0 for either: there is no history
  [[nodiscard]] bool wanted() const { return keep.count() > 0 && size > 0; }
};

// Where a reader stands: in this file or the next one behind it.
struct HistoryCursor {
  std::string file;
  std::uint64_t offset = 0;
  std::uint32_t recipients = 0;  // of the line there that were seen
};

class HistoryFiles {
 public:
  explicit HistoryFiles(os::Disk& disk) : disk_(disk) {}

  // Whole lines. An error: none of them counts as written.
  os::Result<void> append(std::string_view lines, base::WallTime now, const HistoryLimits& limits);
  // Removes what is too old or too much. Age is counted on a clock that does not jump: from the first call on
  // by `steady`, and a pause before it counts for a week at most.
  os::Result<void> trim(base::WallTime wall, base::SteadyTime steady, const HistoryLimits& limits);

  // Visits one recipient of a line; false: not this one, the reader wants no more now.
  using Visit = std::function<bool(const HistoryLine&, const HistoryRecipient&)>;
  // Reads at most a slice from `cursor` on, which moves; oldest lines first. Files of days before
  // `since` are passed over. False: there is no more.
  os::Result<bool> read(HistoryCursor& cursor, base::WallTime since, const Visit& visit);

  static constexpr std::size_t kSlice = 512 * 1024;  // bytes

 private:
  os::Result<void> begin();
  os::Result<void> open_current(base::WallTime now, std::uint64_t most);
  os::Result<void> open_existing(const std::string& name);
  os::Result<void> open_new(const std::string& name);
  [[nodiscard]] base::WallTime believed(base::WallTime wall, base::SteadyTime steady);
  bool read_lines(std::string_view bytes, std::uint32_t version, HistoryCursor& cursor, const Visit& visit);

  os::Disk& disk_;
  bool begun_ = false;
  std::map<std::string, std::uint64_t> files_;  // by name, so by time; sizes
  struct Reading {
    base::WallTime wall;
    base::SteadyTime steady;
  };
  std::optional<Reading> aged_from_;            // at the first trim
  std::string current_;                         // the name of `file_`
  std::unique_ptr<os::File> file_;              // null: none is open
};

}  // namespace postern::queued
