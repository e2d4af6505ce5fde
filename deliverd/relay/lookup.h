// From a queue and its next hop, as queued names them, to the places to connect to: what the
// configuration wrote down is asked of the directory where that is needed, and judged by next_hop.h. What the
// domain's MTA-STS policy says of its MX hosts is asked behind that, and goes with each of them. A host that is
// named in the configuration and reached through a SOCKS server is looked up by that one, which may know a DNS that
// we do not.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "common/config/roles.h"
#include "deliverd/relay/directory.h"
#include "deliverd/relay/policy_link.h"
#include "deliverd/relay/sockets.h"

namespace postern::relay {

using Targets = std::expected<std::vector<Target>, Trouble>;
struct Place {
  std::string next_hop;  // the name of the set of MX hosts; empty: the configuration names the host
  Targets targets;
};
using Found = std::move_only_function<void(Place) noexcept>;

// What this process can reach: hosts, by the DNS, or sockets of this one; the other is null.
struct Reach {
  Directory* directory = nullptr;
  Sockets* sockets = nullptr;
  dns::Resolver* resolver = nullptr;  // with the directory
  PolicyLink* policies = nullptr;      // of the domains whose hosts are looked up; null: nobody is asked
};

// `port`: of MX hosts. `found` is called once, perhaps before this returns, unless the query died
// first. For kMx, kHost and kSocket within reach; any other hop is a mistake of queued's, and no place to
// connect to.
[[nodiscard]] dns::Query look_up(const Reach& reach, const std::string& queue,
                                 const config::HopSpec& hop, std::uint16_t port,
                                 const Bounds& bounds, Found found);

// Why a next hop is out of reach, in our own words.
[[nodiscard]] Trouble refused(ipc::GrantEnd end, ipc::FailureClass failure, mail::EnhancedCode code,
                              std::string text);

}  // namespace postern::relay
