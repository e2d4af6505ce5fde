// What must be known of a large body before it leaves, from its file. It is read whole for that, so only where the
// answer decides something.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace postern::relay {

// Calls `each` with the file's bytes, piece by piece, until it says false or there are no more.
template <class Each>
void read_file(int file, std::uint64_t size, Each each) {
  constexpr std::size_t kPiece = 64 * 1024;
  std::string piece(kPiece, '\0');
  for (std::uint64_t at = 0; at < size;) {
    const auto want = std::min<std::uint64_t>(piece.size(), size - at);
    const auto got = ::pread(file, piece.data(), want, static_cast<off_t>(at));
    if (got <= 0) return;  // it cannot be sent either, and that tells more
    if (!each(std::string_view(piece).substr(0, static_cast<std::size_t>(got)))) return;
    at += static_cast<std::uint64_t>(got);
  }
}

// Does it hold bytes above 127?
[[nodiscard]] bool file_has_eight_bit(int file, std::uint64_t size);
// How long it is without its dots.
[[nodiscard]] std::uint64_t plain_size_of_file(int file, std::uint64_t size);

}  // namespace postern::relay
