// PlainLine: the order in which a queue's messages have their turns, as turns.h promises it, kept the slow way:
// few stand in line; of many each has the rank at which its sender has had as much as any other. And whether
// that is fair.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>

#include "queued/turns.h"
#include "tests/unit/queued/fair_shares.h"

namespace postern::queued {

class PlainLine {
 public:
  [[nodiscard]] bool empty() const { return waiting_.empty(); }
  [[nodiscard]] bool contains(std::uint64_t message) const { return waiting_.contains(message); }
  // Whose turn it is; there is one.
  [[nodiscard]] std::uint64_t front() const {
    return std::min_element(waiting_.begin(), waiting_.end(),
                            [](const auto& a, const auto& b) {
                              return std::tie(a.second.rank, a.first) < std::tie(b.second.rank, b.first);
                            })
        ->first;
  }
  void join(std::uint64_t message, std::uint8_t sender, std::uint32_t cost) {
    const auto who = static_cast<std::uint8_t>(sender % Turns::kSenders);
    stand(waiting_[message] = place(who, cost), 1);
    shares_.allow(who, cost);
  }
  // Without having had its turn. Its sender has the next one in its place, and cannot be judged any more.
  void leave(std::uint64_t message) {
    const auto gone = waiting_.extract(message).mapped();
    stand(gone, -1);
    if (!gone.by_sender) return;
    auto& next = next_.at(gone.sender);
    next = std::max(next, std::max(begin_, now_) + gone.cost) - gone.cost;
    unlucky_.insert(gone.sender);
    shares_.leave(gone.sender);
  }
  // The front has its turn; the rest of it, if any, goes to its sender's end. As FairShares::serve().
  [[nodiscard]] std::int64_t serve(bool rest) {
    const auto at = waiting_.find(front());
    const auto turn = at->second;
    judge();
    if (rest)
      stand(at->second = place(turn.sender, turn.cost), 1);
    else
      waiting_.erase(at);
    stand(turn, -1);
    now_ = std::max(now_, turn.rank);
    const auto beyond = shares_.serve(turn.sender, turn.cost);
    if (count_[turn.sender] == 0) shares_.leave(turn.sender);
    if (waiting_.empty()) by_sender_ = false;
    return beyond;
  }
  [[nodiscard]] const FairShares<std::uint8_t>& shares() const { return shares_; }

 private:
  struct Place {
    std::uint64_t rank = 0;
    std::uint8_t sender = 0;
    std::uint32_t cost = 0;
    bool by_sender = false;
  };
  Place place(std::uint8_t sender, std::uint32_t cost) {
    if (!by_sender_ && waiting_.size() >= Turns::kCrowd) {
      by_sender_ = true;
      begin_ = last_ + 1;
      next_.clear();
      unlucky_.clear();
    }
    if (!by_sender_) return {++last_, sender, cost, false};
    auto& next = next_.try_emplace(sender, begin_).first->second;
    const auto rank = std::max(next, now_);
    next = rank + cost;
    last_ = std::max(last_, rank);
    return {rank, sender, cost, true};
  }
  void stand(const Place& place, int by) {
    count_[place.sender] += by;
    if (!place.by_sender) in_line_ += by;
  }
  // While those go that stood in line before, nothing is to be said of their senders.
  void judge() {
    if (!by_sender_ || in_line_ > 0) return shares_.leave_all();
    for (const auto& [sender, count] : count_)
      if (count > 0 && !unlucky_.contains(sender)) shares_.join(sender);
  }

  std::map<std::uint64_t, Place> waiting_;
  bool by_sender_ = false;
  int in_line_ = 0;                            // of these, as they came
  std::map<std::uint8_t, int> count_;          // by sender
  std::map<std::uint8_t, std::uint64_t> next_;  // where each sender's next one may stand
  std::uint64_t begin_ = 0, last_ = 0, now_ = 0;
  std::set<std::uint8_t> unlucky_;
  FairShares<std::uint8_t> shares_;
};

}  // namespace postern::queued
