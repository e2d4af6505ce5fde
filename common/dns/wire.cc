#include "common/dns/wire.h"

#include <fmt/format.h>

#include <iterator>

#include "common/base/text.h"

namespace postern::dns {
namespace {

constexpr std::size_t kHeader = 12;
constexpr std::size_t kMaxName = 255;  // on the wire (RFC 1035 2.3.4)
constexpr std::size_t kMaxLabel = 63;
constexpr unsigned kPointer = 0xc0;  // the two high bits of a label's length
constexpr unsigned kFlagResponse = 0x8000;
constexpr unsigned kOpcode = 0x7800;
constexpr unsigned kFlagTruncated = 0x0200;
constexpr unsigned kRecursionDesired = 0x0100;
constexpr std::uint16_t kTypeOpt = 41;

unsigned byte_at(std::string_view packet, std::size_t at) {
  return static_cast<std::uint8_t>(packet[at]);
}

unsigned u16_at(std::string_view packet, std::size_t at) {
  return byte_at(packet, at) << 8 | byte_at(packet, at + 1);
}

void append_u16(std::string& out, unsigned value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value);
}

void append_label(std::string_view label, std::string& text) {
  for (const char c : label) {
    const char lower = base::ascii_lower(c);
    if ((lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') || lower == '-' ||
        lower == '_')
      text += lower;
    else
      fmt::format_to(std::back_inserter(text), "\\{:03}", static_cast<std::uint8_t>(c));
  }
}

bool append_name(std::string_view name, std::string& out) {
  const auto begin = out.size();
  while (!name.empty()) {
    const auto label = name.substr(0, name.find('.'));
    if (label.empty() || label.size() > kMaxLabel) return false;
    out += static_cast<char>(label.size());
    out += label;
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  out += '\0';
  return out.size() - begin <= kMaxName;
}

}  // namespace

std::optional<std::string> read_name(std::string_view packet, std::size_t& at) {
  std::string text;
  std::size_t position = at;
  std::size_t run = at;  // where the labels that are being read begin
  std::size_t end = 0;   // behind the name where it stands; 0: not known yet
  std::size_t size = 1;
  for (;;) {
    if (position >= packet.size()) return std::nullopt;
    const unsigned length = byte_at(packet, position);
    if ((length & kPointer) == kPointer) {
      if (packet.size() - position < 2) return std::nullopt;
      const std::size_t target = u16_at(packet, position) & 0x3fff;
      if (end == 0) end = position + 2;
      if (target >= run) return std::nullopt;
      position = run = target;
      continue;
    }
    if ((length & kPointer) != 0) return std::nullopt;
    if (length == 0) break;
    if (packet.size() - position <= length) return std::nullopt;
    size += length + 1;
    if (size > kMaxName) return std::nullopt;
    if (!text.empty()) text += '.';
    append_label(packet.substr(position + 1, length), text);
    position += length + 1;
  }
  at = end != 0 ? end : position + 1;
  return text;
}

std::optional<std::string> make_query(std::string_view name, std::uint16_t type, std::uint16_t id,
                                      bool edns) {
  std::string query;
  append_u16(query, id);
  append_u16(query, kRecursionDesired);
  append_u16(query, 1);  // question
  append_u16(query, 0);
  append_u16(query, 0);
  append_u16(query, edns ? 1 : 0);
  if (!append_name(name, query)) return std::nullopt;
  append_u16(query, type);
  append_u16(query, kClassIn);
  if (edns) {
    query += '\0';
    append_u16(query, kTypeOpt);
    append_u16(query, kUdpSize);
    query.append(6, '\0');  // no extended code, version 0, no options
  }
  return query;
}

Verdict judge(std::string_view query, std::string_view response) {
  if (response.size() < kHeader || u16_at(response, 0) != u16_at(query, 0)) return {};
  const unsigned flags = u16_at(response, 2);
  if ((flags & kFlagResponse) == 0 || (flags & kOpcode) != 0) return {};
  Verdict verdict{true, (flags & kFlagTruncated) != 0, flags & 0xf};
  const unsigned questions = u16_at(response, 4);
  // A server that could not read the query may leave it out.
  if (questions == 0 && verdict.code == kFormatError) return verdict;
  std::size_t end = kHeader;
  if (questions != 1 || !read_name(query, end)) return {};
  const auto question = query.substr(kHeader, end + 4 - kHeader);
  verdict.answers = base::equals_ignoring_case(response.substr(kHeader, question.size()), question);
  return verdict.answers ? verdict : Verdict{};
}

}  // namespace postern::dns
