#include "smtpd/session.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "common/base/random.h"
#include "common/log/log.h"
#include "smtpd/proxy_header.h"

namespace postern::smtpd {
namespace {

// A client that does not read its replies gets no more of them until it does.
constexpr std::size_t kMaxUnsent = 64 * 1024;
// Commands are taken in portions, so that this limit is seen between them however many come at
// once.
constexpr std::size_t kCommandPortion = 4 * 1024;
static_assert(kCommandPortion > Protocol::kMaxLine,
              "a portion without a whole line would be stuck");
// Closing takes at most this long, whether or not the client reads the last reply.
constexpr base::Millis kCloseTimeout{10'000};
// Both sides compute for some milliseconds; what takes longer is the network, or a client that wants to
// keep us busy.
constexpr base::Millis kHandshakeTimeout{30'000};

base::Millis duration(TimeoutKind kind, const config::Timeouts& t) {
  switch (kind) {
    case TimeoutKind::kNone:
      return base::Millis(0);
    case TimeoutKind::kIdle:
      return t.idle;
    case TimeoutKind::kCommand:
      return t.command;
    case TimeoutKind::kData:
      return t.data;
    case TimeoutKind::kTls:
      return kHandshakeTimeout;
  }
  std::unreachable();
}

}  // namespace

Session::Session(SessionContext& context, const Service& service, base::UniqueFd fd,
                 base::IpAddress peer, ClientDesk::Place place, Ended ended, std::optional<TlsFacts> kept)
    : context_(context),
      service_(&service),
      listener_(service.listener),
      ended_(std::move(ended)),
      stream_(context.loop, std::move(fd), *this),
      client_place_(std::move(place)),
      protocol_(service, service.local ? std::nullopt : std::optional(peer), *this),
      body_(context.link, context.budget, [this]() noexcept { on_body_resumed(); }),
      timer_(context.loop, [this]() noexcept { check_deadline(); }),
      opened_(context.clock.steady()),
      awaits_proxy_(service.rights->expects_proxy(service.listener, peer)) {
  (void)log::debug("session.open").field("client", peer);
  if (service.local)
    identify_user();
  else if (awaits_proxy_)
    start_deadline(kProxyTimeout);
  else
    begin(std::move(kept));
}

// Nobody has to say who that is: auth asks the kernel.
void Session::identify_user() {
  auto copy = base::UniqueFd::adopt(::fcntl(stream_.fd(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) {
    protocol_.turn_away("too many connections");
    return answer_client();
  }
  protocol_.await_user();
  login_ = base::random_token();
  context_.auth.log_in_user(login_, std::move(copy), login_answer());
}

void Session::begin(std::optional<TlsFacts> kept) {
  context_.names.look_up(client());
  if (origin().proxied && !take_client_place()) {
    if (service_->tls == config::TlsMode::kImplicit) return finish("too many connections");
    protocol_.turn_away("too many connections from your address");
  } else if (kept) {
    protocol_.secured(*std::move(kept));
  } else if (service_->tls != config::TlsMode::kImplicit) {
    protocol_.start();
  } else if (context_.tls.make_room(context_.clock.steady())) {
    shake_hands();
  } else {
    return finish("TLS is not available");
  }
  answer_client();
}

Session::~Session() {
  *alive_ = false;
}

void Session::reconfigure(const Service& service) {
  service_ = &service;
  protocol_.reconfigure(service);
}

void Session::shutdown() {
  if (bridge_) return start_deadline(kTurnedStop);
  protocol_.shutdown();
  answer_client();
}

// --- Bytes --------------------------------------------------------------------------------------

std::size_t Session::on_input(std::string_view bytes) noexcept {
  if (bridge_) return bridge_->on_input(bytes);
  if (awaits_proxy_) return read_proxy_header(bytes);
  return read_commands(bytes);
}

std::size_t Session::read_commands(std::string_view bytes) {
  const auto choked = [this] { return stream_.unsent() + protocol_.output().size() >= kMaxUnsent; };
  std::size_t used = 0;
  while (used < bytes.size() && protocol_.want() == Want::kInput && !choked()) {
    const bool body = protocol_.timeout() == TimeoutKind::kData;
    const auto most = body ? bytes.size() : std::max(kCommandPortion, protocol_.longest_line());
    const auto step = protocol_.input(bytes.substr(used, most));
    if (step == 0) break;  // an incomplete line
    used += step;
    if (body) body_bytes_ += step;
  }
  if (protocol_.want() == Want::kTls) begin_tls(used == bytes.size());
  if (protocol_.want() == Want::kTurn) protocol_.start_turn(used == bytes.size());
  // Whoever sends on while we owe an answer, or does not read, waits in the kernel's buffer.
  if (used < bytes.size() && protocol_.want() != Want::kInput) stream_.pause();
  if (used < bytes.size() && choked()) {
    stream_.pause();
    // Where the kernel takes it all at once, no on_drained() follows.
    context_.loop.defer([this, alive = alive_]() noexcept {
      if (*alive && stream_.unsent() == 0) stream_.resume();
    });
  }
  after_step();
  return protocol_.want() == Want::kClose ? bytes.size() : used;
}

void Session::on_drained() noexcept {
  if (bridge_) return bridge_->on_drained();
  stream_.resume();
}

void Session::say_replies() {
  stream_.output() += protocol_.output();
  protocol_.output().clear();
}

void Session::after_step() {
  const bool spoke = !protocol_.output().empty();
  say_replies();
  const bool closing = protocol_.want() == Want::kClose;
  if (closing) stream_.close_after_flush();
  // A line that comes byte by byte does not win time, a body's next piece does.
  const auto kind = protocol_.timeout();
  const auto& limits = service_->limits;
  if (deadline_.ms != 0 && (in_message_ || awaited_ == TimeoutKind::kData))
    patience_.came(std::exchange(body_bytes_, 0), context_.clock.steady(), limits.timeout.data, limits.data_rate);
  if (spoke || kind != awaited_ || kind == TimeoutKind::kData) set_deadline(kind);
}

// Outside on_input(), the stream does not send by itself.
void Session::answer_client() noexcept {
  after_step();
  stream_.flush();
}

void Session::on_closed(event::CloseReason reason) noexcept {
  if (bridge_) return bridge_->on_closed(reason);
  switch (reason) {
    case event::CloseReason::kEndOfStream:
      return finish("client closed");
    case event::CloseReason::kError:
      return finish(tls_ != nullptr && tls_->state() == event::Filter::State::kFailed
                        ? "TLS failed"
                        : "connection lost");
    case event::CloseReason::kFlushed:
      return finish("closed");
  }
}

void Session::finish(std::string_view reason) noexcept {
  if (std::exchange(finished_, true)) return;
  timer_.cancel();
  bridge_.reset();
  stream_.close();
  body_.clear();
  place_ = {};
  client_place_ = {};
  log_out();
  const auto lasted = context_.clock.steady() - opened_;
  auto line = log::info("session.close")
                  .field("client", client())
                  .field("hello", protocol_.hello())
                  .field("messages", protocol_.messages())
                  .field("ms", lasted.count())
                  .field("reason", reason);
  if (const auto peer = origin().peer; client() != peer)
    (void)std::move(line).field("peer", peer);
  if (const auto& tls = protocol_.tls()) (void)std::move(line).field("tls", tls->text);
  if (!account().empty()) (void)std::move(line).field("account", account());
  if (const auto* known = context_.names.find(client()); known != nullptr && !known->name.empty())
    (void)std::move(line).field("name", known->name);
  if (tls_ != nullptr && !tls_->trouble().empty())
    (void)std::move(line).field("tls_error", tls_->trouble());
  context_.loop.defer([this, alive = alive_]() noexcept {
    if (*alive) ended_(this);
  });
}

// --- Time ---------------------------------------------------------------------------------------

// The timer is only moved when it fires, or fires too late: most deadlines are passed by long
// before.
void Session::set_deadline(TimeoutKind kind) {
  if (finished_) return;
  const auto before = std::exchange(awaited_, kind);
  const auto& timeout = service_->limits.timeout;
  const auto wait = protocol_.want() == Want::kClose ? kCloseTimeout : duration(kind, timeout);
  if (wait.count() == 0) {
    deadline_ = {};
    return;
  }
  const auto now = context_.clock.steady();
  // A chunk that is refused is of no message, and has its own time. Between chunks it is the message that is
  // waited for, too.
  if (kind == TimeoutKind::kData && before != kind && !in_message_) patience_.begin(timeout.data, now);
  const bool message = kind == TimeoutKind::kData || (in_message_ && kind == TimeoutKind::kCommand);
  start_deadline(message ? std::min(wait, patience_.wait(now)) : wait);
}

void Session::start_deadline(base::Millis wait) {
  deadline_ = context_.clock.steady() + wait;
  if (timer_.running() && timer_due_ <= deadline_) return;
  timer_due_ = deadline_;
  timer_.start(wait);
}

void Session::check_deadline() noexcept {
  if (finished_ || deadline_.ms == 0) return;  // we are waited for, or no limit is set
  const auto left = deadline_ - context_.clock.steady();
  if (left.count() > 0) {
    timer_due_ = deadline_;
    return timer_.start(left);
  }
  if (bridge_) return finish("turned round, and cut off");
  if (protocol_.want() == Want::kClose) return finish("did not read the last reply");
  if (awaits_proxy_) return refuse_proxy("no PROXY header came in time");
  if (awaited_ == TimeoutKind::kTls) return finish("TLS handshake took too long");
  protocol_.timed_out();
  answer_client();
}

// --- Clients behind others ----------------------------------------------------------------------

// What is wrong is not answered: what would read the answer is a client that knows of no header, or a
// proxy that does not do what this listener is made for.
std::size_t Session::read_proxy_header(std::string_view bytes) {
  const auto header = parse_proxy_header(bytes);
  if (!header) {
    refuse_proxy(header.error());
    return bytes.size();
  }
  if (!*header) return 0;
  const auto& [client, server, size] = **header;
  awaits_proxy_ = false;
  if (client) protocol_.proxied(client->address);
  auto line = log::debug("session.proxied").field("peer", origin().peer);
  if (client)
    (void)std::move(line)
        .field("client", base::to_string(*client))
        .field("server", base::to_string(*server));
  begin();
  // What follows: of the client, in clear text or for the TLS that stands between now.
  if (finished_) return bytes.size();
  if (tls_ != nullptr || size == bytes.size()) return size;
  return size + read_commands(bytes.substr(size));
}

void Session::refuse_proxy(std::string_view why) noexcept {
  (void)log::warning("proxy.refused")
      .field("peer", origin().peer)
      .field("listener", listener_.value)
      .field("reason", why);
  finish(why);
}

// Who may say XCLIENT has no limit until it does.
bool Session::take_client_place() {
  client_place_ = {};
  const auto origin = this->origin();
  if (!origin.claimed && service_->rights->may_claim(listener_, origin)) {
    client_place_ = context_.clients.enter_unlimited(client());
    return true;
  }
  auto place = context_.clients.enter(client());
  if (place) client_place_ = *std::move(place);
  return place.has_value();
}

bool Session::introduced(const ClientAttributes& said) {
  (void)log::info("session.xclient")
      .field("peer", origin().peer)
      .field("client", client())
      .field("said", text_of(said));
  context_.names.look_up(client());
  return take_client_place();
}

ClientName Session::client_name(const base::IpAddress& client) {
  const auto* known = context_.names.find(client);
  if (known == nullptr || known->state == ipc::NameState::kUnclear) return ClientName::kUnclear;
  return known->state == ipc::NameState::kConfirmed ? ClientName::kConfirmed : ClientName::kNone;
}

// --- TLS ----------------------------------------------------------------------------------------

// STARTTLS came; `alone`: nothing behind it.
void Session::begin_tls(bool alone) {
  if (!alone) return protocol_.start_tls(TlsStart::kBytesBehind);
  if (!context_.tls.make_room(context_.clock.steady())) return protocol_.start_tls(TlsStart::kBusy);
  protocol_.start_tls(TlsStart::kReady);
  say_replies();  // the last words in clear text
  shake_hands();
}

void Session::shake_hands() {
  auto tls = context_.tls.accept(place_, context_.clock.steady(),
                                 [this]() noexcept { finish("TLS handshake took too long while others waited"); });
  tls_ = tls.get();
  stream_.put(std::move(tls));
}

void Session::on_filter_open() noexcept {
  place_ = {};
  auto facts = tls_->facts();
  (void)log::info("session.tls")
      .field("client", client())
      .field("version", facts.version)
      .field("cipher", facts.cipher)
      .field("name", facts.name)
      .field("resumed", facts.resumed)
      .field("certificate", facts.peer);
  const bool binds = !tls_->exporter_binding().empty();
  protocol_.secured({facts.version + ' ' + facts.cipher, std::move(facts.peer), binds});
  after_step();
}

// --- Messages -----------------------------------------------------------------------------------

void Session::begin(const Envelope&) {
  body_.clear();
  body_bytes_ = 0;
  in_message_ = true;
  patience_.begin(service_->limits.timeout.data, context_.clock.steady());
}

void Session::abort() {
  in_message_ = false;
  body_.clear();
}

void Session::end(Envelope&& envelope, const BodyFacts& facts) {
  in_message_ = false;
  if (auto reply = body_.failure()) {
    body_.clear();
    context_.loop.defer(
        [this, alive = alive_, refusal = Refused{*std::move(reply)}]() mutable noexcept {
          if (*alive) on_result(std::move(refusal));
        });
    return;
  }
  auto submission = std::make_unique<Submission>();
  submission->token = base::random_token();
  submission->listener = listener_;
  submission->origin = origin();
  submission->session = login_;
  submission->envelope = std::move(envelope);
  // What XCLIENT said comes from who knows.
  if (const auto* known = context_.names.find(client());
      known != nullptr && submission->envelope.client_name.empty())
    submission->envelope.client_name = known->name;
  if (facts.binary) submission->form = ipc::BodyForm::kBinary;
  submission->has_date = facts.has_date;
  submission->has_message_id = facts.has_message_id;
  submission->began = context_.clock.steady();
  submission->done = [this, weak = std::weak_ptr(alive_)](SubmissionResult result) noexcept {
    const auto alive = weak.lock();
    if (alive && *alive) on_result(std::move(result));
  };
  body_.move_to(*submission);
  context_.link.submit(std::move(submission));
}

void Session::ask(const mail::Address& recipient) {
  context_.link.ask_recipient(
      recipient,
      [this, weak = std::weak_ptr(alive_)](const std::optional<mail::Reply>& refusal) noexcept {
        const auto alive = weak.lock();
        if (alive && *alive) on_answer(refusal);
      });
}

void Session::on_answer(const std::optional<mail::Reply>& refusal) noexcept {
  if (finished_ || protocol_.want() != Want::kAnswer) return;  // closed meanwhile
  protocol_.answered(refusal ? &*refusal : nullptr);
  answer_client();
  stream_.resume();
}

void Session::start_queue(const mail::Domain& queue) {
  ipc::StartQueue start;
  start.listener = listener_;
  start.origin = origin();
  if (!account().empty()) start.session = login_;
  start.queue = queue.text();
  context_.link.start_queue(std::move(start), [this, weak = std::weak_ptr(alive_)](const mail::Reply& reply) noexcept {
    const auto alive = weak.lock();
    if (alive && *alive) on_started(reply);
  });
}

void Session::on_started(const mail::Reply& reply) noexcept {
  if (finished_ || protocol_.want() != Want::kAnswer) return;  // closed meanwhile
  protocol_.started(reply);
  answer_client();
  stream_.resume();
}

void Session::turn_session(std::vector<std::string> queues) {
  ipc::TurnSession turn;
  turn.listener = listener_;
  turn.origin = origin();
  turn.session = login_;
  if (const auto& tls = protocol_.tls()) turn.tls = tls->text.substr(0, mail::kMaxTlsText);
  turn.queues = std::move(queues);
  context_.link.turn_session(std::move(turn), [this, weak = std::weak_ptr(alive_)](const mail::Reply& reply,
                                                                                    base::UniqueFd lent) noexcept {
    const auto alive = weak.lock();
    if (alive && *alive) on_turned(reply, std::move(lent));
  });
}

// The reply is the last that is said here: behind it the relay speaks, and hears what the client says.
void Session::on_turned(const mail::Reply& reply, base::UniqueFd lent) noexcept {
  if (finished_ || protocol_.want() != Want::kAnswer) return;  // closed meanwhile
  protocol_.turned(reply, stream_.kept().empty());
  answer_client();
  if (finished_ || protocol_.want() != Want::kTurned) return stream_.resume();
  (void)log::info("session.turned").field("client", client()).field("account", account());
  bridge_ = std::make_unique<event::Bridge>(context_.loop, stream_, std::move(lent),
                                            [this](event::BridgeEnd end) noexcept { on_turn_over(end); });
  stream_.resume();
}

void Session::on_turn_over(const event::BridgeEnd& end) noexcept {
  switch (end.by) {
    case event::BridgeEnd::By::kFar:
      return finish("turned round, and ended by the client");
    case event::BridgeEnd::By::kNear:
      return finish("turned round, and ended by the relay");
    case event::BridgeEnd::By::kNobody:
      return finish("turned round, and stuck");
  }
}

void Session::on_result(SubmissionResult result) noexcept {
  if (finished_) return;
  if (std::holds_alternative<Unknown>(result)) return finish("queue did not answer");
  if (const auto* accepted = std::get_if<Accepted>(&result))
    protocol_.accepted(accepted->id);
  else
    protocol_.refused(std::get<Refused>(result).reply);
  answer_client();
  stream_.resume();
}

// --- Logins -------------------------------------------------------------------------------------

AuthLink::Answered Session::login_answer() {
  return [this, login = login_, weak = std::weak_ptr(alive_)](LoginStep step) noexcept {
    const auto alive = weak.lock();
    if (alive && *alive && login == login_) on_login_step(std::move(step));
  };
}

void Session::log_in(const LoginStart& start) {
  login_ = base::random_token();
  ipc::Login login;
  login.session = login_;
  login.client = client();
  login.mechanism = start.mechanism;
  login.plus_offered = start.plus_offered;
  if (tls_ != nullptr) {
    login.tls_exporter = tls_->exporter_binding();
    login.tls_unique = tls_->unique_binding();
  }
  if (start.initial) login.initial.emplace(*start.initial);
  context_.auth.log_in(std::move(login), login_answer());
}

void Session::login_response(std::string_view response) {
  context_.auth.respond(login_, response, login_answer());
}

void Session::log_out() {
  if (login_ == base::Token{}) return;
  context_.auth.end(login_);
  login_ = {};
}

void Session::on_login_step(LoginStep step) noexcept {
  if (finished_ || protocol_.want() != Want::kLogin) return;  // given up meanwhile
  const bool ended = step.result == LoginStep::Result::kRefused ||
                     step.result == LoginStep::Result::kUnavailable;
  if (ended) log_out();  // the next one is another
  protocol_.login_answered(std::move(step));
  answer_client();
  stream_.resume();
}

void Session::end_login() {
  if (bridge_) return start_deadline(kTurnedLock);
  protocol_.end_login();
  answer_client();
}

// --- Messages -----------------------------------------------------------------------------------

void Session::on_body_resumed() noexcept {
  if (finished_) return;
  protocol_.resume();
  answer_client();
  stream_.resume();
}

void Session::refused(const Refusal& refusal) {
  auto line = log::info("message.refused")
                  .field("client", client())
                  .field("hello", protocol_.hello())
                  .field("address", refusal.address)
                  .field("reply", refusal.reply);
  if (const auto peer = origin().peer; client() != peer)
    (void)std::move(line).field("peer", peer);
}

}  // namespace postern::smtpd
