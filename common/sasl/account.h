// The names of accounts: printable ASCII without blanks and colons, in lower case, so that the
// password file can hold them and one account has one name.
#pragma once

#include <string>
#include <string_view>

namespace postern::sasl {

inline constexpr std::size_t kMaxAccount = 128;
inline constexpr std::size_t kMaxPassword = 512;  // bytes
inline constexpr std::size_t kMaxHash = 384;      // crypt(5): CRYPT_OUTPUT_SIZE
inline constexpr std::size_t kMaxVerifier = 256;  // a SCRAM verifier as text

// What is wrong with it as a name; empty: nothing.
[[nodiscard]] std::string wrong_with_account(std::string_view name);
// What is wrong with it as a password that we set: SASLprep (RFC 4013) leaves printable ASCII as it
// is, so every client means the same bytes by it; whatever else it would map or forbid is refused.
[[nodiscard]] std::string wrong_with_password(std::string_view password);

}  // namespace postern::sasl
