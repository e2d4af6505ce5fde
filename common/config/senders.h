// The senders of accounts: the patterns of `senders` in [[account]], and which addresses they allow. Names are
// compared folded (base::folded). Pure.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "common/mail/address.h"

namespace postern::config {

inline constexpr std::string_view kOwnSender = "{account}";

// A pattern as may_send_as() reads it: "*", "{account}", "*@example.org", or "ann@example.org". On failure
// what was expected.
[[nodiscard]] std::expected<std::string, std::string> parse_sender(std::string_view text);

// An address as patterns are compared with it.
[[nodiscard]] std::string sender_name(std::string_view local_part, const mail::Domain& domain);

// May the account send by this name? "{account}" is its own name, completed by `domain` if it has none; with
// neither it has no address.
[[nodiscard]] bool may_send_as(const std::vector<std::string>& patterns, std::string_view account,
                               const mail::Domain& domain, std::string_view name);

}  // namespace postern::config
