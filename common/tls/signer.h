// Signer: whoever makes the signatures of handshakes. The process that speaks TLS knows
// certificates only; the private keys are somewhere else, so a signature is asked for and comes
// later, while the loop goes on.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace postern::tls {

// Names a key pair: SHA-256 of its SubjectPublicKeyInfo. A certificate knows it as well as its key,
// so no list has to be kept in step over a reload.
using KeyId = std::array<std::uint8_t, 32>;

enum class Algorithm : std::uint8_t { kRsaPkcs1, kRsaPss, kEcdsa, kEd25519 };
enum class Digest : std::uint8_t { kNone, kSha256, kSha384, kSha512 };  // kNone: Ed25519

struct Scheme {
  Algorithm algorithm = Algorithm::kRsaPss;
  Digest digest = Digest::kSha256;
  friend bool operator==(const Scheme&, const Scheme&) noexcept = default;
};

inline constexpr std::size_t kMaxSigned = 512;      // bytes that a handshake has signed
inline constexpr std::size_t kMaxSignature = 1024;  // of RSA with 8192 bits

struct SignRequest {
  KeyId key{};
  Scheme scheme;
  std::string bytes;  // not their digest: the signer sees what it signs
};

class Signer {
 public:
  // Nothing: there is no signature.
  using Signed = std::move_only_function<void(std::optional<std::string>) noexcept>;
  virtual ~Signer() = default;
  // `done` is called once, later, never from within sign().
  virtual void sign(SignRequest request, Signed done) = 0;
};

}  // namespace postern::tls
