#include "bench/load/session.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace postern::bench {
namespace {

constexpr base::Millis kFirstBackoff{10};

// A socket on its way to the server. What becomes of it shows when it is read: the greeting, or the
// error, so nothing has to wait for the connection itself.
base::UniqueFd connecting_socket(const base::Endpoint& to) {
  sockaddr_storage address;
  const auto size = base::to_sockaddr(to, address);
  auto fd = base::UniqueFd::adopt(
      ::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return {};
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 &&
      errno != EINPROGRESS)
    return {};
  return fd;
}

}  // namespace

Session::Session(event::Loop& loop, const LoadOptions& options, SessionOwner& owner)
    : loop_(loop),
      options_(options),
      owner_(owner),
      retry_(loop, [this]() noexcept { connect(); }) {}

void Session::connect() noexcept {
  if (owner_.finished()) return owner_.done();
  auto fd = connecting_socket(options_.to);
  if (!fd.valid()) {
    owner_.disconnected(::strerrordesc_np(errno));
    return connect_again();
  }
  client_.emplace(Client::Options{options_.hello, options_.pipelining, options_.eight_bit});
  sent_here_ = 0;
  quitting_ = false;
  expect_progress();
  stream_ = std::make_unique<event::Stream>(loop_, std::move(fd), *this);
}

// Later, and the later the more often it failed.
void Session::connect_again() noexcept {
  retry_.start(backoff_);
  backoff_ = std::clamp(backoff_ * 2, kFirstBackoff, std::max(options_.backoff, kFirstBackoff));
}

void Session::expect_progress() noexcept {
  deadline_ = owner_.micros() + static_cast<std::uint64_t>(options_.timeout.count()) * 1000;
}

std::size_t Session::on_input(std::string_view bytes) noexcept {
  expect_progress();
  std::size_t used = 0;
  while (used < bytes.size() && stream_->open() && !client_->over()) {
    const auto step = client_->on_input(bytes.substr(used), stream_->output());
    used += step.used;
    on_event(step.event);
  }
  return bytes.size();
}

void Session::on_event(Client::Event event) noexcept {
  switch (event) {
    case Client::Event::kNone:
      return;
    case Client::Event::kReady:
      backoff_ = base::Millis(0);
      standing_ = true;
      owner_.connected();
      return next();
    case Client::Event::kBody:
      return send_body();
    case Client::Event::kFinished:
      record();
      if (client_->over()) return leave("the server closes");
      return next();
    case Client::Event::kOver:
      return leave("the session is over");
  }
}

void Session::next() noexcept {
  const bool full =
      options_.messages_per_session != 0 && sent_here_ >= options_.messages_per_session;
  if (const auto number = full ? std::nullopt : owner_.take()) return begin(*number);
  idle_ = !full && !owner_.finished();
  if (idle_) return;
  quitting_ = true;
  client_->quit(stream_->output());
}

void Session::look() noexcept {
  const bool useless = owner_.finished() && stream_ && stream_->open() && !quitting_;
  if (useless && !idle_ && !client_->in_transaction()) return leave("the run ends");
  if (!std::exchange(idle_, false)) return;
  expect_progress();
  next();
  stream_->flush();
}

void Session::begin(std::uint64_t number) noexcept {
  number_ = number;
  ++sent_here_;
  Envelope envelope;
  envelope.from = options_.sender.fill(number, 0);
  for (std::uint64_t i = 0; i < options_.recipients; ++i)
    envelope.recipients.push_back(options_.recipient.fill(number, i));
  envelope.eight_bit = client_->eight_bit();
  message_.emplace(owner_.text(envelope.eight_bit), options_.run, options_.seed, number,
                   options_.sizes.pick(options_.seed, number), envelope.eight_bit, envelope.from,
                   envelope.recipients.front());
  envelope.size = message_->size();
  owner_.begun(number);
  client_->begin(std::move(envelope), stream_->output());
}

void Session::send_body() noexcept {
  if (!owner_.settle()) return leave("the ledger cannot be written");
  if (message_->append(stream_->output())) return loop_.defer([this]() noexcept { pump(); });
  client_->body_sent();
  dot_at_ = owner_.micros();
}

// The rest of a large body, as the server takes it.
void Session::pump() noexcept {
  while (message_ && stream_ && stream_->open() && stream_->unsent() == 0 &&
         !client_->awaits_dot()) {
    expect_progress();
    if (!message_->append(stream_->output())) {
      client_->body_sent();
      dot_at_ = owner_.micros();
    }
    stream_->flush();
  }
}

void Session::on_drained() noexcept {
  expect_progress();
  pump();
}

void Session::record() noexcept {
  const auto& outcome = client_->outcome();
  const bool answered = outcome.fate == Fate::kAcknowledged || outcome.fate == Fate::kRefused;
  owner_.ended(number_, outcome,
               answered && dot_at_ != 0 ? std::optional(owner_.micros() - dot_at_) : std::nullopt);
  message_.reset();
  dot_at_ = 0;
}

void Session::on_closed(event::CloseReason reason) noexcept {
  leave(reason == event::CloseReason::kError ? ::strerrordesc_np(stream_->error())
                                             : "the server closed the connection");
}

void Session::check_time() noexcept {
  if (stream_ && stream_->open() && !idle_ && owner_.micros() > deadline_) leave("timed out");
}

// The end of a connection, from whichever side.
void Session::leave(std::string_view why) noexcept {
  if (client_->in_transaction()) {
    client_->lost(why, stream_->unsent() == 0);
    record();
  }
  idle_ = false;
  standing_ = false;
  if (!quitting_) owner_.disconnected(why);
  stream_->close();
  loop_.defer([this]() noexcept {
    stream_.reset();
    client_.reset();
    connect_again();
  });
}

}  // namespace postern::bench
