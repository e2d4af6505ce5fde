// The part of the protocol machine that is about logins (RFC 4954).
#include <algorithm>
#include <utility>

#include "common/base/base64.h"
#include "common/base/check.h"
#include "smtpd/protocol.h"

namespace postern::smtpd {

bool Protocol::offers_auth() const noexcept {
  return !service_->mechanisms.empty() && (tls_ || (service_->plaintext_logins && !lacks_tls()));
}

bool Protocol::offers(sasl::Mechanism mechanism) const noexcept {
  const auto& all = service_->mechanisms;
  if (mechanism == sasl::Mechanism::kScramSha256Plus && !(tls_ && tls_->binds)) return false;
  return std::find(all.begin(), all.end(), mechanism) != all.end();
}

std::string Protocol::auth_feature() const {
  std::string text = "250-AUTH";
  for (const auto mechanism : service_->mechanisms)
    if (offers(mechanism)) (text += ' ') += sasl::name(mechanism);
  return text + "\r\n";
}

void Protocol::refuse_auth() {
  if (service_->mechanisms.empty()) return fail("502 5.5.1 Command not offered");
  if (!account_.empty()) return fail("503 5.5.1 You are logged in already");
  if (!esmtp_) return fail("503 5.5.1 Say EHLO first");
  fail("503 5.5.1 AUTH is not for the middle of a transaction");
}

void Protocol::on_auth(const mail::Command& command) {
  if (service_->mechanisms.empty() || !account_.empty() || !esmtp_) return refuse_auth();
  if (!offers_auth())
    return fail("538 5.7.11 Encryption required for requested authentication mechanism");
  const std::string_view argument = command.argument;
  const auto mechanism = sasl::find_mechanism(argument.substr(0, argument.find(' ')));
  if (!mechanism || !offers(*mechanism))
    return fail("504 5.5.4 Authentication mechanism not offered");
  LoginStart start{*mechanism, offers(sasl::Mechanism::kScramSha256Plus), std::nullopt};
  std::optional<std::string> initial;
  if (const auto blank = argument.find(' '); blank != std::string_view::npos) {
    const auto text = argument.substr(blank + 1);
    initial = text == "=" ? std::string() : base::parse_base64(text);  // RFC 4954 4
    if (!initial || text.empty()) return fail("501 5.5.2 Initial response is not base64");
    start.initial = *initial;
  }
  state_ = State::kLogin;
  login_asked_ = true;
  sink_.log_in(start);
}

void Protocol::take_response(std::string_view text) {
  if (text == "*") {
    give_up_login();
    return fail("501 5.7.0 Authentication given up");
  }
  const auto response = base::parse_base64(text);
  if (!response) {
    give_up_login();
    return fail("501 5.5.2 Response is not base64");
  }
  login_asked_ = true;
  sink_.login_response(*response);
}

void Protocol::give_up_login() noexcept {
  if (state_ != State::kLogin) return;
  state_ = State::kReady;
  login_asked_ = false;
  sink_.log_out();
}

void Protocol::forget_login() {
  if (!std::exchange(account_, {}).empty()) sink_.log_out();
}

void Protocol::await_user() {
  CHECK(!started_);
  login_asked_ = true;
}

void Protocol::user_known(LoginStep step) {
  switch (step.result) {
    case LoginStep::Result::kAccepted:
      account_ = std::move(step.text);
      return start();
    case LoginStep::Result::kChallenge:
    case LoginStep::Result::kUnavailable:
      return turn_away("cannot tell who you are now");
    case LoginStep::Result::kRefused:
      started_ = true;
      say_named("554", "takes no mail from you");
      state_ = State::kClosed;
  }
}

void Protocol::login_answered(LoginStep step) {
  CHECK(login_asked_ && (state_ == State::kLogin || !started_));
  login_asked_ = false;
  if (!started_) return user_known(std::move(step));
  if (step.result == LoginStep::Result::kChallenge)
    return say("334 " + base::to_base64(step.text));
  state_ = State::kReady;
  switch (step.result) {
    case LoginStep::Result::kChallenge:
      break;
    case LoginStep::Result::kAccepted:
      account_ = std::move(step.text);
      return say("235 2.7.0 Authentication successful");
    case LoginStep::Result::kUnavailable:
      return say("454 4.7.0 Temporary authentication failure");
    case LoginStep::Result::kRefused:
      if (++refused_logins_ >= kMaxLogins)
        return close_with("421 4.7.0 Too many failed logins");
      return fail("535 5.7.8 Authentication credentials invalid");
  }
}

void Protocol::end_login() {
  if (account_.empty() || state_ == State::kClosed) return;
  if (state_ == State::kResult) {
    ending_ = true;
  } else if (shakes_hands()) {
    state_ = State::kClosed;
  } else {
    asked_.reset();
    starting_ = turn_asked_ = false;
    close_with("421 4.7.0 Your account may not be used any more");
  }
}

}  // namespace postern::smtpd
