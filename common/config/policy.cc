#include "common/config/policy.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "common/base/text.h"
#include "common/base/utf8.h"
#include "common/config/network_set.h"

namespace postern::config {
namespace rules {

using Number = std::uint32_t;  // of a rule in its list
constexpr Number kNone = std::numeric_limits<Number>::max();

// Networks, each with the first rule that names it.
class Networks {
 public:
  void add(const base::Network& network, Number number) {
    rules_.emplace(network, number);
    prefixes_.emplace(network.address.family, network.prefix);
  }
  [[nodiscard]] Number first(const base::IpAddress& client) const {
    auto best = kNone;
    for (const auto& [family, prefix] : prefixes_) {
      if (family != client.family) continue;
      if (const auto at = rules_.find(cut(client, prefix)); at != rules_.end())
        best = std::min(best, at->second);
    }
    return best;
  }

 private:
  static base::Network cut(base::IpAddress address, std::uint8_t prefix) noexcept {
    for (unsigned bit = prefix; bit < address.bits(); ++bit)
      address.bytes[bit / 8] = static_cast<std::uint8_t>(address.bytes[bit / 8] & ~(0x80U >> bit % 8));
    return {address, prefix};
  }
  std::map<base::Network, Number> rules_;
  std::set<std::pair<base::IpFamily, std::uint8_t>> prefixes_;  // that some network has
};

// Patterns of text, each with the first rule that has it.
class Patterns {
 public:
  void add(const std::string& pattern, Number number) { rules_.emplace(pattern, number); }
  [[nodiscard]] bool empty() const noexcept { return rules_.empty(); }
  [[nodiscard]] Number find(const std::string& pattern) const {
    const auto at = rules_.find(pattern);
    return at == rules_.end() ? kNone : at->second;
  }
  // The name itself, or a domain that it is below of ("*.example.net", "*.net"); `before` each.
  [[nodiscard]] Number domains(const std::string& before, const std::string& name) const {
    auto best = find(before + name);
    for (auto dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
      best = std::min(best, find(before + '*' + name.substr(dot)));
    return best;
  }

 private:
  std::unordered_map<std::string, Number> rules_;
};

// One list.
class Rules {
 public:
  explicit Rules(const std::vector<PolicyRule>& rules) {
    for (Number number = 0; number < rules.size(); ++number) {
      const auto& rule = rules[number];
      if (rule.subject != PolicySubject::kClient)
        patterns_[static_cast<std::size_t>(rule.subject)].add(rule.pattern, number);
      else if (const auto network = base::parse_network(rule.pattern))
        clients_.add(*network, number);
    }
  }
  // The first rule that fits.
  [[nodiscard]] Number first(const PolicyQuestion& question) const {
    return std::min({clients_.first(question.client), hello(question.hello),
                     address(PolicySubject::kSender, question.sender),
                     address(PolicySubject::kRecipient, question.recipient)});
  }

 private:
  [[nodiscard]] const Patterns& of(PolicySubject subject) const {
    return patterns_[static_cast<std::size_t>(subject)];
  }
  [[nodiscard]] Number hello(std::string_view text) const {
    const auto& patterns = of(PolicySubject::kHello);
    if (patterns.empty() || text.empty()) return kNone;
    return std::min(patterns.domains({}, base::to_lower(text)), patterns.find("*"));
  }
  [[nodiscard]] Number address(PolicySubject subject, std::string_view text) const {
    const auto& patterns = of(subject);
    if (patterns.empty()) return kNone;
    if (text.empty()) return patterns.find("<>");
    const auto lower = base::folded(text);
    const auto at = lower.rfind('@');
    const auto local_part = lower.substr(0, at);
    const auto domain = at == std::string::npos ? std::string() : lower.substr(at + 1);
    return std::min({patterns.find(lower), patterns.domains("*@", domain),
                     patterns.find(local_part + "@*"), patterns.find("*")});
  }

  Networks clients_;
  std::array<Patterns, 4> patterns_;  // by subject
};

}  // namespace rules

struct PolicyIndex::Tables {
  explicit Tables(Policy from)
      : policy(std::move(from)),
        clients(policy.clients),
        not_clients(policy.not_clients),
        deny(policy.deny),
        allow(policy.allow) {}
  Policy policy;
  NetworkSet clients, not_clients;
  rules::Rules deny, allow;
};

PolicyIndex::PolicyIndex(Policy policy) : tables_(std::make_unique<Tables>(std::move(policy))) {}
PolicyIndex::~PolicyIndex() = default;
PolicyIndex::PolicyIndex(PolicyIndex&&) noexcept = default;
PolicyIndex& PolicyIndex::operator=(PolicyIndex&&) noexcept = default;

bool PolicyIndex::serves(const base::IpAddress& client) const {
  return (tables_->clients.empty() || tables_->clients.contains(client)) &&
         !tables_->not_clients.contains(client);
}

const std::string* PolicyIndex::refusal(const PolicyQuestion& question) const {
  if (tables_->policy.deny.empty()) return nullptr;
  const auto denied = tables_->deny.first(question);
  if (denied == rules::kNone || tables_->allow.first(question) != rules::kNone) return nullptr;
  return &tables_->policy.deny[denied].reply;
}

const Rate& PolicyIndex::rate() const noexcept {
  return tables_->policy.rate;
}

Reverse PolicyIndex::reverse() const noexcept {
  return tables_->policy.reverse;
}

}  // namespace postern::config
