#include "queued/waiting_reports.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace postern::queued {
namespace {

// Both kinds stand in a map by keys that begin with the message.
template <class Key>
std::vector<Key> keys_of(const auto& waiting, base::MessageId message) {
  std::vector<Key> keys;
  Key first;
  first.message = message;
  for (auto at = waiting.lower_bound(first); at != waiting.end() && at->first.message == message; ++at)
    keys.push_back(at->first);
  return keys;
}

template <class Key>
std::vector<Key> keys_begun_by(const auto& waiting, QueueTime time) {
  std::vector<Key> keys;
  for (const auto& [key, one] : waiting)
    if (one.since <= time) keys.push_back(key);
  return keys;
}

auto oldest_in(const auto& waiting) {
  return std::min_element(waiting.begin(), waiting.end(),
                          [](const auto& a, const auto& b) { return a.second.since < b.second.since; });
}

}  // namespace

// --- Delays -----------------------------------------------------------------------------------------

void LateReports::add(const MessageToSender& key, Report report, QueueTime now) {
  const auto [at, fresh] = waiting_.try_emplace(key);
  if (fresh) at->second.since = now;
  const auto number = report.number;
  count_ += at->second.reports.insert_or_assign(number, std::move(report)).second ? 1 : 0;
}

std::vector<Report> LateReports::take(const MessageToSender& key) {
  std::vector<Report> reports;
  const auto at = waiting_.find(key);
  if (at == waiting_.end()) return reports;
  for (auto& [number, report] : at->second.reports) reports.push_back(std::move(report));
  count_ -= reports.size();
  waiting_.erase(at);
  return reports;
}

std::vector<MessageToSender> LateReports::of(base::MessageId message) const {
  return keys_of<MessageToSender>(waiting_, message);
}

std::vector<MessageToSender> LateReports::begun_by(QueueTime time) const {
  return keys_begun_by<MessageToSender>(waiting_, time);
}

std::optional<MessageToSender> LateReports::surplus() const {
  if (count_ <= kMostWaiting) return std::nullopt;
  return oldest_in(waiting_)->first;
}

std::optional<QueueTime> LateReports::oldest() const {
  if (waiting_.empty()) return std::nullopt;
  return oldest_in(waiting_)->second.since;
}

// --- Successes --------------------------------------------------------------------------------------

QueueTime EarlyNotices::begun(const MessageInQueue& key, QueueTime now) const {
  const auto at = waiting_.find(key);
  return at == waiting_.end() ? now : at->second.since;
}

void EarlyNotices::add(const MessageInQueue& key, Notice notice, QueueTime since) {
  auto& waiting = waiting_[key];
  waiting.since = since;
  count_ += notice.reports.size();
  waiting.notices.push_back(std::move(notice));
}

std::optional<EarlyNotices::Notice> EarlyNotices::take_newest(const MessageInQueue& key,
                                                              std::size_t most) {
  const auto at = waiting_.find(key);
  if (at == waiting_.end() || at->second.notices.back().reports.size() > most) return std::nullopt;
  auto& notices = at->second.notices;
  auto newest = std::move(notices.back());
  notices.pop_back();
  count_ -= newest.reports.size();
  if (notices.empty()) waiting_.erase(at);
  return newest;
}

std::vector<EarlyNotices::Notice> EarlyNotices::take(const MessageInQueue& key) {
  std::vector<Notice> all;
  while (auto newest = take_newest(key, kAny)) all.push_back(*std::move(newest));
  return all;
}

bool EarlyNotices::note_flushed(const MessageInQueue& key, base::MessageId id) {
  const auto at = waiting_.find(key);
  if (at == waiting_.end()) return false;
  const auto notice = std::ranges::find(at->second.notices, id, &Notice::id);
  if (notice == at->second.notices.end()) return false;
  notice->flushed = true;
  return true;
}

std::vector<base::MessageId> EarlyNotices::flushed(base::MessageId message) const {
  std::vector<base::MessageId> ids;
  for (const auto& key : of(message))
    for (const auto& notice : waiting_.at(key).notices)
      if (notice.flushed) ids.push_back(notice.id);
  return ids;
}

std::vector<MessageInQueue> EarlyNotices::of(base::MessageId message) const {
  return keys_of<MessageInQueue>(waiting_, message);
}

std::vector<MessageInQueue> EarlyNotices::begun_by(QueueTime time) const {
  return keys_begun_by<MessageInQueue>(waiting_, time);
}

std::optional<MessageInQueue> EarlyNotices::surplus() const {
  if (count_ <= kMostWaiting) return std::nullopt;
  return oldest_in(waiting_)->first;
}

std::optional<QueueTime> EarlyNotices::oldest() const {
  if (waiting_.empty()) return std::nullopt;
  return oldest_in(waiting_)->second.since;
}

}  // namespace postern::queued
