#include "common/base/ids.h"

namespace postern::base {
namespace {
constexpr std::string_view kDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
}

std::string to_string(MessageId id) {
  std::string text(kMessageIdLength, '0');
  std::uint64_t rest = id.value;
  for (std::size_t i = kMessageIdLength; i-- > 0; rest >>= 5) text[i] = kDigits[rest & 31];
  return text;
}

std::optional<MessageId> parse_message_id(std::string_view text) {
  if (text.size() != kMessageIdLength) return std::nullopt;
  std::uint64_t value = 0;
  for (char c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    const auto digit = kDigits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    if (value >> 59 != 0) return std::nullopt;  // would not fit 64 bits
    value = value << 5 | digit;
  }
  return MessageId(value);
}

}  // namespace postern::base
