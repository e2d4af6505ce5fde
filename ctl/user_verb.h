// The verb `user`, as far as it works on the password file: asks for the password, edits the file, and
// has a running server read it.
#pragma once

#include "ctl/verbs.h"

namespace postern::ctl {

[[nodiscard]] std::expected<int, Ending> edit_users(const Command& command, Output& output);

}  // namespace postern::ctl
