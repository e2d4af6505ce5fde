#include "queued/shares.h"

namespace postern::queued {

Group group_at(Via via, std::size_t way) {
  Group group{way, way + 1, 0};
  if (via[way].weight == 0) return group;
  while (group.first > 0 && via[group.first - 1].weight > 0) --group.first;
  while (group.end < via.size() && via[group.end].weight > 0) ++group.end;
  if (group.end - group.first == 1 || group.end - group.first > Group::kMostWays) return {way, way + 1, 0};
  for (auto i = group.first; i < group.end; ++i) group.places += via[i].weight;
  return group;
}

Group first_group(Via via) {
  for (std::size_t way = 0; way < via.size(); ++way)
    if (const auto group = group_at(via, way); group.shares()) return group;
  return {};
}

Round::Round(Via via, const Group& group, std::uint32_t place) : via_(via), group_(group) {
  if (group_.shares())
    for (place %= group_.places; place_ < place;) (void)next();
}

// Each way is owed its weight; who is owed most has the place, and pays for all.
std::size_t Round::next() {
  auto most = group_.first;
  for (auto way = group_.first; way < group_.end; ++way) {
    credit_[way - group_.first] += via_[way].weight;
    if (credit_[way - group_.first] > credit_[most - group_.first]) most = way;
  }
  credit_[most - group_.first] -= static_cast<std::int32_t>(group_.places);
  if (++place_ == group_.places) place_ = 0;  // and all are owed nothing
  return most;
}

}  // namespace postern::queued
