#include "common/mail/reply_reader.h"

#include <optional>
#include <utility>

#include "common/base/text.h"

namespace postern::mail {
namespace {

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

// One to three digits at the front of `text`, removed from it.
std::optional<std::uint16_t> take_number(std::string_view& text) noexcept {
  std::uint16_t value = 0;
  std::size_t digits = 0;
  while (digits < text.size() && digits < 3 && is_digit(text[digits]))
    value = static_cast<std::uint16_t>(value * 10 + (text[digits++] - '0'));
  if (digits == 0) return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

bool take_char(std::string_view& text, char c) noexcept {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

// "5.1.1 " in front of a reply's text (RFC 2034 4), removed from it; only of the class of `code`.
EnhancedCode take_enhanced(std::string_view& text, std::uint16_t code) noexcept {
  auto rest = text;
  const auto status = take_number(rest);
  if (!status || *status != code / 100 || !take_char(rest, '.')) return {};
  const auto subject = take_number(rest);
  if (!subject || !take_char(rest, '.')) return {};
  const auto detail = take_number(rest);
  if (!detail || (!rest.empty() && !take_char(rest, ' '))) return {};
  text = rest;
  return {static_cast<std::uint8_t>(*status), *subject, *detail};
}

}  // namespace

ReplyReader::Status ReplyReader::feed(std::string_view& bytes) {
  while (!bytes.empty()) {
    const auto lf = bytes.find('\n');
    if (lf == std::string_view::npos) {
      if (partial_.size() + bytes.size() > kMaxLine) return malformed("reply line too long");
      partial_ += bytes;
      bytes = {};
      return Status::kMore;
    }
    if (partial_.size() + lf > kMaxLine) return malformed("reply line too long");
    auto line = bytes.substr(0, lf);
    bytes.remove_prefix(lf + 1);
    Status status;
    if (partial_.empty()) {
      status = add_line(line);
    } else {
      partial_ += line;
      status = add_line(partial_);
      partial_.clear();
    }
    if (status != Status::kMore) return status;
  }
  return Status::kMore;
}

ReplyReader::Status ReplyReader::add_line(std::string_view line) {
  size_ += line.size() + 1;
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.size() < 3 || !is_digit(line[0]) || !is_digit(line[1]) || !is_digit(line[2]))
    return malformed("reply without a code");
  const auto code =
      static_cast<std::uint16_t>((line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0');
  const char separator = line.size() > 3 ? line[3] : ' ';
  if (separator != ' ' && separator != '-') return malformed("bad reply code");
  if (!reply_.lines.empty() && code != reply_.code) return malformed("reply with two codes");
  if (reply_.lines.size() == kMaxLines || size_ > kMaxReply) return malformed("reply too long");
  line.remove_prefix(line.size() > 3 ? 4 : 3);
  reply_.code = code;
  const auto enhanced = take_enhanced(line, code);
  if (enhanced.status != 0 && reply_.enhanced.status == 0) reply_.enhanced = enhanced;
  reply_.lines.push_back(base::printable(line, kKeptOfLine));
  return separator == '-' ? Status::kMore : Status::kReply;
}

Reply ReplyReader::take() noexcept {
  size_ = 0;
  return std::exchange(reply_, {});
}

ReplyReader::Status ReplyReader::malformed(const char* why) noexcept {
  trouble_ = why;
  return Status::kMalformed;
}

}  // namespace postern::mail
