#include "common/mail/dsn.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"

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

// utf-8-addr-xtext of RFC 6533 3: a backslash only begins "\x{10FFFF}".
bool is_escaped_utf8(std::string_view text) noexcept {
  while (true) {  // ends: each turn takes something off
    const auto at = text.find('\\');
    if (at == std::string_view::npos) return true;
    text.remove_prefix(at);
    if (!text.starts_with("\\x{")) return false;
    const auto end = text.find('}');
    if (end == std::string_view::npos || end < 5 || end > 3 + kMaxHexPoint) return false;
    if (!std::all_of(text.begin() + 3, text.begin() + static_cast<std::ptrdiff_t>(end),
                     [](char c) { return hex_digit(c) >= 0; }))
      return false;
    text.remove_prefix(end + 1);
  }
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

std::optional<std::string> from_xtext(std::string_view xtext) {
  std::string out;
  for (std::size_t i = 0; i < xtext.size(); ++i) {
    char c = xtext[i];
    if (c == '+') {
      if (i + 2 >= xtext.size()) return std::nullopt;
      const int high = hex_digit(xtext[i + 1]);
      const int low = hex_digit(xtext[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high << 4 | low);
      i += 2;
      if (!is_printable(c)) return std::nullopt;
    } else if (!is_xchar(c)) {
      return std::nullopt;
    }
    out += c;
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
  auto address = from_xtext(value.substr(semicolon + 1));
  if (!is_atom(type) || !address || address->empty()) return std::nullopt;
  if (base::equals_ignoring_case(type, "utf-8") && !is_escaped_utf8(*address)) return std::nullopt;
  return OriginalRecipient(std::string(type) + ';' + *address);
}

std::optional<OriginalRecipient> OriginalRecipient::from_text(std::string_view text) {
  if (text.empty()) return OriginalRecipient();
  const auto semicolon = text.find(';');
  if (semicolon == std::string_view::npos) return std::nullopt;
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

std::string OriginalRecipient::xtext() const {
  std::string value(type());
  if (!text_.empty()) value.append(";").append(to_xtext(address()));
  return value;
}

}  // namespace postern::mail
