// The versions of TLS that Postern speaks.
#pragma once

#include <cstdint>

namespace postern::tls {

enum class Version : std::uint8_t { k12, k13 };

}  // namespace postern::tls
