// Digests as SASL needs them. They read nothing and ask nobody, so pure parts may use them; the
// library behind them is made before a process's sandbox (ready_digests()).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postern::tls {

inline constexpr std::size_t kSha256Size = 32;

[[nodiscard]] std::string sha256(std::string_view bytes);
[[nodiscard]] std::string hmac_sha256(std::string_view key, std::string_view bytes);
// PBKDF2 with HMAC-SHA-256 (RFC 8018 5.2), kSha256Size bytes: Hi() of RFC 5802.
[[nodiscard]] std::string pbkdf2_sha256(std::string_view password, std::string_view salt,
                                        std::uint32_t iterations);
void ready_digests();

}  // namespace postern::tls
