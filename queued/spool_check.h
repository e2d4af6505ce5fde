// The check of a spool that stands still: what a start would find, and more, with nothing changed. It
// holds all messages of the queue in memory meanwhile, without their bodies.
#pragma once

#include <string>
#include <vector>

#include "common/os/disk.h"

namespace postern::queued {

struct SpoolReport {
  std::vector<std::string> findings;  // a sentence each
  std::string summary;                // what was looked at
};

// `directory`: where LMDB finds the same spool by a path.
[[nodiscard]] SpoolReport check_spool(os::Disk& disk, const std::string& directory);

// Refuses a spool in which a later version of Postern wrote something, before anything is touched: the
// error is EPROTO and names the file.
[[nodiscard]] os::Result<void> check_versions(os::Disk& disk);

}  // namespace postern::queued
