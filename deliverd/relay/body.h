// What leaves of a stored message: its prefix and body as wire text. Pure.
#pragma once

#include <string>
#include <string_view>

#include "common/mail/data_reader.h"

namespace postern::relay {

[[nodiscard]] bool has_eight_bit(std::string_view bytes) noexcept;

// Appends the prefix (header lines) as it leaves before a stuffed body.
void append_prefix(std::string_view prefix, std::string& out);

// What ends a message whose stuffed body ends with these bytes.
[[nodiscard]] std::string_view terminator(std::string_view last_bytes) noexcept;

// A stored message (prefix, stuffed body) in plain lines, for BDAT.
[[nodiscard]] std::string plain_message(std::string_view prefix, std::string_view body);

// Reads what is about to leave. A bare CR or LF, or an end of the message before its end, would let
// a message say commands in our name: nothing is accepted that has them, so only damage brings them
// here.
class WireCheck {
 public:
  // false: these bytes must not be sent.
  [[nodiscard]] bool passes(std::string_view bytes) noexcept;
  // Likewise for the last ones, which end with the final dot.
  [[nodiscard]] bool passes_end(std::string_view bytes) noexcept;

 private:
  mail::DataReader reader_;
};

}  // namespace postern::relay
