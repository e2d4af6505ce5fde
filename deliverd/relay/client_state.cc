#include "deliverd/relay/client_state.h"

namespace postern::relay {

using State = ClientState;
using std::chrono::minutes;
using std::chrono::seconds;

// RFC 5321 4.5.3.2; what it does not name (EHLO, AUTH, XCLIENT, RSET, XFORWARD, ATRN) waits like MAIL. Nobody needs the reply to
// QUIT, and whoever is slow to agree on TLS, or to say that it is there, is not.
base::Millis timeout_of(State state) noexcept {
  switch (state) {
    case State::kGreeting:
    case State::kEhlo:
    case State::kHelo:
    case State::kAuth:
    case State::kXclient:
    case State::kRset:
    case State::kXforward:
    case State::kMail:
    case State::kRcpt:
    case State::kAtrn:
      return minutes(5);
    case State::kData:
      return minutes(2);
    case State::kStartTls:
    case State::kTls:
    case State::kNoop:
      return minutes(1);
    case State::kBody:
      return minutes(3);
    case State::kDot:
    case State::kEmptyDot:
      return minutes(10);
    case State::kQuit:
      return seconds(5);
    case State::kReady:
    case State::kTurned:
    case State::kOver:
      return base::Millis(0);
  }
  return base::Millis(0);
}

std::string_view awaited(State state) noexcept {
  switch (state) {
    case State::kGreeting:
      return "the greeting";
    case State::kEhlo:
      return "the reply to EHLO";
    case State::kHelo:
      return "the reply to HELO";
    case State::kStartTls:
      return "the reply to STARTTLS";
    case State::kTls:
      return "the TLS handshake";
    case State::kAuth:
      return "the reply to AUTH";
    case State::kXclient:
      return "the reply to XCLIENT";
    case State::kReady:
      return "the next message";
    case State::kNoop:
      return "the reply to NOOP";
    case State::kRset:
      return "the reply to RSET";
    case State::kXforward:
      return "the reply to XFORWARD";
    case State::kMail:
      return "the reply to MAIL";
    case State::kRcpt:
      return "the reply to RCPT";
    case State::kData:
      return "the reply to DATA";
    case State::kBody:
      return "the message to be taken";
    case State::kDot:
      return "the reply to the message";
    case State::kEmptyDot:
      return "the reply to an empty message";
    case State::kAtrn:
      return "the reply to ATRN";
    case State::kTurned:
      return "the session to be turned round";
    case State::kQuit:
      return "the reply to QUIT";
    case State::kOver:
      return "the end";
  }
  return {};
}

ipc::FailureClass class_of_loss(State state) noexcept {
  switch (state) {
    case State::kGreeting:
    case State::kEhlo:
    case State::kHelo:
      return ipc::FailureClass::kGreeting;
    case State::kStartTls:
    case State::kTls:
      return ipc::FailureClass::kTls;
    case State::kAuth:
      return ipc::FailureClass::kLogin;
    case State::kXclient:
    case State::kAtrn:
    case State::kTurned:
      return ipc::FailureClass::kPolicy;
    case State::kData:
    case State::kBody:
    case State::kDot:
    case State::kEmptyDot:
      return ipc::FailureClass::kData;
    case State::kReady:
    case State::kNoop:
    case State::kRset:
    case State::kXforward:
    case State::kMail:
    case State::kRcpt:
    case State::kQuit:
    case State::kOver:
      return ipc::FailureClass::kConnect;
  }
  return ipc::FailureClass::kConnect;
}

}  // namespace postern::relay
