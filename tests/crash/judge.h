// Judge: takes one state after the other, in the order of the operations, lets the real recovery
// run on each, and says what is wrong with what it found.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/crash/states.h"

namespace postern::crash {

class Judge {
 public:
  // States are laid out below `root`.
  Judge(const std::vector<Recording>& recordings, std::string root)
      : recordings_(recordings), root_(std::move(root)) {}

  // What is wrong with the state; empty: nothing. States of one recording come with rising
  // positions.
  [[nodiscard]] Ledger::Complaints judge(const State& state);
  // Recoveries so far.
  [[nodiscard]] std::uint64_t recoveries() const { return recoveries_; }

 private:
  void advance(const State& state);
  void check_recovery(const Image& image, const Ledger& ledger, const MachineOptions& options,
                      Position at, Ledger::Loss loss, bool twice, std::int64_t wall,
                      Ledger::Complaints& out);
  void cut_recovery(const State& state, std::int64_t wall, Ledger::Complaints& out);

  const std::vector<Recording>& recordings_;
  const std::string root_;
  std::uint32_t recording_ = ~0U;
  std::unique_ptr<Volume> volume_;
  Position at_ = 0;
  std::uint64_t recoveries_ = 0;
};

}  // namespace postern::crash
