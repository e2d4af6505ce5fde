// A segment: one journal file, written once in full, then reused in place. Its first 4 KiB
// hold a header that is flushed before the first record; batches of records begin on 4 KiB boundaries.
// A file's name means nothing, its header everything. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/ipc/codec.h"
#include "queued/record.h"

namespace postern::queued {

inline constexpr std::uint64_t kBlock = 4096;

[[nodiscard]] constexpr std::uint64_t round_up(std::uint64_t offset) {
  return (offset + kBlock - 1) / kBlock * kBlock;
}

// Where a segment ended.
struct SegmentEnd {
  std::uint64_t number = 0;  // 0: there was none
  base::Epoch epoch;
  std::uint64_t length = 0;   // offset behind its last record
  base::SequenceNumber last;  // sequence number of its last record, or of the last one before it
  base::SequenceNumber flushed;  // up to this one its records are known to have been flushed
  std::uint64_t missing = 0;     // of these, how many were not there when it was replayed
  static constexpr auto fields() {
    return ipc::fields_of(
        ipc::field("number", &SegmentEnd::number), ipc::field("epoch", &SegmentEnd::epoch),
        ipc::field("length", &SegmentEnd::length), ipc::field("last", &SegmentEnd::last),
        ipc::field("flushed", &SegmentEnd::flushed),
        ipc::field("missing", &SegmentEnd::missing));
  }
};

struct SegmentHeader {
  std::uint32_t version = kFormatVersion;  // the newest that its records may have
  std::uint64_t number = 0;  // rising by one from segment to segment
  base::Epoch epoch;
  base::SequenceNumber first;
  SegmentEnd predecessor;
  std::uint64_t oldest_needed = 0;  // segments with lower numbers held nothing that lives
  std::uint64_t capacity = 0;       // bytes of the file; a shorter one was cut
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("version", &SegmentHeader::version),
                      ipc::field("number", &SegmentHeader::number),
                      ipc::field("epoch", &SegmentHeader::epoch),
                      ipc::field("first", &SegmentHeader::first),
                      ipc::field("predecessor", &SegmentHeader::predecessor),
                      ipc::field("oldest_needed", &SegmentHeader::oldest_needed),
                      ipc::field("capacity", &SegmentHeader::capacity));
  }
};

// The header as a whole block.
[[nodiscard]] std::string encode_header(const SegmentHeader& header);
// nullopt: damaged, never written, of a version that is not read, or no segment at all.
[[nodiscard]] std::optional<SegmentHeader> decode_header(std::string_view block);

// The first block of a file that was made and never used: without it, a segment whose header is gone
// would look like one.
[[nodiscard]] std::string spare_block();
[[nodiscard]] bool is_spare(std::string_view block);

// Whose version an undamaged header is; 0: it is damaged, or none. Of every version: the magic, the version
// behind it, and at the end of the first 512 bytes a checksum over them.
[[nodiscard]] std::uint32_t whole_version(std::string_view block);
// Whose version the block's header says it is; 0: no segment.
[[nodiscard]] std::uint32_t header_version(std::string_view block);

// What a replay of one segment found.
struct Replayed {
  SegmentEnd end;                // behind the last good record
  std::uint64_t records = 0;     // good ones
  std::uint64_t first_lost = 0;  // the lowest missing sequence number; 0: none
  bool damaged = false;          // what is missing had been flushed, so somebody may rely on it
  std::uint64_t unreadable = 0;  // whole frames whose fields made no sense to `visit`
};

// Visits the good records of a whole segment in order, also those behind a hole. `claim`: what the next
// segment's header says of this one, and the replay's bound; absent for the newest. A hole is damage if
// the claim did not know of it, or a later record was written after the hole's flush; otherwise it is
// the torn tail of a power cut, of which nobody was told; then a kState behind it is passed over, for it
// may speak of an outcome that is lost. `visit` returns false for fields that it cannot decode.
[[nodiscard]] Replayed replay_segment(
    std::string_view bytes, const SegmentHeader& header, const std::optional<SegmentEnd>& claim,
    const std::function<bool(const Frame&, const Place&)>& visit);

}  // namespace postern::queued
