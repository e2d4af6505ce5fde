// CallSites: every place in the code of queued and of local delivery that changes something through
// os::Disk, found in the source, and which of them the stories came through. A place that no story
// came through has a reason here, or it is a fault of the stories.
#pragma once

#include <string>
#include <vector>

#include "tests/crash/story.h"

namespace postern::crash {

struct CallSites {
  std::size_t found = 0, recorded = 0, excused = 0;
  std::vector<std::string> complaints;
};

[[nodiscard]] CallSites compare_call_sites(const std::vector<Recording>& recordings);

}  // namespace postern::crash
