// Recovery: reads the journal of an earlier life and rebuilds the state in memory. Reports damage,
// never repairs it by guessing: what can be read lives on, what cannot is named.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "common/os/disk.h"
#include "queued/journal.h"
#include "queued/messages.h"
#include "queued/recovery_attempt.h"

namespace postern::queued {

struct ChainSegment {
  std::uint64_t number = 0;
  SegmentFile file;
  bool damaged = false;
};

struct Recovered {
  JournalStart start;
  std::vector<ChainSegment> chain;  // oldest first; these hold what lives
  std::vector<SegmentFile> spares;
  std::vector<SegmentFile> set_aside;     // damaged beyond reading
  std::vector<std::string> damage;        // a sentence each
  std::uint64_t damaged_below = 0;        // segments below this number are to be left behind
  std::vector<std::pair<base::Token, base::MessageId>> tokens;  // of all acceptances that were read
  ClockReading clock;                     // the last one
  base::MessageId last_id;
  bool used = false;  // there was a journal
};

// Reads journal/ below `disk` (made if missing), applies its records to `messages` and makes sure that
// they are on disk. `epoch`: of the life that begins. An error means that the journal cannot be read at
// all, or that a newer version wrote it. `attempt` is told what is being read, and says what to leave out.
[[nodiscard]] os::Result<Recovered> recover(os::Disk& disk, std::uint64_t segment_size,
                                            base::Epoch epoch, Messages& messages,
                                            RecoveryAttempt& attempt);

}  // namespace postern::queued
