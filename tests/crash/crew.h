// Crew: the processes that judge states, beside each other. One that dies in a state, or does not
// come out of it, has found something: it is said, and another goes on behind it.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "tests/crash/states.h"

namespace postern::crash {

struct CrewOptions {
  std::string root;  // a folder of each process's own is made below it
  unsigned processes = 2;
  std::chrono::seconds patience{20};  // for one state
};

struct CrewResult {
  std::uint64_t states = 0;
  std::uint64_t recoveries = 0;
  std::uint64_t violations = 0;  // states of which something is wrong
  // By recording and position: was the state beside operations there judged?
  std::vector<std::vector<bool>> judged;
};

// Hears of each state with what is wrong with it; true: that is enough, no more states are judged.
using Complain = std::function<bool(const State&, const std::string&)>;
[[nodiscard]] CrewResult judge_all(const std::vector<Recording>& recordings,
                                   std::vector<State> states, const CrewOptions& options,
                                   const Complain& complain);

}  // namespace postern::crash
