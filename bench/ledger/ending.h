#pragma once

#include <string>

namespace postern::bench {

// What is to be printed instead of a run: the help, or a mistake.
struct Ending {
  int exit = 0;
  std::string text;
};

// Prints it, to stderr unless `exit` is 0; returns `exit`.
[[nodiscard]] int print(const Ending& ending);

}  // namespace postern::bench
