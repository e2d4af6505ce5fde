#include "common/mail/chunk_reader.h"

#include <cstring>

#include "common/base/check.h"

namespace postern::mail {
namespace {

constexpr std::string_view kDot = ".";

}  // namespace

ChunkReader::Step ChunkReader::scan(std::string_view input) noexcept {
  CHECK(!input.empty());
  if (behind_ != Behind::kText && input.front() == '.' && !dot_given_) {
    dot_given_ = true;
    ++stuffed_dots_;
    return {give(kDot.data(), kDot.data() + kDot.size()), 0};
  }
  dot_given_ = false;
  const char* const begin = input.data();
  const char* const end = begin + input.size();
  const char* p = begin;
  do {
    const char* next = read_line(p, end);
    line_ += static_cast<std::uint64_t>(next - p);
    if (line_ > kLongestLine + 2) long_line_ = true;  // its end counted
    if (behind_ != Behind::kText) line_ = 0;
    p = next;
  } while (p < end && *p != '.');
  const auto size = static_cast<std::size_t>(p - begin);
  if (!nul_) nul_ = std::memchr(begin, 0, size) != nullptr;
  return {give(begin, p), size};
}

void ChunkReader::end() noexcept {
  if (after_cr_) bare_ = true;
  if (line_ > kLongestLine) long_line_ = true;
}

}  // namespace postern::mail
