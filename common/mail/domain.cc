#include "common/mail/domain.h"

#include <idn2.h>

#include <algorithm>

#include "common/base/ip.h"
#include "common/base/text.h"
#include "common/base/utf8.h"

namespace postern::mail {
namespace {

constexpr std::size_t kMaxLabel = 63;  // RFC 1035 2.3.4
constexpr std::size_t kMaxUnicode = 1'000;  // bytes of UTF-8 that may still be a domain of 255
constexpr std::size_t kMaxSnum = 3;        // digits, RFC 5321 4.1.3
constexpr std::string_view kIpv6Tag = "IPv6:";
constexpr std::string_view kAceTag = "xn--";

bool is_alphanumeric(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// A number of RFC 5321 4.1.3 is decimal and may begin with zeros, which inet_pton(3) refuses as others read octal.
std::string without_leading_zeros(std::string_view address) {
  if (address.find('.') == std::string_view::npos) return std::string(address);
  std::size_t at = address.rfind(':') + 1;
  std::string text(address.substr(0, at));
  while (at <= address.size()) {
    const auto end = std::min(address.find('.', at), address.size());
    auto number = address.substr(at, end - at);
    while (number.size() > 1 && number.size() <= kMaxSnum && number.front() == '0') number.remove_prefix(1);
    text.append(number).append(address.substr(end, 1));
    at = end + 1;
  }
  return text;
}

// The canonical form of an address literal (RFC 5321 4.1.3), or empty.
std::string canonical_literal(std::string_view inside) {
  const bool tagged = base::starts_with_ignoring_case(inside, kIpv6Tag);
  if (tagged) inside.remove_prefix(kIpv6Tag.size());
  const bool looks_v6 = inside.find(':') != std::string_view::npos;
  const auto address = base::parse_ip(without_leading_zeros(inside));
  if (!address || looks_v6 != tagged) return {};
  std::string text = "[";
  if (address->family == base::IpFamily::kV6) text += kIpv6Tag;
  text += base::to_string(*address);
  text += ']';
  return text;
}

// Null where the labels are well formed. Underscores are not letters of RFC 1035, but hosts that
// are named with them exist and send mail.
const char* label_error(std::string_view text) noexcept {
  std::size_t label = 0;
  char previous = '.';
  for (const char c : text) {
    if (c == '.') {
      if (label == 0) return "empty label in domain";
      if (previous == '-') return "label ends with a hyphen";
      label = 0;
    } else if (is_alphanumeric(c) || c == '_' || c == '-') {
      if (c == '-' && label == 0) return "label begins with a hyphen";
      if (++label > kMaxLabel) return "label longer than 63 characters";
    } else {
      return "bad character in domain";
    }
    previous = c;
  }
  if (label == 0) return "domain ends with a dot";
  return previous == '-' ? "label ends with a hyphen" : nullptr;
}

// What libidn2 gave, and frees.
struct IdnText {
  IdnText() = default;
  IdnText(const IdnText&) = delete;
  IdnText& operator=(const IdnText&) = delete;
  ~IdnText() { ::idn2_free(text); }
  char* text = nullptr;
};

// In A-labels; the other labels as they are.
std::expected<std::string, AddressError> to_ascii(std::string_view text) {
  if (text.size() > kMaxUnicode)
    return std::unexpected(AddressError{"domain longer than 255 characters"});
  if (!base::is_harmless(text)) return std::unexpected(AddressError{"bad character in domain"});
  IdnText ascii;
  const int result = ::idn2_to_ascii_8z(std::string(text).c_str(), &ascii.text,
                                        IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  if (result != IDN2_OK)
    return std::unexpected(AddressError{std::string("domain: ") + ::idn2_strerror(result)});
  return std::string(ascii.text);
}

}  // namespace

std::expected<Domain, AddressError> Domain::parse(std::string_view text) {
  if (text.empty()) return std::unexpected(AddressError{"empty domain"});
  if (!base::is_ascii(text)) {
    const auto ascii = to_ascii(text);
    if (!ascii) return std::unexpected(ascii.error());
    if (!base::is_ascii(*ascii) || ascii->find('[') != std::string::npos)
      return std::unexpected(AddressError{"bad character in domain"});
    return parse(*ascii);
  }
  if (text.size() > kMaxLength)
    return std::unexpected(AddressError{"domain longer than 255 characters"});
  if (text.front() == '[') {
    std::string literal;
    if (text.back() == ']') literal = canonical_literal(text.substr(1, text.size() - 2));
    if (literal.empty()) return std::unexpected(AddressError{"bad address literal"});
    return Domain(std::move(literal));
  }
  if (const char* error = label_error(text)) return std::unexpected(AddressError{error});
  return Domain(base::to_lower(text));
}

std::string Domain::unicode() const {
  if (text_.find(kAceTag) == std::string::npos) return text_;
  IdnText wide;
  if (::idn2_to_unicode_8z8z(text_.c_str(), &wide.text, IDN2_NONTRANSITIONAL) != IDN2_OK)
    return text_;
  std::string unicode(wide.text);
  // An A-label that stands for something else than what it is read from would show another domain.
  const auto back = parse(unicode);
  return back && *back == *this ? unicode : text_;
}

bool is_hello_name(std::string_view text) noexcept {
  static constexpr std::string_view kOthers = ".-_:[]";
  return !text.empty() && text.size() <= Domain::kMaxLength &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return is_alphanumeric(c) || kOthers.find(c) != std::string_view::npos;
         });
}

}  // namespace postern::mail
