#include "common/os/socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace postern::os {
namespace {

constexpr int kBacklog = 1024;
constexpr int kAllSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

bool set_option(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return failure("use the socket path " + path, ENAMETOOLONG);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

}  // namespace

Result<base::UniqueFd> listen_tcp(const base::Endpoint& endpoint) {
  const auto what = "listen on " + base::to_string(endpoint);
  sockaddr_storage address;
  const auto size = base::to_sockaddr(endpoint, address);
  auto fd = base::UniqueFd::adopt(
      ::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid() || !set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1)) return failure(what);
  if (address.ss_family == AF_INET6 && !set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1))
    return failure(what);
  // Set on the listener, inherited by what it accepts: replies must not wait for a delayed ACK.
  if (!set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1)) return failure(what);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) return failure(what);
  if (::listen(fd.get(), kBacklog) != 0) return failure(what);
  return fd;
}

Result<base::UniqueFd> listen_unix(const std::string& path, unsigned mode) {
  const auto what = "listen on " + path;
  if (const auto live = connect_unix(path, Waiting::kNever); live || live.error().number == EAGAIN)
    return failure(what, EADDRINUSE);
  else if (live.error().number != ECONNREFUSED && live.error().number != ENOENT)
    return failure(what, live.error().number);
  const auto address = unix_address(path);
  if (!address) return std::unexpected(address.error());
  auto fd = base::UniqueFd::adopt(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return failure(what);
  if (auto removed = remove_unix(path); !removed) return failure(what, removed.error().number);
  // The name gets the mode of the socket as bind(2) finds it: to change it by name later would follow whatever
  // somebody else has put there.
  const auto mask = ::umask(0);
  const bool bound = ::fchmod(fd.get(), mode) == 0 &&
                     ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0;
  const int error = errno;
  ::umask(mask);
  if (!bound) return failure(what, error);
  if (::listen(fd.get(), kBacklog) != 0) return failure(what);
  return fd;
}

Result<void> remove_unix(const std::string& path) {
  struct stat there {};
  if (::lstat(path.c_str(), &there) != 0) {
    if (errno == ENOENT) return {};
    return failure("remove the socket " + path);
  }
  if (!S_ISSOCK(there.st_mode)) return failure("remove the socket " + path, EEXIST);
  if (::unlink(path.c_str()) != 0) return failure("remove the socket " + path);
  return {};
}

Result<base::UniqueFd> connect_unix(const std::string& path, Waiting waiting) {
  const auto address = unix_address(path);
  if (!address) return std::unexpected(address.error());
  const int type = SOCK_STREAM | SOCK_CLOEXEC | (waiting == Waiting::kNever ? SOCK_NONBLOCK : 0);
  auto fd = base::UniqueFd::adopt(::socket(AF_UNIX, type, 0));
  if (!fd.valid() ||
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0 ||
      ::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0)
    return failure("connect to " + path);
  return fd;
}

Result<Accepted> accept(int listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  auto fd = base::UniqueFd::adopt(::accept4(listener, reinterpret_cast<sockaddr*>(&address), &size,
                                            SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.valid()) return failure("accept");
  return Accepted{std::move(fd), base::from_sockaddr(address).value_or(base::Endpoint{})};
}

Result<PeerCredentials> peer_credentials(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return failure("ask for peer credentials");
  return PeerCredentials{static_cast<std::uint32_t>(credentials.pid), credentials.uid, credentials.gid};
}

Result<std::uint32_t> connected_user(int fd) {
  sockaddr_un own{}, peer{};
  socklen_t size = sizeof own, peer_size = sizeof peer;
  int listens = 1;
  socklen_t listens_size = sizeof listens;
  const bool is_connection =
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) == 0 && own.sun_family == AF_UNIX &&
      size > sizeof own.sun_family && own.sun_path[0] != '\0' &&
      ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0 &&
      peer_size == sizeof peer.sun_family &&
      ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) == 0 && listens == 0;
  if (!is_connection) return failure("ask who connected: this is no connection to a named socket", EINVAL);
  const auto credentials = peer_credentials(fd);
  if (!credentials) return std::unexpected(credentials.error());
  return credentials->uid;
}

Result<base::UniqueFd> sealed_memory(std::string_view name, std::string_view bytes) {
  auto fd = base::UniqueFd::adopt(
      ::memfd_create(std::string(name).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return failure("make a memory file");
  while (!bytes.empty()) {
    const auto put = ::write(fd.get(), bytes.data(), bytes.size());
    if (put < 0) return failure("write a memory file");
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, kAllSeals) != 0) return failure("seal a memory file");
  return fd;
}

Result<std::string> read_sealed_memory(int fd, std::size_t limit) {
  if (::fcntl(fd, F_GET_SEALS) != kAllSeals) return failure("read a memory file: not sealed", EPERM);
  struct stat info {};
  if (::fstat(fd, &info) != 0) return failure("read a memory file");
  if (static_cast<std::size_t>(info.st_size) > limit) return failure("read a memory file", EFBIG);
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t have = 0;
  while (have < bytes.size()) {
    const auto got = ::pread(fd, bytes.data() + have, bytes.size() - have, static_cast<off_t>(have));
    if (got <= 0) return failure("read a memory file", got < 0 ? errno : EIO);
    have += static_cast<std::size_t>(got);
  }
  return bytes;
}

Result<std::pair<base::UniqueFd, base::UniqueFd>> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return failure("make a pipe");
  return std::pair(base::UniqueFd::adopt(ends[0]), base::UniqueFd::adopt(ends[1]));
}

Result<std::pair<base::UniqueFd, base::UniqueFd>> socket_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    return failure("make a socket pair");
  return std::pair(base::UniqueFd::adopt(ends[0]), base::UniqueFd::adopt(ends[1]));
}

}  // namespace postern::os
