#include "common/mail/dsn.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "common/base/text.h"
#include "common/base/utf8.h"

namespace postern::mail {
namespace {

constexpr std::string_view kHex = "0123456789ABCDEF";
constexpr std::string_view kSmallHex = "0123456789abcdef";
constexpr std::size_t kMaxHexPoint = 6;  // of RFC 6533 3: up to 10FFFF

bool is_printable(char c) noexcept {
  return c >= ' ' && c <= '~';
}
bool is_xchar(char c) noexcept {
  return c > ' ' && c <= '~' && c != '+' && c != '=';
}

int hex_digit(char c) noexcept {
  const auto at = kSmallHex.find(base::ascii_lower(c));
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

// An atom of RFC 5322 3.2.3.
bool is_atom(std::string_view text) noexcept {
  constexpr std::string_view kSpecials = "()<>[]:;@\\,.\"";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return c > ' ' && c <= '~' && kSpecials.find(c) == std::string_view::npos;
  });
}

// --- The type utf-8 -----------------------------------------------------------------------------

void append_escaped(std::string& out, char32_t point) {
  fmt::format_to(std::back_inserter(out), "\\x{{{:02X}}}", static_cast<std::uint32_t>(point));
}

// The character that "\x{10FFFF}" at the beginning of `text` means, with its size there; nullopt: it is none.
std::optional<base::Utf8Character> escaped_character(std::string_view text) noexcept {
  constexpr std::size_t kDigits = 3;  // "\x{"
  if (!text.starts_with("\\x{")) return std::nullopt;
  const auto end = text.find('}');
  if (end == std::string_view::npos || end < kDigits + 2 || end > kDigits + kMaxHexPoint)
    return std::nullopt;
  char32_t point = 0;
  for (const char c : text.substr(kDigits, end - kDigits)) {
    const int digit = hex_digit(c);
    if (digit < 0) return std::nullopt;
    point = point << 4 | static_cast<char32_t>(digit);
  }
  if (point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return std::nullopt;
  return base::Utf8Character{point, end + 1};
}

// An address of the type utf-8 in its shortest form, from any form; its own shortest form it stays. nullopt: a
// backslash that begins no character, or something not harmless that is not escaped.
std::optional<std::string> shortest_utf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {  // ends: each turn takes something off
    const bool escaped = text.front() == '\\';
    const auto character = escaped ? escaped_character(text) : base::first_character(text);
    if (!character) return std::nullopt;
    const auto point = character->point;
    if (base::is_harmless(point) && point != '\\')
      base::append_utf8(out, point);
    else if (escaped)
      append_escaped(out, point);
    else
      return std::nullopt;
    text.remove_prefix(character->size);
  }
  return out;
}

// Its shortest form with more of it escaped: what may not stand in a parameter (RFC 6533 3: QUCHAR), and unless
// `smtputf8` all that is not ASCII (QCHAR).
std::string escaped_utf8(std::string_view shortest, bool smtputf8) {
  std::string out;
  while (!shortest.empty()) {
    const auto character = base::first_character(shortest);
    if (!character) break;  // not in a shortest form
    const bool plain = character->point < 0x80 ? character->point == '\\' ||
                                                     is_xchar(static_cast<char>(character->point))
                                               : smtputf8;
    if (plain)
      out += shortest.substr(0, character->size);
    else
      append_escaped(out, character->point);
    shortest.remove_prefix(character->size);
  }
  return out;
}

bool is_printable(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) { return is_printable(c); });
}

// An address of the type utf-8 as it is kept. What is none is nobody's to refuse or to change (RFC 3461 4.2: it is not
// held to the syntax of its type), as long as it is printable ASCII.
std::optional<std::string> kept_utf8(std::string_view text) {
  if (auto shortest = shortest_utf8(text)) return shortest;
  if (is_printable(text)) return std::string(text);
  return std::nullopt;
}

bool is_utf8_type(std::string_view type) noexcept {
  return base::equals_ignoring_case(type, "utf-8");
}

struct Wish {
  std::string_view name;
  std::uint8_t bit;
};
constexpr std::array kWishes{Wish{"SUCCESS", Notify::kSuccess}, Wish{"FAILURE", Notify::kFailure},
                             Wish{"DELAY", Notify::kDelay}};

}  // namespace

std::string to_xtext(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (is_xchar(c)) {
      out += c;
      continue;
    }
    out += '+';
    out += kHex[static_cast<unsigned char>(c) >> 4];
    out += kHex[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

std::optional<std::string> from_xtext_bytes(std::string_view xtext) {
  std::string out;
  for (std::size_t i = 0; i < xtext.size(); ++i) {
    if (xtext[i] != '+') {
      if (!is_xchar(xtext[i]) && base::is_ascii(xtext.substr(i, 1))) return std::nullopt;
      out += xtext[i];
      continue;
    }
    if (i + 2 >= xtext.size()) return std::nullopt;
    const int high = hex_digit(xtext[i + 1]), low = hex_digit(xtext[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return out;
}

std::optional<std::string> from_xtext(std::string_view xtext) {
  auto text = from_xtext_bytes(xtext);
  if (text && !is_printable(*text)) text.reset();
  return text;
}

std::string to_utf8_xtext(std::string_view address) {
  std::string out;
  while (const auto character = base::first_character(address)) {
    const auto point = character->point;
    if (point < 0x80 && is_xchar(static_cast<char>(point)) && point != '\\')
      out += static_cast<char>(point);
    else
      append_escaped(out, point);
    address.remove_prefix(character->size);
  }
  return out;
}

std::optional<Return> parse_return(std::string_view value) {
  if (base::equals_ignoring_case(value, "FULL")) return Return::kFull;
  if (base::equals_ignoring_case(value, "HDRS")) return Return::kHeaders;
  return std::nullopt;
}

// --- Notify -------------------------------------------------------------------------------------

std::optional<Notify> Notify::parse(std::string_view value) {
  if (base::equals_ignoring_case(value, "NEVER")) return Notify(kNever);
  std::uint8_t bits = 0;
  while (true) {  // ends: each turn takes a word off
    const auto comma = value.find(',');
    const auto word = value.substr(0, comma);
    const auto wish = std::find_if(kWishes.begin(), kWishes.end(), [&](const Wish& w) {
      return base::equals_ignoring_case(word, w.name);
    });
    if (wish == kWishes.end()) return std::nullopt;
    bits |= wish->bit;
    if (comma == std::string_view::npos) return Notify(bits);
    value.remove_prefix(comma + 1);
  }
}

std::optional<Notify> Notify::from_bits(std::uint8_t bits) {
  if (bits > kNever) return std::nullopt;
  return Notify(bits);
}

Notify Notify::both(Notify a, Notify b) {
  if (a == b || b.bits_ == kNever) return a;
  if (a.bits_ == kNever) return b;
  const auto wishes = [](Notify n) { return n.said() ? n.bits_ : kFailure | kDelay; };
  return Notify(static_cast<std::uint8_t>(wishes(a) | wishes(b)));
}

std::string Notify::text() const {
  if (bits_ == kNever) return "NEVER";
  std::string text;
  for (const auto& wish : kWishes)
    if ((bits_ & wish.bit) != 0) text.append(text.empty() ? "" : ",").append(wish.name);
  return text;
}

// --- EnvelopeId ---------------------------------------------------------------------------------

std::optional<EnvelopeId> EnvelopeId::parse(std::string_view xtext) {
  if (xtext.empty() || xtext.size() > kMaxLength) return std::nullopt;
  auto text = from_xtext(xtext);
  if (!text) return std::nullopt;
  return EnvelopeId(*std::move(text));
}

std::optional<EnvelopeId> EnvelopeId::from_text(std::string_view text) {
  if (text.empty()) return EnvelopeId();
  return parse(to_xtext(text));
}

// --- OriginalRecipient --------------------------------------------------------------------------

std::optional<OriginalRecipient> OriginalRecipient::parse(std::string_view value) {
  if (value.size() > kMaxLength) return std::nullopt;
  const auto semicolon = value.find(';');
  if (semicolon == std::string_view::npos) return std::nullopt;
  const auto type = value.substr(0, semicolon);
  // RFC 6533 3 has no "+XX" in the type utf-8, but RFC 3461 has, and some say so what they ought to say otherwise.
  auto address = is_utf8_type(type) ? from_xtext_bytes(value.substr(semicolon + 1))
                                    : from_xtext(value.substr(semicolon + 1));
  if (address && is_utf8_type(type)) address = kept_utf8(*address);
  if (!is_atom(type) || !address) return std::nullopt;
  return OriginalRecipient(std::string(type) + ';' + *address);
}

// Earlier versions kept addresses of the type utf-8 in ASCII, and shortest_utf8() reads them too.
std::optional<OriginalRecipient> OriginalRecipient::from_text(std::string_view text) {
  if (text.empty()) return OriginalRecipient();
  const auto semicolon = text.find(';');
  if (semicolon == std::string_view::npos || text.size() > kMaxLength) return std::nullopt;
  const auto type = text.substr(0, semicolon);
  if (is_utf8_type(type)) {
    const auto address = kept_utf8(text.substr(semicolon + 1));
    if (!address) return std::nullopt;
    return OriginalRecipient(std::string(type) + ';' + *address);
  }
  std::string value(text.substr(0, semicolon + 1));
  value += to_xtext(text.substr(semicolon + 1));
  return parse(value);
}

std::string_view OriginalRecipient::type() const noexcept {
  return std::string_view(text_).substr(0, text_.find(';'));
}

std::string_view OriginalRecipient::address() const noexcept {
  return text_.empty() ? std::string_view() : std::string_view(text_).substr(text_.find(';') + 1);
}

bool OriginalRecipient::is_utf8() const noexcept {
  return is_utf8_type(type()) && shortest_utf8(address());
}

std::string OriginalRecipient::parameter(bool smtputf8) const {
  if (text_.empty()) return {};
  std::string value(type());
  value += ';';
  value += is_utf8() ? escaped_utf8(address(), smtputf8) : to_xtext(address());
  if (value.size() > kMaxLength) value.clear();
  return value;
}

std::string OriginalRecipient::field(bool utf8) const {
  std::string value(type());
  value += "; ";
  if (!is_utf8()) return value += address();
  if (!utf8) return value += escaped_utf8(address(), false);
  for (auto rest = address(); !rest.empty();) {
    const bool backslash = rest.starts_with("\\x{5C}");
    value += rest.front();
    rest.remove_prefix(backslash ? std::string_view("\\x{5C}").size() : 1);
  }
  return value;
}

}  // namespace postern::mail
