// A disk that can be read and never changed: what would change it fails with EROFS. For looking at a
// damaged spool with the code that would otherwise repair it.
#pragma once

#include <memory>

#include "common/os/disk.h"

namespace postern::queued {

// `disk` outlives it. A directory that is to be made and is there is no error.
[[nodiscard]] std::unique_ptr<os::Disk> read_only(os::Disk& disk);

}  // namespace postern::queued
