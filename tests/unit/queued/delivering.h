// Delivering: a deliverer that takes whatever an EngineRig hands out, says that it is delivered, and
// knows what it got.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {

class Delivering {
 public:
  explicit Delivering(EngineRig& rig) : rig_(rig) { rig_.connect(relay_); }

  // Until nothing is queued; false: something stays.
  bool deliver_all() {
    for (int n = 0; n < kMostTurns && rig_.store->count() > 0; ++n) {
      if (!step()) rig_.pass(base::Millis(60'000));
      if (n % 8 == 0) rig_.store->tick();
    }
    return rig_.store->count() == 0;
  }
  [[nodiscard]] const std::map<base::MessageId, std::string>& bodies() const { return bodies_; }
  // Recipients that came twice.
  [[nodiscard]] std::size_t repeated() const { return repeated_; }

 private:
  static constexpr int kMostTurns = 4'000;

  // False: nothing came.
  bool step() {
    for (; asked_ < relay_.grants.size(); ++asked_) ask(relay_.grants[asked_]);
    rig_.turn(2);
    const auto before = taken_;
    for (; taken_ < relay_.leases.size(); ++taken_) {
      const auto lease = relay_.leases[taken_];
      bodies_[lease.message] = relay_.bodies[lease.lease.value];
      for (const auto& recipient : lease.recipients)
        repeated_ += !seen_.emplace(lease.message, recipient.number).second;
      relay_.answer(lease, ipc::Result::kDelivered, 250, "taken");
      ask(grants_.at(lease.request));
    }
    rig_.turn(2);
    return taken_ != before;
  }
  void ask(const ipc::Grant& grant) { grants_[relay_.ask(grant)] = grant; }

  EngineRig& rig_;
  FakeRelay relay_;
  std::size_t asked_ = 0, taken_ = 0, repeated_ = 0;
  std::map<base::RequestId, ipc::Grant> grants_;  // by question
  std::map<base::MessageId, std::string> bodies_;
  std::set<std::pair<base::MessageId, std::uint32_t>> seen_;
};

}  // namespace postern::queued
