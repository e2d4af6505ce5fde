// Are what a message's record says and what is on disk the same? Reads, and changes nothing; for the
// check of a store that runs and of one that stands still alike.
#pragma once

#include <memory>
#include <string>

#include "common/os/disk.h"
#include "queued/message.h"
#include "queued/store.h"

namespace postern::queued {

// What must be known of a message, and where it stands.
struct BodyToCheck {
  base::MessageId id;
  Place place;
  std::uint32_t prefix_size = 0;
  std::uint64_t body_size = 0;
  std::uint32_t body_crc = 0;
  bool large = false;
  bool damaged = false;
  std::shared_ptr<os::File> segment;  // null: there is no such segment
  std::string file;                   // its name, for people; may be empty
};
[[nodiscard]] BodyToCheck body_to_check(const Message& message, std::shared_ptr<os::File> segment,
                                        std::string file);

// What is wrong, as a sentence; empty: nothing.
[[nodiscard]] std::string check_body(os::Disk& disk, const BodyToCheck& body);

// A piece of history/: the next slice of `place.file` (empty: the first one), which moves on;
// `place.part` is kDone behind the last one.
void check_history(os::Disk& disk, CheckPlace& place, CheckSlice& slice);
// control.json, if it is there.
void check_blocks(os::Disk& disk, CheckSlice& slice);

}  // namespace postern::queued
