// DataReader: the scanner of what follows DATA (RFC 5321 4.5.2, 2.3.8). It is fed the wire in
// pieces of any size and gives back the body as spans that stay as they came, dots stuffed, the
// closing
// "." CR LF left out. Lines end with CR LF and with nothing else: only CR LF "." CR LF (or "." CR
// LF as the very first line) ends the body. A CR or LF that stands alone makes `bare` true; the
// caller then refuses the message after its real end and closes, for a peer that reads line ends
// otherwise would see other commands behind it. NUL and all other bytes pass.
//
// Built on memchr: about two passes of it over the body. Keeps nothing but a few counters.
#pragma once

#include <cstdint>
#include <string_view>

namespace postern::mail {

class DataReader {
 public:
  struct Step {
    std::string_view body;  // part of `input`, or at most two bytes of static text
    std::size_t consumed =
        0;             // bytes of `input` that are done with; may be 0 where `body` is not empty
    bool end = false;  // the body is complete, what follows in `input` are commands
  };

  // Call until `input` is used up or the end is seen. `input` must not be empty, and the end not
  // passed.
  [[nodiscard]] Step scan(std::string_view input) noexcept;

  // All of what was given back so far.
  [[nodiscard]] std::uint64_t wire_size() const noexcept { return wire_size_; }
  // The same without the stuffed dots: the size of RFC 1870.
  [[nodiscard]] std::uint64_t size() const noexcept { return wire_size_ - stuffed_dots_; }
  // Some line begins with a stuffed dot; otherwise wire form and plain lines are the same bytes.
  [[nodiscard]] bool stuffed() const noexcept { return stuffed_dots_ != 0; }
  // A CR without LF or an LF without CR was seen.
  [[nodiscard]] bool bare() const noexcept { return bare_; }
  // Received fields in the header so far, for the loop limit of RFC 5321 6.3.
  [[nodiscard]] std::uint32_t received() const noexcept { return received_; }

 private:
  [[nodiscard]] Step give(const char* begin, const char* end, std::size_t consumed,
                          bool last) noexcept;
  [[nodiscard]] Step resolve_held(std::string_view input) noexcept;
  const char* read_line(const char* begin, const char* end) noexcept;
  void read_header(const char* begin, const char* end, bool line_complete) noexcept;

  std::uint64_t wire_size_ = 0;
  std::uint64_t stuffed_dots_ = 0;
  std::uint64_t line_size_ = 0;  // of the current line, while in the header
  std::uint32_t received_ = 0;
  std::uint8_t held_ = 0;         // bytes of a possible end at a line's start: "." or "." CR
  std::uint8_t field_match_ = 0;  // how much of "Received:" the current line has matched
  bool line_start_ = true;
  bool after_cr_ = false;  // the last byte was a CR, and its LF may still come
  bool in_header_ = true;
  bool bare_ = false;
};

}  // namespace postern::mail
