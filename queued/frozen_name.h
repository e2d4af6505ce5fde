// Names of freezes: which queues and next hops they stand for, and which of several fits best.
// Pure.
//
// A queue is named by its name, or by a pattern: "*.example.org", "*". A next hop is named by a
// host, with or without a port, or by a pattern of hosts: "mx1.example.net", "10.0.0.1:2525",
// "[::1]:25", "*.example.net", or as the socket that it is: "unix:/run/dovecot/lmtp". Without a port it stands for
// every port. That of a queue whose host calls for its mail is named as it is: "turn:inner.example".
//
// A next hop has its own name: "host:port" where a route names it; of a set of MX hosts their names,
// joined by "," or ">", and the port ("mx1.example.net>mx2.example.net:25"). The name of a freeze stands
// for a set if it stands for any of it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace postern::queued {

[[nodiscard]] bool is_pattern(std::string_view name);
// Does "*.example.org" stand for "mx.example.org"? "*" stands for everything.
[[nodiscard]] bool matches(std::string_view pattern, std::string_view queue);

// How well a name fits what it stands for; 0: it does not stand for it. An exact name fits better
// than any pattern, a longer pattern better than a shorter one, a host with its port better than
// without.
[[nodiscard]] std::size_t fit(std::string_view name, std::string_view queue);
[[nodiscard]] std::size_t fit_hop(std::string_view name, std::string_view hop);

// The hosts of a next hop as next hops of their own: "mx1.example.net:25", "mx2.example.net:25".
[[nodiscard]] std::vector<std::string> hosts_of(std::string_view hop);

// The next hop of its own that an MX host is, of what an attempt says whom it spoke to: "mx1.example.net:25" of
// "mx1.example.net[192.0.2.9]:25"; empty: it names none.
[[nodiscard]] std::string hop_of_remote(std::string_view remote);

// Could this be the name of a freeze?
[[nodiscard]] bool names_queues(std::string_view name);
[[nodiscard]] bool names_hops(std::string_view name);

}  // namespace postern::queued
