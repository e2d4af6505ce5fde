// The words of SCRAM (RFC 5802 7) that both sides of it read and write: attributes like "r=...", parted
// by commas, and names in which a comma and an equals sign are written otherwise.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace postern::sasl {

inline constexpr std::size_t kMaxNonce = 512;  // of one side

// Takes what stands before the next comma off `text`, and the comma.
[[nodiscard]] std::string_view take_attribute(std::string_view& text);
// "a=..." as the value behind `key`; nullopt: it is something else.
[[nodiscard]] std::optional<std::string_view> value_of(std::string_view part, char key);
// A saslname: =2C is a comma, =3D an equals sign, and nothing else is written so.
[[nodiscard]] std::optional<std::string> unescaped(std::string_view text);
[[nodiscard]] std::string escaped(std::string_view name);
// Printable ASCII without commas, not empty, at most `limit` characters.
[[nodiscard]] bool is_nonce(std::string_view text, std::size_t limit = kMaxNonce);
// Byte by byte; both are of the same size.
[[nodiscard]] std::string exclusive_or(std::string_view a, std::string_view b);

}  // namespace postern::sasl
