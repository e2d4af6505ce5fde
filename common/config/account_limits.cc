#include "common/config/account_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "common/base/text.h"
#include "common/config/cut.h"
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
  for (const auto& section : sections) {
    AccountLimits limits;
    section.require("name", R"(the name of an account, or "*" for all)");
    section.string("name", limits.name, parse_name);
    section.strings("messages", limits.messages, AccountLimits::kMaxRates, parse_limit);
    section.strings("recipients", limits.recipients, AccountLimits::kMaxRates, parse_limit);
    section.boolean("etrn", limits.etrn);
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
