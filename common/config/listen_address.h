// ListenAddress: where clients come in: an address and a port, or a Unix socket of this host.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "common/base/ip.h"

namespace postern::config {

struct ListenAddress {
  base::Endpoint endpoint;
  std::string path;  // of the socket, absolute; empty: there is none, but an endpoint

  [[nodiscard]] bool is_socket() const noexcept { return !path.empty(); }
  friend bool operator==(const ListenAddress&, const ListenAddress&) = default;
};

// "0.0.0.0:25", "unix:/run/postern/submit.sock"
[[nodiscard]] std::string to_string(const ListenAddress& address);

// As to_string() writes it; a path is relative to that of `file`. On failure what was expected.
[[nodiscard]] std::expected<ListenAddress, std::string> parse_listen_address(std::string_view text,
                                                                             const std::string& file);

}  // namespace postern::config
