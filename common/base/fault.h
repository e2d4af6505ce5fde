// Planted faults: mistakes that a build with -Dfaults=true can be told to make, so that a test can
// show that it would find them. In any other build planted() is constant and costs nothing.
#pragma once

#include <cstdint>

namespace postern::fault {

enum class Fault : std::uint8_t {
  kNone,
  kAckBeforeFlush,       // the journal tells of a flush before it
  kNoDirectoryFlush,     // a large body's name is not flushed
  kIndexNoSync,          // LMDB does not flush
  kOutcomeAckedEarly,    // an outcome is confirmed before it is in the journal
  kCheckpointAhead,      // a checkpoint holds what is not flushed
  kSegmentReusedEarly,   // a segment is given back before a header says so
  kOldEpochAccepted,     // a record of an earlier life counts
  kRecordInBodyCounted,  // a record that stands in a body counts when its place is damaged
  kLargeUnlinkedEarly,   // a large body goes before the record that ended it is flushed
  kRefusedUnasked,       // smtpd says 4yz without queued's word
  kBlocksNameUnflushed,  // a new control.json's name is not flushed
  kIndexNameUnflushed,   // a new index's name is not flushed
  kMailNameUnflushed,    // a mail's name in a Maildir is not flushed
  kBadmailUnflushed,     // what goes into badmail is not flushed
  kCopyChanged,          // a body that is copied forward is not the same afterwards
};
inline constexpr Fault kLastFault = Fault::kCopyChanged;

#ifdef POSTERN_FAULTS
inline Fault g_planted = Fault::kNone;  // before any thread begins
[[nodiscard]] inline bool planted(Fault fault) noexcept {
  return g_planted == fault;
}
#else
[[nodiscard]] constexpr bool planted(Fault) noexcept {
  return false;
}
#endif

}  // namespace postern::fault
