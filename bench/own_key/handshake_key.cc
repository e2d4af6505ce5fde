// smtpd as it would be with its private key in the process itself, for `bench/tls --signer` alone: this
// file stands in the place of common/tls/handshake_key.cc, and all else is smtpd as it is. The key is the
// file handshake.key beside the program. It is read before the sandbox, so this smtpd cannot reload.
#include "common/tls/handshake_key.h"

#include <openssl/pem.h>

#include "common/config/toml_file.h"
#include "common/os/process.h"

namespace postern::tls {
namespace {

constexpr std::size_t kMaxFile = 1U << 20;

}  // namespace

bool use_key(SSL_CTX* context, EVP_PKEY*, const KeyId&) {
  const auto directory = os::program_directory();
  if (!directory) return false;
  const auto pem = config::read_file(*directory + "/handshake.key", kMaxFile);
  if (!pem) return false;
  const auto bio = reader(*pem);
  const PkeyHandle key(
      ::PEM_read_bio_PrivateKey_ex(bio.get(), nullptr, nullptr, nullptr, library(), nullptr));
  return ::SSL_CTX_use_PrivateKey(context, key.get()) == 1;
}

}  // namespace postern::tls
