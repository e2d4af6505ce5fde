#include "common/dns/query_sockets.h"

#include <ares.h>
#include <netinet/in.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/check.h"

namespace postern::dns {
namespace {

// Numbers for c-ares lie above those of all descriptors.
constexpr int kFirstNumber = 1 << 30;
constexpr int kNumbers = 1 << 20;

bool is_datagrams(int number) {
  return number >= kFirstNumber;
}

// RFC 1035 4.1.1
std::uint16_t id_of(std::string_view message) {
  return static_cast<std::uint16_t>(static_cast<std::uint8_t>(message[0]) << 8 | static_cast<std::uint8_t>(message[1]));
}

}  // namespace

// The functions that c-ares calls, and the callback for what it waits for.
struct QuerySockets::Calls {
  static QuerySockets& of(void* self) noexcept { return *static_cast<QuerySockets*>(self); }

  static int open(int family, int type, int, void* self) noexcept { return of(self).open(family, type); }
  static int close(int number, void* self) noexcept {
    of(self).close(number);
    return 0;
  }
  static int connect(int number, const sockaddr* address, socklen_t size, void* self) noexcept {
    return of(self).connect(number, address, size);
  }
  static ssize_t receive(int number, void* buffer, std::size_t size, int, sockaddr* from, socklen_t* from_size,
                         void* self) noexcept {
    return of(self).receive(number, buffer, size, from, from_size);
  }
  // c-ares hands over one piece for UDP; for TCP there may be more, and it sends the rest later.
  static ssize_t send(int number, const iovec* pieces, int count, void* self) noexcept {
    CHECK(count > 0);
    return of(self).send(number, {static_cast<const char*>(pieces->iov_base), pieces->iov_len});
  }
  static void watch(void* self, int number, int readable, int writable) noexcept {
    if (!is_datagrams(number)) of(self).watch_stream(number, readable != 0, writable != 0);
  }
};

void QuerySockets::add_to(ares_options& options, int& mask) {
  options.sock_state_cb = &Calls::watch;
  options.sock_state_cb_data = this;
  mask |= ARES_OPT_SOCK_STATE_CB;
}

void QuerySockets::serve(ares_channeldata* channel) {
  static constexpr ares_socket_functions kCalls{&Calls::open, &Calls::close, &Calls::connect, &Calls::receive,
                                                &Calls::send};
  ::ares_set_socket_functions(channel, &kCalls, this);
}

int QuerySockets::open(int family, int type) {
  if (type != SOCK_DGRAM) return ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int number = 0;
  do {
    last_number_ = (last_number_ + 1) % kNumbers;
    number = kFirstNumber + last_number_;
  } while (servers_.contains(number));
  servers_[number] = {};
  return number;
}

int QuerySockets::connect(int number, const sockaddr* address, socklen_t size) {
  if (!is_datagrams(number)) return ::connect(number, address, size);
  auto& server = servers_.at(number);
  CHECK(size <= sizeof server.address);
  std::memcpy(&server.address, address, size);
  server.size = size;
  return 0;
}

ssize_t QuerySockets::send(int number, std::string_view bytes) {
  if (!is_datagrams(number)) return ::send(number, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  const auto& server = servers_.at(number);
  auto fd = base::UniqueFd::adopt(
      ::socket(server.address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid() || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&server.address), server.size) != 0)
    return -1;
  const auto sent = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent < 0) return -1;
  auto datagram = std::make_unique<Datagram>(number, id_of(bytes), std::move(fd), nullptr);
  datagram->event = std::make_unique<event::FdEvent>(
      *loop_, datagram->fd.get(), [this, self = datagram.get()](bool, bool) noexcept {
        readable_ = self;
        ready_(self->number, true, false);
        readable_ = nullptr;
      });
  datagram->event->watch(true, false);
  auto& tries = queries_[datagram->id];
  if (tries.size() == kKept) {
    retire(std::move(tries.front()));
    tries.erase(tries.begin());
  }
  tries.push_back(std::move(datagram));
  return sent;
}

// One datagram for each time that the loop finds it readable.
ssize_t QuerySockets::receive(int number, void* buffer, std::size_t size, sockaddr* from, socklen_t* from_size) {
  if (!is_datagrams(number)) return ::recv(number, buffer, size, 0);
  const auto* const datagram = std::exchange(readable_, nullptr);
  errno = EAGAIN;
  if (datagram == nullptr || datagram->number != number) return -1;
  const auto got = ::recvfrom(datagram->fd.get(), buffer, size, 0, from, from_size);
  if (got < 0) return got;
  const std::string_view bytes(static_cast<const char*>(buffer), static_cast<std::size_t>(got));
  errno = EAGAIN;
  return bytes.size() >= 2 && id_of(bytes) == datagram->id ? got : -1;
}

void QuerySockets::close(int number) {
  if (!is_datagrams(number)) {
    ::close(number);
    return;
  }
  servers_.erase(number);
  for (auto& [id, tries] : queries_) {
    for (auto& datagram : tries)
      if (datagram->number == number) retire(std::move(datagram));
    std::erase(tries, nullptr);
  }
  std::erase_if(queries_, [](const auto& query) { return query.second.empty(); });
}

void QuerySockets::close_query(std::uint16_t id) {
  auto gone = queries_.extract(id);
  if (gone.empty()) return;
  for (auto& datagram : gone.mapped()) retire(std::move(datagram));
}

void QuerySockets::close_all() noexcept {
  queries_.clear();
  streams_.clear();
}

// Its event may be the one that is being served.
void QuerySockets::retire(std::unique_ptr<Datagram> datagram) {
  if (readable_ == datagram.get()) readable_ = nullptr;
  datagram->event->watch(false, false);
  loop_->defer([gone = std::move(datagram)]() noexcept {});
}

// c-ares opened, wants or closes a TCP socket.
void QuerySockets::watch_stream(int fd, bool readable, bool writable) {
  if (!readable && !writable) {
    auto gone = streams_.extract(fd);
    if (gone.empty()) return;
    gone.mapped()->watch(false, false);
    loop_->defer([event = std::move(gone.mapped())]() noexcept {});
    return;
  }
  auto& stream = streams_[fd];
  if (!stream)
    stream = std::make_unique<event::FdEvent>(*loop_, fd, [this, fd](bool r, bool w) noexcept { ready_(fd, r, w); });
  stream->watch(readable, writable);
}

}  // namespace postern::dns
