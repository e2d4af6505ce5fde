// CRC32C (Castagnoli), the checksum of journal records and large bodies. Uses SSE 4.2 where present.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace postern::base {

// The checksum of `data` appended to what `crc` already covers (0 to begin).
[[nodiscard]] std::uint32_t crc32c(std::string_view data, std::uint32_t crc = 0) noexcept;

}  // namespace postern::base
