// Random numbers from the kernel (getrandom(2)); never a seeded generator where an attacker may guess.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/base/ids.h"

namespace postern::base {

// Fills `size` bytes, at most 256.
void random_bytes(void* out, std::size_t size) noexcept;
[[nodiscard]] std::uint64_t random_u64() noexcept;
[[nodiscard]] Token random_token() noexcept;

}  // namespace postern::base
