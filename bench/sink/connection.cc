#include "bench/sink/connection.h"

#include <utility>

namespace postern::bench {

Connection::Connection(event::Loop& loop, base::UniqueFd fd, const Server::Options& options,
                       Moods& moods, Certificate* certificate, ConnectionOwner& owner)
    : stream_(loop, std::move(fd), *this),
      server_(options, moods),
      certificate_(certificate),
      owner_(owner),
      timer_(loop, [this]() noexcept { release(); }) {}

void Connection::start(const base::Endpoint& client) noexcept {
  act(server_.greet(base::to_string(client.address), replies_));
  if (delayed_ || stalled_ || gone_) return;
  stream_.output() += std::exchange(replies_, {});
  stream_.flush();
}

std::size_t Connection::on_input(std::string_view bytes) noexcept {
  if (stalled_) return bytes.size();
  if (delayed_) return 0;  // input that was there before the pause
  std::size_t used = 0;
  for (bool more = true; more && used < bytes.size();) {
    const auto step = server_.on_input(bytes.substr(used), replies_);
    used += step.used;
    more = act(step.event) && step.event != Server::Event::kNone;
  }
  if (!delayed_ && !stalled_ && !gone_) {
    stream_.output() += replies_;
    replies_.clear();
  }
  return gone_ ? bytes.size() : used;
}

// False: nothing more is read for now.
bool Connection::act(Server::Event event) noexcept {
  switch (event) {
    case Server::Event::kNone:
      return true;
    case Server::Event::kTaken:
      owner_.taken(server_.evidence(), server_.taken_by(), server_.secure());
      if (owner_.settle()) return act(server_.after_taken());
      cut();
      return false;
    case Server::Event::kDelay:
      delayed_ = true;
      stream_.pause();
      timer_.start(server_.delay());
      return false;
    case Server::Event::kTls:
      stream_.output() += std::exchange(replies_, {});
      stream_.put(certificate_->accept());
      return false;
    case Server::Event::kStall:
      stalled_ = true;
      return false;
    case Server::Event::kClose:
      stream_.close_after_flush();
      return false;
    case Server::Event::kCut:
      cut();
      return false;
  }
  return false;
}

// The delay is over.
void Connection::release() noexcept {
  delayed_ = false;
  stream_.output() += std::exchange(replies_, {});
  stream_.flush();
  if (stream_.open()) stream_.resume();
}

void Connection::cut() noexcept {
  stream_.close();
  on_closed(event::CloseReason::kError);
}

void Connection::on_closed(event::CloseReason) noexcept {
  timer_.cancel();
  if (!std::exchange(gone_, true)) owner_.gone(*this);
}

}  // namespace postern::bench
