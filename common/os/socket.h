// Sockets, pipes and memory files as the parent makes them, and the few calls of their users.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "common/base/ip.h"
#include "common/base/unique_fd.h"
#include "common/os/error.h"

namespace postern::os {

// A TCP listener: SO_REUSEADDR, IPV6_V6ONLY, non-blocking, backlog 1024.
[[nodiscard]] Result<base::UniqueFd> listen_tcp(const base::Endpoint& endpoint);
// A Unix-domain listener at `path` with `mode`; a stale socket there is replaced, a live one is an
// error (EADDRINUSE), and so is what is no socket (EEXIST).
[[nodiscard]] Result<base::UniqueFd> listen_unix(const std::string& path, unsigned mode);
// Takes the name of a socket away; none is no error, what is no socket is one (EEXIST).
[[nodiscard]] Result<void> remove_unix(const std::string& path);
// A listener that is behind with accepting is waited for, or (kNever) is an error (EAGAIN).
enum class Waiting : std::uint8_t { kAllowed, kNever };
[[nodiscard]] Result<base::UniqueFd> connect_unix(const std::string& path,
                                                  Waiting waiting = Waiting::kAllowed);

struct Accepted {
  base::UniqueFd fd;       // non-blocking, close-on-exec
  base::Endpoint client;   // TCP; zero for Unix sockets
};
// One waiting connection; EAGAIN as Error{EAGAIN} when there is none.
[[nodiscard]] Result<Accepted> accept(int listener);

struct PeerCredentials {
  std::uint32_t pid = 0, uid = 0, gid = 0;
};
[[nodiscard]] Result<PeerCredentials> peer_credentials(int fd);
// The uid of who connected to a named Unix socket and is at the other end of `fd`, the accepted end. Of a socket
// pair, of a listener, and of the connecting end the kernel would name another: these are errors (EINVAL), and so
// is a client that has given its own end a name, for it looks like a listener's.
[[nodiscard]] Result<std::uint32_t> connected_user(int fd);

// A memory file holding `bytes`, sealed against every change (memfd_create(2), F_SEAL_*).
[[nodiscard]] Result<base::UniqueFd> sealed_memory(std::string_view name, std::string_view bytes);
// All of a sealed memory file; an error if it is not sealed or larger than `limit`.
[[nodiscard]] Result<std::string> read_sealed_memory(int fd, std::size_t limit);

// A pipe: read end, write end; both close-on-exec and non-blocking.
[[nodiscard]] Result<std::pair<base::UniqueFd, base::UniqueFd>> make_pipe();
// Two connected Unix stream sockets; likewise.
[[nodiscard]] Result<std::pair<base::UniqueFd, base::UniqueFd>> socket_pair();

}  // namespace postern::os
