#include "deliverd/relay/race.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "common/base/check.h"

namespace postern::relay {

struct Race::Attempt {
  Attempt(Race& race, std::size_t number, base::UniqueFd socket)
      : fd(std::move(socket)),
        writable(race.loop_, fd.get(),
                 [&race, number](bool, bool) noexcept { race.on_writable(number); }),
        timeout(race.loop_, [&race, number]() noexcept { race.failed(number, "timed out"); }) {
    writable.watch(false, true);
    timeout.start(kTimeout);
  }

  base::UniqueFd fd;
  event::FdEvent writable;
  event::Timer timeout;
};

Race::Race(event::Loop& loop, std::vector<base::Endpoint> endpoints, RaceOwner& owner)
    : loop_(loop),
      endpoints_(std::move(endpoints)),
      owner_(owner),
      head_start_(loop, [this]() noexcept { begin_next(); }) {
  CHECK(!endpoints_.empty());
  attempts_.reserve(endpoints_.size());
  begin_next();
}

Race::~Race() {
  *alive_ = false;
}

// Begins the next attempt that does not fail at once.
void Race::begin_next() noexcept {
  while (!over_ && attempts_.size() < endpoints_.size() && under_way_ < kAtOnce) {
    attempts_.emplace_back();
    if (!begin(attempts_.size() - 1)) continue;
    if (attempts_.size() < endpoints_.size()) head_start_.start(kHeadStart);
    return;
  }
  if (over_ || under_way_ > 0 || attempts_.size() < endpoints_.size()) return;
  finish([this]() noexcept { owner_.on_nobody(); });
}

bool Race::begin(std::size_t number) {
  sockaddr_storage address{};
  const auto size = base::to_sockaddr(endpoints_[number], address);
  auto fd = base::UniqueFd::adopt(
      ::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  const int on = 1;
  // A connection to this very host may succeed at once; the writability that it has then tells.
  if (fd.valid() && ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
      (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0 ||
       errno == EINPROGRESS)) {
    attempts_[number] = std::make_unique<Attempt>(*this, number, std::move(fd));
    ++under_way_;
    return true;
  }
  loop_.defer(
      [this, alive = alive_, number, why = std::string(::strerrordesc_np(errno))]() noexcept {
        if (*alive) owner_.on_attempt_failed(number, why);
      });
  return false;
}

void Race::on_writable(std::size_t number) noexcept {
  if (over_) return;
  auto& attempt = *attempts_[number];
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(attempt.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return failed(number, ::strerrordesc_np(error));
  attempt.writable.watch(false, false);
  finish([this, number]() noexcept {
    auto fd = std::move(attempts_[number]->fd);
    owner_.on_connected(number, std::move(fd));
  });
}

void Race::failed(std::size_t number, std::string_view why) {
  if (over_) return;
  retire(number);
  loop_.defer([this, alive = alive_, number, text = std::string(why)]() noexcept {
    if (*alive) owner_.on_attempt_failed(number, text);
  });
  begin_next();
}

// Its event or its timer may be on the stack.
void Race::retire(std::size_t number) noexcept {
  auto attempt = std::move(attempts_[number]);
  attempt->writable.watch(false, false);
  attempt->timeout.cancel();
  --under_way_;
  loop_.defer([gone = std::move(attempt)]() noexcept {});
}

void Race::finish(event::Callback tell) {
  over_ = true;
  head_start_.cancel();
  loop_.defer([alive = alive_, tell = std::move(tell)]() mutable noexcept {
    if (*alive) tell();
  });
}

}  // namespace postern::relay
