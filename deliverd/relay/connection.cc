#include "deliverd/relay/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "common/log/log.h"
#include "common/mail/utf8_scan.h"
#include "common/sasl/nonce.h"
#include "deliverd/relay/body_file.h"

namespace postern::relay {
namespace {

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

// Our own words on a session that cannot be secured say who demands that it is.
mail::Reply with_demand(mail::Reply reply, const Plan& plan) {
  const bool demanded = plan.need != Need::kClear && plan.need != Need::kTry;
  if (demanded && reply.code == 0 && !reply.lines.empty()) reply.lines.back() += "; " + plan.why;
  return reply;
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
      turned_(std::move(way.turned)),
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

// Whom a connection to such a next hop is to belong to is known with its message.
void Connection::start() {
  if (hop_.pass_client != config::PassClient::kProxy) return connect_next();
  waiting_ = true;
  timer_.start(idle_);
  owner_.on_ready();
}

void Connection::start(base::UniqueFd lent) {
  CHECK(turned_ && targets_.size() == 1);
  tried_.assign(1, false);
  on_connected(0, std::move(lent));
}

bool Connection::ready() const noexcept {
  if (over_ || quitting_ || gone_ || delivery_) return false;
  return waiting_ ||
         (client_ && (client_->state() == ClientState::kReady || client_->state() == ClientState::kNoop));
}

bool Connection::spent() const noexcept {
  const bool of_one_client = hop_.pass_client == config::PassClient::kXclient ||
                             hop_.pass_client == config::PassClient::kProxy;
  return at_limit() || (of_one_client && client_ && messages_ > 0);
}

bool Connection::at_limit() const noexcept { return went_on_ || (client_ && client_->spent()); }

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

// Where a host did take us, or refused the message's client, the message in hand is the trouble, not the next hop. Of one
// that has called and gone it is neither: nothing was said of it.
void Connection::nobody_left() {
  if (delivery_ && (dismissed_ || !had_session_ || turned_)) {
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
  stream_->hear_out();  // who refuses a body in its middle often leaves with that
  const auto client = hop_.pass_client == config::PassClient::kProxy ? told() : std::nullopt;
  client_.emplace(client ? hello_of(*client, hostname_) : hostname_, use_of(plan_, !clear_why_.empty()),
                  hop_.lmtp ? Dialect::kLmtp : Dialect::kSmtp, login());
  if (turned_ && !turned_->tls.empty()) {
    client_->kept_in_tls();
    note_ = {turned_->tls, "yes: by its login"};
  }
  over_ = false;
  if (hop_.pass_client == config::PassClient::kProxy) {
    stream_->output() += proxy_header(client, target_.endpoint);
    stream_->flush();
  }
  if (!over_ && client_->state() == ClientState::kTls) begin_tls();
  if (!over_) arm();
}

// Whom the next hop that we are connected to is told of; none: nobody but this host.
std::optional<ipc::FirstClient> Connection::told() const {
  if (!delivery_) return std::nullopt;
  const bool here = hop_.kind == config::HopKind::kSocket ||
                    (target_.endpoint.address.is_loopback() && !hop_.socks);
  return told_of(delivery_->lease.client, here);
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
  return stream_ ? bytes.size() : used;  // the rest is for whom it was released to
}

void Connection::handle(Client::Event event) {
  switch (event) {
    case Client::Event::kNone:
      return arm();
    case Client::Event::kTls:
      return begin_tls();
    case Client::Event::kReady:
      if (!client_->introduced()) note_session();
      if (delivery_) return begin();  // it comes from a session that broke, or this one has become its client's
      arm();
      return owner_.on_ready();
    case Client::Event::kAlive:
      arm();
      if (dismissed_) return delivery_ ? finish({}) : quit();
      if (delivery_) begin();
      return;
    case Client::Event::kBody:
      return send_body();
    case Client::Event::kChunk:
      return send_chunk();
    case Client::Event::kFinished:
      return finished(std::move(client_->verdicts()));
    case Client::Event::kTurn:
      timer_.cancel();
      return owner_.on_turn(client_->turn_reply());
    case Client::Event::kOver:
      return session_over();
  }
}

void Connection::note_session() {
  had_session_ = true;
  if (!client_->in_tls()) note_clear();
  if (const auto& login = client_->login())
    log::info("relay.login")
        .field("remote", remote_)
        .field("account", login->user())
        .field("mechanism", sasl::name(login->mechanism()));
  tell_policy_complaint();
}

void Connection::turn(std::string_view domains) {
  CHECK(ready());
  client_->turn(domains, stream_->output());
  stream_->flush();
  if (!over_) arm();
}

std::unique_ptr<event::Stream> Connection::release(event::StreamOwner& next) {
  CHECK(client_ && client_->state() == ClientState::kTurned && stream_ && !over_);
  over_ = gone_ = true;
  session_ = nullptr;
  stream_->hand_to(next);
  return std::move(stream_);
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

std::optional<tls::Facts> Connection::agreed() const {
  if (session_ == nullptr || !client_->in_tls()) return std::nullopt;
  return session_->facts();
}

// Why nobody is kept from reading.
void Connection::note_clear() {
  if (hop_.kind == config::HopKind::kSocket) return;  // there is nobody on the way
  note_ = note_of_clear(plan_, turned_                           ? std::string("not begun by the host that called")
                               : plan_.need == Need::kClear      ? std::string("off")
                               : !clear_why_.empty()             ? clear_why_
                               : !client_->tls_refusal().empty() ? "refused: " + client_->tls_refusal()
                                                                 : "not offered");
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
  idled_ = base::Millis(0);
  if (std::exchange(waiting_, false)) {
    timer_.cancel();
    return connect_next();
  }
  if (client_->state() == ClientState::kNoop) return;  // behind its reply
  begin();
  stream_->flush();
}

void Connection::begin() {
  if (auto verdicts = unproved(); !verdicts.empty()) return finished(std::move(verdicts));
  auto message = envelope();
  if (auto lack = client_->lack_of_tls(message)) return find_better_host(*std::move(lack));
  if (hop_.pass_client == config::PassClient::kXclient && !client_->introduced())
    if (const auto client = told()) return handle(client_->introduce(*client, stream_->output()));
  handle(client_->begin(std::move(message), stream_->output()));
}

// The certificate may name the domain of the connection in place of the host (RFC 7672 3.2.2), where an authority that
// the host's records name has signed it. Whoever is in the way may have such a one for a domain of his own: it proves
// nothing to others, whose mail may come by the same session. Verdicts if there are such; else none.
std::vector<Verdict> Connection::unproved() const {
  constexpr std::uint8_t kDaneTa = 2;
  const bool by_authority = plan_.need == Need::kDane && session_ != nullptr &&
                            std::ranges::any_of(plan_.records, [](const auto& r) { return r.usage == kDaneTa; });
  const auto names = [this](const std::string& name) { return session_->names(name); };
  if (!by_authority || names(plan_.name) || std::ranges::any_of(target_.vouched, names)) return {};
  std::vector<Verdict> verdicts;
  bool any = false;
  for (const auto& recipient : delivery_->lease.recipients) {
    const auto& domain = recipient.address.domain().text();
    auto& verdict = verdicts.emplace_back(Verdict{ipc::Result::kReturned, ipc::FailureClass::kTls, {}, {}});
    if (domain == target_.domain || names(domain)) continue;
    any = true;
    verdict.result = ipc::Result::kDeferred;
    verdict.reply.enhanced = {4, 7, 5};
    verdict.reply.lines.push_back(
        fmt::format("the certificate of {} bears neither its name nor that of {}", target_.host, domain));
  }
  return any ? verdicts : std::vector<Verdict>();
}

// RFC 8689 4.2.1. TLS that failed, or was refused, may be there another time; so may a host that could not be asked, and
// one that has called in clear text may call in TLS.
void Connection::find_better_host(Verdict lack) {
  log::info("relay.unfit")
      .field("id", delivery_->lease.message)
      .field("remote", remote_)
      .field("reply", lack.reply.text());
  const bool may_call_again = turned_ && !client_->in_tls();
  if (clear_why_.empty() && client_->tls_refusal().empty() && !may_call_again) std::erase(unheard_, target_.host);
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
  if (hop_.pass_client == config::PassClient::kXforward)
    e.introduction = Introduction{told(), base::to_string(lease.message)};
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
  tell_forward_refusal();
  arm();
  finish(std::move(verdicts));
}

// Once: it would be said with every message.
void Connection::tell_forward_refusal() {
  if (client_->forward_refusal().empty() || std::exchange(told_refusal_, true)) return;
  log::warning("relay.pass_client")
      .field("remote", remote_)
      .field("error", client_->forward_refusal())
      .field("then", "without it");
}

void Connection::finish(std::vector<Verdict> verdicts) {
  delivery_.reset();
  owner_.on_done(std::move(verdicts));
}

void Connection::arm() {
  const bool idle = client_->state() == ClientState::kReady;
  timer_.start(idle ? pause() : client_->timeout());
}

base::Millis Connection::pause() const { return std::min(idle_ - idled_, kAlive); }

// Nothing was to be sent for this long.
void Connection::stay() {
  idled_ += pause();
  if (idled_ >= idle_) return quit();
  client_->noop(stream_->output());
  arm();
  stream_->flush();
}

// The final dot is in the kernel's hands, and may be in the next hop's.
bool Connection::dot_left() const noexcept {
  return stream_ && stream_->unsent() == 0;
}

void Connection::on_timeout() noexcept {
  if (waiting_) return quit();
  if (!client_ || over_) return;
  if (client_->state() == ClientState::kReady) return stay();
  client_->timed_out(dot_left());
  session_over();
}

void Connection::on_closed(event::CloseReason reason) noexcept {
  if (over_) return;
  const bool error = reason == event::CloseReason::kError;
  const bool tls_broke = error && stream_->error() == 0;
  const auto state = client_->state();
  const bool first_hello = state == ClientState::kEhlo && !client_->introduced();
  if (tls_broke && (state == ClientState::kTls || (first_hello && client_->in_tls())))
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
  if (client_ && !over_ && client_->state() == ClientState::kNoop) {
    dismissed_ = true;  // behind its reply
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
    // Behind a PROXY header it is not we who were refused.
    if (hop_.pass_client == config::PassClient::kProxy && told()) had_session_ = true;
    // Refused before a session stood, perhaps with a message in hand from an earlier one.
    const bool of_tls = trouble.failure == ipc::FailureClass::kTls;
    last_trouble_ = {ipc::GrantEnd::kTemporary, trouble.failure,
                     of_tls ? with_demand(trouble.reply, plan_) : trouble.reply, remote_};
    log::info("relay.refused").field("remote", remote_).field("reply", last_trouble_.reply.text());
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
  if (turned_) why.end = ipc::GrantEnd::kClosed;  // nobody could connect there before either
  loop_.defer([this, alive = alive_, why = std::move(why)]() mutable noexcept {
    if (*alive) owner_.on_gone(std::move(why));
  });
}

}  // namespace postern::relay
