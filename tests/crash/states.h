// States: which crashes are tried: one right before and right after every operation, with all and
// with nothing of what was on its way; writes torn and overtaken; then any, by chance. A state has
// a number, by which it can be built again.
#pragma once

#include <vector>

#include "tests/crash/story.h"
#include "tests/crash/volume.h"

namespace postern::crash {

struct State {
  std::uint64_t number = 0;
  std::uint32_t recording = 0;
  Position at = 0;  // operations that were done
  Choice choice;
  Ledger::Loss loss = Ledger::Loss::kPower;
  bool twice = false;  // what the recovery made of it is recovered once more
  bool again = false;  // the recovery, and a little life after it, is cut too
};

// The first `count` states of this seed. Those beside every operation come first, unless there are
// more of them than wanted: then some, but for each kind of operation at least one before and one
// after.
[[nodiscard]] std::vector<State> choose_states(const std::vector<Recording>& recordings,
                                               std::uint64_t seed, std::uint64_t count);

// What a state is, in words.
[[nodiscard]] std::string describe(const State& state, const std::vector<Recording>& recordings);

}  // namespace postern::crash
