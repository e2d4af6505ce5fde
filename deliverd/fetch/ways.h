// Ways: through which SOCKS server the policy of a domain is fetched, which is that of the way of its mail. What was
// fetched holds for the domain, whatever way it came and whatever ways there are later. Pure.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/ip.h"
#include "common/config/roles.h"

namespace postern::fetch {

class Ways {
 public:
  explicit Ways(const std::vector<config::PolicyWay>& ways = {});

  // Nothing: its host is connected to by ourselves. `domain` in lower case.
  [[nodiscard]] std::optional<base::Endpoint> socks(const std::string& domain) const;

 private:
  std::unordered_map<std::string, std::optional<base::Endpoint>> by_pattern_;
};

}  // namespace postern::fetch
