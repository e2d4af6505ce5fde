// Secrets: wiped when they are no longer needed, compared in a time that tells nothing about them.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace postern::base {

inline void wipe(std::string& secret) noexcept {
  ::explicit_bzero(secret.data(), secret.size());
  secret.clear();
}

// Takes as long for any two of the same size.
[[nodiscard]] inline bool equal_secrets(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  volatile std::uint8_t difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference = static_cast<std::uint8_t>(difference | static_cast<std::uint8_t>(a[i] ^ b[i]));
  return difference == 0;
}

}  // namespace postern::base
