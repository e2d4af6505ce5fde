// FairShares: of any two that stand in line together, neither has had much more than the other. Kept pair by
// pair, the slow way, beside whoever serves them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <utility>

namespace postern::queued {

template <class Name>
class FairShares {
 public:
  using Cost = std::int64_t;

  // Stands in line from now on, unless it does already.
  void join(const Name& name) {
    if (!there_.insert(name).second) return;
    for (const auto& other : there_)
      if (other != name) lead_[{name, other}] = lead_[{other, name}] = 0;
  }
  void leave(const Name& name) {
    if (there_.erase(name) == 0) return;
    std::erase_if(lead_, [&](const auto& one) { return one.first.first == name || one.first.second == name; });
    waited_.erase(name);
  }
  void leave_all() {
    there_.clear();
    lead_.clear();
    waited_.clear();
  }
  // It may be ahead or behind by so much.
  void allow(const Name& name, Cost cost) {
    Cost& most = allowed_[name];
    most = std::max(most, cost);
  }
  // Behind by so much more.
  void excuse(const Name& name, Cost cost) {
    if (!there_.contains(name)) return;
    for (const auto& other : there_)
      if (other != name) lead_[{other, name}] -= cost;
  }
  // It had its turn. How far it is ahead of any other, beyond what is fair; not above 0: nowhere.
  [[nodiscard]] Cost serve(const Name& name, Cost cost) {
    Cost worst = std::numeric_limits<Cost>::min();
    if (!there_.contains(name)) return worst;
    waited_[name] = 0;
    for (const auto& other : there_) {
      if (other == name) continue;
      lead_[{other, name}] -= cost;
      const auto ahead = lead_[{name, other}] += cost;
      worst = std::max(worst, ahead - allowed_[name] - allowed_[other]);
      longest_wait_ = std::max(longest_wait_, waited_[other] += cost);
    }
    ++turns_;
    return worst;
  }
  // What others had at most while one waited for its turn.
  [[nodiscard]] Cost longest_wait() const { return longest_wait_; }
  // Those in which others stood there too, or might have.
  [[nodiscard]] std::uint64_t turns() const { return turns_; }

 private:
  std::set<Name> there_;
  std::map<std::pair<Name, Name>, Cost> lead_;  // of the first, since both stand there
  std::map<Name, Cost> allowed_;
  std::map<Name, Cost> waited_;  // since its last turn
  Cost longest_wait_ = 0;
  std::uint64_t turns_ = 0;
};

// Of the queues of a next hop (deficit round robin, see dispatch.cc).
inline constexpr std::int64_t kQuantum = 256;
inline constexpr std::int64_t kMostDebt = 8 * kQuantum;

// What a message counts for its queue: of a very large one a part of the debt is forgiven.
[[nodiscard]] inline std::int64_t count_of(std::uint32_t cost) {
  return std::min<std::int64_t>(cost, kMostDebt);
}

// A queue had its turn with a message of this cost. As FairShares::serve().
template <class Name>
[[nodiscard]] std::int64_t serve_queue(FairShares<Name>& shares, const Name& queue, std::uint32_t cost) {
  // Half a round, what it may have saved, and a debt.
  shares.allow(queue, kQuantum / 2 + kQuantum + count_of(cost));
  const auto beyond = shares.serve(queue, count_of(cost));
  // It pays up to what it had saved as well.
  if (cost > kMostDebt) shares.excuse(queue, kQuantum);
  return beyond;
}

}  // namespace postern::queued
