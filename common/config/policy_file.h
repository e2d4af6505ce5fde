// The section [policy], and the files that it names, `deny` and `allow`. One rule on a line: what is
// looked at (client, hello, sender or recipient), a pattern, and in `deny` the reply's text, which may
// begin with a code and an enhanced status. A line that begins with `#` is a comment.
#pragma once

#include "common/config/config.h"
#include "common/config/report.h"
#include "common/config/section.h"

namespace postern::config {

inline constexpr std::size_t kMaxPolicyFile = 64U << 20;  // bytes

void read_policy(const Section& top, Config& config, Report& report);

}  // namespace postern::config
