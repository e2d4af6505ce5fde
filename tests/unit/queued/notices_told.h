// NoticesTold: what notices say of recipients, and to whom; each notice is read once. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "common/base/ids.h"

namespace postern::queued {

class NoticesTold {
 public:
  struct Said {  // of one recipient: in how many notices
    int failed = 0;
    int delayed = 0;
    int arrived = 0;  // delivered, relayed, expanded
    std::set<std::string> to;
  };

  // Its text as it is stored, whatever stands above it. False: it was read before.
  bool read(base::MessageId id, const std::string& to, std::string_view text) {
    if (!read_.insert(id).second) return false;
    std::string address;
    while (!text.empty()) {
      const auto end = text.find("\r\n");
      const auto line = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
      if (const auto value = field(line, "Final-Recipient: rfc822; "); !value.empty()) address = value;
      const auto action = field(line, "Action: ");
      if (action.empty() || address.empty()) continue;
      auto& said = said_[address];
      said.to.insert(to);
      ++(action == "failed" ? said.failed : action == "delayed" ? said.delayed : said.arrived);
      address.clear();
    }
    return true;
  }
  [[nodiscard]] Said of(const std::string& address) const {
    const auto at = said_.find(address);
    return at == said_.end() ? Said() : at->second;
  }
  [[nodiscard]] std::size_t notices() const { return read_.size(); }

 private:
  static std::string_view field(std::string_view line, std::string_view name) {
    return line.starts_with(name) ? line.substr(name.size()) : std::string_view();
  }

  std::set<base::MessageId> read_;
  std::map<std::string, Said> said_;
};

}  // namespace postern::queued
