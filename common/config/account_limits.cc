#include "common/config/account_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "common/base/text.h"
#include "common/config/cut.h"
#include "common/config/names.h"
#include "common/config/senders.h"
#include "common/config/units.h"

namespace postern::config {
namespace {

constexpr std::size_t kMaxAccountSections = 100'000;  // as in QueuedConfig
constexpr std::uint32_t kHour = 3'600;
constexpr std::uint32_t kDay = 24 * kHour;
constexpr std::string_view kEverybody = "*";

std::expected<std::string, std::string> parse_name(std::string_view text) {
  if (text == kEverybody) return std::string(text);
  if (auto bad = sasl::wrong_with_account(text); !bad.empty())
    return std::unexpected(bad + R"(; or "*" for all)");
  if (base::to_lower(text) != text) return std::unexpected("expected the name in lower case");
  return std::string(text);
}

// Whose mail waits until its host calls.
class CalledQueues {
 public:
  explicit CalledQueues(const Config& config) {
    for (const auto& domain : config.domains)
      for (const auto& name : domain.names) exact_[name.text()] = domain.deliver.kind == HopKind::kTurn;
    for (const auto& route : config.routes)
      for (const auto& to : route.to)
        exact_[to] = std::ranges::any_of(route.via, [](const HopSpec& hop) { return hop.kind == HopKind::kTurn; });
  }
  // By the most specific section, as mail for the domain goes.
  [[nodiscard]] bool contains(const std::string& domain) const {
    if (const auto at = exact_.find(domain); at != exact_.end()) return at->second;
    for (auto dot = domain.find('.'); dot != std::string::npos; dot = domain.find('.', dot + 1))
      if (const auto at = exact_.find('*' + domain.substr(dot)); at != exact_.end()) return at->second;
    const auto others = exact_.find(std::string(kEverybody));
    return others != exact_.end() && others->second;
  }

 private:
  std::map<std::string, bool> exact_;  // by domain, "*.domain" or "*"
};

void read_calls(const Section& section, const CalledQueues& called, AccountLimits& limits) {
  section.strings("atrn", limits.atrn, AccountLimits::kMaxQueues,
                  [&](std::string_view text) -> std::expected<std::string, std::string> {
                    const auto domain = parse_domain(text);
                    if (!domain) return std::unexpected(domain.error());
                    if (!called.contains(domain->text()))
                      return std::unexpected(fmt::format(
                          R"(mail for {} does not wait for a call: a [[route]] via or [[domain]] deliver "turn:" leads there)",
                          domain->text()));
                    if (std::ranges::find(limits.atrn, domain->text()) != limits.atrn.end())
                      return std::unexpected("this is named before");
                    return domain->text();
                  });
  section.duration("atrn_wait", limits.atrn_wait, true);
  if (limits.name == kEverybody && section.get("atrn") != nullptr)
    section.refuse(*section.get("atrn"), "atrn", "whoever logs in could take this mail: name the account that may");
  if (limits.atrn_wait.count() != 0 && !section.given("atrn"))
    section.refuse(*section.get("atrn_wait"), "atrn_wait", "this account may take no mail: say which in atrn");
}

std::expected<Rate, std::string> parse_limit(std::string_view text) {
  const auto rate = parse_count(text);
  if (!rate || rate->first == 0 || (rate->second != kHour && rate->second != kDay))
    return std::unexpected(R"(expected so many in an hour or a day, like "200/h" or "1000/day")");
  return Rate{rate->first, rate->second};
}

}  // namespace

void read_account_limits(const Section& top, Config& config, Report& report) {
  const auto sections = top.sections("account");
  if (sections.size() > kMaxAccountSections)
    return report.add(sections[kMaxAccountSections].where(), "account",
                      fmt::format("expected at most {} such sections", kMaxAccountSections));
  std::map<std::string, Where> known;
  const CalledQueues called(config);
  for (const auto& section : sections) {
    AccountLimits limits;
    section.require("name", R"(the name of an account, or "*" for all)");
    section.string("name", limits.name, parse_name);
    section.strings("messages", limits.messages, AccountLimits::kMaxRates, parse_limit);
    section.strings("recipients", limits.recipients, AccountLimits::kMaxRates, parse_limit);
    section.boolean("etrn", limits.etrn);
    read_calls(section, called, limits);
    section.strings("senders", limits.senders, AccountLimits::kMaxSenders, parse_sender);
    if (!needs_auth(config))
      report.add(section.where(), "account", "nobody can log in: say who they are in [auth]");
    if (limits.name.empty()) continue;
    const auto [other, fresh] = known.emplace(limits.name, section.where());
    if (fresh)
      config.accounts.push_back(std::move(limits));
    else
      section.refuse(*section.get("name"), "name",
                     fmt::format("this stands already at {}:{}", other->second.file, other->second.line));
  }
  std::ranges::sort(config.accounts, {}, &AccountLimits::name);
}

const AccountLimits* limits_of(const std::vector<AccountLimits>& sections, const std::string& account) {
  if (account.empty()) return nullptr;
  for (const auto name : {std::string_view(account), kEverybody}) {
    const auto at = std::ranges::lower_bound(sections, name, {}, &AccountLimits::name);
    if (at != sections.end() && at->name == name) return &*at;
  }
  return nullptr;
}

}  // namespace postern::config
