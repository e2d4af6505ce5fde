#include "common/config/mistake.h"

#include <fmt/format.h>

namespace postern::config {
namespace {

// Control bytes have no place on a terminal; UTF-8 stays as it is.
std::string one_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  return text;
}

}  // namespace

std::string to_string(const Mistake& mistake) {
  std::string out = mistake.file;
  if (mistake.line > 0) out += fmt::format(":{}:{}", mistake.line, mistake.column);
  if (!mistake.key.empty()) out += ": " + mistake.key;
  if (!mistake.value.empty()) out += (mistake.key.empty() ? ": " : " = ") + mistake.value;
  return one_line(out + ": " + mistake.text);
}

}  // namespace postern::config
