// Coverage: the classes of recorded operations (kind of operation, kind of file, place in the
// code), and which of them had a state right before and right after.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/crash/story.h"

namespace postern::crash {

struct OperationClass {
  std::string what;                                              // "write segment"
  std::string site;                                              // the function of ours that did it
  std::vector<std::pair<std::uint32_t, std::uint32_t>> members;  // recording, operation
};

[[nodiscard]] std::vector<OperationClass> classes_of(const std::vector<Recording>& recordings);

// "segment", "large body", "index"...
[[nodiscard]] std::string file_kind(const std::string& path);

}  // namespace postern::crash
