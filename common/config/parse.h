// Reads and checks the configuration: the file and what it includes, and the users files that it
// names. Strict: every mistake is reported, with its place and what was expected; nothing is
// ignored.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "common/config/config.h"
#include "common/config/mistake.h"

namespace postern::config {

// The mistakes are in the order of their places, never empty. A syntax error of TOML ends the
// reading of its file, and no more than it is then reported.
[[nodiscard]] std::expected<Config, std::vector<Mistake>> load(const std::string& path);

}  // namespace postern::config
