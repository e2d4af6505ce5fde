// Domains and addresses as the configuration may write them, in UTF-8 too (common/mail/domain.h); what is wrong
// with others in words that say what was expected.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "common/base/ip.h"
#include "common/mail/address.h"

namespace postern::config {

// On failure what was expected, with the reason.
[[nodiscard]] std::expected<mail::Domain, std::string> parse_domain(std::string_view text);
// With a domain: not the bare postmaster.
[[nodiscard]] std::expected<mail::Address, std::string> parse_address(std::string_view text);
// A route's pattern: "*", "corp.example", "*.corp.example"; in lower case.
[[nodiscard]] std::expected<std::string, std::string> parse_pattern(std::string_view text);
// "192.0.2.0/24", "2001:db8::/32" or a single address.
[[nodiscard]] std::expected<base::Network, std::string> parse_net(std::string_view text);

}  // namespace postern::config
