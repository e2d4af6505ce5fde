#include "common/mail/address.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"
#include "common/base/utf8.h"

namespace postern::mail {
namespace {

// atext of RFC 5321 4.1.2 (RFC 5322 3.2.3), as a table for all bytes.
constexpr std::array<bool, 256> kAtomText = [] {
  std::array<bool, 256> table{};
  for (unsigned c = 'a'; c <= 'z'; ++c) table[c] = true;
  for (unsigned c = 'A'; c <= 'Z'; ++c) table[c] = true;
  for (unsigned c = '0'; c <= '9'; ++c) table[c] = true;
  for (const char c : std::string_view("!#$%&'*+-/=?^_`{|}~"))
    table[static_cast<unsigned char>(c)] = true;
  return table;
}();

bool is_atom_text(char c) noexcept {
  return kAtomText[static_cast<unsigned char>(c)];
}

bool is_ascii(char c) noexcept {
  return static_cast<unsigned char>(c) < 0x80;
}

// Null where `text` is a Dot-string; of bytes beyond ASCII it says nothing.
const char* dot_string_error(std::string_view text) noexcept {
  char previous = '.';
  for (const char c : text) {
    if (c == '.') {
      if (previous == '.') return "dot out of place in local part";
    } else if (!is_atom_text(c) && is_ascii(c)) {
      return "bad character in local part";
    }
    previous = c;
  }
  return previous == '.' ? "dot out of place in local part" : nullptr;
}

struct LocalPart {
  std::string meaning;
  std::size_t length = 0;  // of its written form
};

// The Quoted-string at the start of `text`.
std::expected<LocalPart, AddressError> parse_quoted(std::string_view text) {
  LocalPart local;
  for (std::size_t i = 1; i < text.size(); ++i) {
    char c = text[i];
    if (c == '"') {
      if (local.meaning.empty()) return std::unexpected(AddressError{"empty local part"});
      local.length = i + 1;
      return local;
    }
    const bool pair = c == '\\';  // RFC 6531 3.3 lets none stand for what is beyond ASCII
    if (pair && ++i < text.size()) c = text[i];
    if (is_ascii(c) ? c < ' ' || c > '~' : pair)
      return std::unexpected(AddressError{"bad character in local part"});
    local.meaning += c;
  }
  return std::unexpected(AddressError{"quote is not closed"});
}

std::expected<LocalPart, AddressError> parse_local(std::string_view text) {
  if (text.empty()) return std::unexpected(AddressError{"empty address"});
  if (text.front() == '"') return parse_quoted(text);
  const auto written = text.substr(0, text.find('@'));
  if (written.empty()) return std::unexpected(AddressError{"empty local part"});
  if (const char* error = dot_string_error(written)) return std::unexpected(AddressError{error});
  return LocalPart{std::string(written), written.size()};
}

}  // namespace

std::expected<Address, AddressError> Address::parse(std::string_view text) {
  auto local = parse_local(text);
  if (!local) return std::unexpected(std::move(local.error()));
  if (local->meaning.size() > kMaxLocalPart)
    return std::unexpected(AddressError{"local part longer than 64 characters"});
  if (!base::is_ascii(local->meaning) && !base::is_harmless(local->meaning))
    return std::unexpected(AddressError{"local part is not plain UTF-8"});
  text.remove_prefix(local->length);
  if (text.empty()) {
    Address bare(std::move(local->meaning), Domain());
    if (bare.is_postmaster()) return bare;
    return std::unexpected(AddressError{"no domain"});
  }
  if (text.front() != '@') return std::unexpected(AddressError{"text after the quote"});
  auto domain = Domain::parse(text.substr(1));
  if (!domain) return std::unexpected(std::move(domain.error()));
  Address address(std::move(local->meaning), *std::move(domain));
  // Quotes and backslashes count too; the written form is made only where they could matter.
  const auto size = address.local_part_.size() + 1 + address.domain_.text().size();
  if (size + kMaxLocalPart + 2 > kMaxLength && address.text().size() > kMaxLength)
    return std::unexpected(AddressError{"address longer than 254 characters"});
  return address;
}

std::expected<Address, AddressError> Address::at(const Domain& domain) const {
  Address moved(local_part_, domain);
  if (moved.text().size() > kMaxLength)
    return std::unexpected(AddressError{"address longer than 254 characters"});
  return moved;
}

std::string Address::text() const {
  std::string text;
  text.reserve(local_part_.size() + 1 + domain_.text().size());
  append_to(text);
  return text;
}

std::string Address::unicode() const {
  std::string text;
  append_to(text, domain_.unicode());
  return text;
}

void Address::append_to(std::string& out, std::string_view domain) const {
  if (dot_string_error(local_part_) == nullptr || local_part_.empty()) {
    out += local_part_;
  } else {
    out += '"';
    for (const char c : local_part_) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  if (!domain.empty()) {
    out += '@';
    out += domain;
  }
}

bool Address::mentions(std::string_view part) const {
  const auto whole = text();
  if (base::is_ascii(part)) return base::contains_ignoring_case(whole, part);
  const auto wanted = base::folded(part);
  return base::folded(whole).find(wanted) != std::string::npos ||
         base::folded(unicode()).find(wanted) != std::string::npos;
}

bool Address::needs_utf8() const noexcept {
  return !base::is_ascii(local_part_);
}

bool Address::is_postmaster() const noexcept {
  return base::equals_ignoring_case(local_part_, "postmaster");
}

}  // namespace postern::mail
