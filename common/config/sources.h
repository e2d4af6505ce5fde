// `source` of a [[route]], a [[collect]] and of [delivery]: the addresses that we connect from; and `socks`: through
// whom.
#pragma once

#include <optional>
#include <vector>

#include "common/config/section.h"

namespace postern::config {

// Adds what stands there: "192.0.2.5", "2001:db8::5?weight=3".
void read_sources(const Section& section, std::vector<SourceAddress>& sources);
// The SOCKS5 server that stands there; "": none.
void read_socks(const Section& section, std::optional<base::Endpoint>& socks);

// Can a connection be made from it, or to it? Not for nobody, everybody, a group; nor without its link's name.
[[nodiscard]] bool is_end(const base::IpAddress& address);

}  // namespace postern::config
