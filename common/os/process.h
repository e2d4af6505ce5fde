// Processes: starting one with a single inherited descriptor, and the title that ps shows.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/base/unique_fd.h"
#include "common/os/error.h"

namespace postern::os {

// The descriptor on which a spawned process finds its channel.
inline constexpr int kInheritedChannel = 3;

// Starts `program` with `arguments` (without argv[0]) and `channel` as descriptor 3; 0 to 2 are shared,
// everything else is closed. The environment is TZ=UTC, LC_ALL=C, and nothing else (a build with
// sanitizers passes their options on).
[[nodiscard]] Result<pid_t> spawn(const std::string& program, const std::vector<std::string>& arguments,
                                  base::UniqueFd channel);

// The directory of the running program; "/usr/sbin".
[[nodiscard]] Result<std::string> program_directory();

// Prepares set_title(): the memory of argv and environ is reused for it. Once, at the start of main().
void save_title_area(int argc, char** argv);
// What ps shows from now on: "postern: queued, 12 messages". Cut to the room that argv had.
void set_title(std::string_view title);

}  // namespace postern::os
