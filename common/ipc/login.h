// Between smtpd, auth and queued: who logs in, and who then counts as logged in. A session is named
// by a random token that its smtpd chooses. What smtpd is told of a login is for its own decisions;
// queued counts only the ticket that auth itself gave it.
#pragma once

#include "common/ipc/types.h"

namespace postern::ipc {

inline constexpr std::size_t kMaxSaslBytes = 12'288 / 4 * 3;  // RFC 4954 4: a line, without base64
inline constexpr std::size_t kMaxBinding = 64;

// A client says AUTH; at most one exchange of a session at a time.
struct Login {
  static constexpr Type kType = Type::kLogin;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kAuth)};
  static constexpr Window kWindow{.requests = 1024};
  base::RequestId request;
  base::Token session;
  base::IpAddress client;
  sasl::Mechanism mechanism = sasl::Mechanism::kPlain;
  bool plus_offered = false;  // SCRAM-SHA-256-PLUS was
  std::string tls_exporter;   // channel binding; empty: none
  std::string tls_unique;
  std::optional<std::string> initial;  // the initial response, without base64
  static constexpr auto fields() {
    return fields_of(field("request", &Login::request), field("session", &Login::session),
                      field("client", &Login::client), field("mechanism", &Login::mechanism),
                      field("plus_offered", &Login::plus_offered),
                      field("tls_exporter", &Login::tls_exporter, kMaxBinding),
                      field("tls_unique", &Login::tls_unique, kMaxBinding),
                      field("initial", &Login::initial, kMaxSaslBytes));
  }
};

// What the client answers to a challenge.
struct LoginResponse {
  static constexpr Type kType = Type::kLoginResponse;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kAuth)};
  static constexpr Window kWindow{.requests = 1024};
  base::RequestId request;
  base::Token session;
  std::string response;
  static constexpr auto fields() {
    return fields_of(field("request", &LoginResponse::request),
                      field("session", &LoginResponse::session),
                      field("response", &LoginResponse::response, kMaxSaslBytes));
  }
};

// A user of this host came through a Unix socket: the kernel knows who it is. Descriptor: its connection.
struct UserLogin {
  static constexpr Type kType = Type::kUserLogin;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kAuth)};
  static constexpr Window kWindow{.requests = 1024};
  static constexpr std::size_t kDescriptors = 1;
  base::RequestId request;
  base::Token session;
  static constexpr auto fields() {
    return fields_of(field("request", &UserLogin::request), field("session", &UserLogin::session));
  }
};

enum class LoginResult : std::uint8_t {
  kChallenge,    // the exchange goes on
  kAccepted,     // logged in as `account`; queued knows it
  kRefused,      // credentials that do not count
  kUnavailable,  // nobody can say now
};

struct LoginAnswer {
  static constexpr Type kType = Type::kLoginAnswer;
  static constexpr Route kRoute{roles(Role::kAuth), roles(Role::kSmtpd)};
  using ReplyTo = Replies<Login, LoginResponse, UserLogin>;
  base::RequestId request;
  LoginResult result = LoginResult::kRefused;
  std::string challenge;
  std::string account;
  static constexpr auto fields() {
    return fields_of(field("request", &LoginAnswer::request),
                      field("result", &LoginAnswer::result),
                      field("challenge", &LoginAnswer::challenge, kMaxSaslBytes),
                      field("account", &LoginAnswer::account, sasl::kMaxAccount));
  }
};

// The client gave up its exchange, or what it was logged in for is over.
struct EndLogin {
  static constexpr Type kType = Type::kEndLogin;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kAuth)};
  base::Token session;
  static constexpr auto fields() { return fields_of(field("session", &EndLogin::session)); }
};

// This session of that smtpd is logged in.
struct Ticket {
  static constexpr Type kType = Type::kTicket;
  static constexpr Route kRoute{roles(Role::kAuth), roles(Role::kQueued)};
  static constexpr Window kWindow{.requests = 65'536};
  base::RequestId request;
  base::Token session;
  std::uint32_t smtpd = 0;  // its index
  std::string account;
  static constexpr auto fields() {
    return fields_of(field("request", &Ticket::request), field("session", &Ticket::session),
                      field("smtpd", &Ticket::smtpd),
                      field("account", &Ticket::account, sasl::kMaxAccount));
  }
};

struct TicketTaken {
  static constexpr Type kType = Type::kTicketTaken;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kAuth)};
  using ReplyTo = Replies<Ticket>;
  base::RequestId request;
  bool taken = false;  // false: the account is locked
  static constexpr auto fields() {
    return fields_of(field("request", &TicketTaken::request), field("taken", &TicketTaken::taken));
  }
};

// It is not logged in any more.
struct DropTicket {
  static constexpr Type kType = Type::kDropTicket;
  static constexpr Route kRoute{roles(Role::kAuth), roles(Role::kQueued)};
  base::Token session;
  static constexpr auto fields() { return fields_of(field("session", &DropTicket::session)); }
};

// The sessions that are logged in as this account end now: it is locked, or its password is another.
struct EndAccount {
  static constexpr Type kType = Type::kEndAccount;
  static constexpr Route kRoute{roles(Role::kAuth, Role::kQueued), roles(Role::kSmtpd)};
  std::string account;
  static constexpr auto fields() {
    return fields_of(field("account", &EndAccount::account, sasl::kMaxAccount));
  }
};

}  // namespace postern::ipc

template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::ipc::LoginResult> =
    postern::ipc::LoginResult::kUnavailable;
