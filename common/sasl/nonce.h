// A nonce for SCRAM: printable ASCII without commas, never the same again.
#pragma once

#include <array>
#include <string>

#include "common/base/base64.h"
#include "common/base/random.h"

namespace postern::sasl {

[[nodiscard]] inline std::string fresh_nonce() {
  std::array<char, 18> bytes{};
  base::random_bytes(bytes.data(), bytes.size());
  return base::to_base64({bytes.data(), bytes.size()});
}

}  // namespace postern::sasl
