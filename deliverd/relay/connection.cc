#include "deliverd/relay/connection.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "common/log/log.h"
#include "common/mail/utf8_scan.h"
#include "common/sasl/nonce.h"

namespace postern::relay {
namespace {

constexpr std::size_t kChunk = 64 * 1024;       // of a large body, read at once
constexpr std::size_t kChunksInTurn = 4;        // then other connections have their turn
constexpr base::Millis kBodyBlock{3 * 60'000};  // RFC 5321 4.5.3.2.5
constexpr mail::EnhancedCode kUnfit{5, 6, 0};
constexpr std::string_view kUnfitText =
    "the stored message cannot be sent: a bare CR or LF, or an end before its end";
constexpr std::string_view kChangedText = "the stored message is not as long as it was";

// Calls `each` with the file's bytes, piece by piece, until it says false or there are no more.
template <class Each>
void read_file(int file, std::uint64_t size, Each each) {
  std::string piece(kChunk, '\0');
  for (std::uint64_t at = 0; at < size;) {
    const auto want = std::min<std::uint64_t>(piece.size(), size - at);
    const auto got = ::pread(file, piece.data(), want, static_cast<off_t>(at));
    if (got <= 0) return;  // it cannot be sent either, and that tells more
    if (!each(std::string_view(piece).substr(0, static_cast<std::size_t>(got)))) return;
    at += static_cast<std::uint64_t>(got);
  }
}

// Does the file hold bytes above 127? Only asked where the next hop cannot take them.
bool file_has_eight_bit(int file, std::uint64_t size) {
  bool found = false;
  read_file(file, size, [&](std::string_view piece) { return !(found = has_eight_bit(piece)); });
  return found;
}

std::uint64_t plain_size_of_file(int file, std::uint64_t size) {
  PlainSize plain;
  read_file(file, size, [&](std::string_view piece) { return plain.add(piece), true; });
  return plain.bytes();
}

std::vector<std::string> domains_of(const ipc::Lease& lease) {
  std::vector<std::string> domains;
  for (const auto& recipient : lease.recipients) domains.push_back(recipient.address.domain().text());
  return domains;
}

Trouble closed_in_order() {
  Trouble t;
  t.end = ipc::GrantEnd::kClosed;
  return t;
}

TlsUse use_of(const Plan& plan, bool fell_back) {
  if (plan.implicit) return TlsUse::kFromStart;
  switch (plan.need) {
    case Need::kClear:
      return TlsUse::kNever;
    case Need::kTry:
      return fell_back ? TlsUse::kNever : TlsUse::kIfOffered;
    case Need::kEncrypt:
    case Need::kVerify:
    case Need::kDane:
      break;
  }
  return TlsUse::kAlways;
}

}  // namespace

Connection::Connection(event::Loop& loop, std::string hostname, Way way, TlsDesk& tls,
                       ConnectionOwner& owner, base::Millis idle)
    : loop_(loop),
      hostname_(std::move(hostname)),
      hop_(std::move(way.hop)),
      targets_(std::move(way.targets)),
      sockets_(way.sockets),
      account_(std::move(way.account)),
      sources_(way.sources.for_hop(hop_)),
      desk_(tls),
      owner_(owner),
      idle_(idle),
      timer_(loop, [this]() noexcept { on_timeout(); }),
      pump_timer_(loop, [this]() noexcept { pump(); }) {
  CHECK(!targets_.empty());
  for (const auto& target : targets_) unheard_.push_back(target.host);
  CHECK(hop_.kind != config::HopKind::kSocket || sockets_ != nullptr);
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
  if (targets_.empty() || dismissed_) return nobody_left();
  remote_ = remote_name(targets_.front());
  if (hop_.kind == config::HopKind::kSocket) return plug_in();
  if (!clear_why_.empty()) return race(std::move(plan_));
  auto query = desk_.plan(hop_, targets_.front(),
                          [this](Planned plan) noexcept { race(std::move(plan)); });
  // One that was answered at once may have led to the next host, whose question is the one to keep.
  if (query.active()) planning_ = std::move(query);
}

// Only the address where TLS failed is spoken to in clear.
void Connection::race(Planned plan) noexcept {
  const auto host = targets_.front().host;
  if (!plan) {
    last_trouble_ = std::move(plan.error());
    log::info("relay.tls").field("remote", remote_).field("error", last_trouble_.reply.text());
    forget_host(host);
    return connect_next();
  }
  plan_ = *std::move(plan);
  std::vector<base::Endpoint> endpoints;
  for (const auto& target : targets_) {
    if (target.host != host || (!clear_why_.empty() && !endpoints.empty())) break;
    endpoints.push_back(target.endpoint);
  }
  tried_.assign(endpoints.size(), false);
  remote_ = remote_name(targets_.front());
  race_ = std::make_unique<Race>(loop_, std::move(endpoints), *this, Dial{sources_, hop_.socks, host});
}

void Connection::plug_in() {
  plan_ = {};
  tried_.assign(1, false);
  sockets_->connect(hop_.host, [this, alive = alive_](
                                   std::expected<base::UniqueFd, std::string> fd) noexcept {
    if (!*alive || gone_) return;
    if (fd) return on_connected(0, *std::move(fd));
    on_attempt_failed(0, fd.error());
    on_nobody();
  });
}

// Where a host did take us, the message in hand is the trouble, not the next hop.
void Connection::nobody_left() {
  if (delivery_ && dismissed_) {
    finish({});
  } else if (delivery_) {
    const Verdict verdict{ipc::Result::kDeferred, last_trouble_.failure, last_trouble_.reply, {}};
    finish(std::vector<Verdict>(delivery_->lease.recipients.size(), verdict));
  }
  gone(had_session_ || dismissed_ ? closed_in_order() : last_trouble_);
}

void Connection::on_attempt_failed(std::size_t number, std::string_view why) noexcept {
  tried_[number] = true;
  remote_ = remote_name(targets_[number]);
  last_trouble_ = {ipc::GrantEnd::kTemporary, ipc::FailureClass::kConnect, {}, remote_};
  last_trouble_.reply.enhanced = {4, 4, 1};  // no answer from host
  last_trouble_.reply.lines.push_back("connecting: " + std::string(why));
  auto line = log::info("relay.connect").field("remote", remote_).field("error", why);
  if (const auto source = source_of(number)) (void)std::move(line).field("source", *source);
}

// That we chose; a Unix socket has no race, and nothing of the kind.
std::optional<base::IpAddress> Connection::source_of(std::size_t number) const {
  return race_ ? race_->source(number) : std::nullopt;
}

void Connection::on_connected(std::size_t number, base::UniqueFd fd) noexcept {
  remote_ = remote_name(targets_[number]);
  tried_[number] = true;
  target_ = targets_[number];
  if (const auto source = source_of(number))
    log::info("relay.source").field("remote", remote_).field("source", *source);
  forget_tried();
  note_ = {};
  stream_ = std::make_unique<event::Stream>(loop_, std::move(fd), *this);
  client_.emplace(hostname_, use_of(plan_, !clear_why_.empty()),
                  hop_.lmtp ? Dialect::kLmtp : Dialect::kSmtp, login());
  over_ = false;
  if (client_->state() == ClientState::kTls) begin_tls();
  if (!over_) arm();
}

std::optional<Login> Connection::login() const {
  if (!account_) return std::nullopt;
  CHECK(plan_.need == Need::kVerify);
  return Login(account_, sasl::fresh_nonce());
}

void Connection::on_nobody() noexcept {
  forget_tried();
  clear_why_.clear();
  connect_next();
}

// Those that only lost the race may still be needed.
void Connection::forget_tried() {
  race_.reset();
  std::size_t number = 0;
  std::erase_if(targets_,
                [&](const Target&) { return number < tried_.size() && tried_[number++]; });
}

void Connection::forget_host(const std::string& host) {
  std::erase_if(targets_, [&](const Target& target) { return target.host == host; });
}

// --- The session
// ----------------------------------------------------------------------------------

std::size_t Connection::on_input(std::string_view bytes) noexcept {
  std::size_t used = 0;
  while (used < bytes.size() && !over_) {
    const auto replies = client_->replies();
    const auto step = client_->on_input(bytes.substr(used), stream_->output(), dot_left());
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
    case Client::Event::kTls:
      return begin_tls();
    case Client::Event::kReady:
      had_session_ = true;
      if (!client_->in_tls()) note_clear();
      if (const auto& login = client_->login())
        log::info("relay.login")
            .field("remote", remote_)
            .field("account", login->user())
            .field("mechanism", sasl::name(login->mechanism()));
      tell_policy_complaint();
      if (delivery_) return begin();  // it comes from a session that broke
      arm();
      return owner_.on_ready();
    case Client::Event::kBody:
      return send_body();
    case Client::Event::kChunk:
      return send_chunk();
    case Client::Event::kFinished:
      return finished(std::move(client_->verdicts()));
    case Client::Event::kOver:
      return session_over();
  }
}

// --- TLS
// ------------------------------------------------------------------------------------------

void Connection::begin_tls() {
  auto session = desk_.begin(plan_, target_);
  if (!session) {
    client_->tls_failed("none of its TLSA records can be used");
    return session_over();
  }
  session_ = session.get();
  stream_->put(std::move(session));
  arm();
  stream_->flush();
}

void Connection::on_filter_open() noexcept {
  if (over_) return;
  note_ = note_of(plan_, session_->facts());
  client_->secured(stream_->output());
  arm();
}

// Why nobody is kept from reading.
void Connection::note_clear() {
  if (hop_.kind == config::HopKind::kSocket) return;  // there is nobody on the way
  auto why = plan_.need == Need::kClear        ? std::string("none: off")
             : !clear_why_.empty()             ? "none: " + clear_why_
             : !client_->tls_refusal().empty() ? "none: refused: " + client_->tls_refusal()
                                               : "none: not offered";
  why.resize(std::min(why.size(), ipc::TlsNote::kMost));
  note_ = {std::move(why), {}};
}

// A policy that is being tested stops nothing; its domain and we should hear what it would have stopped.
void Connection::tell_policy_complaint() {
  if (const auto complaint = policy_complaint(plan_, note_); !complaint.empty())
    log::warning("relay.mta_sts")
        .field("remote", remote_)
        .field("domain", target_.domain)
        .field("mode", "testing")
        .field("error", complaint);
}

// TLS that was only tried failed: the same address once more, in clear.
void Connection::fall_back_if_it_may() {
  const bool may = plan_.need == Need::kTry && clear_why_.empty() && client_->tls_failed();
  clear_why_.clear();
  if (!may) return;
  clear_why_ = client_->trouble().reply.text();
  targets_.insert(targets_.begin(), target_);
  log::warning("relay.tls")
      .field("remote", remote_)
      .field("error", clear_why_)
      .field("then", "once more, in clear");
}

// --- Messages
// -------------------------------------------------------------------------------------

void Connection::deliver(deliverd::Delivery delivery) {
  CHECK(ready());
  delivery_ = std::move(delivery);
  begin();
  stream_->flush();
}

void Connection::begin() {
  auto message = envelope();
  if (auto lack = client_->lack_of_tls(message)) return find_better_host(*std::move(lack));
  handle(client_->begin(std::move(message), stream_->output()));
}

// RFC 8689 4.2.1. TLS that failed, or was refused, may be there another time; so may a host that could not be asked.
void Connection::find_better_host(Verdict lack) {
  log::info("relay.unfit")
      .field("id", delivery_->lease.message)
      .field("remote", remote_)
      .field("reply", lack.reply.text());
  if (clear_why_.empty() && client_->tls_refusal().empty()) std::erase(unheard_, target_.host);
  forget_host(target_.host);
  if (!targets_.empty()) {
    went_on_ = true;
    client_->quit(stream_->output());
    session_over();
    stream_->flush();
    return;
  }
  if (!unheard_.empty()) {
    lack.result = ipc::Result::kDeferred;
    lack.reply.enhanced.status = 4;
  }
  finished(std::vector<Verdict>(delivery_->lease.recipients.size(), lack));
}

Envelope Connection::envelope() const {
  const auto& lease = delivery_->lease;
  Envelope e;
  e.from = lease.from.text();
  e.size = message_size();
  e.utf8_from = lease.from.needs_utf8();
  e.utf8_header = lease.smtputf8 && needs_utf8();
  e.in_memory = !lease.large;
  // Behind a socket of this host there is nobody on the way.
  e.require_tls = lease.tls_wish == mail::TlsWish::kRequired && hop_.kind != config::HopKind::kSocket;
  e.ret = lease.ret;
  e.envid = lease.envid;
  e.probe = delivery_->probe;
  e.recipients.reserve(lease.recipients.size());
  for (const auto& recipient : lease.recipients)
    e.recipients.push_back({recipient.address.text(), recipient.notify, recipient.orcpt,
                            recipient.address.needs_utf8()});
  if (e.require_tls) e.doubt = identity_doubt(target_, note_, domains_of(lease));
  // What is in the message counts, not what its client said of it.
  e.binary = lease.form == ipc::BodyForm::kBinary;
  e.eight_bit = has_eight_bit(lease.prefix) || has_eight_bit(delivery_->body) || e.utf8_header;
  if (lease.large && !e.eight_bit && !e.binary)
    e.eight_bit = client_->features().eight_bit
                      ? lease.eight_bit
                      : file_has_eight_bit(delivery_->file.get(), lease.body_size);
  return e;
}

// Dots that are stuffed are none of it (RFC 1870 5), but whoever counts them has to read it whole: so only where they
// decide whether the next hop takes it.
std::uint64_t Connection::message_size() const {
  const auto& lease = delivery_->lease;
  const auto stored = lease.prefix.size() + lease.body_size;
  const auto most = client_->features().max_size;
  if (most == 0 || stored <= most) return stored;
  if (lease.large) return lease.prefix.size() + plain_size_of_file(delivery_->file.get(), lease.body_size);
  PlainSize plain;
  plain.add(delivery_->body);
  return lease.prefix.size() + plain.bytes();
}

// Who says SMTPUTF8 need not mean it (RFC 6531 3.6): such a message may go anywhere.
bool Connection::needs_utf8() const {
  const auto& lease = delivery_->lease;
  if (has_eight_bit(lease.prefix)) return true;
  mail::Utf8Scan scan;
  scan.feed(delivery_->body);
  if (lease.large)
    read_file(delivery_->file.get(), lease.body_size, [&](std::string_view chunk) {
      scan.feed(chunk);
      return !scan.over();
    });
  return scan.found();
}

void Connection::finished(std::vector<Verdict> verdicts) {
  ++messages_;
  arm();
  finish(std::move(verdicts));
}

void Connection::finish(std::vector<Verdict> verdicts) {
  delivery_.reset();
  owner_.on_done(std::move(verdicts));
}

void Connection::send_body() {
  auto& out = stream_->output();
  const auto begin = out.size();
  append_prefix(delivery_->lease.prefix, out);
  check_ = {};
  if (delivery_->lease.large) {
    if (!check_.passes(std::string_view(out).substr(begin))) {
      out.resize(begin);
      return give_up_body(kUnfit, kUnfitText);
    }
    return start_pump();
  }
  out += delivery_->body;
  out += terminator(std::string_view(out).substr(begin));
  if (!check_.passes_end(std::string_view(out).substr(begin))) {
    out.resize(begin);
    return give_up_body(kUnfit, kUnfitText);
  }
  client_->body_sent();
  arm();
}

void Connection::send_chunk() {
  const auto& [lease, body, file, probe] = *delivery_;
  const bool text = lease.form == ipc::BodyForm::kStuffed;
  check_ = {};
  if (!check_.passes(lease.prefix) ||
      (text && (!check_.passes(body) || !check_.passes_end(terminator(body.empty() ? lease.prefix : body)))))
    return give_up_body(kUnfit, kUnfitText);
  auto& out = stream_->output();
  if (lease.large) {
    chunk_left_ = plain_size_of_file(file.get(), lease.body_size);
    unstuffer_ = mail::Unstuffer(mail::LineEnd::kCrLf);
    client_->chunk(lease.prefix.size() + chunk_left_, out);
    out += lease.prefix;
    return start_pump();
  }
  const auto plain = plain_message(lease.prefix, body, lease.form);
  client_->chunk(plain.size(), out);
  out += plain;
  client_->body_sent();
  arm();
}

void Connection::start_pump() {
  body_offset_ = 0;
  body_tail_.clear();
  timer_.start(kBodyBlock);
  pump_timer_.start(base::Millis(0));
}

// The message ends unsent, and with it the session.
void Connection::give_up_body(mail::EnhancedCode code, std::string_view why) {
  log::error("relay.body").field("id", delivery_->lease.message).field("error", why);
  client_->body_failed(code, why);
  session_over();
}

// Sends the next pieces of a large body, as long as the peer takes them.
void Connection::pump() noexcept {
  if (over_ || !client_ || client_->state() != ClientState::kBody) return;
  for (std::size_t i = 0; i < kChunksInTurn; ++i) {
    if (stream_->unsent() > kChunk) return timer_.start(kBodyBlock);  // on_drained() goes on
    if (body_offset_ == delivery_->lease.body_size) return end_pump();
    if (!read_piece()) return;
    stream_->flush();
    if (over_) return;
  }
  timer_.start(kBodyBlock);
  pump_timer_.start(base::Millis(0));
}

void Connection::end_pump() {
  if (delivery_->lease.form == ipc::BodyForm::kBinary) {
    if (chunk_left_ != 0) return give_up_body({4, 3, 0}, kChangedText);
  } else {
    const auto end = terminator(body_tail_);
    if (!check_.passes_end(end)) return give_up_body(kUnfit, kUnfitText);
    stream_->output() += end;
  }
  client_->body_sent();
  stream_->flush();
  if (!over_) arm();
}

// false: the session is over.
bool Connection::read_piece() {
  auto& out = stream_->output();
  const auto before = out.size();
  out.resize(before + std::min<std::size_t>(delivery_->lease.body_size - body_offset_, kChunk));
  ssize_t got;
  do {
    got = ::pread(delivery_->file.get(), out.data() + before, out.size() - before,
                  static_cast<off_t>(body_offset_));
  } while (got < 0 && errno == EINTR);
  out.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  const auto piece = std::string_view(out).substr(before);
  if (got <= 0) {
    give_up_body({4, 3, 0}, got < 0 ? ::strerrordesc_np(errno) : "the stored message is too short");
  } else if (delivery_->lease.form == ipc::BodyForm::kBinary) {
    body_offset_ += piece.size();
    put_plain(std::string(piece), before);
  } else if (!check_.passes(piece)) {
    out.resize(before);
    give_up_body(kUnfit, kUnfitText);
  } else {
    body_offset_ += piece.size();
    body_tail_ += piece.substr(piece.size() - std::min<std::size_t>(2, piece.size()));
    if (body_tail_.size() > 2) body_tail_.erase(0, body_tail_.size() - 2);
  }
  return !over_;
}

// In place of the stuffed piece, which stands in the output from `before` on. Never more than was said in front of
// the chunk: the next hop would take the rest for commands.
void Connection::put_plain(const std::string& piece, std::size_t before) {
  auto& out = stream_->output();
  out.resize(before);
  unstuffer_.feed(piece, out);
  const auto size = out.size() - before;
  if (size <= chunk_left_) {
    chunk_left_ -= size;
    return;
  }
  out.resize(before);
  give_up_body({4, 3, 0}, kChangedText);
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
  if (!client_ || over_) return;
  if (client_->state() == ClientState::kReady) return quit();
  client_->timed_out(dot_left());
  session_over();
}

void Connection::on_closed(event::CloseReason reason) noexcept {
  if (over_) return;
  const bool error = reason == event::CloseReason::kError;
  const bool tls_broke = error && stream_->error() == 0;
  const auto state = client_->state();
  if (tls_broke && (state == ClientState::kTls || (state == ClientState::kEhlo && client_->in_tls())))
    client_->tls_failed(session_->trouble());
  else
    client_->lost(tls_broke ? "TLS broke (" + session_->trouble() + ")"
                  : error   ? fmt::format("connection lost ({})", ::strerrordesc_np(stream_->error()))
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
  planning_ = {};
  race_.reset();
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
  planning_ = {};
  race_.reset();
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
  session_ = nullptr;
  const bool had_message = delivery_.has_value();
  const bool in_transaction = client_->in_transaction();
  const auto trouble = client_->trouble();
  if (quitting_) return gone(closed_in_order());
  if (client_->state() == ClientState::kQuit) {  // for a better host
    clear_why_.clear();
    client_.reset();
    return connect_next();
  }
  if (!had_message || !in_transaction) {
    if (client_->state() == ClientState::kOver && messages_ > 0 && !had_message)
      return gone(closed_in_order());  // an idle session that the next hop ended
    // One that greets well and goes before it took anything is as good as none: messages that came back
    // untried would come back for ever, without a failed attempt after which they may expire.
    if (messages_ == 0 && !had_message) had_session_ = false;
    // Refused before a session stood, perhaps with a message in hand from an earlier one.
    last_trouble_ = {ipc::GrantEnd::kTemporary, trouble.failure, trouble.reply, remote_};
    log::info("relay.refused").field("remote", remote_).field("reply", trouble.reply.text());
    fall_back_if_it_may();
    // The other addresses are this host's, too: asked again and again it may lock the account.
    if (trouble.failure == ipc::FailureClass::kLogin && trouble.reply.permanent()) targets_.clear();
    client_.reset();
    return connect_next();
  }
  if (messages_ > 0 && client_->untouched()) {
    finish({});  // the next hop's limit of messages, or of patience
    return gone(closed_in_order());
  }
  if (messages_ == 0 && !client_->body_begun() && !targets_.empty()) {
    last_trouble_ = {ipc::GrantEnd::kTemporary, trouble.failure, trouble.reply, remote_};
    clear_why_.clear();
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
