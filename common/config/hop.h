// Next hops as the configuration writes them: "mx", "smtp://host[:port]", "smtps://host[:port]",
// "lmtp://host[:port]", "lmtp:unix:PATH", "turn:", "mailbox", "refuse", "discard". What may stand behind them: way.h.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "common/config/roles.h"

namespace postern::config {

// Any of the kinds; on failure what was expected of a host ("expected a port between 1 and 65535"). The path
// of a socket is as it was written.
[[nodiscard]] std::expected<HopSpec, std::string> parse_hop(std::string_view text);
// The host of a kHost alone, "host[:port]" or "[2001:db8::1][:port]"; `hop`: all else of it, its port included
// where none is named.
[[nodiscard]] std::expected<HopSpec, std::string> parse_host(std::string_view text, HopSpec hop);
// Parses back to the same hop, but for what is demanded of it; the port is always named.
[[nodiscard]] std::string hop_text(const HopSpec& hop);
// "off", "optional", ...
[[nodiscard]] std::string_view tls_text(HopTls tls);
// "none", "xforward", ...
[[nodiscard]] std::string_view pass_client_text(PassClient pass);
// Do the MTA-STS policies of domains bind mail on this way?
[[nodiscard]] bool heeds_policies(const HopSpec& hop);
// What sets apart two ways to the same host that demand other things of it, tell it of clients, or lead there otherwise,
// at the end of a next hop's name: "" for "optional", else "/verified", "/smtps/required", "/lmtp",
// "/verified/login=ann", "/xclient", "/socks=127.0.0.1:1080", "/source=192.0.2.5,192.0.2.6*3", ...
[[nodiscard]] std::string demand_text(const HopSpec& hop);
// Of a kHost, the name of the next hop: "relay.example:25/verified", "[2001:db8::1]:25".
[[nodiscard]] std::string host_name(const HopSpec& hop);

}  // namespace postern::config
