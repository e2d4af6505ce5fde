// What a next hop says of itself in its reply to EHLO. Pure.
#pragma once

#include <cstdint>

#include "common/mail/reply.h"
#include "deliverd/relay/introduction.h"
#include "deliverd/relay/login.h"

namespace postern::relay {

// What a next hop takes at most (RFC 9422); 0: not said.
struct Limits {
  std::uint64_t transactions = 0;  // MAILMAX, of a session
  std::uint64_t recipients = 0;    // RCPTMAX, of a transaction; also learned from a refusal
  std::uint64_t domains = 0;       // RCPTDOMAINMAX, of all recipients of a session
};

struct Features {
  bool pipelining = false;
  bool size = false;
  std::uint64_t max_size = 0;  // 0: not said
  bool eight_bit = false;
  bool smtputf8 = false;
  bool chunking = false;
  bool binary = false;  // BINARYMIME, with CHUNKING
  bool dsn = false;
  bool starttls = false;
  bool require_tls = false;  // REQUIRETLS; worth something in TLS alone
  MechanismSet auth;
  AttributeSet xforward, xclient;
  Limits limits;
};

// What it does not say, or says in a form that is none, is not offered.
[[nodiscard]] Features read_features(const mail::Reply& reply);

}  // namespace postern::relay
