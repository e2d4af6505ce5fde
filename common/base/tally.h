// Tally: what one process counts of its clients, in memory that its siblings can read: its sessions, and of
// each client open connections, and messages of two periods of time. Only the owner writes; the others may read at any
// moment. What stands there is the owner's word: a reader adds it up and does nothing else with it.
//
// A table of fixed size: of a client that finds no place among those with open connections nothing is
// counted, and of those without any the longest silent one is forgotten first. Where a client belongs
// depends on a number that nobody outside knows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/base/ip.h"

namespace postern::base {

class Tally {
 public:
  static constexpr std::size_t kBuckets = 2048;
  static constexpr std::size_t kPlaces = 8;  // in each bucket
  static constexpr std::size_t kSlotSize = 48;
  static constexpr std::size_t kHead = 64;
  static constexpr std::size_t kBytes = kHead + kBuckets * kPlaces * kSlotSize;

  struct Counts {
    std::uint32_t connections = 0;
    std::uint32_t messages = 0;  // of the period that was asked for
    std::uint32_t before = 0;    // of the one before it
  };

  // `memory` has kBytes, zeroed before its first owner, begins at a multiple of 64, and outlives this.
  explicit Tally(void* memory) noexcept : memory_(memory) {}

  // The owner's.
  void own(std::uint64_t secret) noexcept;  // takes over what an earlier life left: no connections
  void set_sessions(std::uint32_t sessions) noexcept;
  void enter(const IpAddress& client, std::uint64_t period) noexcept;
  void leave(const IpAddress& client) noexcept;
  void count_message(const IpAddress& client, std::uint64_t period) noexcept;

  // Anybody's.
  [[nodiscard]] std::uint32_t sessions() const noexcept;
  // Periods are numbered by their owner's clock, which is that of the machine.
  [[nodiscard]] Counts look(const IpAddress& client, std::uint64_t period) const noexcept;

 private:
  struct Head;
  struct Slot;
  struct Key;
  [[nodiscard]] Head& head() const noexcept { return *static_cast<Head*>(memory_); }
  [[nodiscard]] Slot* bucket(const Key& key) const noexcept;
  [[nodiscard]] Slot* find(const Key& key) const noexcept;
  Slot* make(const Key& key) noexcept;

  void* memory_;
};

}  // namespace postern::base
