// How a next hop is told of the client that a message came from: by XFORWARD or XCLIENT (Postfix, XFORWARD_README and
// XCLIENT_README), or by a PROXY header of version 2 (HAProxy, doc/proxy-protocol.txt 2.2). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ip.h"
#include "common/ipc/types.h"

namespace postern::relay {

enum class ClientAttribute : std::uint8_t { kName, kAddr, kPort, kProto, kHelo, kIdent, kSource };

// Those that a next hop takes.
class AttributeSet {
 public:
  void add(ClientAttribute attribute) noexcept { bits_ |= bit(attribute); }
  [[nodiscard]] bool has(ClientAttribute attribute) const noexcept { return (bits_ & bit(attribute)) != 0; }
  [[nodiscard]] bool empty() const noexcept { return bits_ == 0; }

 private:
  static constexpr unsigned bit(ClientAttribute attribute) noexcept {
    return 1U << static_cast<unsigned>(attribute);
  }
  unsigned bits_ = 0;
};

// From the words behind XFORWARD or XCLIENT in a reply to EHLO; those that we have nothing for are passed over.
[[nodiscard]] AttributeSet read_attributes(std::string_view words);

// What XFORWARD tells of a message.
struct Introduction {
  std::optional<ipc::FirstClient> client;  // none: nobody but this host
  std::string ident;                       // what the message is called here
};

// Whom a next hop is told of; none: nobody but this host. On another host an address of our loopback would be that
// host's own, with its rights: only a next hop that is `here` as well hears of it.
[[nodiscard]] std::optional<ipc::FirstClient> told_of(const std::optional<ipc::FirstClient>& client, bool here);

inline constexpr std::size_t kMaxIntroduction = 512;  // bytes of a command, with its CR LF

// As many commands as what is offered takes, each with its CR LF. They say of all of it what is known, or that
// nobody knows it: nothing is left of an earlier message.
[[nodiscard]] std::vector<std::string> xforward_commands(const Introduction& introduction, AttributeSet offered);
// One command, with its CR LF, for a second one would begin anew.
[[nodiscard]] std::string xclient_command(const ipc::FirstClient& client, AttributeSet offered);
// What stands in front of a connection that carries this client's mail; none: it is our own.
[[nodiscard]] std::string proxy_header(const std::optional<ipc::FirstClient>& client, const base::Endpoint& server);

// How a session that is this client's says hello: as the client did, where that can be said; else as we do.
[[nodiscard]] std::string hello_of(const ipc::FirstClient& client, const std::string& ours);

}  // namespace postern::relay
