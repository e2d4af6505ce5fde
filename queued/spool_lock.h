// The spool's lock: two processes that write one spool would destroy it.
#pragma once

#include "common/base/unique_fd.h"
#include "common/os/error.h"

namespace postern::queued {

enum class LockMode : std::uint8_t {
  kMake,   // for those that write: the lock's file is made if missing
  kTouch,  // for those that only read: nothing is made; without the file nobody can hold it
};

// Takes the lock of the spool whose directory is `root`, for as long as the result lives; waits for it
// ten seconds. EBUSY, with who holds it, as far as /proc tells: before any sandbox. What kTouch gives
// may be no descriptor.
[[nodiscard]] os::Result<base::UniqueFd> lock_spool(int root, LockMode mode);

}  // namespace postern::queued
