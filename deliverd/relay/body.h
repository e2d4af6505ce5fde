// What leaves of a stored message: its prefix and body as wire text. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/ipc/types.h"
#include "common/mail/data_reader.h"

namespace postern::relay {

[[nodiscard]] bool has_eight_bit(std::string_view bytes) noexcept;

// Appends the prefix (header lines) as it leaves before a stuffed body.
void append_prefix(std::string_view prefix, std::string& out);

// What ends a message whose stuffed body ends with these bytes.
[[nodiscard]] std::string_view terminator(std::string_view last_bytes) noexcept;

// A stored message (prefix, stuffed body) without its dots, for BDAT. What is text ends with a line's end.
[[nodiscard]] std::string plain_message(std::string_view prefix, std::string_view body,
                                        ipc::BodyForm form);

// How long a stuffed body is without its dots, piece by piece.
class PlainSize {
 public:
  void add(std::string_view stuffed) noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  std::uint64_t bytes_ = 0;
  bool line_start_ = true;
};

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
