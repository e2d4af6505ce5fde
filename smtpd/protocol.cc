#include "smtpd/protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <utility>

#include "common/base/check.h"

namespace postern::smtpd {

using mail::Verb;

enum class Protocol::Action : std::uint8_t {
  kHello,
  kMail,
  kRcpt,
  kData,
  kBdat,
  kReset,
  kNoop,
  kQuit,
  kVerify,
  kExpand,
  kHelp,
  kStartTls,
  kAuth,
  kXclient,
  kXforward,
  kEtrn,
  kAtrn,
  kOutOfOrder,
  kNoRecipients,
  kForeign,
  kUnknown,
};

namespace {

// RFC 6531 3.5
constexpr std::string_view kSenderNeedsUtf8 = "550 5.6.7 An address beyond ASCII needs SMTPUTF8 with MAIL";
constexpr std::string_view kRecipientNeedsUtf8 = "553 5.6.7 An address beyond ASCII needs SMTPUTF8 with MAIL";
constexpr std::string_view kTlsFirst = "530 5.7.0 Must issue a STARTTLS command first";
constexpr std::uint64_t kMostAnnounced = 999'999;  // by LIMITS: six digits, RFC 9422 3
constexpr char kTlsHandshake = 0x16;  // the first byte of a ClientHello, RFC 8446 5.1

// "250 2.1.0 Ok", but where the text holds an address.
template <class... Args>
std::string line(fmt::format_string<Args...> format, Args&&... args) {
  return fmt::format(format, std::forward<Args>(args)...);
}

// RFC 3207 4: what is heard in clear text where TLS is required. A gateway of ours may name its client, and what is no
// command of ours, or brings bytes that are none, is answered as ever.
bool goes_before_tls(Verb verb) noexcept {
  static constexpr Verb kThese[] = {Verb::kNoop,     Verb::kEhlo,     Verb::kStartTls, Verb::kQuit,
                                    Verb::kXclient,  Verb::kXforward, Verb::kBdat,     Verb::kForeign,
                                    Verb::kUnknown};
  return std::find(std::begin(kThese), std::end(kThese), verb) != std::end(kThese);
}

// Replies are ASCII, whatever was said with MAIL (RFC 6531 3.7.4.1): an address that is not is left out.
std::string about(std::string_view code, const mail::Address& address, std::string_view text) {
  return address.needs_utf8() ? fmt::format("{} {}", code, text)
                              : fmt::format("{} <{}>: {}", code, address.text(), text);
}

}  // namespace

// The table of the header.
Protocol::Action Protocol::action(Verb verb, State state) {
  using A = Action;
  static constexpr auto O = A::kOutOfOrder;
  static constexpr std::array<std::array<Action, 6>, mail::kVerbCount> kTable{{
      // kStart, kReady, kMail, kRcpt, kChunks, kSpoiled
      {A::kHello, A::kHello, A::kHello, A::kHello, A::kHello, A::kHello},                 // HELO
      {A::kHello, A::kHello, A::kHello, A::kHello, A::kHello, A::kHello},                 // EHLO
      {O, A::kMail, O, O, O, O},                                                          // MAIL
      {O, O, A::kRcpt, A::kRcpt, O, O},                                                   // RCPT
      {O, O, A::kNoRecipients, A::kData, O, O},                                           // DATA
      {A::kBdat, A::kBdat, A::kBdat, A::kBdat, A::kBdat, A::kBdat},                       // BDAT
      {A::kReset, A::kReset, A::kReset, A::kReset, A::kReset, A::kReset},                 // RSET
      {A::kNoop, A::kNoop, A::kNoop, A::kNoop, A::kNoop, A::kNoop},                       // NOOP
      {A::kQuit, A::kQuit, A::kQuit, A::kQuit, A::kQuit, A::kQuit},                       // QUIT
      {A::kVerify, A::kVerify, A::kVerify, A::kVerify, A::kVerify, A::kVerify},           // VRFY
      {A::kExpand, A::kExpand, A::kExpand, A::kExpand, A::kExpand, A::kExpand},           // EXPN
      {A::kHelp, A::kHelp, A::kHelp, A::kHelp, A::kHelp, A::kHelp},                       // HELP
      {O, A::kStartTls, O, O, O, O},                                                      // STARTTLS
      {O, A::kAuth, O, O, O, O},                                                          // AUTH
      {A::kXclient, A::kXclient, O, O, O, O},                                             // XCLIENT
      {A::kXforward, A::kXforward, O, O, O, O},                                           // XFORWARD
      {O, A::kEtrn, O, O, O, O},                                                          // ETRN
      {O, A::kAtrn, O, O, O, O},                                                          // ATRN
      {A::kForeign, A::kForeign, A::kForeign, A::kForeign, A::kForeign, A::kForeign},     // GET, POST, ...
      {A::kUnknown, A::kUnknown, A::kUnknown, A::kUnknown, A::kUnknown, A::kUnknown},     // others
  }};
  return kTable[static_cast<std::size_t>(verb)][static_cast<std::size_t>(state)];
}

Protocol::Protocol(const Service& service, std::optional<base::IpAddress> client, MessageSink& sink)
    : service_(&service), sink_(sink) {
  CHECK(service.rights != nullptr);
  if (client) origin_ = config::Origin(*client);
}

void Protocol::proxied(const base::IpAddress& client) {
  CHECK(!started_ && origin_);
  origin_->proxied = client;
}

void Protocol::start() {
  CHECK(!started_);
  begin();
}

void Protocol::begin() {
  started_ = true;
  state_ = service_->require_hello ? State::kStart : State::kReady;
  greet();
}

// Does policy serve the client?
bool Protocol::serves() const {
  return !origin_ || service_->policy == nullptr || service_->policy->serves(origin_->client());
}

// Is the command obeyed where nothing is taken?
bool Protocol::is_heard(Verb verb) const {
  if (verb == Verb::kQuit || verb == Verb::kBdat) return true;  // a chunk follows, and is passed over
  return speaks_for_others() && (verb == Verb::kEhlo || verb == Verb::kHelo || verb == Verb::kXclient ||
                                 verb == Verb::kStartTls);
}

// RFC 5321 3.1: whom 554 greets may still say QUIT, and hears 503 for the rest. Who speaks for others is no client
// itself, and may name one.
void Protocol::greet() {
  turned_away_ = !serves();
  if (!turned_away_ || speaks_for_others()) return say_named("220", service_->banner);
  say_named("554", "takes no mail from your address");
  sink_.refused({Verb::kUnknown, {}, "554 the client is not served"});
}

void Protocol::turn_away(std::string_view why) {
  CHECK(!started_);
  started_ = true;
  say_named("421 4.3.2", why);
  state_ = State::kClosed;
}

// RFC 3207 4.2: what was said in clear text is forgotten; who said it is not known. The limits of the session
// go on, and so does their count.
void Protocol::secured(TlsFacts facts) {
  CHECK(!tls_ && (started_ ? want() == Want::kTls && agreed_tls_ : true));
  tls_ = std::move(facts);
  if (!started_) return begin();
  envelope_ = {};
  hello_.clear();
  esmtp_ = false;
  forget_login();
  state_ = service_->require_hello ? State::kStart : State::kReady;
  forget_introductions();
}

// Then nothing can be said.
bool Protocol::shakes_hands() const noexcept {
  return !started_ || (state_ == State::kTls && agreed_tls_);
}

bool Protocol::offers_tls() const noexcept {
  return !tls_ &&
         (service_->tls == config::TlsMode::kOptional || service_->tls == config::TlsMode::kRequired);
}

bool Protocol::lacks_tls() const noexcept {
  return !tls_ && service_->tls == config::TlsMode::kRequired;
}

Want Protocol::want() const noexcept {
  if (state_ == State::kClosed) return Want::kClose;
  if (paused_) return Want::kResume;
  if (asked_ || starting_) return Want::kAnswer;
  if (login_asked_) return Want::kLogin;
  if (state_ == State::kTls) return Want::kTls;
  if (state_ == State::kTurn) return turned_ ? Want::kTurned : turn_asked_ ? Want::kAnswer : Want::kTurn;
  return state_ == State::kResult ? Want::kResult : Want::kInput;
}

TimeoutKind Protocol::timeout() const noexcept {
  if (login_asked_) return TimeoutKind::kNone;
  if (state_ == State::kTls || !started_) return TimeoutKind::kTls;
  if (want() != Want::kInput) return TimeoutKind::kNone;
  switch (state_) {
    case State::kReady:
      return TimeoutKind::kIdle;
    case State::kBody:
    case State::kChunk:
      return TimeoutKind::kData;
    case State::kStart:
    case State::kMail:
    case State::kRcpt:
    case State::kChunks:
    case State::kSpoiled:
    case State::kResult:
    case State::kTls:
    case State::kTurn:
    case State::kLogin:
    case State::kClosed:
      break;
  }
  return TimeoutKind::kCommand;
}

std::size_t Protocol::input(std::string_view bytes) {
  CHECK(started_);
  std::size_t total = 0;
  while (total < bytes.size() && want() == Want::kInput) {
    const auto rest = bytes.substr(total);
    const bool line = state_ != State::kBody && state_ != State::kChunk;
    const auto consumed = line                     ? read_line(rest)
                          : state_ == State::kBody ? read_body(rest)
                                                   : read_chunk(rest);
    if (consumed == 0 && line) break;  // an incomplete line
    total += consumed;
  }
  return want() == Want::kClose ? bytes.size() : total;
}

// --- Lines
// ------------------------------------------------------------------------------------------

std::size_t Protocol::read_line(std::string_view bytes) {
  if (discarded_ != 0) return discard_line(bytes);
  if (!command_seen_ && !tls_ && bytes.front() == kTlsHandshake) {
    close_with("554 5.5.1 This is SMTP without TLS");
    return bytes.size();
  }
  const auto most = longest_line();
  const auto lf = bytes.substr(0, most).find('\n');
  if (lf == std::string_view::npos) return bytes.size() < most ? 0 : discard_line(bytes);
  const auto text = bytes.substr(0, lf);
  // RFC 5321 2.3.8: a line ends with CR LF, and neither stands elsewhere. Who sends it otherwise is
  // heard differently by others, so nothing that follows is believed.
  if (text.find('\r') + 1 != lf || lf == 0)
    close_with("500 5.5.2 Line must end with CR LF");
  else if (state_ == State::kLogin)
    take_response(text.substr(0, lf - 1));
  else
    run(text.substr(0, lf - 1));
  return lf + 1;
}

// Drops the line that is too long up to its end, and answers it once.
std::size_t Protocol::discard_line(std::string_view bytes) {
  const auto lf = bytes.find('\n');
  const auto consumed = lf == std::string_view::npos ? bytes.size() : lf + 1;
  const bool crlf =
      lf != std::string_view::npos && (lf > 0 ? bytes[lf - 1] == '\r' : discarded_cr_);
  discarded_cr_ = bytes[consumed - 1] == '\r';
  discarded_ += consumed;
  if (discarded_ > kMaxDiscard) {
    close_with("500 5.5.2 Line too long");
  } else if (lf != std::string_view::npos) {
    discarded_ = 0;
    command_seen_ = true;
    if (crlf && state_ == State::kLogin) {
      give_up_login();
      fail("500 5.5.6 Authentication exchange line is too long");
      return consumed;
    }
    crlf ? fail("500 5.5.2 Line too long") : close_with("500 5.5.2 Line must end with CR LF");
  }
  return consumed;
}

void Protocol::run(std::string_view text) {
  auto command = mail::parse_command(text);
  const auto todo = action(command.verb, state_);
  const bool first = !std::exchange(command_seen_, true);
  if (++fruitless_ > kMaxFruitless) return close_with("421 4.7.0 Too many commands that bring no message");
  if (turned_away_ && !is_heard(command.verb))
    return fail("503 5.7.1 No mail is taken from your address");
  if (lacks_tls() && !goes_before_tls(command.verb))
    return command.verb == Verb::kMail ? refuse(command.verb, {}, kTlsFirst) : say(kTlsFirst);
  switch (todo) {  // these come before any mistake in the arguments
    case Action::kForeign:
      if (first) return close_with("554 5.5.1 This is SMTP");
      return fail("500 5.5.2 Command not recognized");
    case Action::kUnknown:
      return fail("500 5.5.2 Command not recognized");
    case Action::kStartTls:
    case Action::kAuth:
    case Action::kXclient:
    case Action::kXforward:
      break;
    case Action::kNoRecipients:  // no mistake of who sends groups of commands (RFC 2920 3.1)
      return say("554 5.5.1 No valid recipients");
    case Action::kOutOfOrder:
      if (command.verb == Verb::kStartTls) return refuse_start_tls();
      if (command.verb == Verb::kAuth) return refuse_auth();
      if ((command.verb == Verb::kEtrn && !may_etrn()) || (command.verb == Verb::kAtrn && !knows_atrn()))
        return fail("502 5.5.1 Command not offered");
      if (command.verb == Verb::kXclient || command.verb == Verb::kXforward ||
          ((command.verb == Verb::kEtrn || command.verb == Verb::kAtrn) && state_ != State::kStart))
        return fail(line("503 5.5.1 {} is not for the middle of a transaction", name(command.verb)));
      if (state_ == State::kStart) return fail("503 5.5.1 Say HELO or EHLO first");
      if (state_ == State::kChunks)
        return fail("503 5.5.1 The rest of the message must come by BDAT");
      if (state_ == State::kSpoiled) return fail("503 5.5.1 A chunk was refused; say RSET");
      if (command.verb == Verb::kMail) return fail("503 5.5.1 MAIL was already given");
      return fail("503 5.5.1 Say MAIL first");
    case Action::kHello:
    case Action::kMail:
    case Action::kRcpt:
    case Action::kData:
    case Action::kBdat:
    case Action::kReset:
    case Action::kNoop:
    case Action::kQuit:
    case Action::kVerify:
    case Action::kExpand:
    case Action::kHelp:
    case Action::kEtrn:
    case Action::kAtrn:
      break;
  }
  if (command.error) {
    std::string wire;
    command.error->append_to(wire);
    const auto reply = std::string_view(wire).substr(0, wire.size() - 2);
    // What follows would be taken for commands.
    return command.verb == Verb::kBdat ? close_with(reply) : fail(reply);
  }
  perform(todo, command);
}

// --- Commands
// ---------------------------------------------------------------------------------------

void Protocol::perform(Action todo, mail::Command& command) {
  switch (todo) {
    case Action::kHello:
      return on_hello(command);
    case Action::kMail:
      return on_mail(command);
    case Action::kRcpt:
      return on_rcpt(command);
    case Action::kData:
      return on_data();
    case Action::kBdat:
      return on_bdat(command);
    case Action::kReset:
      end_transaction();
      return say("250 2.0.0 Ok");
    case Action::kNoop:
      return say("250 2.0.0 Ok");
    case Action::kQuit:
      say_named("221 2.0.0", "closing connection");
      state_ = State::kClosed;
      return;
    case Action::kVerify:
      return say("252 2.0.0 Cannot verify; send mail and see");
    case Action::kExpand:
      return fail("502 5.5.1 Command not offered");
    case Action::kHelp:
      return say("214 2.0.0 HELO EHLO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP");
    case Action::kStartTls:
      return on_start_tls();
    case Action::kAuth:
      return on_auth(command);
    case Action::kXclient:
      return on_xclient(command);
    case Action::kXforward:
      return on_xforward(command);
    case Action::kEtrn:
      return on_etrn(command);
    case Action::kAtrn:
      return on_atrn(command);
    case Action::kOutOfOrder:
    case Action::kNoRecipients:
    case Action::kForeign:
    case Action::kUnknown:
      break;
  }
  CHECK(false);
}

void Protocol::on_hello(mail::Command& command) {
  state_ = State::kReady;
  end_transaction();
  hello_ = std::move(command.argument);
  esmtp_ = command.verb == Verb::kEhlo;
  if (!esmtp_) {
    fmt::format_to(std::back_inserter(output_), "250 {}\r\n", service_->hostname);
    return;
  }
  fmt::format_to(std::back_inserter(output_),
                 "250-{}\r\n250-PIPELINING\r\n250-SIZE {}\r\n250-8BITMIME\r\n"
                 "250-DSN\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-BINARYMIME\r\n{}{}{}{}{}{}"
                 "250-ENHANCEDSTATUSCODES\r\n250 HELP\r\n",
                 service_->hostname, size_limit(), limits_feature(),
                 offers_tls() ? "250-STARTTLS\r\n" : tls_ ? "250-REQUIRETLS\r\n" : "",
                 offers_auth() ? auth_feature() : std::string(), offer_introductions(),
                 offers_etrn() && !lacks_tls() ? "250-ETRN\r\n" : "", offers_atrn() ? "250-ATRN\r\n" : "");
}

// RFC 9422: what this session holds its client to. Where nothing is, nothing is said.
std::string Protocol::limits_feature() const {
  const auto& limits = service_->limits;
  const bool messages = limits.messages_per_session != 0 && limits.messages_per_session <= kMostAnnounced;
  if (!messages && limits.recipients == 0) return {};
  std::string text = "250-LIMITS";
  if (messages)
    fmt::format_to(std::back_inserter(text), " MAILMAX={}", limits.messages_per_session);
  if (limits.recipients != 0)
    fmt::format_to(std::back_inserter(text), " RCPTMAX={}", limits.recipients);
  return text + "\r\n";
}

void Protocol::on_start_tls() {
  if (!offers_tls()) return refuse_start_tls();
  state_ = State::kTls;
  agreed_tls_ = false;
}

void Protocol::refuse_start_tls() {
  if (tls_) return fail("503 5.5.1 TLS is active already");
  if (!offers_tls()) return fail("502 5.5.1 Command not offered");
  if (state_ == State::kStart) return fail("503 5.5.1 Say EHLO first");
  fail("503 5.5.1 STARTTLS is not for the middle of a transaction");
}

void Protocol::start_tls(TlsStart start) {
  CHECK(state_ == State::kTls && !agreed_tls_);
  switch (start) {
    case TlsStart::kReady:
      agreed_tls_ = true;
      return say("220 2.0.0 Go ahead with TLS");
    case TlsStart::kBytesBehind:  // RFC 3207 6: they may be somebody else's
      return close_with("554 5.5.1 Nothing may follow STARTTLS before its reply");
    case TlsStart::kBusy:
      state_ = State::kReady;
      return say("454 4.7.0 TLS is not available now");
  }
}

// --- Transactions
// -----------------------------------------------------------------------------------

// Whether this session has had its share; then it was closed.
bool Protocol::session_is_full(const mail::Command& command) {
  const auto& limits = service_->limits;
  if (limits.messages_per_session != 0 && messages_ >= limits.messages_per_session) {
    close_with("421 4.7.0 Too many messages in this session");
    return true;
  }
  if (limits.session_size != 0 && session_bytes_ != 0) {
    const auto left = limits.session_size - std::min(limits.session_size, session_bytes_);
    if (left == 0 || command.size.value_or(0) > left) {
      close_with("421 4.7.0 Too much mail in this session");
      return true;
    }
  }
  return false;
}

bool Protocol::may_relay() const {
  const auto& listeners = service_->rights->rights().listeners;
  if (!origin_ || !account_.empty()) return true;
  const auto& client = origin_->client();
  if (service_->listener.value >= listeners.size() || client.is_unspecified()) return false;
  const auto& networks = listeners[service_->listener.value].relay_from;
  return std::any_of(networks.begin(), networks.end(),
                     [&](const base::Network& network) { return network.contains(client); });
}

// RFC 6409 4.2: a submission server takes no domain that is not fully qualified, but for names of our own.
bool Protocol::is_qualified(const mail::Domain& domain) const {
  const auto& listeners = service_->rights->rights().listeners;
  const auto listener = service_->listener.value;
  if (listener >= listeners.size() || listeners[listener].service != config::Service::kSubmission ||
      listeners[listener].local)
    return true;
  return domain.empty() || domain.is_literal() || domain.text().find('.') != std::string::npos ||
         service_->rights->is_local(domain) || domain == service_->rights->rights().hostname;
}

// The address that MAIL or RCPT named, completed where that is allowed; nullopt: refused.
std::optional<mail::Address> Protocol::address_of(mail::Command& command) {
  auto& path = command.path;
  const char detail = command.verb == Verb::kMail ? '7' : '3';
  if (path.kind == mail::Path::Kind::kAddress) {
    if (is_qualified(path.address.domain())) return std::move(path.address);
    refuse(command.verb, path.address.text(), line("554 5.1.{} Domain is not fully qualified", detail));
    return std::nullopt;
  }
  if (service_->default_domain.empty() || !may_relay()) {
    fail(line("553 5.1.{} Address needs a domain", detail));
    return std::nullopt;
  }
  auto address = path.stamped(service_->default_domain);
  if (!address) {
    fail(line("501 5.1.{} Bad address: {}", detail, address.error().text));
    return std::nullopt;
  }
  return *std::move(address);
}

void Protocol::on_mail(mail::Command& command) {
  if (const auto* refusal = sink_.intake_refusal()) {
    std::string wire;
    refusal->append_to(wire);
    refuse(Verb::kMail, {}, std::string_view(wire).substr(0, wire.size() - 2));
    if (refusal->code == 421) state_ = State::kClosed;
    return;
  }
  if (service_->login_required && account_.empty())  // RFC 4954 6
    return refuse(Verb::kMail, {}, "530 5.7.0 Authentication required");
  if (session_is_full(command)) return;
  if (command.auth_said && !offers_auth()) return fail("555 5.5.4 AUTH= is not offered");
  if (!esmtp_ && (command.ret != mail::Return::kUnsaid || !command.envid.empty()))
    return fail("555 5.5.4 RET and ENVID need EHLO");
  if (!esmtp_ && command.smtputf8) return fail("555 5.5.4 SMTPUTF8 needs EHLO");
  if (!esmtp_ && command.require_tls) return fail("555 5.5.4 REQUIRETLS needs EHLO");
  if (!tls_ && command.require_tls) return fail("555 5.5.4 REQUIRETLS is not offered without TLS");
  const bool any_bytes = command.body == mail::BodyType::kBinaryMime;
  if (!esmtp_ && any_bytes) return fail("555 5.5.4 BODY=BINARYMIME needs EHLO");
  mail::ReversePath from;
  if (command.path.kind != mail::Path::Kind::kNull) {
    auto address = address_of(command);
    if (!address) return;
    if (command.utf8_said && !command.smtputf8)
      return refuse(Verb::kMail, address->text(), kSenderNeedsUtf8);
    from = mail::ReversePath(*std::move(address));
  }
  const auto limit = size_limit();
  if (limit != 0 && command.size.value_or(0) > limit)  // RFC 1870 6.1
    return refuse(Verb::kMail, from.text(), "552 5.3.4 Message is larger than the limit");
  if (origin_ && !sink_.may_send(origin_->client()))
    return refuse(Verb::kMail, from.text(),
                  "450 4.7.1 Too many messages from your address; try again later");
  envelope_.reverse_path = std::move(from);
  envelope_.declared_size = command.size.value_or(0);
  envelope_.smtputf8 = command.smtputf8;
  envelope_.require_tls = command.require_tls;
  envelope_.eight_bit = command.body != mail::BodyType::k7Bit || command.smtputf8;
  envelope_.any_bytes = any_bytes;
  envelope_.ret = command.ret;
  envelope_.envid = std::move(command.envid);
  chunked_ = 0;
  state_ = State::kMail;
  say("250 2.1.0 Ok");
}

void Protocol::on_rcpt(mail::Command& command) {
  if (!esmtp_ && (command.notify.said() || !command.orcpt.empty()))
    return fail("555 5.5.4 NOTIFY and ORCPT need EHLO");
  auto address = address_of(command);
  if (!address) return;
  if (command.utf8_said && !envelope_.smtputf8)
    return refuse(Verb::kRcpt, address->text(), kRecipientNeedsUtf8);
  const auto& limits = service_->limits;
  if (limits.recipients != 0 && envelope_.recipients.size() >= limits.recipients)
    return refuse(Verb::kRcpt, address->text(), "452 4.5.3 Too many recipients");
  if (const auto* reply = denied(*address))
    return refuse(Verb::kRcpt, address->text(), *reply);
  if (!service_->rights->is_postmaster(*address))  // RFC 5321 4.5.1: who is refused must be able to complain
    if (const auto reply = nameless(); !reply.empty()) return refuse(Verb::kRcpt, address->text(), reply);
  auto decision = service_->rights->decide(
      service_->listener, origin_ ? *origin_ : config::Origin(config::kThisHost), *address,
      !account_.empty());
  switch (decision.verdict) {
    case config::Verdict::kLocal:
    case config::Verdict::kRelay: {
      if (service_->expanded != 0 && expanded_ + decision.count() > service_->expanded)
        return refuse(Verb::kRcpt, address->text(), "452 4.5.3 Too many recipients");
      Recipient recipient{*std::move(address), std::move(decision), command.notify,
                          std::move(command.orcpt)};
      if (!recipient.decision.ask) return take_recipient(std::move(recipient));
      asked_ = std::move(recipient);
      return sink_.ask(asked_->address);
    }
    case config::Verdict::kNoSuchUser:
      return refuse(Verb::kRcpt, address->text(), about("550 5.1.1", *address, "no such user here"));
    case config::Verdict::kRelayDenied:
      return refuse(Verb::kRcpt, address->text(), about("550 5.7.1", *address, "relaying denied"));
  }
}

void Protocol::take_recipient(Recipient recipient) {
  expanded_ += recipient.decision.count();
  --fruitless_;
  envelope_.recipients.push_back(std::move(recipient));
  state_ = State::kRcpt;
  say("250 2.1.5 Ok");
}

void Protocol::answered(const mail::Reply* refusal) {
  CHECK(asked_);
  auto recipient = *std::exchange(asked_, std::nullopt);
  if (refusal == nullptr) return take_recipient(std::move(recipient));
  std::string wire;
  refusal->append_to(wire);
  refuse(Verb::kRcpt, recipient.address.text(), std::string_view(wire).substr(0, wire.size() - 2));
}

void Protocol::end_transaction() {
  give_up_body();
  envelope_ = {};
  expanded_ = 0;
  forwarded_.reset();
  chunked_ = 0;
  if (state_ == State::kMail || state_ == State::kRcpt || state_ == State::kChunks ||
      state_ == State::kSpoiled)
    state_ = State::kReady;
}

void Protocol::timed_out() {
  if (state_ == State::kClosed) return;
  give_up_body();
  if (shakes_hands()) {
    state_ = State::kClosed;
    return;
  }
  give_up_login();
  say_named("421 4.4.2", "timeout, closing connection");
  state_ = State::kClosed;
}

void Protocol::shutdown() {
  if (shakes_hands()) {
    state_ = State::kClosed;
  } else if (state_ == State::kBody || state_ == State::kChunk || state_ == State::kResult) {
    stopping_ = true;
  } else if (state_ != State::kClosed) {
    asked_.reset();
    starting_ = turn_asked_ = false;
    give_up_body();
    give_up_login();
    say_named("421 4.3.2", "shutting down");
    state_ = State::kClosed;
  }
}

// --- Replies
// ----------------------------------------------------------------------------------------

void Protocol::say(std::string_view text) {
  output_ += text;
  output_ += "\r\n";
}

void Protocol::say_named(std::string_view code, std::string_view text) {
  fmt::format_to(std::back_inserter(output_), "{} {} {}\r\n", code, service_->hostname, text);
}

// A bad command. A client that sends many of them is no mail client.
void Protocol::fail(std::string_view text) {
  if (++errors_ > kMaxErrors) return close_with("421 4.7.0 Too many errors");
  say(text);
}

void Protocol::refuse(Verb verb, std::string_view address, std::string_view text) {
  say(text);
  sink_.refused({verb, address, text});
}

void Protocol::close_with(std::string_view text) {
  give_up_body();
  give_up_login();
  say(text);
  state_ = State::kClosed;
}

}  // namespace postern::smtpd
