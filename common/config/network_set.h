// NetworkSet: networks as disjoint, sorted ranges, so that a look-up is one binary search. Immutable.
#pragma once

#include <vector>

#include "common/base/ip.h"

namespace postern::config {

class NetworkSet {
 public:
  NetworkSet() = default;
  explicit NetworkSet(const std::vector<base::Network>& networks);

  [[nodiscard]] bool contains(const base::IpAddress& address) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return ranges_.empty(); }

 private:
  struct Range {
    base::IpAddress first;
    base::IpAddress last;
  };
  std::vector<Range> ranges_;
};

}  // namespace postern::config
