// The sections [[account]]: what who has logged in may send.
#pragma once

#include "common/config/report.h"
#include "common/config/section.h"

namespace postern::config {

// After [auth], [[domain]] and [[route]].
void read_account_limits(const Section& top, Config& config, Report& report);
// Of the account, or of "*"; null: it may send what it likes, or is nobody's. `sections` are sorted by name.
[[nodiscard]] const AccountLimits* limits_of(const std::vector<AccountLimits>& sections,
                                             const std::string& account);

}  // namespace postern::config
