#include "common/tls/key.h"

#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>

#include "common/tls/library.h"
#include "common/tls/public_key.h"

namespace postern::tls {
namespace {

const char* name(Digest digest) {
  switch (digest) {
    case Digest::kNone:
      return nullptr;
    case Digest::kSha256:
      return "SHA256";
    case Digest::kSha384:
      return "SHA384";
    case Digest::kSha512:
      return "SHA512";
  }
  return nullptr;
}

bool fits(const EVP_PKEY* key, Scheme scheme) {
  switch (scheme.algorithm) {
    case Algorithm::kRsaPkcs1:
    case Algorithm::kRsaPss:
      return scheme.digest != Digest::kNone && ::EVP_PKEY_is_a(key, "RSA") == 1;
    case Algorithm::kEcdsa:
      return scheme.digest != Digest::kNone && ::EVP_PKEY_is_a(key, "EC") == 1;
    case Algorithm::kEd25519:
      return scheme.digest == Digest::kNone && ::EVP_PKEY_is_a(key, "ED25519") == 1;
  }
  return false;
}

// Asked for a passphrase, OpenSSL would read the terminal.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

}  // namespace

void PrivateKey::Free::operator()(evp_pkey_st* key) const noexcept {
  ::EVP_PKEY_free(key);
}
void PrivateKey::Free::operator()(evp_md_ctx_st* context) const noexcept {
  ::EVP_MD_CTX_free(context);
}
PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

std::expected<PrivateKey, std::string> PrivateKey::parse(std::string_view pem) {
  if (pem.find("ENCRYPTED") != std::string_view::npos)
    return std::unexpected(
        "the key is encrypted with a passphrase, which nobody could give: store it "
        "without one, readable for root alone");
  const auto bio = reader(pem);
  PrivateKey made;
  made.key_.reset(
      ::PEM_read_bio_PrivateKey_ex(bio.get(), nullptr, no_passphrase, nullptr, library(), nullptr));
  if (!made.key_) return std::unexpected(trouble("holds no private key in PEM"));
  auto kind = kind_of(made.key_.get());
  if (!kind) return std::unexpected(std::move(kind.error()));
  made.kind_ = *std::move(kind);
  made.id_ = id_of(made.key_.get());
  return made;
}

// Null: OpenSSL cannot.
PrivateKey::Begun PrivateKey::begin(Scheme scheme) const {
  Begun context(::EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  const bool good =
      context &&
      ::EVP_DigestSignInit_ex(context.get(), &parameters, name(scheme.digest), library(), nullptr,
                              key_.get(), nullptr) == 1 &&
      (scheme.algorithm != Algorithm::kRsaPss ||
       (::EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 &&
        ::EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1));
  return good ? std::move(context) : nullptr;
}

std::optional<std::string> PrivateKey::sign(Scheme scheme, std::string_view bytes) const {
  if (!fits(key_.get(), scheme)) return std::nullopt;
  auto begun = std::find_if(begun_.begin(), begun_.end(),
                            [&](const auto& known) { return known.first == scheme; });
  if (begun == begun_.end()) begun = begun_.emplace(begun, scheme, begin(scheme));
  const DigestContextHandle context(::EVP_MD_CTX_new());
  const auto* const data = reinterpret_cast<const unsigned char*>(bytes.data());
  std::string signature(static_cast<std::size_t>(::EVP_PKEY_get_size(key_.get())), '\0');
  std::size_t size = signature.size();
  const bool good =
      context && begun->second && ::EVP_MD_CTX_copy_ex(context.get(), begun->second.get()) == 1 &&
      ::EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                       data, bytes.size()) == 1;
  if (!good) {
    (void)trouble({});
    return std::nullopt;
  }
  signature.resize(size);
  return signature;
}

bool is_server_handshake(std::string_view bytes) noexcept {
  // RFC 8446 4.4.3: 64 spaces, the context, a zero, the hash of the transcript.
  static constexpr std::string_view kContext("TLS 1.3, server CertificateVerify\0", 34);
  static constexpr std::size_t kPad = 64;
  if (bytes.substr(0, kPad).find_first_not_of(' ') == std::string_view::npos) {
    if (!bytes.substr(std::min(kPad, bytes.size())).starts_with(kContext)) return false;
    const auto hash = bytes.size() - kPad - kContext.size();
    return hash == 32 || hash == 48;
  }
  // RFC 8422 5.4: two randoms of 32 bytes, named_curve, the group, a point with its length.
  static constexpr std::size_t kRandoms = 64, kHead = 4;
  if (bytes.size() < kRandoms + kHead || bytes[kRandoms] != 3) return false;
  const auto byte = [&](std::size_t at) {
    return static_cast<unsigned char>(bytes[kRandoms + at]);
  };
  const auto group = byte(1) << 8 | byte(2);
  const std::size_t point = byte(3);
  if (bytes.size() != kRandoms + kHead + point) return false;
  constexpr int kP256 = 23, kP384 = 24, kX25519 = 29;
  return (group == kX25519 && point == 32) || (group == kP256 && point == 65) ||
         (group == kP384 && point == 97);
}

}  // namespace postern::tls
