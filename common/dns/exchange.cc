#include "common/dns/exchange.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "common/base/random.h"
#include "common/dns/wire.h"

namespace postern::dns {
namespace {

constexpr std::size_t kMaxDatagram = 65'535;
constexpr int kDatagramsInTurn = 16;

bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

// One for the thread; used only during a read.
std::array<char, kMaxDatagram>& scratch() {
  static thread_local std::array<char, kMaxDatagram> buffer;
  return buffer;
}

}  // namespace

Exchange::Exchange(event::Loop& loop, std::vector<base::Endpoint> servers, Options options,
                   std::string name, std::uint16_t type, Done done)
    : loop_(loop),
      servers_(std::move(servers)),
      options_(options),
      name_(std::move(name)),
      type_(type),
      done_(std::move(done)),
      timer_(loop, [this]() noexcept { next_server(); }),
      refused_(servers_.size(), false) {
  next_server();
}

Exchange::~Exchange() {
  *alive_ = false;
}

void Exchange::next_server() {
  drop_socket();
  while (round_ < options_.tries) {
    if (next_ == servers_.size()) {
      next_ = 0;
      ++round_;
    } else if (server_ = next_++; !refused_[server_] && open(SOCK_DGRAM)) {
      return;
    }
  }
  const bool refused = std::find(refused_.begin(), refused_.end(), true) != refused_.end();
  finish({}, refused ? "the name servers failed or refused" : "no answer from the name servers");
}

// A fresh socket and query to the server; false: it cannot be asked.
bool Exchange::open(int socket_type) {
  drop_socket();
  auto query = make_query(name_, type_, static_cast<std::uint16_t>(base::random_u64()), edns_);
  if (!query) {
    round_ = options_.tries;  // no server can be asked
    return false;
  }
  query_ = *std::move(query);
  by_stream_ = socket_type == SOCK_STREAM;
  sockaddr_storage address{};
  const auto size = base::to_sockaddr(servers_[server_], address);
  fd_ = base::UniqueFd::adopt(
      ::socket(address.ss_family, socket_type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd_.valid()) return false;
  if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 &&
      errno != EINPROGRESS)
    return false;
  if (by_stream_) {
    stream_out_ = {static_cast<char>(query_.size() >> 8), static_cast<char>(query_.size())};
    stream_out_ += query_;
    stream_in_.clear();
  } else if (::send(fd_.get(), query_.data(), query_.size(), MSG_NOSIGNAL) < 0) {
    return false;
  }
  event_ = std::make_unique<event::FdEvent>(loop_, fd_.get(),
                                            [this](bool r, bool w) noexcept { on_ready(r, w); });
  event_->watch(!by_stream_, by_stream_);
  timer_.start(options_.timeout * (1 << round_));
  return true;
}

void Exchange::on_ready(bool readable, bool writable) noexcept {
  if (!fd_.valid()) return;
  if (!by_stream_) return read_datagrams();
  if (writable) return write_stream();
  if (readable) read_stream();
}

void Exchange::read_datagrams() {
  for (int i = 0; i < kDatagramsInTurn; ++i) {
    const auto got = ::recv(fd_.get(), scratch().data(), scratch().size(), 0);
    if (got < 0) {
      if (!would_block(errno)) next_server();  // nobody is there
      return;
    }
    if (take({scratch().data(), static_cast<std::size_t>(got)})) return;
  }
}

void Exchange::write_stream() {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
    return next_server();
  const auto put = ::send(fd_.get(), stream_out_.data(), stream_out_.size(), MSG_NOSIGNAL);
  if (put < 0) return would_block(errno) ? void() : next_server();
  stream_out_.erase(0, static_cast<std::size_t>(put));
  if (stream_out_.empty()) event_->watch(true, false);
}

void Exchange::read_stream() {
  const auto got = ::recv(fd_.get(), scratch().data(), scratch().size(), 0);
  if (got < 0 && would_block(errno)) return;
  if (got <= 0) return next_server();
  stream_in_.append(scratch().data(), static_cast<std::size_t>(got));
  if (stream_in_.size() < 2) return;
  const std::size_t size = static_cast<std::size_t>(static_cast<std::uint8_t>(stream_in_[0])) << 8 |
                           static_cast<std::uint8_t>(stream_in_[1]);
  if (stream_in_.size() - 2 < size) return;
  if (!take(std::string_view(stream_in_).substr(2, size))) next_server();
}

// false: it says nothing of this query.
bool Exchange::take(std::string_view response) {
  const auto verdict = judge(query_, response);
  if (!verdict.answers) return false;
  if (verdict.truncated && !by_stream_) {
    if (!open(SOCK_STREAM)) next_server();
  } else if (verdict.code == kNoError || verdict.code == kNoSuchDomain) {
    finish(std::string(response), {});
  } else if (edns_ && (verdict.code == kFormatError || verdict.code == kNotImplemented)) {
    edns_ = false;  // RFC 6891 7: an old server
    if (!open(SOCK_DGRAM)) next_server();
  } else {
    refused_[server_] = true;
    next_server();
  }
  return true;
}

// Its event may be on the stack.
void Exchange::drop_socket() noexcept {
  timer_.cancel();
  if (event_) {
    event_->watch(false, false);
    loop_.defer([event = std::move(event_), fd = std::move(fd_)]() noexcept {});
  }
  fd_.reset();
}

void Exchange::finish(std::string response, std::string trouble) {
  drop_socket();
  loop_.defer([alive = alive_, done = std::move(done_), response = std::move(response),
               trouble = std::move(trouble)]() mutable noexcept {
    if (*alive) done(std::move(response), std::move(trouble));
  });
}

}  // namespace postern::dns
