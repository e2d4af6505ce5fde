// What holds of a server whatever its client says.
#pragma once

#include <string_view>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/base/utf8.h"

namespace postern::fuzz {

// Every line is "ddd-text" or "ddd text" and CR LF, printable, of at most 512 bytes; in ASCII, unless its client says
// that it knows UTF-8.
inline void check_replies(std::string_view output, std::string_view wire) {
  const bool utf8 = base::contains_ignoring_case(wire, "SMTPUTF8");
  while (!output.empty()) {
    const auto end = output.find("\r\n");
    CHECK(end != std::string_view::npos && end + 2 <= 512 && end >= 4);
    const auto line = output.substr(0, end);
    CHECK(line[0] >= '2' && line[0] <= '5' && (line[3] == ' ' || line[3] == '-'));
    CHECK(base::is_harmless(line) && (utf8 || base::is_ascii(line)));
    output.remove_prefix(end + 2);
  }
}

}  // namespace postern::fuzz
