// Makes the configuration from a document whose structure was checked: the meaning of each key, its
// default, and its own mistakes. What several keys must not say together is in combine.h.
#pragma once

#include "common/config/config.h"
#include "common/config/report.h"
#include "common/config/value.h"

namespace postern::config {

// Best effort where `report` gained mistakes: such a configuration is only good for finding more.
[[nodiscard]] Config build(const Document& document, Report& report);

}  // namespace postern::config
