#include "tests/crash/states.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "tests/crash/coverage.h"

namespace postern::crash {
namespace {

constexpr std::uint64_t kByChance = 4;  // one state of so many at least

void add_beside(const Recording& recording, std::uint32_t which, std::uint64_t seed,
                std::vector<State>& states) {
  for (Position at = 0; at <= recording.operations.size(); ++at) {
    State state{.recording = which, .at = at};
    state.twice = at % 8 == 0;
    state.loss = Ledger::Loss::kProcess;
    state.again = at % 4 == 1;
    state.choice.seed = chance(seed, which, at);
    states.push_back(state);
    state.again = false;
    state.loss = Ledger::Loss::kPower;
    state.choice.data = Choice::Data::kNone;
    state.choice.names = Choice::Names::kNone;
    states.push_back(state);
    if (at == 0 || recording.operations[at - 1].kind != Kind::kWrite) continue;
    state.choice.names = Choice::Names::kAll;
    state.choice.data = Choice::Data::kOnlyLast;
    states.push_back(state);
    const auto size = recording.operations[at - 1].bytes->size();
    state.choice.data = Choice::Data::kUpTo;
    state.choice.limit = at - 1;
    state.choice.torn = chance(seed, which, at) % (size / 512 + 1) * 512;
    states.push_back(state);
  }
}

// The places where something is on its way: elsewhere nothing can go by chance.
std::vector<std::pair<std::uint32_t, Position>> open_places(
    const std::vector<Recording>& recordings) {
  std::vector<std::pair<std::uint32_t, Position>> places;
  for (std::uint32_t which = 0; which < recordings.size(); ++which) {
    Volume volume(recordings[which].start);
    Position at = 0;
    for (const auto& operation : recordings[which].operations) {
      volume.apply(operation);
      ++at;
      if (!volume.settled()) places.emplace_back(which, at);
    }
  }
  return places;
}

State by_chance(const std::vector<std::pair<std::uint32_t, Position>>& places, std::uint64_t seed,
                std::uint64_t number) {
  const auto r = [&](std::uint64_t n) { return chance(seed, number, n); };
  State state;
  std::tie(state.recording, state.at) = places[r(1) % places.size()];
  auto& choice = state.choice;
  choice.seed = r(2);
  choice.block = r(3) % 2 == 0 ? 512 : 4096;
  choice.stale = r(4) % 4 == 0;
  choice.names = static_cast<Choice::Names>(r(5) % 5);
  choice.data = Choice::Data::kBlocks;
  if (r(6) % 8 == 0) {  // in the order in which it was done, cut in the middle
    choice.data = Choice::Data::kUpTo;
    choice.limit = state.at - 1 - static_cast<Position>(r(7) % std::min<Position>(state.at, 6));
    choice.torn = r(8) % 64 * 512;
  }
  state.twice = r(9) % 8 == 0;
  state.again = r(10) % 8 == 0;
  return state;
}

// Some of the states beside operations, fewer than there are; of each class of operations one pair first.
std::vector<State> thin_out(std::vector<State> states, const std::vector<Recording>& recordings,
                            std::uint64_t seed, std::uint64_t count) {
  std::vector<std::vector<bool>> needed;
  for (const auto& recording : recordings) needed.emplace_back(recording.operations.size() + 1);
  for (const auto& one : classes_of(recordings)) {
    const auto& [which, operation] =
        one.members[chance(seed, one.members.size()) % one.members.size()];
    needed[which][operation] = needed[which][operation + 1] = true;
  }
  const auto rank = [&](const State& state) {
    return needed[state.recording][state.at] ? 0 : 1 + chance(seed, state.number) / 2;
  };
  std::sort(states.begin(), states.end(), [&](const State& a, const State& b) {
    return std::pair(rank(a), a.number) < std::pair(rank(b), b.number);
  });
  states.resize(count);
  return states;
}

}  // namespace

std::vector<State> choose_states(const std::vector<Recording>& recordings, std::uint64_t seed,
                                 std::uint64_t count) {
  std::vector<State> states;
  for (std::uint32_t which = 0; which < recordings.size(); ++which)
    add_beside(recordings[which], which, seed, states);
  for (std::uint64_t number = 0; number < states.size(); ++number) states[number].number = number;
  // Where not all of those can be had, a part is by chance all the same: reordered and torn writes are
  // what no state beside an operation has.
  std::uint64_t number = states.size();
  if (const auto beside = count - count / kByChance; number > beside)
    states = thin_out(std::move(states), recordings, seed, beside);
  const auto places = open_places(recordings);
  while (states.size() < count) {
    states.push_back(by_chance(places, seed, number));
    states.back().number = number++;
  }
  return states;
}

std::string describe(const State& state, const std::vector<Recording>& recordings) {
  static constexpr std::string_view kData[] = {"all data", "only flushed data", "data in order",
                                               "only the last write", "blocks by chance"};
  static constexpr std::string_view kNames[] = {"all names", "only flushed names", "names in order",
                                                "names by directory", "names by chance"};
  const auto& recording = recordings[state.recording];
  std::string text = fmt::format("{} story, after {} of {} operations", recording.story, state.at,
                                 recording.operations.size());
  if (state.at > 0) {
    const auto& last = recording.operations[state.at - 1];
    text += fmt::format(" (the last: {} {})", name(last.kind), last.path);
  }
  text += fmt::format("; {}, {}", kData[static_cast<std::size_t>(state.choice.data)],
                      kNames[static_cast<std::size_t>(state.choice.names)]);
  if (state.choice.data == Choice::Data::kBlocks)
    text += fmt::format(" of {} bytes{}", state.choice.block, state.choice.stale ? ", stale" : "");
  if (state.choice.data == Choice::Data::kUpTo)
    text += fmt::format(" up to operation {} and {} bytes", state.choice.limit, state.choice.torn);
  return text;
}

}  // namespace postern::crash
