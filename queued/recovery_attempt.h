// RecoveryAttempt: keeps a start that cannot succeed from being tried in the same way for ever.
// While the store starts, the file `recovering` in the spool names what is being read at the
// moment. It goes when the start is complete; one that is found says that the start before it
// failed: by an error, a crash or a kill. Starts after a failed one name each record; after three
// failed ones, what two of them named last is left out by its reader, which sets it aside and says
// so.
//
// Owned by the store, used by one thread at a time. It never fails itself: what cannot be noted, on
// a disk that is full or read-only, is not counted. Reads and writes only its own file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/os/disk.h"

namespace postern::queued {

class RecoveryAttempt {
 public:
  // Failed starts after which something is left out.
  static constexpr std::uint32_t kPatience = 3;

  // Reads what the last attempt left, and begins the next one; `disk` outlives this.
  explicit RecoveryAttempt(os::Disk& disk);
  RecoveryAttempt(const RecoveryAttempt&) = delete;
  RecoveryAttempt& operator=(const RecoveryAttempt&) = delete;

  // How many starts in a row have failed before this one.
  [[nodiscard]] std::uint32_t failed() const { return failed_; }
  // What those read last; for people.
  [[nodiscard]] const std::string& culprit() const { return last_; }
  // Is what the disk refuses to read to be taken for damage now? It may be a matter of a moment, so
  // not at first.
  [[nodiscard]] bool tolerant() const { return failed_ + 1 >= kPatience; }

  // From now on `file` is being read.
  void stage(std::string_view file);
  // From now on this record of `file` is. Costs nothing in a start that follows a complete one.
  void stage(std::string_view file, std::uint64_t record);
  // From now on `file` is, from this place on, while mail goes in and out already: a start that ends now may
  // well have ended for another reason. So it counts only if two of them end at one and the same place.
  void stage_beside_mail(std::string_view file, std::uint64_t place);
  // Is it to be left out?
  [[nodiscard]] bool skips(std::string_view file) const;
  [[nodiscard]] bool skips(std::string_view file, std::uint64_t record) const;

  // The start is complete; may be called in the store thread.
  void complete();
  // It is given up before that, in an orderly way, and has not failed: the next one finds what this one did.
  void withdraw();

 private:
  void read();
  void judge();
  void note(std::string name);
  [[nodiscard]] std::string text() const;

  os::Disk& disk_;
  std::unique_ptr<os::File> file_;  // null: nothing can be noted
  std::uint32_t failed_ = 0;
  std::string last_;    // what the failed start before this one read
  std::string before_;  // and the one before that
  std::string now_;
  std::vector<std::string> skipped_;
};

}  // namespace postern::queued
