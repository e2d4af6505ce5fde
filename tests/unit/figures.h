// What a long run has done, for its reader: lines of the file that POSTERN_FIGURES names.
#pragma once

#include <cstdlib>
#include <fstream>
#include <string>

namespace postern {

inline void note_figures(const std::string& line) {
  if (const char* path = std::getenv("POSTERN_FIGURES"))
    std::ofstream(path, std::ios::app) << line << std::endl;
}

}  // namespace postern
