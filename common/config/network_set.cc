#include "common/config/network_set.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace postern::config {
namespace {

base::IpAddress last_of(const base::Network& network) noexcept {
  auto last = network.address;
  for (unsigned bit = network.prefix; bit < last.bits(); ++bit)
    last.bytes[bit / 8] = static_cast<std::uint8_t>(last.bytes[bit / 8] | 0x80U >> bit % 8);
  return last;
}

}  // namespace

NetworkSet::NetworkSet(const std::vector<base::Network>& networks) {
  std::vector<Range> ranges;
  for (const auto& network : networks) ranges.push_back({network.address, last_of(network)});
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.first < b.first; });
  for (const auto& range : ranges) {  // two networks are disjoint, or one contains the other
    if (ranges_.empty() || ranges_.back().last < range.first)
      ranges_.push_back(range);
    else
      ranges_.back().last = std::max(ranges_.back().last, range.last);
  }
}

bool NetworkSet::contains(const base::IpAddress& address) const noexcept {
  const auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), address,
                       [](const base::IpAddress& a, const Range& r) { return a < r.first; });
  return after != ranges_.begin() && address <= std::prev(after)->last;
}

}  // namespace postern::config
