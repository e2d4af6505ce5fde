// DataReader: the scanner of what follows DATA (RFC 5321 4.5.2, 2.3.8). It is fed the wire in
// pieces of any size and gives back the body as spans that stay as they came, dots stuffed, the
// closing
// "." CR LF left out. Lines end with CR LF and with nothing else: only CR LF "." CR LF (or "." CR
// LF as the very first line) ends the body. A CR or LF that stands alone makes `bare` true; the
// caller then refuses the message after its real end and closes, for a peer that reads line ends
// otherwise would see other commands behind it. NUL and all other bytes pass.
#pragma once

#include "common/mail/body_scanner.h"

namespace postern::mail {

class DataReader : public BodyScanner {
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

 private:
  [[nodiscard]] Step resolve_held(std::string_view input) noexcept;

  std::uint8_t held_ = 0;  // bytes of a possible end at a line's start: "." or "." CR
};

}  // namespace postern::mail
