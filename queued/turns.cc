#include "queued/turns.h"

#include <algorithm>

namespace postern::queued {

std::uint64_t Turns::next(std::uint8_t sender, std::uint32_t size, std::uint32_t waiting) {
  if (!senders_ && waiting >= kCrowd) {
    // Those that stand in line already keep their places.
    senders_ = std::make_unique<std::array<std::uint64_t, kSenders>>();
    senders_->fill(last_ + 1);
  }
  if (!senders_) return ++last_;
  auto& free = (*senders_)[sender % kSenders];
  const auto rank = std::max(free, now_);
  free = rank + cost_of(size);
  last_ = std::max(last_, rank);
  return rank;
}

void Turns::served(std::uint64_t rank, std::uint32_t waiting) {
  now_ = std::max(now_, rank);
  if (waiting == 0) senders_.reset();
}

}  // namespace postern::queued
