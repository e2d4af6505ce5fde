#include "queued/usage.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include "common/base/crc32c.h"
#include "common/base/text.h"

namespace postern::queued {
namespace {

constexpr std::string_view kSum = "crc32c ";

mail::Reply refused(std::uint16_t code, std::string text) {
  return {code, {static_cast<std::uint8_t>(code / 100), 7, 1}, {std::move(text)}};
}

std::string_view take_until(std::string_view& text, char end) {
  const auto part = text.substr(0, text.find(end));
  text.remove_prefix(std::min(part.size() + 1, text.size()));
  return part;
}

}  // namespace

// Some of it lies in the period that ends now.
bool Usage::counts(const Slot& slot, const Period& period, QueueTime now) {
  return (slot.number + 1) * period.slot > now.count() - period.length;
}

Usage::Slot Usage::sum(const std::string& account, std::size_t period, QueueTime now) const {
  Slot total;
  const auto at = accounts_.find(account);
  if (at == accounts_.end()) return total;
  for (const auto& slot : at->second[period]) {
    if (!counts(slot, kPeriods[period], now)) continue;
    total.messages += slot.messages;
    total.recipients += slot.recipients;
  }
  return total;
}

std::optional<mail::Reply> Usage::refusal(const config::AccountLimits& limits, const std::string& account,
                                          std::uint32_t recipients, QueueTime now) const {
  const auto check = [&](const std::vector<config::Rate>& rates, std::string_view what, std::uint64_t more,
                         std::uint64_t Slot::*field) -> std::optional<mail::Reply> {
    for (const auto& rate : rates)
      for (std::size_t period = 0; period < kPeriods.size(); ++period) {
        if (kPeriods[period].length != rate.seconds * 1000LL) continue;
        const auto limit = fmt::format("{} {} in {}", rate.count, what, period == 0 ? "an hour" : "a day");
        if (more > rate.count)
          return refused(550, fmt::format("Account {} may send to {}, never to so many at once", account, limit));
        if (sum(account, period, now).*field + more > rate.count)
          return refused(452, fmt::format("Account {} has sent its {}, try again later", account, limit));
      }
    return std::nullopt;
  };
  if (auto no = check(limits.messages, "messages", 1, &Slot::messages)) return no;
  return check(limits.recipients, "recipients", recipients, &Slot::recipients);
}

void Usage::add(const std::string& account, std::uint32_t recipients, QueueTime now) {
  if (accounts_.size() >= kMostAccounts && !accounts_.contains(account)) return;
  auto& slots = accounts_[account];
  forget_old(slots, now);
  for (std::size_t period = 0; period < kPeriods.size(); ++period) {
    const auto number = now.count() / kPeriods[period].slot;
    auto& list = slots[period];
    if (list.empty() || list.back().number < number) list.push_back({number, 0, 0});
    ++list.back().messages;
    list.back().recipients += recipients;
  }
  changed_ = true;
}

void Usage::take_back(const std::string& account, std::uint32_t recipients, QueueTime when) {
  const auto at = accounts_.find(account);
  if (at == accounts_.end()) return;
  for (std::size_t period = 0; period < kPeriods.size(); ++period) {
    const auto number = when.count() / kPeriods[period].slot;
    auto& list = at->second[period];
    const auto slot = std::ranges::find(list, number, &Slot::number);
    if (slot == list.end() || slot->messages == 0) continue;  // too old by now
    --slot->messages;
    slot->recipients -= std::min<std::uint64_t>(slot->recipients, recipients);
  }
  changed_ = true;
}

void Usage::forget_old(Slots& slots, QueueTime now) {
  for (std::size_t period = 0; period < kPeriods.size(); ++period)
    std::erase_if(slots[period],
                  [&](const Slot& slot) { return !counts(slot, kPeriods[period], now); });
}

void Usage::forget_behind(QueueTime now) {
  for (auto& [account, slots] : accounts_)
    for (std::size_t period = 0; period < kPeriods.size(); ++period)
      std::erase_if(slots[period],
                    [&](const Slot& slot) { return slot.number > now.count() / kPeriods[period].slot; });
}

// A line for each slot: account, period, number, messages, recipients; and a checksum of it all.
std::string Usage::text(QueueTime now) {
  for (auto& [account, slots] : accounts_) forget_old(slots, now);
  std::erase_if(accounts_, [](const auto& one) { return one.second.back().empty(); });  // the longest period
  auto text = fmt::format("{}{}\n", kName, kVersion);
  for (const auto& [account, slots] : accounts_)
    for (std::size_t period = 0; period < kPeriods.size(); ++period)
      for (const auto& slot : slots[period])
        fmt::format_to(std::back_inserter(text), "{} {} {} {} {}\n", account, period, slot.number,
                       slot.messages, slot.recipients);
  return text + fmt::format("{}{:08x}\n", kSum, base::crc32c(text));
}

std::expected<Usage, std::string> Usage::from_text(std::string_view text) {
  const auto end = text.rfind(kSum);
  if (!text.starts_with(kName) || end == std::string_view::npos)
    return std::unexpected("it is no list of what accounts have sent");
  if (text.substr(end) != fmt::format("{}{:08x}\n", kSum, base::crc32c(text.substr(0, end))))
    return std::unexpected("its checksum is wrong");
  text = text.substr(0, end);
  (void)take_until(text, '\n');
  Usage usage;
  while (!text.empty()) {
    auto line = take_until(text, '\n');
    const auto account = take_until(line, ' ');
    std::array<std::uint64_t, 4> numbers{};
    for (auto& number : numbers) {
      const auto parsed = base::parse_number(take_until(line, ' '));
      if (!parsed) return std::unexpected("it holds a line that is none of its kind");
      number = *parsed;
    }
    if (account.empty() || !line.empty() || numbers[0] >= kPeriods.size() ||
        usage.accounts_.size() > kMostAccounts)
      return std::unexpected("it holds a line that is none of its kind");
    auto& list = usage.accounts_[std::string(account)][numbers[0]];
    const auto number = static_cast<std::int64_t>(numbers[1]);
    if (!list.empty() && list.back().number >= number) return std::unexpected("its lines are out of order");
    list.push_back({number, numbers[2], numbers[3]});
  }
  return usage;
}

}  // namespace postern::queued
