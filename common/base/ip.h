// IP addresses, networks and endpoints as values. Text forms follow RFC 5952; IPv4-mapped IPv6
// addresses are always held as IPv4, so that one client has one name.
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace postern::base {

enum class IpFamily : std::uint8_t { kV4, kV6 };

struct IpAddress {
  IpFamily family = IpFamily::kV4;
  std::array<std::uint8_t, 16> bytes{};  // IPv4: the first four, the rest zero

  friend auto operator<=>(const IpAddress&, const IpAddress&) noexcept = default;
  [[nodiscard]] unsigned bits() const noexcept { return family == IpFamily::kV4 ? 32 : 128; }
  [[nodiscard]] bool is_loopback() const noexcept;     // 127.0.0.0/8, ::1
  [[nodiscard]] bool is_unspecified() const noexcept;  // 0.0.0.0, ::
};

[[nodiscard]] std::optional<IpAddress> parse_ip(std::string_view text);  // "192.0.2.1", "2001:db8::1"
[[nodiscard]] std::string to_string(const IpAddress& address);
// From 16 bytes in network order.
[[nodiscard]] IpAddress ip_from_v6(std::span<const std::uint8_t, 16> bytes) noexcept;

// An address and the number of its leading bits that count. Host bits are kept zero.
struct Network {
  IpAddress address;
  std::uint8_t prefix = 0;
  friend auto operator<=>(const Network&, const Network&) noexcept = default;
  [[nodiscard]] bool contains(const IpAddress& a) const noexcept;
};

// "10.0.0.0/8" or a single address; nullopt where the text is neither or host bits are set.
[[nodiscard]] std::optional<Network> parse_network(std::string_view text);
[[nodiscard]] std::string to_string(const Network& network);

struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;
  friend auto operator<=>(const Endpoint&, const Endpoint&) noexcept = default;
};

// "127.0.0.1:25", "[::1]:25"; the port is required.
[[nodiscard]] std::optional<Endpoint> parse_endpoint(std::string_view text);
[[nodiscard]] std::string to_string(const Endpoint& endpoint);

// To and from the kernel's form. from_sockaddr: nullopt for other families (Unix sockets).
[[nodiscard]] socklen_t to_sockaddr(const Endpoint& endpoint, sockaddr_storage& out) noexcept;
[[nodiscard]] std::optional<Endpoint> from_sockaddr(const sockaddr_storage& address) noexcept;

}  // namespace postern::base
