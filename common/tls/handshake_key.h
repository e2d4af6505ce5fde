// What a server's handshakes are signed with. In a file of its own, so that a benchmark can link
// another one in its place (bench/own_key): a key in the process itself, to show what asking for
// signatures costs. No configuration leads there. For the files of common/tls alone.
#pragma once

#include "common/tls/library.h"
#include "common/tls/signer.h"

namespace postern::tls {

// Behind SSL_CTX_use_certificate(): its key is with the signer. Handshakes of this context run on a
// fibre, which stands still while a signature is waited for.
[[nodiscard]] bool use_key(SSL_CTX* context, EVP_PKEY* public_key, const KeyId& id);

}  // namespace postern::tls
