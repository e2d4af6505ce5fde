// Whether a message needs SMTPUTF8 does not depend on how it was cut; without a byte above 127 it never does.
#include "common/mail/utf8_scan.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/base/utf8.h"

namespace {
bool found(std::string_view message, std::size_t piece) {
  postern::mail::Utf8Scan scan;
  for (; !message.empty(); message.remove_prefix(std::min(piece, message.size())))
    scan.feed(message.substr(0, piece));
  return scan.found();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view message(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool whole = found(message, message.size());
  CHECK(found(message, 1U + data[0]) == whole && found(message, 1) == whole);
  CHECK(!whole || !postern::base::is_ascii(message));
  return 0;
}
