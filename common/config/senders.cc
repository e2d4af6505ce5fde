#include "common/config/senders.h"

#include <algorithm>

#include "common/base/utf8.h"

namespace postern::config {
namespace {

constexpr std::string_view kAnySender = "*";
constexpr std::string_view kAnySenderAt = "*@";

std::string own_name(std::string_view account, const mail::Domain& domain) {
  if (account.find('@') == std::string_view::npos)
    return domain.empty() ? std::string() : sender_name(account, domain);
  const auto address = mail::Address::parse(account);
  return address ? sender_name(address->local_part(), address->domain()) : std::string();
}

}  // namespace

std::expected<std::string, std::string> parse_sender(std::string_view text) {
  if (text == kAnySender || text == kOwnSender) return std::string(text);
  if (text.starts_with(kAnySenderAt)) {
    const auto domain = mail::Domain::parse(text.substr(kAnySenderAt.size()));
    if (domain) return sender_name(kAnySender, *domain);
  } else if (const auto address = mail::Address::parse(text); address && !address->domain().empty()) {
    return sender_name(address->local_part(), address->domain());
  }
  return std::unexpected(R"(expected an address, "*@example.org", "{account}" or "*")");
}

std::string sender_name(std::string_view local_part, const mail::Domain& domain) {
  return base::folded(local_part) + '@' + domain.text();
}

bool may_send_as(const std::vector<std::string>& patterns, std::string_view account,
                 const mail::Domain& domain, std::string_view name) {
  if (name.empty()) return false;
  const auto at = name.rfind('@');
  return std::ranges::any_of(patterns, [&](const std::string& pattern) {
    if (pattern == kAnySender || pattern == name) return true;
    if (pattern == kOwnSender) return own_name(account, domain) == name;
    return pattern.starts_with(kAnySenderAt) && pattern.substr(1) == name.substr(at);
  });
}

}  // namespace postern::config
