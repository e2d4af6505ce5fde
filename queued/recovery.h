// Recovery: reads the journal of an earlier life and rebuilds the state in memory. Reports damage,
// never repairs it by guessing: what can be read lives on, what cannot is named.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/os/disk.h"
#include "queued/journal.h"
#include "queued/messages.h"
#include "queued/recovery_attempt.h"

namespace postern::queued {

inline constexpr base::Millis kAskedFor{60'000};  // after the final dot, by smtpd, for its token

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
  // What may not be on disk although it can be read: an earlier life ended before it knew that the flush
  // had worked. It is to be written again before anything is answered.
  struct Unsure {
    std::set<base::MessageId> messages;  // those that live are to be copied
    std::vector<std::pair<RecordType, std::string>> records;  // types and fields, to be repeated
  } unsure;
  // Replay needed records that are gone: the index is too old, and nothing was read.
  bool index_too_old = false;
  std::uint64_t damaged_below = 0;        // segments below this number are to be left behind
  std::vector<std::pair<base::Token, base::MessageId>> tokens;  // of all acceptances that were read
  std::uint64_t asked_from = 0;  // older segments hold none that is asked for still
  ClockReading clock;                     // the last one
  base::MessageId last_id;
  bool used = false;  // there was a journal
};

struct RecoveryOptions {
  std::uint64_t segment_size = 0;
  base::Epoch epoch;                // of the life that begins
  std::optional<IndexMark> mark;    // of the index; nullopt: everything is replayed
  // Called now and then with the last record that was applied, so that a long replay can save what it
  // has; an error ends it.
  std::function<os::Result<void>(base::SequenceNumber)> pause;
};

// Reads journal/ below `disk` (made if missing) and applies its records to `messages`. An error means
// that the journal cannot be read at all, or that a newer version wrote it. `attempt` is told what is
// being read, and says what to leave out.
[[nodiscard]] os::Result<Recovered> recover(os::Disk& disk, const RecoveryOptions& options,
                                            Messages& messages, RecoveryAttempt& attempt);

}  // namespace postern::queued
