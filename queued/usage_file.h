// UsageFile: keeps Usage in the file `accounts` of the spool, so that a restart is no way to send more. It is
// replaced whole, at most once a second and in the store's thread; what a process that dies does not get to write
// is forgotten, which is its last second.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/os/disk.h"
#include "queued/usage.h"
#include "queued/worker.h"

namespace postern::queued {

inline constexpr std::string_view kUsageFile = "accounts";

class UsageFile {
 public:
  using Now = std::function<QueueTime()>;

  // All of them outlive this.
  UsageFile(Worker& worker, os::Disk& disk, Usage& usage, Now now)
      : worker_(worker), disk_(disk), usage_(usage), now_(std::move(now)) {}
  ~UsageFile() { *alive_ = false; }
  UsageFile(const UsageFile&) = delete;
  UsageFile& operator=(const UsageFile&) = delete;

  // At the start. What cannot be read is told in the log, and counting begins anew.
  void load();
  // Once a second: writes what has changed.
  void tick();
  // Runs when all that was counted is written.
  void settle(event::Callback done);

 private:
  static constexpr std::size_t kLarge = 1U << 20;  // such a text is written every ten seconds
  static constexpr int kRest = 10;

  void write();
  [[nodiscard]] os::Result<void> replace(const std::string& text) const;

  Worker& worker_;
  os::Disk& disk_;
  Usage& usage_;
  Now now_;
  bool writing_ = false;
  int rest_ = 0;  // seconds
  bool failing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::queued
