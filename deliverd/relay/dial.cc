#include "deliverd/relay/dial.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace postern::relay {
namespace {

bool set_option(int fd, int level, int option) {
  const int on = 1;
  return ::setsockopt(fd, level, option, &on, sizeof on) == 0;
}

// The port is left to connect(2), which may use one again for another host: else a source has a few ten thousand
// connections to all hosts together, those that ended a minute ago among them.
bool bind_to(int fd, const base::IpAddress& from) {
  sockaddr_storage address{};
  const auto size = base::to_sockaddr({from, 0}, address);
  return set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT) &&
         ::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0;
}

bool connect_to(int fd, const base::Endpoint& to) {
  sockaddr_storage address{};
  const auto size = base::to_sockaddr(to, address);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0 || errno == EINPROGRESS;
}

}  // namespace

std::expected<base::UniqueFd, std::string> begin_connecting(const std::optional<base::IpAddress>& from,
                                                            const base::Endpoint& to) {
  const int family = to.address.family == base::IpFamily::kV4 ? AF_INET : AF_INET6;
  auto fd = base::UniqueFd::adopt(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd.valid() || !set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY))
    return std::unexpected(::strerrordesc_np(errno));
  if ((!from || bind_to(fd.get(), *from)) && connect_to(fd.get(), to)) return fd;
  const auto* const why = ::strerrordesc_np(errno);
  if (!from) return std::unexpected(why);
  return std::unexpected(fmt::format("cannot send from {}: {}", base::to_string(*from), why));
}

}  // namespace postern::relay
