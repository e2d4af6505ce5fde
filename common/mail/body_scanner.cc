#include "common/mail/body_scanner.h"

#include <algorithm>
#include <cstring>

#include "common/base/text.h"

namespace postern::mail {
namespace {

constexpr std::string_view kReceived = "received:";
constexpr std::string_view kDelivered = "delivered-to:";
constexpr std::uint8_t kNoMatch = 255;
constexpr std::size_t kKept = BodyScanner::kLongestDelivered + 4;  // with spaces around, and the line's end

const char* find(const char* begin, const char* end, char c) noexcept {
  return static_cast<const char*>(std::memchr(begin, c, static_cast<std::size_t>(end - begin)));
}

}  // namespace

std::string_view BodyScanner::give(const char* begin, const char* end) noexcept {
  const std::string_view body(begin, static_cast<std::size_t>(end - begin));
  wire_size_ += body.size();
  return body;
}

// Counts Received fields and finds the empty line. [begin, end) continues the current line.
void BodyScanner::read_header(const char* begin, const char* end) noexcept {
  if (field_match_ != kNoMatch)
    match_field(begin, end);
  else if (in_value_ && delivered_to_.back().size() <= kKept)
    delivered_to_.back().append(begin, std::min<std::size_t>(static_cast<std::size_t>(end - begin),
                                                             kKept));
  line_size_ += static_cast<std::uint64_t>(end - begin);
  if (behind_ != Behind::kCrLf) return;
  if (in_value_) end_value();
  if (line_size_ == 2) in_header_ = false;
  line_size_ = 0;
  field_match_ = 0;
}

void BodyScanner::match_field(const char* begin, const char* end) noexcept {
  if (field_match_ == 0) delivered_ = begin < end && base::ascii_lower(*begin) == kDelivered.front();
  const auto field = delivered_ ? kDelivered : kReceived;
  for (const char* p = begin; p < end && field_match_ != kNoMatch; ++p) {  // a few turns in a line
    field_match_ = base::ascii_lower(*p) == field[field_match_]
                       ? static_cast<std::uint8_t>(field_match_ + 1)
                       : kNoMatch;
    if (field_match_ != field.size()) continue;
    field_match_ = kNoMatch;
    if (!delivered_) {
      ++received_;
    } else if (delivered_to_.size() < kMostDelivered) {
      in_value_ = true;
      const std::string_view rest(p + 1, static_cast<std::size_t>(end - p - 1));
      delivered_to_.emplace_back(rest.substr(0, kKept));
    }
  }
}

// What stands on further lines of the field is no address of ours.
void BodyScanner::end_value() noexcept {
  in_value_ = false;
  auto& value = delivered_to_.back();
  const auto end = value.find_first_of("\r\n");
  const auto text = base::trim(std::string_view(value).substr(0, end));
  if (text.empty() || text.size() > kLongestDelivered || end == std::string::npos)
    delivered_to_.pop_back();
  else
    value = std::string(text);
}

const char* BodyScanner::find_line_end(const char* begin, const char* end) noexcept {
  if (after_cr_) {
    after_cr_ = false;
    if (*begin == '\n') {
      behind_ = Behind::kCrLf;
      return begin + 1;
    }
    bare_ = true;
  }
  const char* lf = find(begin, end, '\n');
  const char* stop = lf != nullptr ? lf : end;
  if (!bare_) {  // the first CR of the line must be the one before its LF (or may become it)
    const char* cr = find(begin, stop, '\r');
    bare_ = lf != nullptr ? cr == nullptr || cr + 1 != lf : cr != nullptr && cr + 1 != end;
  }
  if (lf == nullptr) {
    after_cr_ = end[-1] == '\r';
    behind_ = Behind::kText;
    return end;
  }
  behind_ = lf > begin && lf[-1] == '\r' ? Behind::kCrLf : Behind::kLf;
  return lf + 1;
}

const char* BodyScanner::read_line(const char* begin, const char* end) noexcept {
  const char* next = find_line_end(begin, end);
  if (in_header_) read_header(begin, next);
  return next;
}

}  // namespace postern::mail
