// Our OpenSSL provider: private keys that are somewhere else. Such a key knows its public half and
// its KeyId; when a handshake wants a signature of it, the handshake's fibre stops
// (ASYNC_pause_job), the question stands in the session's SigningPoint, and the handshake goes on
// when the answer is there. For the files of common/tls alone.
#pragma once

#include <openssl/evp.h>

#include <optional>
#include <string>

#include "common/tls/library.h"
#include "common/tls/signer.h"

namespace postern::tls {

// Registers it; once for each library context.
void load_provider(OSSL_LIB_CTX* context);

// A private key to `public_key` for SSL_CTX_use_PrivateKey().
[[nodiscard]] PkeyHandle remote_key(EVP_PKEY* public_key, const KeyId& id);

// Where a handshake and its signer meet.
struct SigningPoint {
  std::optional<SignRequest> asked;
  std::optional<std::string> signature;  // nothing when the handshake goes on: there is none
};

// While it lives, keys of this thread ask at `point`.
class SigningScope {
 public:
  explicit SigningScope(SigningPoint& point) noexcept;
  ~SigningScope();
  SigningScope(const SigningScope&) = delete;
  SigningScope& operator=(const SigningScope&) = delete;
};

}  // namespace postern::tls
