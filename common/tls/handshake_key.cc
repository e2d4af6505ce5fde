#include "common/tls/handshake_key.h"

#include "common/tls/provider.h"

namespace postern::tls {

bool use_key(SSL_CTX* context, EVP_PKEY* public_key, const KeyId& id) {
  const auto key = remote_key(public_key, id);
  ::SSL_CTX_set_mode(context, SSL_MODE_ASYNC);
  return ::SSL_CTX_use_PrivateKey(context, key.get()) == 1;
}

}  // namespace postern::tls
