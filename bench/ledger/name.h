// The name of a message of the load generator, RUN-N, and the field that carries it in the message:
//
//   X-Postern-Load: RUN-N CRC SIZE
//
// CRC is the CRC32C (8 hexadecimal digits), SIZE the number of bytes of all that stands below this
// field, header and body, with lines ended by CR LF and without stuffed dots. The field is the
// first of the message, so what servers put on top is not covered and what came from the client is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace postern::bench {

inline constexpr std::string_view kLoadField = "X-Postern-Load: ";
inline constexpr std::size_t kMaxRun = 32;
inline constexpr std::uint64_t kMaxNumber = 1'000'000'000;  // of messages in a run

// 1 to 32 letters and digits.
[[nodiscard]] bool is_run(std::string_view text) noexcept;

struct MessageName {
  std::string_view run;  // of the text that it was read from
  std::uint64_t number = 0;
};

// "RUN-N"; nullopt for anything else.
[[nodiscard]] std::optional<MessageName> parse_name(std::string_view text) noexcept;

struct LoadField {
  MessageName name;
  std::uint32_t crc = 0;
  std::uint64_t size = 0;
};

// The whole field with its CR LF.
[[nodiscard]] std::string load_field(const LoadField& field);
// Reads a line that begins with kLoadField, without its CR LF.
[[nodiscard]] std::optional<LoadField> parse_load_field(std::string_view line) noexcept;

}  // namespace postern::bench
