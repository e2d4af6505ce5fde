// How much of a journal segment messages may need, so that whoever is let in has room in one record: a
// message with its body, as it stands after tries that failed, and the outcome that fails all its recipients
// at once, with the notice of it. The store refuses what does not fit; the configuration is refused where
// its limits would let that in. Upper bounds; queued/local_store.cc proves them.
#pragma once

#include <algorithm>
#include <cstdint>

namespace postern::config {

inline constexpr std::uint32_t kMostRecipients = 20'000;     // of one message, whatever the limits
inline constexpr std::uint64_t kMostInRecord = 256 * 1024;  // bytes of a body; larger ones are files

// The largest body that may stand in a record; 0: messages of any size.
[[nodiscard]] constexpr std::uint64_t inline_body(std::uint64_t message_size) {
  return message_size == 0 ? kMostInRecord : std::min(message_size, kMostInRecord);
}

inline constexpr std::uint64_t kRoomForBlock = 4096;             // the segment's header
inline constexpr std::uint64_t kRoomForMessage = 16 * 1024;      // envelope and prefix
inline constexpr std::uint64_t kRoomForRecipient = 4 * 1024;     // address, last reply, where from
inline constexpr std::uint64_t kRoomForNotice = 112 * 1024;      // and the original's header in it
inline constexpr std::uint64_t kRoomForFailure = 5 * 1024;       // a reply, and its part of the notice

// Bytes that a segment must have for messages with so many recipients and so large a body in it.
[[nodiscard]] constexpr std::uint64_t segment_needed(std::uint64_t recipients, std::uint64_t body) {
  return kRoomForBlock + std::max(kRoomForMessage + recipients * kRoomForRecipient + body,
                                  kRoomForNotice + recipients * kRoomForFailure);
}

// The most recipients that such a segment has room for.
[[nodiscard]] constexpr std::uint32_t most_recipients(std::uint64_t segment, std::uint64_t body) {
  if (segment < segment_needed(0, body)) return 0;
  const auto beside_body = (segment - kRoomForBlock - kRoomForMessage - body) / kRoomForRecipient;
  const auto failed = (segment - kRoomForBlock - kRoomForNotice) / kRoomForFailure;
  return static_cast<std::uint32_t>(
      std::min({beside_body, failed, std::uint64_t{kMostRecipients}}));
}

}  // namespace postern::config
