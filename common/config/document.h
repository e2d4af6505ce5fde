// The main file and its includes as one tree of values.
#pragma once

#include <string>

#include "common/config/report.h"
#include "common/config/value.h"

namespace postern::config {

inline constexpr std::size_t kMaxIncludes = 1'000;  // files

// Reads `path` and merges into it, in sorted order, the files that its `include` matches: tables
// merge, arrays of tables append, any other key that stands twice is a mistake. False where a file
// could not be read or is not TOML; the mistakes are in `report`, which must be of `document`.
[[nodiscard]] bool read_document(const std::string& path, Document& document, Report& report);

// `path` seen from the directory of `file`; absolute, without "." and "..".
[[nodiscard]] std::string resolve(const std::string& path, const std::string& file);

}  // namespace postern::config
