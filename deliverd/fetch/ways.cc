#include "deliverd/fetch/ways.h"

namespace postern::fetch {

Ways::Ways(const std::vector<config::PolicyWay>& ways) {
  for (const auto& way : ways)
    for (const auto& to : way.to) by_pattern_[to] = way.socks;
}

std::optional<base::Endpoint> Ways::socks(const std::string& domain) const {
  if (by_pattern_.empty()) return std::nullopt;
  if (const auto at = by_pattern_.find(domain); at != by_pattern_.end()) return at->second;
  // The longest pattern wins.
  for (auto dot = domain.find('.'); dot != std::string::npos; dot = domain.find('.', dot + 1))
    if (const auto at = by_pattern_.find(std::string("*").append(domain, dot)); at != by_pattern_.end()) return at->second;
  const auto other = by_pattern_.find("*");
  return other == by_pattern_.end() ? std::nullopt : other->second;
}

}  // namespace postern::fetch
