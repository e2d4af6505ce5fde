// The part of the client that is about how a session comes to stand: hello, TLS, login, whose it is, and which way
// round.
#include <fmt/format.h>

#include <utility>

#include "common/base/check.h"
#include "deliverd/relay/protocol.h"

namespace postern::relay {

using State = ClientState;

void Client::say_hello(std::string& out) {
  out += (lmtp_ ? "LHLO " : "EHLO ") + name_ + "\r\n";
  state_ = State::kEhlo;
}

Client::Event Client::on_hello(mail::Reply reply, Class c, std::string& out) {
  if (c == Class::kPermanent && state_ == State::kEhlo && !lmtp_) {  // RFC 5321 3.2: an old server
    out += "HELO " + name_ + "\r\n";
    state_ = State::kHelo;
    return Event::kNone;
  }
  if (c != Class::kPositive) return over_by_reply(std::move(reply));
  if (state_ == State::kEhlo) features_ = read_features(reply);
  return session_stands(out);
}

// Or has to be secured first. In one that is a client's already nothing of that is said again: TLS is there if it
// will ever be, and the client has not logged in.
Client::Event Client::session_stands(std::string& out) {
  if (introduced_) {
    state_ = State::kReady;
    return Event::kReady;
  }
  const bool wanted = !in_tls_ && tls_ != TlsUse::kNever;
  if (wanted && features_.starttls) {
    out += "STARTTLS\r\n";
    state_ = State::kStartTls;
    return Event::kNone;
  }
  if (wanted && tls_ == TlsUse::kAlways)
    return over(no_tls({4, 7, 4}, "the next hop does not offer STARTTLS"));
  if (login_) return log_in(out);
  state_ = State::kReady;
  return Event::kReady;
}

// By the best mechanism that was not tried.
Client::Event Client::log_in(std::string& out) {
  state_ = State::kAuth;
  if (!in_tls_) return over(no_login("not without TLS"));
  if (features_.auth.empty()) return over(no_login("the next hop does not offer AUTH"));
  const auto command = login_->begin(features_.auth);
  if (!command)
    return over(no_login("the next hop offers none of SCRAM-SHA-256, PLAIN and LOGIN"));
  out.append(*command).append("\r\n");
  return Event::kNone;
}

Client::Event Client::on_auth(mail::Reply reply, Class c, std::string& out) {
  switch (c) {
    case Class::kPositive:
      if (!login_->satisfied()) return over(no_login("the next hop says yes before it may"));
      state_ = State::kReady;
      return Event::kReady;
    case Class::kIntermediate: {
      const auto answer = login_->respond(reply.lines.front());
      if (!answer) return over(no_login("the next hop cannot be answered: " + answer.error()));
      out.append(*answer).append("\r\n");
      return Event::kNone;
    }
    case Class::kPermanent:
      if (reply.code == 504 && login_->has_more(features_.auth)) return log_in(out);
      break;
    case Class::kTransient:
    case Class::kNone:
      break;
  }
  return over_by_reply(std::move(reply));
}

Client::Event Client::on_starttls(mail::Reply reply, Class c) {
  switch (c) {
    case Class::kPositive:
      state_ = State::kTls;
      return Event::kTls;
    case Class::kTransient:
    case Class::kPermanent:
      if (tls_ == TlsUse::kAlways || login_) return over_by_reply(std::move(reply));
      tls_refusal_ = reply.text();
      state_ = State::kReady;
      return Event::kReady;
    case Class::kIntermediate:
    case Class::kNone:
      break;
  }
  return over_by_reply(std::move(reply));
}

void Client::secured(std::string& out) {
  CHECK(state_ == State::kTls);
  in_tls_ = true;
  state_ = State::kGreeting;
  if (tls_ == TlsUse::kFromStart) return;
  features_ = {};
  say_hello(out);
}

void Client::kept_in_tls() {
  CHECK(state_ == State::kGreeting && tls_ == TlsUse::kNever && replies_ == 0);
  in_tls_ = true;
}

void Client::tls_failed(std::string_view why) {
  CHECK(state_ == State::kTls || (state_ == State::kEhlo && in_tls_));
  static_cast<void>(over(no_tls({4, 7, 5}, why)));
  tls_failed_ = true;
}

Client::Event Client::introduce(const ipc::FirstClient& client, std::string& out) {
  CHECK(state_ == State::kReady && !introduced_ && transactions_ == 0);
  state_ = State::kXclient;
  if (!features_.xclient.has(ClientAttribute::kAddr)) return over(no_xclient());
  out += xclient_command(client, features_.xclient);
  name_ = hello_of(client, name_);
  return Event::kNone;
}

// The session begins anew, as the client's.
Client::Event Client::on_xclient(mail::Reply reply, Class c, std::string& out) {
  if (c != Class::kPositive) return over_by_reply(std::move(reply));
  introduced_ = true;
  features_ = {};
  say_hello(out);
  return Event::kNone;
}

void Client::turn(std::string_view domains, std::string& out) {
  CHECK(state_ == State::kReady && transactions_ == 0);
  state_ = State::kAtrn;
  out += domains.empty() ? "ATRN\r\n" : fmt::format("ATRN {}\r\n", domains);
}

Client::Event Client::on_atrn(mail::Reply reply, Class c) {
  if (c == Class::kIntermediate) return over_by_reply(std::move(reply));
  state_ = c == Class::kPositive ? State::kTurned : State::kReady;
  turn_reply_ = std::move(reply);
  return Event::kTurn;
}

// Our own words on a session that cannot be secured.
Verdict Client::no_tls(mail::EnhancedCode code, std::string_view why) {
  Verdict verdict{ipc::Result::kDeferred, ipc::FailureClass::kTls, {}, {}};
  verdict.reply.enhanced = code;
  verdict.reply.lines.emplace_back(why);
  return verdict;
}

// Likewise on one where we cannot log in.
Verdict Client::no_login(std::string_view why) {
  Verdict verdict{ipc::Result::kDeferred, ipc::FailureClass::kLogin, {}, {}};
  verdict.reply.enhanced = {4, 7, 0};
  verdict.reply.lines.push_back(fmt::format("logging in: {}", why));
  return verdict;
}

// Likewise on one that would be ours, and not the client's.
Verdict Client::no_xclient() {
  Verdict verdict{ipc::Result::kDeferred, ipc::FailureClass::kPolicy, {}, {}};
  verdict.reply.enhanced = {4, 7, 4};
  verdict.reply.lines.emplace_back("the next hop does not offer XCLIENT");
  return verdict;
}

}  // namespace postern::relay
