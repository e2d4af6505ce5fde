// How connections to next hops are begun.
#pragma once

#include <expected>
#include <optional>
#include <string>

#include "common/base/ip.h"
#include "common/base/unique_fd.h"
#include "deliverd/relay/sources.h"

namespace postern::relay {

// What the connections of a race have in common.
struct Dial {
  Sources sources = {};                      // where they are made from
  std::optional<base::Endpoint> socks = {};  // the SOCKS server that is connected to, and asked for each endpoint
  std::string host = {};  // the name that it is asked for where an endpoint has no address (0.0.0.0)
};

// A socket that is connecting, or connected already, from a port that the kernel chooses; on failure the reason.
// `from`: nothing: the kernel chooses; an address that is not ours is an error, and no other is taken for it.
[[nodiscard]] std::expected<base::UniqueFd, std::string> begin_connecting(
    const std::optional<base::IpAddress>& from, const base::Endpoint& to);

}  // namespace postern::relay
