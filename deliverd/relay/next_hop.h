// The choice of next hops for one queue: from the answers of the DNS to an ordered list of places
// to connect to, or to the reason why there is none (RFC 5321 5.1, RFC 7505). Pure: the questions
// are asked elsewhere (lookup.h), chance comes in as a function.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ip.h"
#include "common/dns/answer.h"
#include "common/ipc/delivery.h"
#include "common/mail/reply.h"

namespace postern::relay {

inline constexpr std::size_t kMaxHosts = 20;    // whose addresses are asked for, the best ones
inline constexpr std::size_t kMaxTargets = 20;  // that are tried in one go

// What the MTA-STS policy of a domain says of one of its MX hosts (RFC 8461 5).
struct PolicyWord {
  bool enforced = false;  // else it is being tested: nothing is demanded, and what would fail is told
  bool named = false;     // it names the host
  std::string id = {};    // as the DNS has it
  friend bool operator==(const PolicyWord&, const PolicyWord&) noexcept = default;
};

// A place to connect to.
struct Target {
  std::string host;  // as the MX or the route names it; an address for itself; "unix:/run/dovecot/lmtp"
  base::Endpoint endpoint;  // of a Unix socket: none; without an address: a SOCKS server looks the host up
  std::string domain = {};  // whose MX host it is; empty: a route names the host, or mail its address
  // Names of the host that DNSSEC vouches for, first the one that its addresses stand at; empty: none.
  std::vector<std::string> vouched = {};
  std::optional<PolicyWord> policy = {};  // none: there is none, or the way does not heed it
  bool named_for_sure = false;  // by the configuration, by DNSSEC, or by mail for its address
  friend bool operator==(const Target&, const Target&) noexcept = default;
};

// "mx.example.org[192.0.2.1]:25", "mx.example.org:25", "unix:/run/dovecot/lmtp", as logs, outcomes and people
// know it.
[[nodiscard]] std::string remote_name(const Target& target);

// Why a next hop is out of reach, for GrantEnded: temporary (the queue waits) or permanent (it
// fails).
struct Trouble {
  ipc::GrantEnd end = ipc::GrantEnd::kTemporary;
  ipc::FailureClass failure = ipc::FailureClass::kDns;
  mail::Reply reply;  // code 0: ours
  std::string remote;
};

struct Host {
  std::uint16_t preference = 0;
  mail::Domain name;
  dns::AddressAnswer v4, v6;
  bool named_securely = false;  // DNSSEC vouches for the MX record that names it
};

// What is us: an address and a port that we listen on, or our name.
struct Ourselves {
  std::vector<base::IpAddress> addresses;
  std::vector<std::uint16_t> ports;
  std::string name;  // in lower case
};

// Where mail for a domain may not go, whatever the DNS says.
struct Bounds {
  Ourselves ourselves;
  std::vector<base::Network> forbidden;  // of the configuration
};

// A number of any size; its remainders are used.
using Chance = std::function<std::uint64_t()>;

// Which hosts' addresses to ask for: the MX hosts by preference, equal ones in random order; the
// domain itself where it has no MX ("implicit MX").
[[nodiscard]] std::expected<std::vector<Host>, Trouble> hosts_of(const mail::Domain& domain,
                                                                 const dns::MxAnswer& mx,
                                                                 const Chance& chance);

// The name of a set of hosts, whatever their order in the DNS: "mx1.example,mx2.example:25", with '>' where
// what follows is less preferred; cut with a hash of it all where it is too long. `demand`
// (config::demand_text) sets apart who demands more of them. A set that DNSSEC vouches for is another than the same
// hosts named by anybody: DANE may be demanded of it, and a message may demand it (REQUIRETLS).
[[nodiscard]] std::string hop_name_of(std::vector<Host> hosts, std::uint16_t port,
                                      std::string_view demand);

// Puts hosts of equal preference, which stand together, into random order.
void shuffle_equals(std::vector<Host>& hosts, const Chance& chance);

// Where to connect, from hosts_of() with the answers filled in. Addresses of a host alternate
// between the families, IPv6 first, else as the DNS ordered them; each stands there once. A host
// that is ourselves, and all that are no better, are left out: mail only moves towards better
// hosts, and so cannot loop. Forbidden addresses are as if they were not there.
[[nodiscard]] std::expected<std::vector<Target>, Trouble> targets_of(const mail::Domain& domain,
                                                                     const std::vector<Host>& hosts,
                                                                     std::uint16_t port,
                                                                     const Bounds& bounds);

// Likewise for a host that a route names: nothing is forbidden, nobody guards against ourselves,
// and its absence from the DNS is the operator's error, which mail outlives: always temporary.
[[nodiscard]] std::expected<std::vector<Target>, Trouble> targets_of_route(const Host& host,
                                                                           std::uint16_t port);

// Likewise for a host whose name a SOCKS server looks up.
[[nodiscard]] std::vector<Target> target_of_name(const mail::Domain& name, std::uint16_t port);

// A single target, for an address literal or a route to an address.
[[nodiscard]] std::expected<std::vector<Target>, Trouble> target_of_address(
    const base::IpAddress& address, std::uint16_t port, const Bounds& bounds);

// The address in "[192.0.2.1]" or "[IPv6:2001:db8::1]".
[[nodiscard]] std::optional<base::IpAddress> literal_address(const mail::Domain& domain);

}  // namespace postern::relay
