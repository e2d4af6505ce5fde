// Turns: the order of a queue's messages, fair to their senders (start-time fair queueing: Goyal, Vin and
// Cheng, 1996). A message that becomes ready gets the rank at which its turn comes; the least goes first.
// Whoever has little waiting comes soon, however much others have; the messages of one sender keep their
// order. Few messages simply stand in line. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

namespace postern::queued {

class Turns {
 public:
  static constexpr std::size_t kSenders = 64;    // told apart, by a hash of who they are
  static constexpr std::uint32_t kCrowd = 32;    // messages that are few

  // The rank of one more message, while `waiting` others are ready.
  [[nodiscard]] std::uint64_t next(std::uint8_t sender, std::uint32_t size, std::uint32_t waiting);
  // The message of this rank is out of the line without having had its turn: it costs its sender none.
  void left(std::uint64_t rank, std::uint8_t sender, std::uint32_t size);
  // The message of this rank had its turn; `waiting` are left.
  void served(std::uint64_t rank, std::uint32_t waiting);

 private:
  struct Crowd {
    std::uint64_t since = 0;                     // the first rank that was given to it
    std::array<std::uint64_t, kSenders> free{};  // where each sender's next message may stand
  };
  std::uint64_t now_ = 0;         // the rank that was served last
  std::uint64_t last_ = 0;        // the highest that was given
  std::unique_ptr<Crowd> crowd_;  // none while few wait
};

// What a message of this size costs its sender, and its queue, of their share.
[[nodiscard]] constexpr std::uint32_t cost_of(std::uint32_t size) { return 16 + size / 256; }

}  // namespace postern::queued
