// ChunkReader: the scanner of what follows BDAT (RFC 3030), for all chunks of one message. It is fed their bytes
// in pieces of any size and gives them back in the form in which bodies are stored: a dot more in front of each
// line that begins with one, where a line begins behind every LF. So nothing in a chunk can be the end of a
// message, whichever way it leaves, and taking the dots off gives the same bytes again, whatever they are.
#pragma once

#include "common/mail/body_scanner.h"

namespace postern::mail {

class ChunkReader : public BodyScanner {
 public:
  static constexpr std::uint64_t kLongestLine = 998;  // of text, without its end (RFC 5322 2.1.1)

  struct Step {
    std::string_view body;     // part of `input`, or a dot
    std::size_t consumed = 0;  // bytes of `input` that are done with; 0 with a dot
  };

  // Call until `input` is used up. It must not be empty.
  [[nodiscard]] Step scan(std::string_view input) noexcept;
  // Behind the last chunk: a CR that waited for its LF stands alone.
  void end() noexcept;

  // There is what only a binary message may have: a CR or LF that stands alone, NUL, or a longer line.
  [[nodiscard]] bool binary() const noexcept { return bare_ || nul_ || long_line_; }

 private:
  std::uint64_t line_ = 0;  // how much of the current line was read
  bool dot_given_ = false;  // in front of the one that is next
  bool nul_ = false;
  bool long_line_ = false;
};

}  // namespace postern::mail
