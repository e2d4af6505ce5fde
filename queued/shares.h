// Shares: neighbouring entries of a route's `via` that have weights are a group, and share its mail message by
// message. Any other entry is a group of its own. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/config/roles.h"

namespace postern::queued {

using Via = std::span<const config::HopSpec>;

// Indices into `via`: from `first`, `end` is not in it.
struct Group {
  static constexpr std::size_t kMostWays = 16;  // those of a route
  std::size_t first = 0;
  std::size_t end = 1;
  std::uint32_t places = 0;  // its weights together; 0: it is a way by itself

  [[nodiscard]] bool shares() const { return places > 0; }
  [[nodiscard]] bool has(std::size_t way) const { return first <= way && way < end; }
  friend bool operator==(const Group&, const Group&) = default;
};

// That of this way.
[[nodiscard]] Group group_at(Via via, std::size_t way);
// The first one that shares; without places: there is none.
[[nodiscard]] Group first_group(Via via);

// The order in which the ways of a group take turns: smooth weighted round robin, as nginx has it. A round has as
// many places as the weights make together, and each way as many of them as its weight, spread over the round.
class Round {
 public:
  // Behind this place, whatever its number. Of a group that does not share nothing may be asked.
  Round(Via via, const Group& group, std::uint32_t place);
  // The way of the next place, an index into `via`.
  std::size_t next();
  [[nodiscard]] std::uint32_t place() const { return place_; }

 private:
  const Via via_;
  const Group group_;
  std::uint32_t place_ = 0;
  std::array<std::int32_t, Group::kMostWays> credit_{};  // of each way, in weights
};

}  // namespace postern::queued
