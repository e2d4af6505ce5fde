// Frames: what the return addresses of a site are in the source.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/crash/story.h"

namespace postern::crash {

struct Frame {
  std::string function;  // with its parameters
  std::string file;      // as the compiler was told; "??" where there is no line table
  unsigned line = 0;
};

// Of each address of this program; of an inlined one, the function around it too.
using Frames = std::map<void*, std::vector<Frame>>;
[[nodiscard]] Frames frames_of(const std::vector<Recording>& recordings);

}  // namespace postern::crash
