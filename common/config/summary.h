// The rights summary: who may send where, and where mail goes, on one screen; and what is dangerous
// about it. What `postern -n` prints of a configuration without mistakes.
#pragma once

#include <string>
#include <vector>

#include "common/config/config.h"

namespace postern::config {

// One line each, without the word WARNING: "postern.toml:12:1: relay_from: ...". `own`: the addresses of this host;
// none: nobody knows them.
[[nodiscard]] std::vector<std::string> warnings(const Config& config, const std::vector<base::IpAddress>& own = {});

// Lines of text, the warnings last.
[[nodiscard]] std::string rights_summary(const Config& config, const std::vector<base::IpAddress>& own = {});

}  // namespace postern::config
