// Random numbers from the kernel (getrandom(2)); never a seeded generator where an attacker may guess.
#pragma once

#include <cstdint>

#include "common/base/ids.h"

namespace postern::base {

[[nodiscard]] std::uint64_t random_u64() noexcept;
[[nodiscard]] Token random_token() noexcept;

}  // namespace postern::base
