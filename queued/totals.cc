// What is said of all queues together.
#include <algorithm>
#include <vector>

#include "queued/listings.h"

namespace postern::queued {
namespace {

constexpr std::size_t kLookedAt = 5000;  // queues, for a name

// Levenshtein's distance, for names of at most 255 characters.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

Totals totals(const Engine& engine) {
  Totals sum;
  const auto& blocks = engine.blocks();
  const auto is_outbound = [&](const Schedule::Queue& queue) {
    const auto& destination = queue.destination();
    return !destination.local && (!blocks.outbound().disabled || blocks.outbound_stops(destination));
  };
  for (const auto& [key, lease] : engine.schedule().leases())
    sum.in_flight += engine.schedule().any_queue(lease, is_outbound) ? 1 : 0;
  const auto add = [&](const Schedule::Queue& queue) {
    const auto& counts = queue.counts;
    if (const auto first = engine.schedule().first_message(queue))
      if (sum.oldest.value == 0 || *first < sum.oldest) sum.oldest = *first;
    const std::uint64_t idle = std::uint64_t{counts.ready} + counts.waiting;
    sum.delivering += counts.leased;
    sum.held += counts.held;
    switch (queue.blocked) {
      case Blocked::kFrozen:
        sum.frozen += idle;
        break;
      case Blocked::kOff:
        sum.off += idle;
        break;
      case Blocked::kNo:
        if (const auto* hop = hop_of(engine, queue); hop != nullptr && hop->frozen) {
          sum.frozen += idle;
        } else if (wait_of(engine, hop) != nullptr) {
          sum.retry += idle;
        } else {
          (is_uncalled(engine, queue) ? sum.uncalled : sum.ready) += counts.ready;
          sum.retry += counts.waiting;
        }
        break;
    }
  };
  for (const auto& [name, queue] : engine.schedule().queues()) add(queue);
  for (const auto& [key, queue] : engine.schedule().seconds()) add(queue);
  return sum;
}

std::vector<std::string> near_names(const Engine& engine, std::string_view name) {
  constexpr std::size_t kNear = 3, kMost = 5;
  std::vector<std::string> near;
  std::size_t looked_at = 0;
  for (const auto& [queue, state] : engine.schedule().queues()) {
    if (near.size() == kMost || ++looked_at > kLookedAt) break;
    if (queue.find(name) != std::string::npos || distance(queue, name) <= kNear)
      near.push_back(queue);
  }
  return near;
}

}  // namespace postern::queued
