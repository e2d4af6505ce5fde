#include "deliverd/relay/sources.h"

namespace postern::relay {

Sources Sources::for_hop(const config::HopSpec& hop) const {
  return hop.sources.empty() ? *this : Sources(hop.sources, chance_);
}

std::uint64_t Sources::shares(base::IpFamily family) const noexcept {
  std::uint64_t all = 0;
  for (const auto& source : addresses_)
    if (source.address.family == family) all += source.weight;
  return all;
}

// A weight of 0, which no configuration has but queued might send, gets no share.
std::optional<base::IpAddress> Sources::pick(base::IpFamily family) const {
  const auto all = shares(family);
  if (all == 0) return std::nullopt;
  auto at = chance_() % all;
  for (const auto& source : addresses_) {
    if (source.address.family != family) continue;
    if (at < source.weight) return source.address;
    at -= source.weight;
  }
  return std::nullopt;
}

}  // namespace postern::relay
