#include "common/base/ip.h"

#include <arpa/inet.h>
#include <fmt/compile.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "common/base/text.h"

namespace postern::base {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

}  // namespace

IpAddress ip_from_v6(std::span<const std::uint8_t, 16> raw) noexcept {
  IpAddress a;
  if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), raw.begin())) {
    std::copy_n(raw.begin() + 12, 4, a.bytes.begin());
    return a;
  }
  a.family = IpFamily::kV6;
  std::copy(raw.begin(), raw.end(), a.bytes.begin());
  return a;
}

bool IpAddress::is_loopback() const noexcept {
  if (family == IpFamily::kV4) return bytes[0] == 127;
  return std::all_of(bytes.begin(), bytes.end() - 1, [](auto b) { return b == 0; }) && bytes[15] == 1;
}

bool IpAddress::is_unspecified() const noexcept {
  return std::all_of(bytes.begin(), bytes.end(), [](auto b) { return b == 0; });
}

std::optional<IpAddress> parse_ip(std::string_view text) {
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != std::string_view::npos) return std::nullopt;
  const std::string name(text);
  std::uint8_t raw[16];
  IpAddress a;
  if (::inet_pton(AF_INET, name.c_str(), raw) == 1) {
    std::copy_n(raw, 4, a.bytes.begin());
    return a;
  }
  if (::inet_pton(AF_INET6, name.c_str(), raw) == 1) return ip_from_v6(raw);
  return std::nullopt;
}

// Once for each message at least, and inet_ntop goes through sprintf: for the plain form it need not.
std::string to_string(const IpAddress& address) {
  const auto& b = address.bytes;
  if (address.family == IpFamily::kV4)
    return fmt::format(FMT_COMPILE("{}.{}.{}.{}"), b[0], b[1], b[2], b[3]);
  char text[INET6_ADDRSTRLEN];
  return ::inet_ntop(AF_INET6, b.data(), text, sizeof text);
}

bool Network::contains(const IpAddress& a) const noexcept {
  if (a.family != address.family) return false;
  const unsigned whole = prefix / 8;
  if (std::memcmp(a.bytes.data(), address.bytes.data(), whole) != 0) return false;
  const unsigned rest = prefix % 8;
  return rest == 0 || (a.bytes[whole] ^ address.bytes[whole]) >> (8 - rest) == 0;
}

std::optional<Network> parse_network(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = parse_ip(text.substr(0, slash));
  if (!address) return std::nullopt;
  Network network{*address, static_cast<std::uint8_t>(address->bits())};
  if (slash == std::string_view::npos) return network;
  const auto prefix = parse_number(text.substr(slash + 1));
  if (!prefix || *prefix > address->bits()) return std::nullopt;
  network.prefix = static_cast<std::uint8_t>(*prefix);
  for (unsigned bit = network.prefix; bit < address->bits(); ++bit)
    if (address->bytes[bit / 8] >> (7 - bit % 8) & 1) return std::nullopt;
  return network;
}

std::string to_string(const Network& network) {
  return fmt::format("{}/{}", to_string(network.address), network.prefix);
}

std::optional<Endpoint> parse_endpoint(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto host = text.substr(0, colon);
  const auto port = parse_number(text.substr(colon + 1));
  if (!port || *port > 65535) return std::nullopt;
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = parse_ip(host);
  if (!address || bracketed != (host.find(':') != std::string_view::npos)) return std::nullopt;
  return Endpoint{*address, static_cast<std::uint16_t>(*port)};
}

std::string to_string(const Endpoint& endpoint) {
  const auto host = to_string(endpoint.address);
  return endpoint.address.family == IpFamily::kV4 ? fmt::format("{}:{}", host, endpoint.port)
                                                  : fmt::format("[{}]:{}", host, endpoint.port);
}

socklen_t to_sockaddr(const Endpoint& endpoint, sockaddr_storage& out) noexcept {
  std::memset(&out, 0, sizeof out);
  if (endpoint.address.family == IpFamily::kV4) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(out);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    std::memcpy(&v4.sin_addr, endpoint.address.bytes.data(), 4);
    return sizeof v4;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(endpoint.port);
  std::memcpy(&v6.sin6_addr, endpoint.address.bytes.data(), 16);
  return sizeof v6;
}

std::optional<Endpoint> from_sockaddr(const sockaddr_storage& address) noexcept {
  Endpoint endpoint;
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    std::memcpy(endpoint.address.bytes.data(), &v4.sin_addr, 4);
    endpoint.port = ntohs(v4.sin_port);
    return endpoint;
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    endpoint.address = ip_from_v6(v6.sin6_addr.s6_addr);
    endpoint.port = ntohs(v6.sin6_port);
    return endpoint;
  }
  return std::nullopt;
}

}  // namespace postern::base
