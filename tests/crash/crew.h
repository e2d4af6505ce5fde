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
  bool stop_at_first = false;
};

struct CrewResult {
  std::uint64_t states = 0;
  std::uint64_t recoveries = 0;
  std::uint64_t violations = 0;  // states of which something is wrong
  // By recording and position: was the state beside operations there judged?
  std::vector<std::vector<bool>> judged;
};

// `complain` hears of each state with what is wrong with it.
[[nodiscard]] CrewResult judge_all(
    const std::vector<Recording>& recordings, std::vector<State> states, const CrewOptions& options,
    const std::function<void(const State&, const std::string&)>& complain);

}  // namespace postern::crash
