#include "common/mail/unstuffer.h"

#include <utility>

namespace postern::mail {

void Unstuffer::feed(std::string_view stuffed, std::string& out) {
  while (!stuffed.empty()) {
    if (std::exchange(pending_cr_, false) && stuffed.front() != '\n') out += '\r';
    if (std::exchange(line_start_, false) && stuffed.front() == '.') {
      stuffed.remove_prefix(1);
      continue;
    }
    const auto lf = stuffed.find('\n');
    auto line = stuffed.substr(0, lf == std::string_view::npos ? lf : lf + 1);
    stuffed.remove_prefix(line.size());
    line_start_ = line.back() == '\n';
    if (line_end_ == LineEnd::kLf) {
      if (line.ends_with("\r\n")) {
        out += line.substr(0, line.size() - 2);
        line = "\n";
      } else if (line.back() == '\r') {
        pending_cr_ = true;
        line.remove_suffix(1);
      }
    }
    out += line;
  }
}

void Unstuffer::finish(std::string& out) {
  if (std::exchange(pending_cr_, false)) out += '\r';
}

}  // namespace postern::mail
