#include "common/config/names.h"

#include <fmt/format.h>

namespace postern::config {
std::expected<mail::Domain, std::string> parse_domain(std::string_view text) {
  auto domain = mail::Domain::parse(text);
  if (!domain) return std::unexpected("expected a domain: " + domain.error().text);
  return *std::move(domain);
}

std::expected<mail::Address, std::string> parse_address(std::string_view text) {
  if (text.find('@') == std::string_view::npos)
    return std::unexpected("expected an address with its domain, like \"it@example.org\"");
  auto address = mail::Address::parse(text);
  if (!address) return std::unexpected("expected an address: " + address.error().text);
  return *std::move(address);
}

std::expected<std::string, std::string> parse_pattern(std::string_view text) {
  if (text == "*") return "*";
  const bool wild = text.starts_with("*.");
  const auto domain = mail::Domain::parse(wild ? text.substr(2) : text);
  if (!domain || (wild && domain->is_literal()))
    return std::unexpected(fmt::format("expected \"*\", a domain, or \"*.\" and a domain{}",
                                       domain ? "" : ": " + domain.error().text));
  auto pattern = (wild ? "*." : "") + domain->text();
  if (pattern.size() > mail::Domain::kMaxLength)  // as in RouteConfig
    return std::unexpected("expected a pattern of at most 255 characters");
  return pattern;
}

std::expected<base::Network, std::string> parse_net(std::string_view text) {
  if (const auto network = base::parse_network(text)) return *network;
  return std::unexpected(
      "expected a network like \"192.0.2.0/24\" or an address, with no bit set behind the prefix");
}

}  // namespace postern::config
