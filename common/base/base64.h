// Base64 (RFC 4648 4), read strictly: the alphabet and its padding alone, no blank, no bit that does
// not count. One text for each value, so nothing can hide in another spelling of it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace postern::base {

[[nodiscard]] std::string to_base64(std::string_view bytes);
// nullopt unless `text` is what to_base64() makes of some bytes.
[[nodiscard]] std::optional<std::string> parse_base64(std::string_view text);

}  // namespace postern::base
