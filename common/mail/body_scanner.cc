#include "common/mail/body_scanner.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "common/base/text.h"

namespace postern::mail {
namespace {

constexpr std::string_view kFields[] = {"received", "delivered-to", "date", "message-id"};
enum : std::size_t { kReceived, kDelivered, kDate, kMessageId };
constexpr std::size_t kKept = BodyScanner::kLongestDelivered + 4;  // with spaces around, and the line's end

constexpr std::ptrdiff_t kBlock = 64;

const char* find(const char* begin, const char* end, char c) noexcept {
  return static_cast<const char*>(std::memchr(begin, c, static_cast<std::size_t>(end - begin)));
}

// Whether each byte of the block goes with the one in front of it, which can be read: LF stands behind CR, and
// there alone; no dot behind LF. Without a branch, so that it becomes a few wide instructions.
bool is_plain(const char* block) noexcept {
  std::uint8_t odd = 0;
  for (std::ptrdiff_t i = 0; i < kBlock; ++i) {
    const char before = block[i - 1], here = block[i];
    const bool alone = (here == '\n') != (before == '\r');
    const bool stuffed = (here == '.') & (before == '\n');
    odd = static_cast<std::uint8_t>(odd | alone | stuffed);
  }
  return odd == 0;
}

}  // namespace

std::string_view BodyScanner::give(const char* begin, const char* end) noexcept {
  const std::string_view body(begin, static_cast<std::size_t>(end - begin));
  wire_size_ += body.size();
  return body;
}

// Counts Received fields and finds the empty line. [begin, end) continues the current line.
void BodyScanner::read_header(const char* begin, const char* end) noexcept {
  if (fields_ != 0)
    match_field(begin, end);
  else if (in_value_ && delivered_to_.back().size() <= kKept)
    delivered_to_.back().append(begin, std::min<std::size_t>(static_cast<std::size_t>(end - begin),
                                                             kKept));
  line_size_ += static_cast<std::uint64_t>(end - begin);
  if (behind_ != Behind::kCrLf) return;
  if (in_value_) end_value();
  if (line_size_ == 2) in_header_ = false;
  line_size_ = 0;
  fields_ = kAllFields;
  name_size_ = 0;
}

// Of most lines a character or two are looked at. There may be spaces before the colon (RFC 5322 4.5).
void BodyScanner::match_field(const char* begin, const char* end) noexcept {
  static_assert(std::size(kFields) <= 4);
  for (const char* p = begin; p < end && fields_ != 0; ++p) {
    const char c = base::ascii_lower(*p);
    for (std::size_t which = 0; which < std::size(kFields); ++which) {
      const auto bit = static_cast<std::uint8_t>(1U << which);
      if ((fields_ & bit) == 0) continue;
      const auto name = kFields[which];
      const bool whole = name_size_ >= name.size();
      if (whole && c == ':') {
        fields_ = 0;
        return found_field(which, {p + 1, static_cast<std::size_t>(end - p - 1)});
      }
      if (whole ? c != ' ' && c != '\t' : c != name[name_size_])
        fields_ = static_cast<std::uint8_t>(fields_ & ~bit);
    }
    if (name_size_ < UINT8_MAX) ++name_size_;
  }
}

void BodyScanner::found_field(std::size_t which, std::string_view rest) noexcept {
  switch (which) {
    case kReceived:
      ++received_;
      return;
    case kDelivered:
      if (delivered_to_.size() >= kMostDelivered) return;
      in_value_ = true;
      delivered_to_.emplace_back(rest.substr(0, kKept));
      return;
    case kDate:
      has_date_ = true;
      return;
    default:
      has_message_id_ = true;
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

const char* BodyScanner::skip_plain_lines(const char* begin, const char* end) const noexcept {
  if (in_header_ || begin == end || *begin == '.' || *begin == '\n') return begin;
  const char* p = begin + 1;
  while (end - p >= kBlock && is_plain(p)) p += kBlock;
  const auto* const lf = static_cast<const char*>(
      ::memrchr(begin, '\n', static_cast<std::size_t>(p - begin)));
  return lf != nullptr ? lf + 1 : begin;
}

const char* BodyScanner::read_line(const char* begin, const char* end) noexcept {
  const char* next = find_line_end(begin, end);
  if (in_header_) read_header(begin, next);
  return next;
}

}  // namespace postern::mail
