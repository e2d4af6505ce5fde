#include "queued/turns.h"

#include <algorithm>

namespace postern::queued {

std::uint64_t Turns::next(std::uint8_t sender, std::uint32_t size, std::uint32_t waiting) {
  if (!crowd_ && waiting >= kCrowd) {
    // Those that stand in line already keep their places.
    crowd_ = std::make_unique<Crowd>();
    crowd_->since = last_ + 1;
    crowd_->free.fill(last_ + 1);
  }
  if (!crowd_) return ++last_;
  auto& free = crowd_->free[sender % kSenders];
  const auto rank = std::max(free, now_);
  free = rank + cost_of(size);
  last_ = std::max(last_, rank);
  return rank;
}

void Turns::left(std::uint64_t rank, std::uint8_t sender, std::uint32_t size) {
  if (!crowd_ || rank < crowd_->since) return;
  auto& free = crowd_->free[sender % kSenders];
  const std::uint64_t cost = cost_of(size);
  free = std::max(free, std::max(now_, crowd_->since) + cost) - cost;
}

void Turns::served(std::uint64_t rank, std::uint32_t waiting) {
  now_ = std::max(now_, rank);
  if (waiting == 0) crowd_.reset();
}

}  // namespace postern::queued
