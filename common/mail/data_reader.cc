#include "common/mail/data_reader.h"

#include <cstring>

#include "common/base/check.h"
#include "common/base/text.h"

namespace postern::mail {
namespace {

constexpr std::string_view kHeld = ".\r";
constexpr std::string_view kReceived = "received:";
constexpr std::uint8_t kNoMatch = 255;

const char* find(const char* begin, const char* end, char c) noexcept {
  return static_cast<const char*>(std::memchr(begin, c, static_cast<std::size_t>(end - begin)));
}

}  // namespace

DataReader::Step DataReader::give(const char* begin, const char* end, std::size_t consumed,
                                  bool last) noexcept {
  const std::string_view body(begin, static_cast<std::size_t>(end - begin));
  wire_size_ += body.size();
  return {body, consumed, last};
}

// The previous piece ended where a line began with what may be the end.
DataReader::Step DataReader::resolve_held(std::string_view input) noexcept {
  if (held_ == 1 && input.front() == '\r') {
    if (input.size() == 1) {
      held_ = 2;
      return {{}, 1, false};
    }
    if (input[1] == '\n') return {{}, 2, true};
  } else if (held_ == 2 && input.front() == '\n') {
    return {{}, 1, true};
  }
  // It was an ordinary line with a stuffed dot.
  const auto text = kHeld.substr(0, held_);
  held_ = 0;
  ++stuffed_dots_;
  line_start_ = false;
  after_cr_ = text.size() == 2;
  if (in_header_) read_header(text.data(), text.data() + text.size(), false);
  return give(text.data(), text.data() + text.size(), 0, false);
}

// Counts Received fields and finds the empty line. [begin, end) continues the current line.
void DataReader::read_header(const char* begin, const char* end, bool line_complete) noexcept {
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
  if (!line_complete) return;
  if (line_size_ == 2) in_header_ = false;
  line_size_ = 0;
  field_match_ = 0;
}

// Reads on in the current line; returns where it ended, behind CR LF or a bare LF, or `end`.
const char* DataReader::read_line(const char* begin, const char* end) noexcept {
  if (after_cr_) {
    after_cr_ = false;
    if (*begin == '\n') {
      line_start_ = true;
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
    return end;
  }
  line_start_ = lf > begin && lf[-1] == '\r';
  return lf + 1;
}

DataReader::Step DataReader::scan(std::string_view input) noexcept {
  CHECK(!input.empty());
  if (held_ != 0) return resolve_held(input);
  const char* const begin = input.data();
  const char* const end = begin + input.size();
  for (const char* p = begin; p < end;) {
    if (line_start_) {
      if (*p == '.') {
        const auto left = end - p;
        if (left == 1 || (left == 2 && p[1] == '\r')) {  // the next piece will tell
          held_ = static_cast<std::uint8_t>(left);
          return give(begin, p, input.size(), false);
        }
        if (p[1] == '\r' && p[2] == '\n')
          return give(begin, p, static_cast<std::size_t>(p + 3 - begin), true);
        ++stuffed_dots_;
      }
      line_start_ = false;
    }
    const char* next = read_line(p, end);
    if (in_header_) read_header(p, next, line_start_);
    p = next;
  }
  return give(begin, end, input.size(), false);
}

}  // namespace postern::mail
