// Between smtpd and key: signatures of TLS handshakes, and the keys of session tickets.
#pragma once

#include "common/ipc/types.h"
#include "common/tls/signer.h"
#include "common/tls/tickets.h"

namespace postern::ipc {

// A signature for a handshake. The bytes themselves are sent, so that key sees that they are one.
struct Sign {
  static constexpr Type kType = Type::kSign;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kKey)};
  static constexpr Window kWindow{.requests = 1024};
  base::RequestId request;
  std::string key;  // a tls::KeyId
  tls::Algorithm algorithm = tls::Algorithm::kRsaPss;
  tls::Digest digest = tls::Digest::kSha256;
  std::string bytes;
  static constexpr auto fields() {
    return fields_of(field("request", &Sign::request),
                      field("key", &Sign::key, std::tuple_size_v<tls::KeyId>),
                      field("algorithm", &Sign::algorithm), field("digest", &Sign::digest),
                      field("bytes", &Sign::bytes, tls::kMaxSigned));
  }
};

struct Signed {
  static constexpr Type kType = Type::kSigned;
  static constexpr Route kRoute{roles(Role::kKey), roles(Role::kSmtpd)};
  using ReplyTo = Replies<Sign>;
  base::RequestId request;
  std::string signature;  // empty: there is none
  static constexpr auto fields() {
    return fields_of(field("request", &Signed::request),
                      field("signature", &Signed::signature, tls::kMaxSignature));
  }
};

struct TicketKey {
  std::string name, cipher, mac;  // of a tls::TicketKey
  static constexpr auto fields() {
    return fields_of(field("name", &TicketKey::name, sizeof(tls::TicketKey::name)),
                      field("cipher", &TicketKey::cipher, sizeof(tls::TicketKey::cipher)),
                      field("mac", &TicketKey::mac, sizeof(tls::TicketKey::mac)));
  }
};

// On connecting and whenever they change; the newest first.
struct TicketKeys {
  static constexpr Type kType = Type::kTicketKeys;
  static constexpr Route kRoute{roles(Role::kKey), roles(Role::kSmtpd)};
  std::vector<TicketKey> keys;
  static constexpr auto fields() {
    return fields_of(field("keys", &TicketKeys::keys, tls::TicketKeys::kKept));
  }
};

}  // namespace postern::ipc

template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::tls::Algorithm> =
    postern::tls::Algorithm::kEd25519;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::tls::Digest> =
    postern::tls::Digest::kSha512;
