// The header of the PROXY protocol, versions 1 and 2 (HAProxy, doc/proxy-protocol.txt 2.1 and 2.2):
// what a proxy says of the connection that it carries, in front of the client's first byte. Pure.
#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string_view>

#include "common/base/ip.h"

namespace postern::smtpd {

struct ProxyHeader {
  // Nothing: the connection is the proxy's own (LOCAL), or it knows no IP address of its client
  // (UNKNOWN, UNSPEC, UNIX).
  std::optional<base::Endpoint> client;
  std::optional<base::Endpoint> server;  // where the client connected to
  std::size_t size = 0;                  // bytes of the header
};

inline constexpr std::size_t kMaxProxyLine = 107;       // version 1, with CR LF (2.1)
inline constexpr std::size_t kMaxProxyContent = 4'096;  // version 2, addresses and TLVs

// The header at the beginning of `bytes`; nothing: more of it must come; or what is wrong. Version 2
// may hold TLVs: they are checked for their lengths, and the checksum among them for its truth, and
// passed over.
[[nodiscard]] std::expected<std::optional<ProxyHeader>, std::string_view> parse_proxy_header(
    std::string_view bytes);

}  // namespace postern::smtpd
