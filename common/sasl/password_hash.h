// Password hashes of crypt(3), as the password file keeps them. Checking one takes as long as whoever
// made it wanted: tens of milliseconds, so never on a loop.
#pragma once

#include <string>
#include <string_view>

namespace postern::sasl {

// What is wrong with it as a hash; empty: nothing. Those that a machine of today tries out by the
// billion (DES, MD5, plain text) are refused.
[[nodiscard]] std::string wrong_with_hash(const std::string& hash);
// A fresh yescrypt hash; empty where the system has no random numbers.
[[nodiscard]] std::string make_hash(const std::string& password);
[[nodiscard]] bool hash_accepts(const std::string& hash, const std::string& password) noexcept;

}  // namespace postern::sasl
