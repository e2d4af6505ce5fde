// Plain: the mechanism PLAIN (RFC 4616). Login: LOGIN, in which name and password follow two
// questions that clients know by heart (draft-murchison-sasl-login).
#pragma once

#include "smtpd/auth/exchange.h"

namespace postern::smtpd::auth {

class Plain final : public Exchange {
 public:
  [[nodiscard]] Step begin(std::optional<std::string_view> initial) override;
  [[nodiscard]] Step respond(std::string_view response) override;
};

class Login final : public Exchange {
 public:
  // An initial response is the name: clients send it, though the mechanism speaks first.
  [[nodiscard]] Step begin(std::optional<std::string_view> initial) override;
  [[nodiscard]] Step respond(std::string_view response) override;

 private:
  std::optional<std::string> name_;
};

}  // namespace postern::smtpd::auth
