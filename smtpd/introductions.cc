// The part of the protocol machine that is about whose session it is: what a client behind another may
// say of itself, and what policy says to it.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/text.h"
#include "smtpd/protocol.h"

namespace postern::smtpd {
namespace {

constexpr std::string_view kTooManyOfClient =
    "421 4.3.2 Too many connections from the address of this client";
// It would be taken for what the client says as a server.
constexpr std::string_view kBehindAtrn = "554 5.5.1 Nothing may follow ATRN before its reply";

}  // namespace

// Only who is connected counts, whatever it has called itself since.
bool Protocol::may_xclient() const {
  return origin_ && service_->rights->may_claim(service_->listener, *origin_);
}

// And has not named one yet.
bool Protocol::speaks_for_others() const {
  return may_xclient() && !origin_->claimed;
}

bool Protocol::may_xforward() const {
  return origin_ && service_->xforward_from.contains(origin_->connected());
}

// Lines of EHLO.
std::string Protocol::offer_introductions() const {
  std::string lines;
  if (may_xclient()) lines.append("250-").append(kXclientOffer).append("\r\n");
  if (may_xforward()) lines.append("250-").append(kXforwardOffer).append("\r\n");
  return lines;
}

// From now on the session is that of the client who is named, as if it began now: nothing is known of
// it but what is said here, and nobody has logged in. The limits of the session go on.
void Protocol::on_xclient(mail::Command& command) {
  if (!may_xclient()) return fail("550 5.7.0 XCLIENT is not for you");
  auto said = parse_client_attributes(Introduction::kXclient, command.argument);
  if (!said) return fail(fmt::format("501 5.5.4 {}", said.error()));
  end_transaction();
  forget_login();
  if (said->addr) {
    origin_->claimed = said->addr;
    client_name_.clear();
  }
  if (said->name) client_name_ = *said->name;
  hello_ = said->helo.value_or("");
  esmtp_ = said->proto && base::equals_ignoring_case(*said->proto, "ESMTP");
  state_ = service_->require_hello && hello_.empty() ? State::kStart : State::kReady;
  if (!sink_.introduced(*said)) return close_with(kTooManyOfClient);
  greet();
}

// For the log and Received of the next message alone.
void Protocol::on_xforward(mail::Command& command) {
  if (!may_xforward()) return fail("550 5.7.0 XFORWARD is not for you");
  auto said = parse_client_attributes(Introduction::kXforward, command.argument);
  if (!said) return fail(fmt::format("501 5.5.4 {}", said.error()));
  if (!forwarded_) forwarded_ = std::make_unique<ClientAttributes>();
  update(*forwarded_, *std::move(said));
  say("250 2.0.0 Ok");
}

// What was said in clear text may have been said by anybody on the way.
void Protocol::forget_introductions() {
  forwarded_.reset();
  client_name_.clear();
  if (!origin_ || !std::exchange(origin_->claimed, std::nullopt)) return;
  turned_away_ = !serves();
  if (!sink_.introduced({})) close_with(kTooManyOfClient);
}

// The reply to a recipient that policy refuses; null: it does not.
const std::string* Protocol::denied(const mail::Address& recipient) const {
  if (service_->policy == nullptr || !origin_) return nullptr;
  return service_->policy->refusal({.client = origin_->client(),
                                    .hello = hello_,
                                    .sender = envelope_.reverse_path.text(),
                                    .recipient = recipient.text()});
}

bool Protocol::offers_etrn() const {
  return origin_ && service_->rights->may_start(service_->listener, *origin_);
}

// Of an account only queued knows.
bool Protocol::may_etrn() const {
  return offers_etrn() || !account_.empty();
}

// RFC 1985 5.1; of its options none is here: one domain is one queue.
void Protocol::on_etrn(const mail::Command& command) {
  if (!may_etrn()) return fail("502 5.5.1 Command not offered");
  const auto queue = mail::Domain::parse(command.argument);
  if (!queue) return fail("501 5.5.4 ETRN needs the name of one domain");
  starting_ = true;
  sink_.start_queue(*queue);
}

void Protocol::started(const mail::Reply& reply) {
  CHECK(starting_);
  starting_ = false;
  std::string wire;
  reply.append_to(wire);
  const auto text = std::string_view(wire).substr(0, wire.size() - 2);
  reply.positive() ? say(text) : fail(text);
}

bool Protocol::knows_atrn() const noexcept {
  return service_->atrn && (!service_->mechanisms.empty() || !account_.empty());
}

// To whoever can log in, or has: which account it is for only queued knows, and clients look before they log in
// (RFC 2645 4).
bool Protocol::offers_atrn() const noexcept {
  return knows_atrn() && (offers_auth() || !account_.empty());
}

void Protocol::on_atrn(const mail::Command& command) {
  if (!knows_atrn()) return fail("502 5.5.1 Command not offered");
  if (account_.empty()) return fail("530 5.7.0 Authentication required");
  to_turn_.clear();
  for (std::string_view rest = command.argument; !rest.empty();) {
    const auto comma = std::min(rest.find(','), rest.size());
    const auto queue = mail::Domain::parse(rest.substr(0, comma));
    if (!queue || comma + 1 == rest.size()) return fail("501 5.5.4 ATRN takes domains with commas between them");
    if (to_turn_.size() == config::AccountLimits::kMaxQueues) return fail("501 5.5.4 ATRN with too many domains");
    to_turn_.push_back(queue->text());
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  state_ = State::kTurn;
}

void Protocol::start_turn(bool alone) {
  CHECK(want() == Want::kTurn);
  if (!alone) return close_with(kBehindAtrn);
  turn_asked_ = true;
  sink_.turn_session(std::exchange(to_turn_, {}));
}

void Protocol::turned(const mail::Reply& reply, bool alone) {
  CHECK(state_ == State::kTurn && turn_asked_);
  turn_asked_ = false;
  if (!alone) return close_with(kBehindAtrn);
  turned_ = reply.positive();
  if (!turned_) state_ = State::kReady;
  std::string wire;
  reply.append_to(wire);
  const auto text = std::string_view(wire).substr(0, wire.size() - 2);
  // To have no mail is no mistake of the client's.
  turned_ || reply.code == 453 ? say(text) : fail(text);
}

// RFC 7372 3.3. Who may relay is known by other things than its name.
std::string_view Protocol::nameless() {
  if (service_->policy == nullptr || service_->policy->reverse() != config::Reverse::kRequire || may_relay() ||
      origin_->client().is_loopback())
    return {};
  switch (sink_.client_name(origin_->client())) {
    case ClientName::kConfirmed:
      return {};
    case ClientName::kNone:
      return "550 5.7.25 Your address has no name that leads back to it";
    case ClientName::kUnclear:
      break;
  }
  return "450 4.7.25 The name of your address is not known yet; try again later";
}

}  // namespace postern::smtpd
