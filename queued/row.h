// What the index keeps of a message and of a waiting queue. A message's prefix and body stand in the
// journal at its place; everything else is in its row. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "queued/message.h"

namespace postern::queued {

// What is in the index begins with the version that it has (record.h).

// What a checkpoint says of itself.
struct IndexMark {
  std::uint16_t version = kFormatVersion;
  base::Epoch epoch;              // of the life that wrote it
  base::SequenceNumber sequence;  // all records up to this one are in the rows
  std::uint64_t segment = 0;      // the newest one
  base::MessageId last_id;
  ClockRecord clock;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("version", &IndexMark::version),
                      ipc::field("epoch", &IndexMark::epoch),
                      ipc::field("sequence", &IndexMark::sequence),
                      ipc::field("segment", &IndexMark::segment),
                      ipc::field("last_id", &IndexMark::last_id),
                      ipc::field("clock", &IndexMark::clock));
  }
};

struct WaitRow {
  std::uint16_t version = kFormatVersion;
  QueueRecord record;
  std::uint64_t segment = 0;  // that the record stands in
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("version", &WaitRow::version),
                      ipc::field("record", &WaitRow::record),
                      ipc::field("segment", &WaitRow::segment));
  }
};

[[nodiscard]] inline std::uint16_t kept_version(std::string_view bytes) {
  return base::Reader(bytes).integer<std::uint16_t>();
}
// A mark or a row; nullopt: it makes no sense, or is of a version that is not read.
template <class T>
[[nodiscard]] std::optional<T> decode_kept(std::string_view bytes) {
  const auto version = kept_version(bytes);
  if (version < kOldestVersion || version > kFormatVersion) return std::nullopt;
  return ipc::decode<T>(bytes, version);
}

// Big-endian, so that the index keeps messages in the order of acceptance.
[[nodiscard]] std::string message_key(base::MessageId id);
[[nodiscard]] std::optional<base::MessageId> parse_message_key(std::string_view key);

[[nodiscard]] std::string encode_row(const Message& message);
// The message as it was saved, without prefix and body; nullopt: the row makes no sense.
[[nodiscard]] std::optional<Message> decode_row(base::MessageId id, std::string_view row);

}  // namespace postern::queued
