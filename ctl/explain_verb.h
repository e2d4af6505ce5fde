// The verb explain: why a message, a queue or a next hop does not move.
#pragma once

#include "ctl/verbs.h"

namespace postern::ctl {

[[nodiscard]] std::expected<int, Ending> explain(const Command& command, Client& client,
                                                 Output& output);

}  // namespace postern::ctl
