// Exchange: the server's side of one SASL exchange as a pure machine: what the client said in, what
// follows from it out. It knows no socket and no base64, looks accounts up through what it is given,
// and leaves to its owner what takes long: the check of a password against its hash.
//
//   begin (initial response, if there was one) -> Challenge -> respond() -> ... -> an end
//
// The ends: CheckPassword (the owner decides), Proven, Rejected. After an end nothing follows. Convinced comes in
// front of Proven where the client is owed a word of the server's: until its owner wants it to be known, nobody may
// see that it is no rejection.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "common/sasl/mechanism.h"
#include "common/sasl/scram_verifier.h"

namespace postern::smtpd::auth {

struct Challenge {
  std::string bytes;
};
struct CheckPassword {
  std::string account;
  std::string password;
};
struct Convinced {
  std::string account;
  std::string bytes;  // a challenge; what answers it goes to respond()
};
struct Proven {
  std::string account;
};
struct Rejected {
  std::string account;      // as far as it was said
  std::string_view reason;  // for the log; the client hears nothing of it
};
using Step = std::variant<Challenge, CheckPassword, Convinced, Proven, Rejected>;

// What binds an exchange to its TLS session; empty where there is none, or it cannot be had.
struct ChannelBinding {
  std::string exporter;  // "tls-exporter", RFC 9266
  std::string unique;    // "tls-unique", RFC 5929: TLS 1.2 alone
};

// The verifier of an account, for one that does not exist too: then `exists` is false, and it looks
// like all others and fits no password.
struct Looked {
  sasl::ScramVerifier verifier;
  bool exists = false;
};

struct ExchangeContext {
  ChannelBinding binding;
  bool plus_offered = false;  // SCRAM-SHA-256-PLUS was offered to this client
  std::string nonce;          // the server's: printable ASCII without commas, never the same again
  std::function<Looked(const std::string& account)> look_up;
};

class Exchange {
 public:
  static constexpr std::size_t kMaxResponse = 12'288 / 4 * 3;  // RFC 4954 4: a line, without base64
  static constexpr std::size_t kMaxField = 1'024;  // of a name or password, as the client says it

  virtual ~Exchange() = default;
  // `initial`: the initial response, which may be empty; none: the client waits for a challenge.
  [[nodiscard]] virtual Step begin(std::optional<std::string_view> initial) = 0;
  [[nodiscard]] virtual Step respond(std::string_view response) = 0;
};

[[nodiscard]] std::unique_ptr<Exchange> make_exchange(sasl::Mechanism mechanism,
                                                      ExchangeContext context);

// Names as the client says them; lower case is ours.
[[nodiscard]] std::string account_name(std::string_view said);

}  // namespace postern::smtpd::auth
