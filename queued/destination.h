// Destination: how a queue is served, by the configuration of the moment. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/roles.h"

namespace postern::queued {

struct Destination {
  bool local = false;
  bool internal = false;  // spared by `outbound disable`
  std::uint32_t connections = 20;  // to one next hop; 0: no limit
  std::uint64_t interval = 0;      // microseconds between two messages to one next hop; 0: no limit
  std::vector<config::HopSpec> via;  // in order; never empty
  std::string masquerade;            // as in RouteConfig
  bool second_path = false;          // likewise

  friend bool operator==(const Destination&, const Destination&) = default;
};

// Can a deliverer alone tell which next hop it is?
[[nodiscard]] inline bool is_found_by_dns(const config::HopSpec& hop) {
  return hop.kind == config::HopKind::kMx;
}

// Does its host call for the mail, so that nobody connects there?
[[nodiscard]] inline bool is_called_for(const config::HopSpec& hop) {
  return hop.kind == config::HopKind::kTurn;
}

// Is its name known without the DNS, so that a freeze of next hops may stand for it?
[[nodiscard]] inline bool is_named(const config::HopSpec& hop) {
  return hop.kind == config::HopKind::kHost || hop.kind == config::HopKind::kSocket || is_called_for(hop);
}

// Does the local deliverer serve it, not a relay?
[[nodiscard]] inline bool is_served_locally(const config::HopSpec& hop) {
  return hop.kind == config::HopKind::kMailbox || hop.kind == config::HopKind::kSocket;
}

// The name of a next hop that the configuration tells: "relay.example.org:25", "[2001:db8::1]:25",
// "unix:/run/dovecot/lmtp", and behind a host what it must offer ("relay.example.org:25/verified"): mail must
// not go over a connection that was made under lesser demands. No queue has such a name.
[[nodiscard]] std::string hop_name(const config::HopSpec& hop);
// Likewise of the one that this queue leads to by such a way. A queue that is called for has a next hop of its own, for
// who takes the mail of one may not take another's: "turn:inner.example".
[[nodiscard]] std::string hop_name(const config::HopSpec& hop, std::string_view queue);
// What the names of all those begin with.
inline constexpr std::string_view kCalledFor = "turn:";

// The path of recipients whom this way of it refused: what stands behind the way, and before that the others that share
// with it. Without ways: there is none. What it refuses is refused.
[[nodiscard]] Destination second_path(const Destination& route, std::size_t refused);

// Is that the name of a next hop that is_served_locally()?
[[nodiscard]] bool is_local_name(std::string_view hop_name);

}  // namespace postern::queued
