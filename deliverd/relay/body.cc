#include "deliverd/relay/body.h"

#include <cstdint>
#include <cstring>

#include "common/mail/unstuffer.h"

namespace postern::relay {

bool has_eight_bit(std::string_view bytes) noexcept {
  constexpr std::uint64_t kHighBits = 0x8080808080808080;
  std::uint64_t seen = 0;
  for (; bytes.size() >= sizeof seen; bytes.remove_prefix(sizeof seen)) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data(), sizeof word);
    seen |= word;
  }
  for (const char c : bytes) seen |= static_cast<std::uint8_t>(c);
  return (seen & kHighBits) != 0;
}

// Header lines never begin with a dot; should one do so, it must not end the message.
void append_prefix(std::string_view prefix, std::string& out) {
  if (!prefix.starts_with('.') && prefix.find("\n.") == std::string_view::npos) {
    out += prefix;
    return;
  }
  bool line_start = true;
  for (const char c : prefix) {
    if (line_start && c == '.') out += '.';
    out += c;
    line_start = c == '\n';
  }
}

std::string_view terminator(std::string_view last_bytes) noexcept {
  return last_bytes.empty() || last_bytes.ends_with("\r\n") ? ".\r\n" : "\r\n.\r\n";
}

std::string plain_message(std::string_view prefix, std::string_view body) {
  std::string plain;
  plain.reserve(prefix.size() + body.size() + 2);
  plain += prefix;
  mail::Unstuffer unstuffer(mail::LineEnd::kCrLf);
  unstuffer.feed(body, plain);
  unstuffer.finish(plain);
  if (!plain.empty() && !plain.ends_with("\r\n")) plain += "\r\n";
  return plain;
}

bool WireCheck::passes(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const auto step = reader_.scan(bytes);
    if (step.end || reader_.bare()) return false;
    bytes.remove_prefix(step.consumed);
  }
  return true;
}

bool WireCheck::passes_end(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const auto step = reader_.scan(bytes);
    if (reader_.bare()) return false;
    bytes.remove_prefix(step.consumed);
    if (step.end) return bytes.empty();
  }
  return false;
}

}  // namespace postern::relay
