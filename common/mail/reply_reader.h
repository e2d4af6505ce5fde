// ReplyReader: replies of a next hop (RFC 5321 4.2) out of bytes in any pieces. What it reads is a
// stranger's: bounded, cleaned to printable ASCII, and strict about the little that matters, the
// codes. Lines may end in a bare LF; some old servers do that.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/mail/reply.h"

namespace postern::mail {

class ReplyReader {
 public:
  static constexpr std::size_t kMaxLine = 2048;        // RFC 5321 4.5.3.1.5 has 512
  static constexpr std::size_t kMaxLines = 100;        // of one reply
  static constexpr std::size_t kMaxReply = 64 * 1024;  // bytes of one reply
  static constexpr std::size_t kKeptOfLine = 512;

  enum class Status : std::uint8_t {
    kMore,       // all was read, the reply is not complete
    kReply,      // take() it
    kMalformed,  // trouble() says why; nothing can be read after this
  };

  // Reads at most one reply and removes what it used from `bytes`.
  [[nodiscard]] Status feed(std::string_view& bytes);
  // The reply that feed() announced; its lines without code and enhanced code.
  [[nodiscard]] Reply take() noexcept;
  [[nodiscard]] const char* trouble() const noexcept { return trouble_; }

 private:
  Status add_line(std::string_view line);
  Status malformed(const char* why) noexcept;

  std::string partial_;  // of a line
  Reply reply_;
  std::size_t size_ = 0;  // of the reply so far
  const char* trouble_ = "";
};

}  // namespace postern::mail
