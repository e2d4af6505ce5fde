// Scram: the mechanisms SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), the latter bound
// to its TLS session by tls-exporter (RFC 9266) or, in TLS 1.2, by tls-unique.
//
//   kFirst   client-first  -> server-first; an account that does not exist gets one as all others
//   kProof   client-final  -> server-final, when its owner lets it be known, or rejected
//   kEnd     the client's empty word to that, since SMTP's 235 carries nothing -> proven
#pragma once

#include "smtpd/auth/exchange.h"

namespace postern::smtpd::auth {

class Scram final : public Exchange {
 public:
  Scram(bool plus, ExchangeContext context);
  [[nodiscard]] Step begin(std::optional<std::string_view> initial) override;
  [[nodiscard]] Step respond(std::string_view response) override;

 private:
  enum class State : std::uint8_t { kFirst, kProof, kEnd };

  [[nodiscard]] Step first(std::string_view response);
  [[nodiscard]] Step proof(std::string_view response);
  // What is wrong with the client's wish for a binding; takes the data of the one that it names.
  [[nodiscard]] std::string_view read_flag(std::string_view flag);
  [[nodiscard]] Rejected reject(std::string_view reason) const { return {account_, reason}; }

  bool plus_;
  ExchangeContext context_;
  State state_ = State::kFirst;
  std::string account_;
  std::string header_;   // the client's gs2-header
  std::string binding_;  // what it is bound to
  std::string messages_;  // client-first-message-bare "," server-first-message
  std::string nonce_;
  Looked looked_;
};

}  // namespace postern::smtpd::auth
