// UTF-8 as RFC 3629 has it: what is none, and which characters may be shown to people. By arithmetic alone, but
// for folding and columns, whose tables are libunistring's; no locale is ever consulted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace postern::base {

struct Utf8Character {
  char32_t point = 0;
  std::size_t size = 0;  // bytes
};

// The character at the beginning of `text`; nullopt: there is none. No surrogates, nothing in more bytes than
// it needs, nothing above 10FFFF.
[[nodiscard]] std::optional<Utf8Character> first_character(std::string_view text) noexcept;
// `point` must be one that first_character() could give.
void append_utf8(std::string& out, char32_t point);

[[nodiscard]] bool is_ascii(std::string_view text) noexcept;
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;
// Neither a control (DEL and those above 7F too), nor a separator of lines, nor what changes the direction of the
// text around it, nor a code point that is no character: it may stand on a terminal and in one line of a log.
[[nodiscard]] bool is_harmless(char32_t point) noexcept;
// Valid UTF-8 of harmless characters alone.
[[nodiscard]] bool is_harmless(std::string_view text) noexcept;

// Like printable() (text.h), but harmless characters stay as they are.
[[nodiscard]] std::string readable(std::string_view text, std::size_t limit = 1024);

// Two texts that differ only by case or in how their characters are composed have one folded form: lower case,
// NFC. What is no UTF-8 is only put into lower case where it is ASCII.
[[nodiscard]] std::string folded(std::string_view text);

// Columns that the text takes on a terminal; each byte of what is no UTF-8 takes one.
[[nodiscard]] std::size_t columns(std::string_view text) noexcept;

}  // namespace postern::base
