#include "common/sasl/scram_verifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/base64.h"
#include "common/base/secret.h"
#include "common/base/text.h"
#include "common/tls/digest.h"

namespace postern::sasl {

ScramKeys ScramKeys::make(std::string_view password, std::string_view salt, std::uint32_t iterations) {
  auto salted = tls::pbkdf2_sha256(password, salt, iterations);
  ScramKeys keys;
  keys.client = tls::hmac_sha256(salted, "Client Key");
  keys.stored = tls::sha256(keys.client);
  keys.server = tls::hmac_sha256(salted, "Server Key");
  base::wipe(salted);
  return keys;
}

ScramVerifier ScramVerifier::make(std::string_view password, std::string salt,
                                  std::uint32_t iterations) {
  auto keys = ScramKeys::make(password, salt, iterations);
  base::wipe(keys.client);
  return {iterations, std::move(salt), std::move(keys.stored), std::move(keys.server)};
}

std::expected<ScramVerifier, std::string> ScramVerifier::parse(std::string_view text) {
  static constexpr std::string_view kExpected =
      "expected SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY with base64 in the last three";
  if (!text.starts_with(kPrefix)) return std::unexpected(std::string(kExpected));
  text.remove_prefix(kPrefix.size());
  const auto take = [&text](char end) {
    const auto part = text.substr(0, text.find(end));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    return part;
  };
  const auto iterations = base::parse_number(take(':'));
  const auto salt = base::parse_base64(take('$'));
  const auto stored = base::parse_base64(take(':'));
  const auto server = base::parse_base64(text);
  if (!iterations || !salt || salt->empty() || !stored || !server)
    return std::unexpected(std::string(kExpected));
  if (*iterations < kLeastIterations || *iterations > kMostIterations)
    return std::unexpected(
        fmt::format("expected from {} to {} iterations", kLeastIterations, kMostIterations));
  if (salt->size() > kMaxSalt)
    return std::unexpected(fmt::format("expected a salt of at most {} bytes", kMaxSalt));
  if (stored->size() != tls::kSha256Size || server->size() != tls::kSha256Size)
    return std::unexpected(fmt::format("expected two keys of {} bytes each", tls::kSha256Size));
  return ScramVerifier{static_cast<std::uint32_t>(*iterations), *salt, *stored, *server};
}

std::string ScramVerifier::text() const {
  return fmt::format("{}{}:{}${}:{}", kPrefix, iterations, base::to_base64(salt),
                     base::to_base64(stored_key), base::to_base64(server_key));
}

bool ScramVerifier::accepts(std::string_view password) const {
  return base::equal_secrets(make(password, salt, iterations).stored_key, stored_key);
}

}  // namespace postern::sasl
