#include "deliverd/relay/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "common/log/log.h"

namespace postern::relay {
namespace {

constexpr std::size_t kChunk = 64 * 1024;       // of a large body, read at once
constexpr std::size_t kChunksInTurn = 4;        // then other connections have their turn
constexpr base::Millis kBodyBlock{3 * 60'000};  // RFC 5321 4.5.3.2.5

// Header lines never begin with a dot; should one do so, it must not end the message.
void append_prefix(std::string_view prefix, std::string& out) {
  if (!prefix.starts_with('.') && prefix.find("\n.") == std::string_view::npos) {
    out += prefix;
    return;
  }
  bool line_start = true;
  for (const char c : prefix) {
    if (line_start && c == '.') out += '.';
    out += c;
    line_start = c == '\n';
  }
}

Envelope envelope_of(const deliverd::Delivery& delivery) {
  const auto& lease = delivery.lease;
  Envelope envelope{lease.from.text(), {}, lease.prefix.size() + lease.body_size, lease.eight_bit,
                    lease.ret, lease.envid, delivery.probe};
  envelope.recipients.reserve(lease.recipients.size());
  for (const auto& recipient : lease.recipients)
    envelope.recipients.push_back({recipient.address.text(), recipient.notify, recipient.orcpt});
  return envelope;
}

Trouble closed_in_order() {
  Trouble t;
  t.end = ipc::GrantEnd::kClosed;
  return t;
}

}  // namespace

Connection::Connection(event::Loop& loop, std::string hostname, std::vector<Target> targets,
                       ConnectionOwner& owner, base::Millis idle)
    : loop_(loop),
      hostname_(std::move(hostname)),
      targets_(std::move(targets)),
      owner_(owner),
      idle_(idle),
      timer_(loop, [this]() noexcept { on_timeout(); }),
      pump_timer_(loop, [this]() noexcept { pump(); }) {
  CHECK(!targets_.empty());
}

Connection::~Connection() {
  *alive_ = false;
}

void Connection::start() {
  connect_next();
}

bool Connection::ready() const noexcept {
  return !over_ && !quitting_ && !gone_ && !delivery_ && client_ &&
         client_->state() == ClientState::kReady;
}

// --- Connecting
// -----------------------------------------------------------------------------------

void Connection::connect_next() noexcept {
  while (next_target_ < targets_.size() && !dismissed_) {
    const auto& target = targets_[next_target_++];
    remote_ = remote_name(target);
    if (try_connect(target)) return;
  }
  // Nobody is left. Where a host did take us, the message in hand is the trouble, not the next hop.
  if (delivery_ && dismissed_) {
    finish({});
  } else if (delivery_) {
    const Verdict verdict{ipc::Result::kDeferred, last_trouble_.failure, last_trouble_.reply, {}};
    finish(std::vector<Verdict>(delivery_->lease.recipients.size(), verdict));
  }
  gone(had_session_ || dismissed_ ? closed_in_order() : last_trouble_);
}

// false: it failed at once.
bool Connection::try_connect(const Target& target) {
  sockaddr_storage address{};
  const auto size = base::to_sockaddr(target.endpoint, address);
  connecting_fd_ = base::UniqueFd::adopt(
      ::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!connecting_fd_.valid()) {
    connect_failed(::strerrordesc_np(errno));
    return false;
  }
  const int on = 1;
  ::setsockopt(connecting_fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // A connection to this very host may succeed at once; the writability that it has then tells.
  if (::connect(connecting_fd_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 &&
      errno != EINPROGRESS) {
    connect_failed(::strerrordesc_np(errno));
    return false;
  }
  connecting_ = std::make_unique<event::FdEvent>(loop_, connecting_fd_.get(),
                                                 [this](bool, bool) noexcept { on_connected(); });
  connecting_->watch(false, true);
  timer_.start(kConnectTimeout);
  return true;
}

void Connection::on_connected() noexcept {
  timer_.cancel();
  connecting_->watch(false, false);
  loop_.defer([done = std::move(connecting_)]() noexcept {});  // it is on the stack
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(connecting_fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) {
    connect_failed(::strerrordesc_np(error));
    return connect_next();
  }
  stream_ = std::make_unique<event::Stream>(loop_, std::move(connecting_fd_), *this);
  client_.emplace(hostname_);
  over_ = false;
  arm();
}

void Connection::connect_failed(std::string_view why) {
  connecting_fd_.reset();
  last_trouble_ = {ipc::GrantEnd::kTemporary, ipc::FailureClass::kConnect, {}, remote_};
  last_trouble_.reply.enhanced = {4, 4, 1};  // no answer from host
  last_trouble_.reply.lines.push_back("connecting: " + std::string(why));
  log::info("relay.connect").field("remote", remote_).field("error", why);
}

// --- The session
// ----------------------------------------------------------------------------------

std::size_t Connection::on_input(std::string_view bytes) noexcept {
  std::size_t used = 0;
  while (used < bytes.size() && !over_) {
    const auto replies = client_->replies();
    const auto step = client_->on_input(bytes.substr(used), stream_->output());
    used += step.used;
    // Each reply has a time of its own, but a part of one gains nothing.
    if (step.event != Client::Event::kNone || client_->replies() != replies) handle(step.event);
  }
  return bytes.size();
}

void Connection::handle(Client::Event event) {
  switch (event) {
    case Client::Event::kNone:
      return arm();
    case Client::Event::kReady:
      had_session_ = true;
      if (delivery_) return begin();  // it comes from a session that broke
      arm();
      return owner_.on_ready();
    case Client::Event::kBody:
      return send_body();
    case Client::Event::kFinished:
      return finished();
    case Client::Event::kOver:
      return session_over();
  }
}

void Connection::deliver(deliverd::Delivery delivery) {
  CHECK(ready());
  delivery_ = std::move(delivery);
  begin();
  stream_->flush();
}

void Connection::begin() {
  handle(client_->begin(envelope_of(*delivery_), stream_->output()));
}

void Connection::finished() {
  ++messages_;
  auto verdicts = std::move(client_->verdicts());
  arm();
  finish(std::move(verdicts));
}

void Connection::finish(std::vector<Verdict> verdicts) {
  delivery_.reset();
  owner_.on_done(std::move(verdicts));
}

void Connection::send_body() {
  auto& out = stream_->output();
  append_prefix(delivery_->lease.prefix, out);
  if (delivery_->lease.large) {
    body_offset_ = 0;
    body_tail_.clear();
    timer_.start(kBodyBlock);
    return pump_timer_.start(base::Millis(0));
  }
  out += delivery_->body;
  out += out.ends_with("\r\n") ? ".\r\n" : "\r\n.\r\n";
  client_->body_sent();
  arm();
}

// Sends the next pieces of a large body, as long as the peer takes them.
void Connection::pump() noexcept {
  if (over_ || !client_ || client_->state() != ClientState::kBody) return;
  auto& out = stream_->output();
  for (std::size_t i = 0; i < kChunksInTurn; ++i) {
    if (stream_->unsent() > kChunk) return timer_.start(kBodyBlock);  // on_drained() goes on
    const auto left = delivery_->lease.body_size - body_offset_;
    if (left == 0) {
      out += body_offset_ == 0 || body_tail_ == "\r\n" ? ".\r\n" : "\r\n.\r\n";
      client_->body_sent();
      stream_->flush();
      return over_ ? void() : arm();
    }
    const auto before = out.size();
    out.resize(before + std::min<std::size_t>(left, kChunk));
    ssize_t got;
    do {
      got = ::pread(delivery_->file.get(), out.data() + before, out.size() - before,
                    static_cast<off_t>(body_offset_));
    } while (got < 0 && errno == EINTR);
    if (got <= 0) {
      client_->body_failed(got < 0 ? ::strerrordesc_np(errno) : "the stored message is too short");
      return session_over();
    }
    out.resize(before + static_cast<std::size_t>(got));
    body_tail_.append(out, out.size() - std::min<std::size_t>(2, static_cast<std::size_t>(got)));
    if (body_tail_.size() > 2) body_tail_.erase(0, body_tail_.size() - 2);
    body_offset_ += static_cast<std::uint64_t>(got);
    stream_->flush();
    if (over_) return;
  }
  timer_.start(kBodyBlock);
  pump_timer_.start(base::Millis(0));
}

void Connection::on_drained() noexcept {
  pump();
}

void Connection::arm() {
  const bool idle = client_->state() == ClientState::kReady;
  timer_.start(idle ? idle_ : client_->timeout());
}

// The final dot is in the kernel's hands, and may be in the next hop's.
bool Connection::dot_left() const noexcept {
  return stream_ && stream_->unsent() == 0;
}

void Connection::on_timeout() noexcept {
  if (connecting_) {
    connecting_.reset();
    connect_failed("timed out");
    return connect_next();
  }
  if (!client_ || over_) return;
  if (client_->state() == ClientState::kReady) return quit();
  client_->timed_out(dot_left());
  session_over();
}

void Connection::on_closed(event::CloseReason reason) noexcept {
  if (over_) return;
  const bool error = reason == event::CloseReason::kError;
  client_->lost(error ? std::string("connection lost (") + ::strerrordesc_np(stream_->error()) + ")"
                      : std::string("connection closed by the next hop"),
                dot_left());
  session_over();
}

void Connection::quit() {
  if (quitting_ || gone_) return;
  if (client_ && !over_ && client_->state() == ClientState::kReady) {
    quitting_ = true;
    client_->quit(stream_->output());
    stream_->flush();
    if (!over_) arm();
    return;
  }
  if (client_ && client_->in_transaction()) {
    dismissed_ = true;
    return;
  }
  quitting_ = true;
  connecting_.reset();
  connecting_fd_.reset();
  over_ = true;
  if (delivery_) finish({});
  gone(closed_in_order());
}

// Without a word: whatever we said now could be taken for the message, or for its end.
void Connection::break_off() {
  if (gone_) return;
  dismissed_ = true;
  if (over_ && client_) return;  // it ends by itself with this turn
  timer_.cancel();
  pump_timer_.cancel();
  quitting_ = true;
  over_ = true;
  connecting_.reset();
  connecting_fd_.reset();
  const bool dot_sent = client_ && client_->state() == ClientState::kDot && dot_left();
  if (dot_sent) client_->lost("broken off by the operator", true);
  stream_.reset();
  if (delivery_) finish(dot_sent ? std::move(client_->verdicts()) : std::vector<Verdict>());
  gone(closed_in_order());
}

// --- Ends
// -----------------------------------------------------------------------------------------

// The stream may be on the stack: the rest happens at the end of the turn.
void Connection::session_over() {
  if (std::exchange(over_, true)) return;
  timer_.cancel();
  pump_timer_.cancel();
  // A next hop that told us off in order gets its QUIT, if that cannot be taken for the message.
  const auto& why = client_->trouble().reply;
  if (stream_->open() && !quitting_ && why.code != 0 && why.code != 421 && !client_->body_begun()) {
    stream_->output() += "QUIT\r\n";
    stream_->flush();
  }
  loop_.defer([this, alive = alive_]() noexcept {
    if (*alive && !gone_) after_session();
  });
}

void Connection::after_session() noexcept {
  stream_.reset();
  const bool had_message = delivery_.has_value();
  const bool in_transaction = client_->in_transaction();
  const auto trouble = client_->trouble();
  if (quitting_) return gone(closed_in_order());
  if (!had_message || !in_transaction) {
    if (client_->state() == ClientState::kOver && messages_ > 0 && !had_message)
      return gone(closed_in_order());  // an idle session that the next hop ended
    // One that greets well and goes before it took anything is as good as none: messages that came back
    // untried would come back for ever, without a failed attempt after which they may expire.
    if (messages_ == 0 && !had_message) had_session_ = false;
    // Refused before a session stood, perhaps with a message in hand from an earlier one.
    last_trouble_ = {ipc::GrantEnd::kTemporary, trouble.failure, trouble.reply, remote_};
    log::info("relay.refused").field("remote", remote_).field("reply", trouble.reply.text());
    client_.reset();
    return connect_next();
  }
  if (messages_ > 0 && client_->untouched()) {
    finish({});  // the next hop's limit of messages, or of patience
    return gone(closed_in_order());
  }
  if (messages_ == 0 && !client_->body_begun() && next_target_ < targets_.size()) {
    last_trouble_ = {ipc::GrantEnd::kTemporary, trouble.failure, trouble.reply, remote_};
    client_.reset();
    return connect_next();
  }
  finish(std::move(client_->verdicts()));
  gone(closed_in_order());
}

void Connection::gone(Trouble why) {
  if (std::exchange(gone_, true)) return;
  timer_.cancel();
  pump_timer_.cancel();
  if (why.remote.empty()) why.remote = remote_;
  loop_.defer([this, alive = alive_, why = std::move(why)]() mutable noexcept {
    if (*alive) owner_.on_gone(std::move(why));
  });
}

}  // namespace postern::relay
