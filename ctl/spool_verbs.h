// The verbs that are about the spool as a whole: check-spool, export, import.
#pragma once

#include "ctl/verbs.h"

namespace postern::ctl {

[[nodiscard]] std::expected<int, Ending> check_spool(const Command& command, Client& client,
                                                     Output& output);
[[nodiscard]] std::expected<int, Ending> export_spool(const Command& command, Client& client,
                                                      Output& output);
[[nodiscard]] std::expected<int, Ending> import_spool(const Command& command, Client& client,
                                                      Output& output);

}  // namespace postern::ctl
