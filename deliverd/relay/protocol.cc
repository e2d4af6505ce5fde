#include "deliverd/relay/protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/base/check.h"

namespace postern::relay {
namespace {

using State = ClientState;

// "452 too many recipients", and 552, which RFC 5321 4.5.3.1.10 wants read as 452; with another
// enhanced code they say something else, such as a full mailbox. Without one they may.
bool is_too_many_recipients(const mail::Reply& reply) noexcept {
  return (reply.code == 452 || reply.code == 552) &&
         (reply.enhanced.status == 0 ||
          (reply.enhanced.subject == 5 && reply.enhanced.detail == 3));
}

// RFC 6531 3.5
Verdict no_utf8(mail::EnhancedCode code, std::string_view what) {
  Verdict verdict{ipc::Result::kFailed, ipc::FailureClass::kData, {}, {}};
  verdict.reply.enhanced = code;
  verdict.reply.lines.push_back(
      fmt::format("{}, the next hop takes none such (no SMTPUTF8)", what));
  return verdict;
}

// RFC 8689 4.2.1
Verdict unfit_for_tls(mail::EnhancedCode code, std::string_view why) {
  Verdict verdict{ipc::Result::kFailed, ipc::FailureClass::kTls, {}, {}};
  verdict.reply.enhanced = code;
  verdict.reply.lines.push_back(fmt::format("message that requires TLS on its whole way, the next hop {}", why));
  return verdict;
}

std::string_view domain_of(std::string_view address) noexcept {
  const auto at = address.rfind('@');
  return at == std::string_view::npos ? std::string_view() : address.substr(at + 1);
}

}  // namespace

Client::Class Client::class_of(const mail::Reply& reply) noexcept {
  switch (reply.code / 100) {
    case 2:
      return Class::kPositive;
    case 3:
      return Class::kIntermediate;
    case 4:
      return Class::kTransient;
    case 5:
      return Class::kPermanent;
    default:
      return Class::kNone;
  }
}

base::Millis Client::timeout() const noexcept {
  return timeout_of(state_);
}

Client::Step Client::on_input(std::string_view bytes, std::string& out, bool dot_left) {
  auto rest = bytes;
  Event event = Event::kNone;
  while (!rest.empty() && event == Event::kNone) {
    switch (reader_.feed(rest)) {
      case mail::ReplyReader::Status::kMore:
        break;
      case mail::ReplyReader::Status::kReply:
        ++replies_;
        event = on_reply(reader_.take(), out, dot_left);
        break;
      case mail::ReplyReader::Status::kMalformed:
        rest = {};
        event = over(broken(
            fmt::format("{} while waiting for {}", reader_.trouble(), awaits()), dot_left));
        break;
    }
  }
  // Who is in the way could have put in what we would take for a word said in TLS.
  if (event == Event::kTls && !rest.empty()) {
    event = over(no_tls({4, 7, 5}, "the next hop speaks between its reply to STARTTLS and TLS"));
    tls_failed_ = false;  // nor is clear text safer
  }
  // Said before anything was sent that it could answer: read as the reply to the message, it would
  // lose the message or send it twice.
  if ((event == Event::kBody || event == Event::kChunk) && !rest.empty()) event = out_of_step();
  return {bytes.size() - rest.size(), event};
}

Client::Event Client::out_of_step() {
  return over(broken("the next hop replies to what was not said", false));
}

Client::Event Client::on_reply(mail::Reply reply, std::string& out, bool dot_left) {
  const auto c = class_of(reply);
  // RFC 5321 3.8: the next hop goes away, whatever we asked.
  if (reply.code == 421 || c == Class::kNone)
    return lmtp_ && state_ == State::kDot && dot_left ? over_amid_replies(std::move(reply), true)
                                                      : over_by_reply(std::move(reply));
  switch (state_) {
    case State::kGreeting:
      if (c != Class::kPositive) return over_by_reply(std::move(reply));
      say_hello(out);
      return Event::kNone;
    case State::kEhlo:
    case State::kHelo:
      return on_hello(std::move(reply), c, out);
    case State::kStartTls:
      return on_starttls(std::move(reply), c);
    case State::kAuth:
      return on_auth(std::move(reply), c, out);
    case State::kXclient:
      return on_xclient(std::move(reply), c, out);
    case State::kNoop:
      if (c != Class::kPositive) return over_by_reply(std::move(reply));
      state_ = State::kReady;
      return Event::kAlive;
    case State::kRset:
      if (c != Class::kPositive) return over_by_reply(std::move(reply));
      needs_rset_ = false;
      step_to_mail(out);
      return Event::kNone;
    case State::kXforward:
      return on_xforward(std::move(reply), c, out);
    case State::kMail:
      return on_mail(reply, c, out);
    case State::kRcpt:
      return on_rcpt(std::move(reply), c, out);
    case State::kData:
      return on_data(reply, c, out);
    case State::kDot:
      return dot_left ? on_dot(reply, c) : over_by_reply(std::move(reply));
    case State::kAtrn:
      return on_atrn(std::move(reply), c);
    case State::kEmptyDot:  // no recipient was left that this could be about
      return finish();
    case State::kTls:    // it does not reach us by replies
    case State::kReady:  // said without being asked: the replies are out of step
    case State::kBody:   // before its end: nothing of it will be taken
    case State::kTurned:
    case State::kQuit:
    case State::kOver:
      return over_by_reply(std::move(reply));
  }
  return Event::kNone;
}

std::string_view Client::awaits() const noexcept {
  return lmtp_ && state_ == State::kEhlo ? "the reply to LHLO" : awaited(state_);
}

Client::Event Client::begin(Envelope envelope, std::string& out) {
  CHECK(state_ == State::kReady && !envelope.recipients.empty());
  envelope_ = std::move(envelope);
  verdicts_.assign(envelope_.recipients.size(), {});
  decided_.assign(envelope_.recipients.size(), false);
  answered_ = accepted_ = 0;
  mail_answered_ = mail_accepted_ = body_begun_ = false;
  in_transaction_ = true;
  by_chunk_ = features_.chunking && ((envelope_.in_memory && !lmtp_) || envelope_.binary) &&
              !envelope_.probe;
  refuse_utf8_recipients();
  if (const auto refusal = refusal_of(envelope_)) {
    decide_open(*refusal);
    return finish();
  }
  choose_recipients();
  if (asked_.empty()) return finish();
  choose_forwards();
  state_ = State::kRset;
  if (needs_rset_) out += "RSET\r\n";
  if (features_.pipelining) {
    for (const auto& command : forwards_) out += command;
    send_mail(out);
  }
  if (!needs_rset_) step_to_mail(out);
  return Event::kNone;
}

void Client::choose_forwards() {
  forwards_.clear();
  forwarded_ = 0;
  if (!envelope_.introduction || envelope_.probe) return;
  forwards_ = xforward_commands(*envelope_.introduction, features_.xforward);
  if (forwards_.empty()) forward_refusal_ = "the next hop does not offer XFORWARD";
}

// To the next XFORWARD, or behind the last to MAIL. With PIPELINING they are all said.
void Client::step_to_mail(std::string& out) {
  const bool told = forwarded_ == forwards_.size();
  state_ = told ? State::kMail : State::kXforward;
  if (features_.pipelining) return;
  if (told) return send_mail(out);
  out += forwards_[forwarded_];
}

Client::Event Client::on_xforward(mail::Reply reply, Class c, std::string& out) {
  if (c == Class::kIntermediate) return over_by_reply(std::move(reply));
  if (c != Class::kPositive) forward_refusal_ = reply.text();
  ++forwarded_;
  step_to_mail(out);
  return Event::kNone;
}

// What the next hop cannot take, by its own words.
std::optional<Verdict> Client::refusal_of(const Envelope& envelope) const {
  if (auto lack = lack_of_tls(envelope)) return lack;
  Verdict verdict{ipc::Result::kFailed, ipc::FailureClass::kPolicy, {}, {}};
  if (features_.max_size != 0 && envelope.size > features_.max_size) {
    verdict.reply.enhanced = {5, 3, 4};  // message too big for system
    verdict.reply.lines.push_back(fmt::format("message of {} bytes, the next hop takes at most {}",
                                              envelope.size, features_.max_size));
    return verdict;
  }
  // RFC 3030 3 lets us encode it anew, where that can be done, or return it.
  if (envelope.binary && !features_.binary) {
    verdict.failure = ipc::FailureClass::kData;
    verdict.reply.enhanced = {5, 6, 3};
    verdict.reply.lines.emplace_back(
        "message of binary data, the next hop takes lines of text (no BINARYMIME)");
    return verdict;
  }
  // RFC 6152 3 leaves two ways: to rewrite the message, which breaks its signatures, or to return
  // it.
  if (envelope.eight_bit && !envelope.binary && !features_.eight_bit) {
    verdict.failure = ipc::FailureClass::kData;
    verdict.reply.enhanced = {5, 6, 3};  // conversion required but not supported
    verdict.reply.lines.emplace_back(
        "message of 8-bit data, the next hop takes 7 bits (no 8BITMIME)");
    return verdict;
  }
  if (!features_.smtputf8 && envelope.utf8_from)
    return no_utf8({5, 6, 7}, "the sender's address is beyond ASCII");
  if (!features_.smtputf8 && envelope.utf8_header)
    return no_utf8({5, 6, 9}, "the message's header is beyond ASCII");
  return std::nullopt;
}

std::optional<Verdict> Client::lack_of_tls(const Envelope& envelope) const {
  if (!envelope.require_tls || may_require_tls(envelope) || envelope.from.empty()) return std::nullopt;
  if (!in_tls_) return unfit_for_tls({5, 7, 10}, "was reached in clear");
  if (!envelope.doubt.empty())
    return unfit_for_tls({5, 7, 30}, fmt::format("has not proved who it is ({})", envelope.doubt));
  return unfit_for_tls({5, 7, 30}, "does not promise it (no REQUIRETLS)");
}

bool Client::may_require_tls(const Envelope& envelope) const {
  return envelope.require_tls && in_tls_ && features_.require_tls && envelope.doubt.empty();
}

// Whose address the next hop could not even hear.
void Client::refuse_utf8_recipients() {
  for (std::size_t i = 0; i < envelope_.recipients.size() && !features_.smtputf8; ++i) {
    if (!envelope_.recipients[i].utf8) continue;
    verdicts_[i] = no_utf8({5, 6, 7}, "the address is beyond ASCII");
    decided_[i] = true;
  }
}

// As many as the next hop takes in one transaction; the others go back untried.
void Client::choose_recipients() {
  const auto most = features_.limits.recipients;
  bool returned = false;
  asked_.clear();
  for (std::size_t i = 0; i < envelope_.recipients.size(); ++i) {
    if (decided_[i]) continue;
    const bool room = most == 0 || asked_.size() < most;
    if (room && may_name(domain_of(envelope_.recipients[i].address))) {
      asked_.push_back(i);
    } else {
      verdicts_[i].result = ipc::Result::kReturned;
      decided_[i] = returned = true;
    }
  }
  out_of_domains_ = returned && asked_.empty();
}

// RFC 9422 4.3: a domain counts once in a session.
bool Client::may_name(std::string_view domain) {
  const auto most = features_.limits.domains;
  if (most == 0 || std::find(domains_.begin(), domains_.end(), domain) != domains_.end()) return true;
  if (domains_.size() >= most) return false;
  domains_.emplace_back(domain);
  return true;
}

// MAIL, and with PIPELINING all that follows up to the body, for one write.
void Client::send_mail(std::string& out) {
  ++transactions_;
  fmt::format_to(std::back_inserter(out), "MAIL FROM:<{}>", envelope_.from);
  if (features_.size && !envelope_.probe)
    fmt::format_to(std::back_inserter(out), " SIZE={}", envelope_.size);
  if (envelope_.binary)
    out += " BODY=BINARYMIME";
  else if (envelope_.eight_bit)
    out += " BODY=8BITMIME";
  if (needs_utf8()) out += " SMTPUTF8";
  if (may_require_tls(envelope_)) out += " REQUIRETLS";
  if (features_.dsn) ask_for_reports(out);
  out += "\r\n";
  if (!features_.pipelining) return;
  for (std::size_t i = 0; i < asked_.size(); ++i) send_rcpt(i, out);
  if (!by_chunk_ && !envelope_.probe) out += "DATA\r\n";
}

void Client::send_rcpt(std::size_t place, std::string& out) const {
  const auto& recipient = envelope_.recipients[asked_[place]];
  out += "RCPT TO:<";
  out += recipient.address;
  out += '>';
  if (features_.dsn && recipient.notify.said()) out.append(" NOTIFY=").append(recipient.notify.text());
  if (features_.dsn && !recipient.orcpt.empty())
    if (const auto value = recipient.orcpt.parameter(needs_utf8()); !value.empty())
      out.append(" ORCPT=").append(value);
  out += "\r\n";
}

bool Client::needs_utf8() const {
  return envelope_.utf8_from || envelope_.utf8_header ||
         std::any_of(asked_.begin(), asked_.end(),
                     [this](std::size_t i) { return envelope_.recipients[i].utf8; });
}

// As the sender said it, and nothing where nothing was said.
void Client::ask_for_reports(std::string& out) const {
  switch (envelope_.ret) {
    case mail::Return::kUnsaid:
      break;
    case mail::Return::kHeaders:
      out += " RET=HDRS";
      break;
    case mail::Return::kFull:
      out += " RET=FULL";
      break;
  }
  if (!envelope_.envid.empty()) out.append(" ENVID=").append(envelope_.envid.xtext());
}

Client::Event Client::on_mail(const mail::Reply& reply, Class c, std::string& out) {
  if (c == Class::kIntermediate) return over_by_reply(reply);
  state_ = State::kRcpt;
  mail_answered_ = true;
  if (c == Class::kPositive) {
    mail_accepted_ = true;
    if (!features_.pipelining) send_rcpt(0, out);
    return Event::kNone;
  }
  const bool failed = c == Class::kPermanent && !envelope_.probe;
  decide_open({failed ? ipc::Result::kFailed : ipc::Result::kDeferred, ipc::FailureClass::kPolicy,
               reply, {}});
  return features_.pipelining ? Event::kNone : finish();
}

Client::Event Client::on_rcpt(mail::Reply reply, Class c, std::string& out) {
  if (c == Class::kIntermediate) return over_by_reply(std::move(reply));
  const auto i = asked_[answered_++];
  if (!decided_[i]) {  // after a refused MAIL they are decided
    if (c == Class::kPositive)
      ++accepted_;
    else
      refuse_recipient(i, std::move(reply), c);
  }
  if (answered_ == asked_.size()) return after_recipients(out);
  if (!features_.pipelining) send_rcpt(answered_, out);
  return Event::kNone;
}

void Client::refuse_recipient(std::size_t i, mail::Reply reply, Class c) {
  decided_[i] = true;
  const bool too_many = is_too_many_recipients(reply);
  // Behind others that were taken it is the next transaction's. One alone that is too many is
  // deferred, and one that 552 says nothing more of has failed, so this cannot go on for ever.
  if (too_many && accepted_ > 0) {
    if (reply.enhanced.status != 0) features_.limits.recipients = accepted_;
    verdicts_[i].result = ipc::Result::kReturned;
    return;
  }
  const bool says_so = too_many && reply.enhanced.status != 0;
  const auto result = c == Class::kPermanent && !says_so ? ipc::Result::kFailed : ipc::Result::kDeferred;
  const auto failure = class_of_reply(reply);
  verdicts_[i] = {result, failure, std::move(reply), {}};
}

Client::Event Client::after_recipients(std::string& out) {
  if (envelope_.probe) {
    decide_open({ipc::Result::kDelivered, ipc::FailureClass::kMailbox, {}, {}});
    needs_rset_ = true;
    return finish();
  }
  const bool awaits_data = features_.pipelining && !by_chunk_;
  if (accepted_ == 0 && !awaits_data) {
    needs_rset_ = mail_accepted_;
    return finish();
  }
  if (by_chunk_) {
    state_ = State::kBody;
    body_begun_ = true;
    return Event::kChunk;
  }
  if (!awaits_data) out += "DATA\r\n";
  state_ = State::kData;
  return Event::kNone;
}

Client::Event Client::on_data(const mail::Reply& reply, Class c, std::string& out) {
  if (c == Class::kPositive) return over_by_reply(reply);
  if (c == Class::kIntermediate) {
    if (accepted_ > 0) {
      state_ = State::kBody;
      body_begun_ = true;
      return Event::kBody;
    }
    if (lmtp_)  // RFC 2033 4.2: it has to refuse DATA
      return over(broken("the next hop waits for a message to nobody", false));
    // RFC 2920 3.1: the next hop waits for a message to nobody; it gets an empty one.
    out += ".\r\n";
    state_ = State::kEmptyDot;
    return Event::kNone;
  }
  decide_open({c == Class::kTransient ? ipc::Result::kDeferred : ipc::Result::kFailed,
               class_of_reply(reply), reply, {}});
  needs_rset_ = mail_accepted_;
  return finish();
}

void Client::body_sent() {
  CHECK(state_ == State::kBody);
  state_ = State::kDot;
}

void Client::chunk(std::uint64_t size, std::string& out) {
  CHECK(state_ == State::kBody && by_chunk_);
  fmt::format_to(std::back_inserter(out), "BDAT {} LAST\r\n", size);
}

Client::Event Client::on_dot(const mail::Reply& reply, Class c) {
  if (c == Class::kIntermediate) return lmtp_ ? over_amid_replies(reply, true) : over_by_reply(reply);
  const auto result = c == Class::kPositive    ? ipc::Result::kDelivered
                      : c == Class::kTransient ? ipc::Result::kDeferred
                                               : ipc::Result::kFailed;
  // Who speaks LMTP delivers, and does not relay.
  const auto arrival = features_.dsn ? ipc::Arrival::kAnswerable
                       : lmtp_       ? ipc::Arrival::kFinal
                                     : ipc::Arrival::kRelayed;
  // RFC 3030 2: the transaction still stands.
  needs_rset_ = needs_rset_ || (by_chunk_ && c != Class::kPositive);
  const Verdict verdict{result, class_of_reply(reply), reply, arrival};
  if (lmtp_) return decide_next(verdict) ? Event::kNone : finish();
  decide_open(verdict);
  return finish();
}

// In LMTP, into the message or behind it: a reply to one recipient, behind which the others get none.
Client::Event Client::over_amid_replies(mail::Reply reply, bool dot_left) {
  const auto result = class_of(reply) == Class::kPermanent ? ipc::Result::kFailed : ipc::Result::kDeferred;
  const auto failure = class_of_reply(reply);
  decide_next({result, failure, std::move(reply), {}});
  return over(broken(dot_left ? "the next hop ended the session between its replies"
                              : "the next hop replied to another recipient before the end of the message",
                     dot_left));
}

void Client::noop(std::string& out) {
  CHECK(state_ == State::kReady);
  out += "NOOP\r\n";
  state_ = State::kNoop;
}

void Client::quit(std::string& out) {
  CHECK(state_ == State::kReady);
  out += "QUIT\r\n";
  state_ = State::kQuit;
}

void Client::lost(std::string_view why, bool dot_left) {
  if (state_ == State::kOver) return;
  static_cast<void>(
      over(broken(fmt::format("{} while waiting for {}", why, awaits()), dot_left)));
}

void Client::timed_out(bool dot_left) {
  if (state_ == State::kOver) return;
  static_cast<void>(
      over(broken(fmt::format("timed out waiting for {}", awaits()), dot_left)));
}

void Client::body_failed(mail::EnhancedCode code, std::string_view why) {
  CHECK(state_ == State::kBody);
  const auto result = code.status == 5 ? ipc::Result::kFailed : ipc::Result::kDeferred;
  Verdict verdict{result, ipc::FailureClass::kLocal, {}, {}};
  verdict.reply.enhanced = code;
  verdict.reply.lines.emplace_back(why);
  static_cast<void>(over(std::move(verdict)));
}

// Our own words on a session that broke.
Verdict Client::broken(std::string text, bool dot_left) const {
  Verdict verdict{
      state_ == State::kDot && dot_left ? ipc::Result::kUnknown : ipc::Result::kDeferred,
      class_of_loss(state_),
      {},
      {}};
  verdict.reply.enhanced = {4, 4, 2};  // bad connection
  verdict.reply.lines.push_back(std::move(text));
  return verdict;
}

ipc::FailureClass Client::class_of_reply(const mail::Reply& reply) const noexcept {
  switch (state_) {
    case State::kStartTls:
    case State::kTls:
      return ipc::FailureClass::kTls;
    case State::kAuth:
      return ipc::FailureClass::kLogin;
    case State::kXclient:
    case State::kAtrn:
    case State::kTurned:
    case State::kRset:
    case State::kXforward:
    case State::kMail:
      return ipc::FailureClass::kPolicy;
    case State::kRcpt:
      return reply.enhanced.status != 0 && reply.enhanced.subject == 7
                 ? ipc::FailureClass::kPolicy
                 : ipc::FailureClass::kMailbox;
    case State::kData:
    case State::kBody:
    case State::kDot:
    case State::kEmptyDot:
      return reply.enhanced.status != 0 && reply.enhanced.subject == 7 ? ipc::FailureClass::kPolicy
                                                                       : ipc::FailureClass::kData;
    case State::kGreeting:
    case State::kEhlo:
    case State::kHelo:
    case State::kReady:
    case State::kNoop:
    case State::kQuit:
    case State::kOver:
      return ipc::FailureClass::kGreeting;
  }
  return ipc::FailureClass::kGreeting;
}

// Only a refusal of the body itself is final for the message; all else may go better elsewhere or
// later.
Client::Event Client::over_by_reply(mail::Reply reply) {
  const bool of_message = state_ == State::kBody || state_ == State::kDot;
  if (lmtp_ && of_message) return over_amid_replies(std::move(reply), false);
  const bool failed = of_message && class_of(reply) == Class::kPermanent;
  const auto failure = class_of_reply(reply);
  return over({failed ? ipc::Result::kFailed : ipc::Result::kDeferred, failure, std::move(reply), {}});
}

Client::Event Client::over(Verdict verdict) {
  if (in_transaction_) decide_open(verdict);
  tls_failed_ = state_ == State::kStartTls || state_ == State::kTls;
  trouble_ = std::move(verdict);
  state_ = State::kOver;
  return Event::kOver;
}

Client::Event Client::finish() {
  in_transaction_ = false;
  state_ = State::kReady;
  return Event::kFinished;
}

bool Client::decide_next(const Verdict& verdict) {
  const auto open = [this](std::size_t i) { return !decided_[i]; };
  const auto next = std::find_if(asked_.begin(), asked_.end(), open);
  if (next == asked_.end()) return false;
  verdicts_[*next] = verdict;
  decided_[*next] = true;
  return std::any_of(next + 1, asked_.end(), open);
}

void Client::decide_open(const Verdict& verdict) {
  for (std::size_t i = 0; i < verdicts_.size(); ++i) {
    if (decided_[i]) continue;
    verdicts_[i] = verdict;
    decided_[i] = true;
  }
}

}  // namespace postern::relay
