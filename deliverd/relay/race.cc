#include "deliverd/relay/race.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "deliverd/relay/socks_talk.h"

namespace postern::relay {
namespace {

// 0: it is connected.
int error_of(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

std::string server_text(const base::Endpoint& socks) {
  return "the SOCKS server " + base::to_string(socks);
}

}  // namespace

struct Race::Attempt {
  Attempt(Race& race, std::size_t number, base::UniqueFd socket)
      : fd(std::move(socket)),
        ready(race.loop_, fd.get(), [&race, number](bool, bool) noexcept { race.on_ready(number); }),
        timeout(race.loop_, [&race, number]() noexcept { race.on_timeout(number); }) {
    ready.watch(false, true);
    timeout.start(kTimeout);
  }

  base::UniqueFd fd;
  event::FdEvent ready;
  event::Timer timeout;
  std::optional<SocksTalk> talk;  // once it is connected to the SOCKS server
};

Race::Race(event::Loop& loop, std::vector<base::Endpoint> endpoints, RaceOwner& owner, Dial dial)
    : loop_(loop),
      endpoints_(std::move(endpoints)),
      owner_(owner),
      dial_(std::move(dial)),
      head_start_(loop, [this]() noexcept { begin_next(); }) {
  CHECK(!endpoints_.empty());
  attempts_.reserve(endpoints_.size());
  pass_over_unreachable();
  begin_next();
}

Race::~Race() {
  *alive_ = false;
}

std::optional<base::IpAddress> Race::source(std::size_t number) const {
  return number < from_.size() ? from_[number] : std::nullopt;
}

const base::Endpoint& Race::peer(std::size_t number) const {
  return dial_.socks ? *dial_.socks : endpoints_[number];
}

bool Race::has_source(std::size_t number) const {
  return dial_.sources.empty() || dial_.sources.has(peer(number).address.family);
}

SocksClient Race::request(std::size_t number) const {
  const auto& to = endpoints_[number];
  return to.address.is_unspecified() ? SocksClient(dial_.host, to.port) : SocksClient(to);
}

// With a SOCKS server in between it is that one which was not connected to.
std::string Race::not_connected(std::string_view why) const {
  if (!dial_.socks) return std::string(why);
  return fmt::format("{} cannot be reached: {}", server_text(*dial_.socks), why);
}

// Told first: what becomes of those that are made tells more, and the last word is the one that is kept.
void Race::pass_over_unreachable() {
  for (std::size_t number = 0; number < endpoints_.size(); ++number)
    if (!has_source(number))
      tell_failed(number, not_connected(fmt::format(
                              "no source address is IPv{}",
                              peer(number).address.family == base::IpFamily::kV4 ? '4' : '6')));
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

// A connection to this very host may succeed at once; the writability that it has then tells.
bool Race::begin(std::size_t number) {
  auto& from = from_.emplace_back();
  if (!has_source(number)) return false;
  from = dial_.sources.pick(peer(number).address.family);
  auto fd = begin_connecting(from, peer(number));
  if (!fd) {
    tell_failed(number, not_connected(fd.error()));
    return false;
  }
  attempts_[number] = std::make_unique<Attempt>(*this, number, *std::move(fd));
  ++under_way_;
  return true;
}

void Race::on_ready(std::size_t number) noexcept {
  if (over_) return;
  auto& attempt = *attempts_[number];
  if (!attempt.talk) {
    if (const int error = error_of(attempt.fd.get()); error != 0)
      return failed(number, not_connected(::strerrordesc_np(error)));
    if (!dial_.socks) return won(number);
    attempt.talk.emplace(request(number));
  }
  switch (attempt.talk->go(attempt.fd.get())) {
    case SocksTalk::Step::kRead:
      return attempt.ready.watch(true, false);
    case SocksTalk::Step::kWrite:
      return attempt.ready.watch(false, true);
    case SocksTalk::Step::kOpen:
      return won(number);
    case SocksTalk::Step::kFailed:
      return failed(number, server_text(*dial_.socks) + ' ' + attempt.talk->trouble());
  }
}

void Race::on_timeout(std::size_t number) noexcept {
  if (over_) return;
  failed(number, attempts_[number]->talk ? server_text(*dial_.socks) + " does not answer in time"
                                         : not_connected("timed out"));
}

void Race::won(std::size_t number) {
  attempts_[number]->ready.watch(false, false);
  finish([this, number]() noexcept {
    auto fd = std::move(attempts_[number]->fd);
    owner_.on_connected(number, std::move(fd));
  });
}

void Race::failed(std::size_t number, std::string why) {
  retire(number);
  tell_failed(number, std::move(why));
  begin_next();
}

void Race::tell_failed(std::size_t number, std::string why) {
  loop_.defer([this, alive = alive_, number, why = std::move(why)]() noexcept {
    if (*alive) owner_.on_attempt_failed(number, why);
  });
}

// Its event or its timer may be on the stack.
void Race::retire(std::size_t number) noexcept {
  auto attempt = std::move(attempts_[number]);
  attempt->ready.watch(false, false);
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
