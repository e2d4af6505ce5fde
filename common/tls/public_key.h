// What a public key says about itself. For the files of common/tls alone.
#pragma once

#include <openssl/evp.h>

#include <expected>
#include <string>

#include "common/tls/signer.h"

namespace postern::tls {

// "RSA 2048", "EC P-256", "Ed25519"; on failure why Postern does not use such a key.
[[nodiscard]] std::expected<std::string, std::string> kind_of(const EVP_PKEY* key);
[[nodiscard]] KeyId id_of(EVP_PKEY* key);

}  // namespace postern::tls
