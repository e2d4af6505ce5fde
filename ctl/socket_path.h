// Where the server's control socket is.
#pragma once

#include <expected>
#include <string>

#include "ctl/command.h"

namespace postern::ctl {

// --socket, or RUNTIME/control.sock by the configuration. Of the configuration only `runtime` is
// read: the tool must reach a running server also while somebody edits the file, and without the
// right to read the files that it names.
[[nodiscard]] std::expected<std::string, Ending> socket_path(const Command& command);

}  // namespace postern::ctl
