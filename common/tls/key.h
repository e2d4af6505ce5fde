// PrivateKey: a key and the signatures that it makes, here and now: for the process that keeps
// keys, and for the parent, which checks them.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/tls/signer.h"

struct evp_md_ctx_st;
struct evp_pkey_st;

namespace postern::tls {

class PrivateKey {
 public:
  // Of one key in PEM, without a passphrase: RSA with 2048 bits or more, EC on P-256 or P-384,
  // Ed25519. On failure what is wrong with it.
  [[nodiscard]] static std::expected<PrivateKey, std::string> parse(std::string_view pem);
  PrivateKey(PrivateKey&&) noexcept;
  PrivateKey& operator=(PrivateKey&&) noexcept;
  ~PrivateKey();

  [[nodiscard]] const KeyId& id() const noexcept { return id_; }
  [[nodiscard]] const std::string& kind() const noexcept {
    return kind_;
  }  // "RSA 2048", "EC P-256"
  // Nothing where the scheme does not fit the key. For one thread at a time.
  [[nodiscard]] std::optional<std::string> sign(Scheme scheme, std::string_view bytes) const;

 private:
  PrivateKey() = default;
  struct Free {
    void operator()(evp_pkey_st* key) const noexcept;
    void operator()(evp_md_ctx_st* context) const noexcept;
  };
  using Begun = std::unique_ptr<evp_md_ctx_st, Free>;
  [[nodiscard]] Begun begin(Scheme scheme) const;

  std::unique_ptr<evp_pkey_st, Free> key_;
  // Signatures that are begun and never ended, one for each scheme that was asked for: to copy one costs less
  // than the search for what it needs.
  mutable std::vector<std::pair<Scheme, Begun>> begun_;
  KeyId id_{};
  std::string kind_;
};

// Whether `bytes` are what a server signs in a TLS handshake and nothing else: the
// CertificateVerify of TLS 1.3 (RFC 8446 4.4.3), or the ECDHE parameters of TLS 1.2 (RFC 8422 5.4).
// Who can ask for such signatures alone can answer handshakes, but signs no certificate, no request
// for one, and no mail.
[[nodiscard]] bool is_server_handshake(std::string_view bytes) noexcept;

}  // namespace postern::tls
