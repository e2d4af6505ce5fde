// Any bytes: a header is found, missing or wrong, and more bytes never change what was found, nor is a
// part of a header ever taken for wrong.
#include "smtpd/proxy_header.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"

using postern::smtpd::parse_proxy_header;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto whole = parse_proxy_header(bytes);
  if (!whole) return 0;
  if (!*whole) {
    CHECK(size < 16 + postern::smtpd::kMaxProxyContent);
    return 0;
  }
  const auto& header = **whole;
  CHECK(header.size > 0 && header.size <= size);
  CHECK(header.client.has_value() == header.server.has_value());
  for (std::size_t part = 0; part < header.size; ++part) {
    const auto fewer = parse_proxy_header(bytes.substr(0, part));
    CHECK(fewer && !*fewer);
  }
  const auto exact = parse_proxy_header(bytes.substr(0, header.size));
  CHECK(exact && *exact && (*exact)->client == header.client && (*exact)->size == header.size);
  return 0;
}
