// An address or domain that parses is clean, within its limits, and its text parses back to itself.
#include "common/mail/address.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"

using postern::mail::Address;
using postern::mail::Domain;

namespace {
bool is_clean(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto address = Address::parse(text)) {
    CHECK(address->local_part().size() <= Address::kMaxLocalPart && !address->local_part().empty());
    const auto written = address->text();
    CHECK(written.size() <= Address::kMaxLength && is_clean(written));
    CHECK(Address::parse(written) == address);
  }
  if (const auto domain = Domain::parse(text)) {
    CHECK(domain->text().size() <= Domain::kMaxLength && is_clean(domain->text()));
    CHECK(Domain::parse(domain->text()) == domain);
  }
  return 0;
}
