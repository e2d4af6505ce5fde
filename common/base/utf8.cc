#include "common/base/utf8.h"

#include <fmt/format.h>
#include <unicase.h>
#include <uninorm.h>
#include <uniwidth.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>

#include "common/base/text.h"

namespace postern::base {
namespace {

struct Range {
  char32_t first, last;
};
// Beside the controls: separators of lines and paragraphs, marks of direction, a mark of byte order.
constexpr Range kHarmful[] = {{0x061C, 0x061C}, {0x200E, 0x200F}, {0x2028, 0x202E},
                              {0x2066, 0x2069}, {0xFDD0, 0xFDEF}, {0xFEFF, 0xFEFF}};

constexpr bool is_continuation(char c) noexcept {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

const std::uint8_t* bytes_of(std::string_view text) noexcept {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

}  // namespace

std::optional<Utf8Character> first_character(std::string_view text) noexcept {
  if (text.empty()) return std::nullopt;
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) return Utf8Character{lead, 1};
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return std::nullopt;
  char32_t point = lead & (0x7FU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if (!is_continuation(text[i])) return std::nullopt;
    point = point << 6 | (static_cast<unsigned char>(text[i]) & 0x3FU);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < kLeast[size] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
    return std::nullopt;
  return Utf8Character{point, size};
}

void append_utf8(std::string& out, char32_t point) {
  const auto tail = [&](int shift) {
    out += static_cast<char>(0x80 | (point >> shift & 0x3F));
  };
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xC0 | point >> 6);
    tail(0);
  } else if (point < 0x10000) {
    out += static_cast<char>(0xE0 | point >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | point >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

bool is_ascii(std::string_view text) noexcept {
  constexpr std::uint64_t kHighBits = 0x8080808080808080;
  constexpr std::size_t kBlock = 64;
  const auto eight = [&](std::size_t at) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, text.data() + at, sizeof bytes);
    return bytes;
  };
  for (; text.size() >= kBlock; text.remove_prefix(kBlock)) {
    std::uint64_t all = 0;
    for (std::size_t at = 0; at < kBlock; at += sizeof all) all |= eight(at);
    if ((all & kHighBits) != 0) return false;
  }
  for (; text.size() >= sizeof kHighBits; text.remove_prefix(sizeof kHighBits))
    if ((eight(0) & kHighBits) != 0) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const auto character = first_character(text);
    if (!character) return false;
    text.remove_prefix(character->size);
  }
  return true;
}

bool is_harmless(char32_t point) noexcept {
  if (point < 0x7F) return point >= ' ';
  if (point < 0xA0 || (point & 0xFFFE) == 0xFFFE) return false;
  return std::none_of(std::begin(kHarmful), std::end(kHarmful), [point](const Range& range) {
    return point >= range.first && point <= range.last;
  });
}

bool is_harmless(std::string_view text) noexcept {
  while (!text.empty()) {
    const auto character = first_character(text);
    if (!character || !is_harmless(character->point)) return false;
    text.remove_prefix(character->size);
  }
  return true;
}

namespace {

// How many bytes from the start are ASCII that readable() leaves as it is: mostly all.
std::size_t plain_start(std::string_view text) {
  const auto end = std::find_if(text.begin(), text.end(), [](char c) { return c < ' ' || c >= 0x7F || c == '\\'; });
  return static_cast<std::size_t>(end - text.begin());
}

}  // namespace

std::string readable(std::string_view text, std::size_t limit) {
  auto rest = text.substr(0, limit);
  std::string out;
  while (!rest.empty()) {
    const auto plain = plain_start(rest);
    out += rest.substr(0, plain);
    rest.remove_prefix(plain);
    if (rest.empty()) break;
    const auto character = first_character(rest);
    const auto size = character ? character->size : 1;
    if (character && is_harmless(character->point) && rest.front() != '\\')
      out += rest.substr(0, size);
    else
      out += printable(rest.substr(0, size));
    rest.remove_prefix(size);
  }
  if (text.size() > limit) out += "...";
  return out;
}

std::string folded(std::string_view text) {
  if (is_ascii(text) || !is_utf8(text)) return to_lower(text);
  std::size_t size = 0;
  const std::unique_ptr<std::uint8_t, void (*)(void*)> lower(
      ::u8_tolower(bytes_of(text), text.size(), "", UNINORM_NFC, nullptr, &size), &std::free);
  if (!lower) return to_lower(text);  // no memory for it
  return {reinterpret_cast<const char*>(lower.get()), size};
}

std::size_t columns(std::string_view text) noexcept {
  if (is_ascii(text) || !is_utf8(text)) return text.size();
  return static_cast<std::size_t>(std::max(0, ::u8_width(bytes_of(text), text.size(), "UTF-8")));
}

}  // namespace postern::base
