// From the lines of aliases files to what each alias stands for in the end: aliases of aliases, in whichever
// [[domain]], are followed here, once, when the configuration is loaded. What cannot end, or ends in too many
// recipients, is a mistake; a target that is nobody's is a warning, for mail to it comes back.
#pragma once

#include "common/config/config.h"
#include "common/config/report.h"

namespace postern::config {

inline constexpr std::size_t kMaxAliasDepth = 50;            // aliases that lead to each other
inline constexpr std::size_t kMaxAllTargets = 5'000'000;     // of all aliases together
inline constexpr std::size_t kMaxAliasWarnings = 100;

// Fills the aliases of all sections and the warnings. Domains, alias domains and postmaster are set.
void expand_aliases(Config& config, Report& report);

}  // namespace postern::config
