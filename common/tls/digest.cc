#include "common/tls/digest.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "common/base/check.h"
#include "common/tls/library.h"

namespace postern::tls {
namespace {

using DigestHandle = std::unique_ptr<EVP_MD, Release<::EVP_MD_free>>;
using KdfHandle = std::unique_ptr<EVP_KDF, Release<::EVP_KDF_free>>;
using KdfContextHandle = std::unique_ptr<EVP_KDF_CTX, Release<::EVP_KDF_CTX_free>>;

unsigned char* bytes_of(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}

const EVP_MD* sha256_digest() {
  static const DigestHandle digest(::EVP_MD_fetch(library(), "SHA256", nullptr));
  return digest.get();
}

EVP_KDF* pbkdf2() {
  static const KdfHandle kdf(::EVP_KDF_fetch(library(), "PBKDF2", nullptr));
  return kdf.get();
}

// The library takes parameters without const, and only reads them.
char* readable(std::string_view text) {
  return const_cast<char*>(text.data());
}

}  // namespace

std::string sha256(std::string_view bytes) {
  std::string made(kSha256Size, '\0');
  CHECK(::EVP_Digest(bytes.data(), bytes.size(), bytes_of(made), nullptr, sha256_digest(), nullptr) ==
        1);
  return made;
}

std::string hmac_sha256(std::string_view key, std::string_view bytes) {
  std::string made(kSha256Size, '\0');
  std::size_t size = 0;
  CHECK(::EVP_Q_mac(library(), "HMAC", nullptr, "SHA256", nullptr, key.data(), key.size(),
                    reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                    bytes_of(made), made.size(), &size) != nullptr);
  return made;
}

std::string pbkdf2_sha256(std::string_view password, std::string_view salt,
                          std::uint32_t iterations) {
  const KdfContextHandle context(::EVP_KDF_CTX_new(pbkdf2()));
  std::uint32_t count = iterations;
  int unchecked = 1;  // SP 800-132 asks for longer salts than RFC 5802 has in its examples
  static constexpr std::string_view kDigest = "SHA256";
  const OSSL_PARAM parameters[] = {
      ::OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, readable(password),
                                          password.size()),
      ::OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, readable(salt), salt.size()),
      ::OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_ITER, &count),
      ::OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, readable(kDigest), 0),
      ::OSSL_PARAM_construct_int(OSSL_KDF_PARAM_PKCS5, &unchecked),
      ::OSSL_PARAM_construct_end()};
  std::string made(kSha256Size, '\0');
  CHECK(::EVP_KDF_derive(context.get(), bytes_of(made), made.size(), parameters) == 1);
  return made;
}

void ready_digests() {
  (void)hmac_sha256("", "");
  (void)pbkdf2_sha256("", "", 1);
  (void)sha256("");
}

}  // namespace postern::tls
