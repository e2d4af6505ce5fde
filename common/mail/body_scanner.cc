#include "common/mail/body_scanner.h"

#include <cstring>

#include "common/base/text.h"

namespace postern::mail {
namespace {

constexpr std::string_view kReceived = "received:";
constexpr std::uint8_t kNoMatch = 255;

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
  for (const char* p = begin; p < end && field_match_ != kNoMatch; ++p) {  // nine turns in a line
    field_match_ = base::ascii_lower(*p) == kReceived[field_match_]
                       ? static_cast<std::uint8_t>(field_match_ + 1)
                       : kNoMatch;
    if (field_match_ == kReceived.size()) {
      ++received_;
      field_match_ = kNoMatch;
    }
  }
  line_size_ += static_cast<std::uint64_t>(end - begin);
  if (behind_ != Behind::kCrLf) return;
  if (line_size_ == 2) in_header_ = false;
  line_size_ = 0;
  field_match_ = 0;
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
