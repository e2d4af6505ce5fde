#include "common/mail/data_reader.h"

#include "common/base/check.h"

namespace postern::mail {
namespace {

constexpr std::string_view kHeld = ".\r";

}  // namespace

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
  read_line(text.data(), text.data() + text.size());
  return {give(text.data(), text.data() + text.size()), 0, false};
}

DataReader::Step DataReader::scan(std::string_view input) noexcept {
  CHECK(!input.empty());
  if (held_ != 0) return resolve_held(input);
  const char* const begin = input.data();
  const char* const end = begin + input.size();
  for (const char* p = begin; p < end;) {
    if (behind_ == Behind::kCrLf) p = skip_plain_lines(p, end);
    if (p == end) break;
    if (behind_ == Behind::kCrLf && *p == '.') {
      const auto left = end - p;
      if (left == 1 || (left == 2 && p[1] == '\r')) {  // the next piece will tell
        held_ = static_cast<std::uint8_t>(left);
        return {give(begin, p), input.size(), false};
      }
      if (p[1] == '\r' && p[2] == '\n')
        return {give(begin, p), static_cast<std::size_t>(p + 3 - begin), true};
      ++stuffed_dots_;
    }
    p = read_line(p, end);
  }
  return {give(begin, end), input.size(), false};
}

}  // namespace postern::mail
