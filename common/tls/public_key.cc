#include "common/tls/public_key.h"

#include <fmt/format.h>
#include <openssl/x509.h>

#include "common/base/check.h"
#include "common/tls/library.h"

namespace postern::tls {
namespace {
constexpr int kLeastRsa = 2048, kMostRsa = 8192;  // bits
}

std::expected<std::string, std::string> kind_of(const EVP_PKEY* key) {
  if (::EVP_PKEY_is_a(key, "ED25519") == 1) return "Ed25519";
  if (::EVP_PKEY_is_a(key, "RSA") == 1) {
    const int bits = ::EVP_PKEY_get_bits(key);
    if (bits < kLeastRsa || bits > kMostRsa)
      return std::unexpected(
          fmt::format("an RSA key of {} bits: expected {} to {}", bits, kLeastRsa, kMostRsa));
    return fmt::format("RSA {}", bits);
  }
  char group[32] = {};
  std::size_t size = 0;
  if (::EVP_PKEY_is_a(key, "EC") == 1 &&
      ::EVP_PKEY_get_group_name(key, group, sizeof group, &size) == 1) {
    const std::string_view name(group, size);
    if (name == "prime256v1" || name == "P-256") return "EC P-256";
    if (name == "secp384r1" || name == "P-384") return "EC P-384";
    return std::unexpected(fmt::format("an EC key on {}: expected P-256 or P-384", name));
  }
  return std::unexpected("expected a key of RSA, EC (P-256, P-384) or Ed25519");
}

KeyId id_of(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = ::i2d_PUBKEY(key, &der);
  CHECK(size > 0);
  KeyId id{};
  std::size_t length = 0;
  CHECK(::EVP_Q_digest(library(), "SHA256", nullptr, der, static_cast<std::size_t>(size), id.data(),
                       &length) == 1);
  ::OPENSSL_free(der);
  return id;
}

}  // namespace postern::tls
