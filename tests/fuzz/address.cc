// An address or domain that parses is clean, within its limits, and its texts parse back to itself.
#include "common/mail/address.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/base/utf8.h"

using postern::mail::Address;
using postern::mail::Domain;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto address = Address::parse(text)) {
    CHECK(address->local_part().size() <= Address::kMaxLocalPart && !address->local_part().empty());
    const auto written = address->text();
    CHECK(written.size() <= Address::kMaxLength && postern::base::is_harmless(written));
    CHECK(postern::base::is_ascii(written) == !address->needs_utf8());
    CHECK(Address::parse(written) == address);
    CHECK(Address::parse(address->unicode()) == address);
    CHECK(address->mentions(written) && address->mentions(address->unicode()));
  }
  if (const auto domain = Domain::parse(text)) {
    CHECK(domain->text().size() <= Domain::kMaxLength && postern::base::is_harmless(domain->text()));
    CHECK(postern::base::is_ascii(domain->text()));
    CHECK(Domain::parse(domain->text()) == domain);
    CHECK(Domain::parse(domain->unicode()) == domain);
  }
  return 0;
}
