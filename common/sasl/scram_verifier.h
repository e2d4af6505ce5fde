// ScramVerifier: what a server keeps in place of a password for SCRAM-SHA-256 (RFC 5802, 7677): who
// reads it cannot log in with it. As text in the manner of RFC 5803:
//   SCRAM-SHA-256$4096:c2FsdA==$StoredKey:ServerKey        (all three in base64)
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace postern::sasl {

// What follows from a password; the client keeps the first, the server the other two.
struct ScramKeys {
  std::string client;
  std::string stored;
  std::string server;

  // Takes all the iterations.
  [[nodiscard]] static ScramKeys make(std::string_view password, std::string_view salt,
                                      std::uint32_t iterations);
};

struct ScramVerifier {
  static constexpr std::string_view kPrefix = "SCRAM-SHA-256$";
  static constexpr std::uint32_t kLeastIterations = 4096;  // RFC 7677 4
  static constexpr std::uint32_t kMostIterations = 10'000'000;
  static constexpr std::uint32_t kOurIterations = 65'536;
  static constexpr std::size_t kMaxSalt = 64;

  std::uint32_t iterations = kOurIterations;
  std::string salt;
  std::string stored_key;
  std::string server_key;

  [[nodiscard]] static ScramVerifier make(std::string_view password, std::string salt,
                                          std::uint32_t iterations = kOurIterations);
  // The error is what was expected.
  [[nodiscard]] static std::expected<ScramVerifier, std::string> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  // Is it the verifier of this password? Takes all the iterations.
  [[nodiscard]] bool accepts(std::string_view password) const;
};

}  // namespace postern::sasl
