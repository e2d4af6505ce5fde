// What the command lines of the three programs share, around CLI11.
#pragma once

#include <CLI/CLI.hpp>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "bench/ledger/ending.h"
#include "common/base/clock.h"

namespace postern::bench {

// A mistake of this program's user, as EX_USAGE.
[[nodiscard]] std::unexpected<Ending> usage(const CLI::App& app, const std::string& text);
// Reads `words` into what was bound; an ending where nothing is left to do.
[[nodiscard]] std::optional<Ending> read(CLI::App& app, std::vector<std::string> words);
// Binds an option that takes a duration: "500ms", "30s", "5m".
CLI::Option* add_duration(CLI::App& app, const std::string& name, base::Millis& into,
                          const std::string& text);

}  // namespace postern::bench
