#include "smtpd/auth/throttle.h"

#include <algorithm>

namespace postern::smtpd::auth {
namespace {

std::string network_of(const base::IpAddress& client) {
  const std::size_t counts = client.family == base::IpFamily::kV4 ? 3 : 8;
  std::string key(1, client.family == base::IpFamily::kV4 ? '4' : '6');
  key.append(reinterpret_cast<const char*>(client.bytes.data()), counts);
  return key;
}

std::string account_key(const std::string& account) { return '@' + account; }

}  // namespace

// --- Table --------------------------------------------------------------------------------------

Throttle::Record* Throttle::Table::find(const std::string& key) {
  const auto place = places_.find(key);
  if (place == places_.end()) return nullptr;
  order_.splice(order_.begin(), order_, place->second);
  return &place->second->second;
}

Throttle::Record& Throttle::Table::at(const std::string& key) {
  if (auto* const record = find(key)) return *record;
  if (places_.size() >= kMostEntries) erase(std::string(order_.back().first));
  order_.emplace_front(key, Record{});
  places_.emplace(key, order_.begin());
  return order_.front().second;
}

void Throttle::Table::erase(const std::string& key) {
  const auto place = places_.find(key);
  if (place == places_.end()) return;
  order_.erase(place->second);
  places_.erase(place);
}

// --- Throttle -----------------------------------------------------------------------------------

void Throttle::forget(Record& record, base::SteadyTime now) {
  const auto periods = (now - record.counted) / kForgetAfter;
  if (periods <= 0) return;
  record.failures -= static_cast<std::uint32_t>(
      std::min<std::int64_t>(periods, std::int64_t{record.failures}));
  record.counted = record.counted + periods * kForgetAfter;
}

base::Millis Throttle::pause(const Record& record) {
  if (record.failures < kFreeFailures) return base::Millis(0);
  const auto doublings = std::min(record.failures - kFreeFailures, kMostFailures);
  return std::min(kFirstPause * (std::int64_t{1} << doublings), kMostPause);
}

std::optional<Throttle::Wait> Throttle::admit(const base::IpAddress& client, const std::string& account,
                                              base::SteadyTime now) {
  const auto network = network_of(client);
  const bool known = known_.find(network + account) != nullptr;
  Record* slowed[2] = {networks_.find(network), known ? nullptr : accounts_.find(account)};
  auto judged = now;
  for (const auto* record : slowed)
    if (record != nullptr) judged = std::max(judged, record->free);
  if (judged - now > kMostWait) return std::nullopt;
  if (under_way(network) >= kMostAtOnce || (!known && under_way(account_key(account)) >= kFreeFailures))
    return Wait{kFirstPause, true};
  for (const auto& key : {network, account_key(account)}) ++under_way_[key];
  for (auto* record : slowed) {
    if (record == nullptr) continue;
    forget(*record, now);
    record->free = judged + pause(*record);
  }
  return Wait{judged - now};
}

std::uint32_t Throttle::under_way(const std::string& key) const {
  const auto at = under_way_.find(key);
  return at == under_way_.end() ? 0 : at->second;
}

void Throttle::ended(const base::IpAddress& client, const std::string& account) {
  for (const auto& key : {network_of(client), account_key(account)})
    if (const auto at = under_way_.find(key); at != under_way_.end() && --at->second == 0) under_way_.erase(at);
}

void Throttle::note_failure(Table& table, const std::string& key, base::SteadyTime now) {
  auto& record = table.at(key);
  if (record.failures == 0) record.counted = now;
  forget(record, now);
  record.failures = std::min(record.failures + 1, kMostFailures);
  record.free = std::max(record.free, now + pause(record));
}

void Throttle::failed(const base::IpAddress& client, const std::string& account,
                      base::SteadyTime now) {
  note_failure(networks_, network_of(client), now);
  if (!account.empty()) note_failure(accounts_, account, now);
}

// All failures stay: whoever has one account could try all others in between, and whoever guesses would begin anew with
// each login of the account's owner.
void Throttle::succeeded(const base::IpAddress& client, const std::string& account,
                         base::SteadyTime now) {
  known_.at(network_of(client) + account).counted = now;
}

}  // namespace postern::smtpd::auth
