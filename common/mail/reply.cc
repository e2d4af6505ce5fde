#include "common/mail/reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "common/base/text.h"

namespace postern::mail {
namespace {

constexpr std::size_t kMaxLine = 510;  // RFC 5321 4.5.3.1.5, without CRLF

// "5.1.1", or nothing.
std::string enhanced_text(const EnhancedCode& code) {
  return code.status == 0 ? std::string()
                          : fmt::format("{}.{}.{}", code.status, code.subject, code.detail);
}

void append_line(std::string& wire, std::uint16_t code, char separator, std::string_view enhanced,
                 std::string_view text) {
  const auto begin = wire.size();
  fmt::format_to(std::back_inserter(wire), "{:03}{}", code, separator);
  wire += enhanced;
  if (!enhanced.empty() && !text.empty()) wire += ' ';
  wire += text.substr(0, kMaxLine);
  if (wire.size() - begin > kMaxLine) wire.resize(begin + kMaxLine);
  // Some of the text may be a next hop's: it must not be able to end the line.
  std::replace_if(
      wire.begin() + static_cast<std::ptrdiff_t>(begin), wire.end(),
      [](char c) { return c < ' ' || c > '~'; }, '?');
  wire += "\r\n";
}

}  // namespace

void Reply::append_to(std::string& wire) const {
  const auto status = enhanced_text(enhanced);
  if (lines.empty()) return append_line(wire, code, ' ', status, "");
  for (std::size_t i = 0; i < lines.size(); ++i)
    append_line(wire, code, i + 1 == lines.size() ? ' ' : '-', status, lines[i]);
}

std::string Reply::text() const {
  std::string joined;
  if (code != 0) joined = fmt::format("{:03}", code);
  if (enhanced.status != 0) {
    if (!joined.empty()) joined += ' ';
    joined += enhanced_text(enhanced);
  }
  bool first = true;
  for (const auto& line : lines) {
    if (joined.size() > kMaxText) break;
    if (!first)
      joined += "; ";
    else if (!joined.empty())
      joined += ' ';
    joined += line;
    first = false;
  }
  auto clean = base::printable(joined, kMaxText);
  if (clean.size() > kMaxText) clean.resize(kMaxText);
  return clean;
}

}  // namespace postern::mail
