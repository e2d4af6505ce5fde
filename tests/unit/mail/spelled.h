// What a test spells out, as values: a mistake in one ends the test.
#pragma once

#include <string_view>

#include "common/base/ip.h"
#include "common/mail/address.h"

namespace postern {

inline mail::Domain domain(std::string_view text) { return mail::Domain::parse(text).value(); }
inline mail::Address address(std::string_view text) { return mail::Address::parse(text).value(); }
inline base::IpAddress ip(std::string_view text) { return base::parse_ip(text).value(); }

}  // namespace postern
