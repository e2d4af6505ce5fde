// Reads one TOML file into our tree of values. The one place that knows the TOML library.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "common/config/mistake.h"
#include "common/config/value.h"

namespace postern::config {

inline constexpr std::size_t kMaxFile = 16U << 20;  // bytes of one TOML file

// The root table of `text`; every place in it bears the file number `file`. A syntax error is one
// mistake (the reader cannot go on behind it), with `path` as its file.
[[nodiscard]] std::expected<Value, Mistake> parse_toml(const std::string& text,
                                                       const std::string& path, std::uint32_t file);

// The content of a regular file of at most `limit` bytes; on failure the reason, for a mistake's
// text.
[[nodiscard]] std::expected<std::string, std::string> read_file(const std::string& path,
                                                                std::size_t limit);

}  // namespace postern::config
