// Mistakes that no key makes alone: what cannot be meant together.
#pragma once

#include "common/config/config.h"
#include "common/config/report.h"

namespace postern::config {

// `config` was built without a mistake.
void check_combinations(const Config& config, Report& report);

}  // namespace postern::config
