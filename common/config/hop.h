// Next hops as the configuration writes them: "mx", "smtp://host[:port]", "smtps://host[:port]",
// "lmtp://host[:port]", "lmtp:unix:PATH", "mailbox", "refuse", "discard".
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "common/config/roles.h"

namespace postern::config {

// Any of the kinds; on failure what was expected of a host ("expected a port between 1 and 65535"). The path
// of a socket is as it was written.
[[nodiscard]] std::expected<HopSpec, std::string> parse_hop(std::string_view text);
// Parses back to the same hop; the port is always named.
[[nodiscard]] std::string hop_text(const HopSpec& hop);
// "off", "optional", ...
[[nodiscard]] std::string_view tls_text(HopTls tls);
// Do the MTA-STS policies of domains bind mail on this way?
[[nodiscard]] bool heeds_policies(const HopSpec& hop);
// What sets apart two ways to the same host that demand other things of it, or tell it of clients, at the end of a
// next hop's name: "" for "optional", else "/verified", "/smtps/required", "/lmtp", "/verified/login=ann",
// "/xclient", ...
[[nodiscard]] std::string demand_text(const HopSpec& hop);

}  // namespace postern::config
