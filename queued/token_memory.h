// TokenMemory: which message was accepted under which token, for the smtpds that have not heard of it. Pure.
#pragma once

#include <optional>
#include <unordered_map>
#include <utility>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "queued/recovery.h"

namespace postern::queued {

class TokenMemory {
 public:
  // Each is known at least so long, and at most twice as long.
  static constexpr base::Millis kKept = kAskedFor + kAskedFor / 2;

  explicit TokenMemory(base::SteadyTime now) : turned_(now) {}
  void remember(const base::Token& token, base::MessageId id) { young_[token] = id; }
  // Whoever would ask for it has heard of it.
  void forget(const base::Token& token) {
    if (young_.erase(token) == 0) old_.erase(token);
  }
  [[nodiscard]] std::optional<base::MessageId> find(const base::Token& token) const {
    for (const auto* age : {&young_, &old_})
      if (const auto at = age->find(token); at != age->end()) return at->second;
    return std::nullopt;
  }
  // To be called now and then.
  void tick(base::SteadyTime now) {
    const auto passed = now - turned_;
    if (passed < kKept) return;
    turned_ = now;
    old_ = std::exchange(young_, {});
    if (passed >= 2 * kKept) old_.clear();
  }

 private:
  using Age = std::unordered_map<base::Token, base::MessageId>;
  Age young_, old_;
  base::SteadyTime turned_;
};

}  // namespace postern::queued
