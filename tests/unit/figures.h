// What whoever runs the tests wishes of them, and what a long run has done, for its reader.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

namespace postern {

// The number that the environment has under this name.
inline std::uint64_t wished(const char* name, std::uint64_t unless) {
  const char* wish = std::getenv(name);
  return wish == nullptr ? unless : std::strtoull(wish, nullptr, 10);
}

// A line more in the file that POSTERN_FIGURES names.
inline void note_figures(const std::string& line) {
  if (const char* path = std::getenv("POSTERN_FIGURES"))
    std::ofstream(path, std::ios::app) << line << std::endl;
}

}  // namespace postern
