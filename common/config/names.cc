#include "common/config/names.h"

#include <fmt/format.h>
#include <idn2.h>

#include <algorithm>
#include <memory>

namespace postern::config {
namespace {

constexpr std::size_t kMaxName = 1'000;  // bytes of UTF-8 that may still be a domain of 255

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<signed char>(c) > 0; });
}

std::expected<std::string, std::string> to_ascii(std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  if (text.size() > kMaxName || text.find('\0') != std::string_view::npos)
    return std::unexpected("domain longer than 255 characters");
  char* ascii = nullptr;
  const int result =
      ::idn2_to_ascii_8z(std::string(text).c_str(), &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  const std::unique_ptr<char, void (*)(void*)> owner(ascii, &::idn2_free);
  if (result != IDN2_OK) return std::unexpected(std::string(::idn2_strerror(result)));
  return std::string(ascii);
}

std::expected<mail::Domain, std::string> domain_of(std::string_view text) {
  const auto ascii = to_ascii(text);
  if (!ascii) return std::unexpected(ascii.error());
  auto domain = mail::Domain::parse(*ascii);
  if (!domain) return std::unexpected(domain.error().text);
  return *std::move(domain);
}

}  // namespace

std::expected<mail::Domain, std::string> parse_domain(std::string_view text) {
  auto domain = domain_of(text);
  if (!domain) return std::unexpected("expected a domain: " + domain.error());
  return domain;
}

std::expected<mail::Address, std::string> parse_address(std::string_view text) {
  const auto at = text.rfind('@');
  if (at == std::string_view::npos)
    return std::unexpected("expected an address with its domain, like \"it@example.org\"");
  const auto domain = to_ascii(text.substr(at + 1));
  if (!domain) return std::unexpected("expected an address: " + domain.error());
  auto address = mail::Address::parse(std::string(text.substr(0, at + 1)) + *domain);
  if (!address) return std::unexpected("expected an address: " + address.error().text);
  return *std::move(address);
}

std::expected<std::string, std::string> parse_pattern(std::string_view text) {
  if (text == "*") return "*";
  const bool wild = text.starts_with("*.");
  const auto domain = domain_of(wild ? text.substr(2) : text);
  if (!domain || (wild && domain->is_literal()))
    return std::unexpected(fmt::format("expected \"*\", a domain, or \"*.\" and a domain{}",
                                       domain ? "" : ": " + domain.error()));
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
