// Reply: a code, an enhanced code (RFC 3463) and lines of text, as said by us or by a next hop.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern::mail {

struct EnhancedCode {
  std::uint8_t status = 0;  // 2, 4, 5; 0: none
  std::uint16_t subject = 0;
  std::uint16_t detail = 0;
  friend bool operator==(const EnhancedCode&, const EnhancedCode&) noexcept = default;
};

struct Reply {
  static constexpr std::size_t kMaxText =
      512;  // kept of a foreign reply, all lines joined, cleaned

  std::uint16_t code = 0;  // 0: no reply
  EnhancedCode enhanced;
  std::vector<std::string> lines;  // without code and enhanced code

  [[nodiscard]] bool positive() const noexcept { return code >= 200 && code < 400; }
  [[nodiscard]] bool transient() const noexcept { return code >= 400 && code < 500; }
  [[nodiscard]] bool permanent() const noexcept { return code >= 500 && code < 600; }

  // On the wire: "250-2.0.0 first\r\n250 2.0.0 last\r\n"; lines over 510 bytes are cut.
  void append_to(std::string& wire) const;
  // For logs and records, one line, printable ASCII, bounded: "550 5.1.1 no such user; try again".
  [[nodiscard]] std::string text() const;
};

}  // namespace postern::mail
