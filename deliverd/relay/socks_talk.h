// SocksTalk: the I/O side of SocksClient: what is said on a connection to a SOCKS server until the connection
// leads to the host. It neither owns the socket nor waits for it.
#pragma once

#include <string>
#include <utility>

#include "deliverd/relay/socks.h"

namespace postern::relay {

class SocksTalk {
 public:
  enum class Step : std::uint8_t {
    kRead,    // goes on when the socket is readable
    kWrite,   // when it is writable
    kOpen,    // the next byte is the host's
    kFailed,  // see trouble()
  };

  explicit SocksTalk(SocksClient client) : client_(std::move(client)) {}

  // As far as it gets without waiting. `fd`: connected to the server, non-blocking.
  [[nodiscard]] Step go(int fd) noexcept;
  // What the server did, to stand behind its name.
  [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }

 private:
  Step lost(std::string why);

  SocksClient client_;
  std::string trouble_;
};

}  // namespace postern::relay
