#include "deliverd/fetch/cache.h"

#include <algorithm>
#include <utility>

#include "common/mail/domain.h"

namespace postern::fetch {
namespace {

struct Saved {
  std::string domain;
  Held held;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("domain", &Saved::domain, mail::Domain::kMaxLength),
                          ipc::field("held", &Saved::held));
  }
};

base::WallTime end_of(const Held& held) {
  return held.fetched + std::max(held.policy.max_age, Cache::kLeastAge);
}

base::Millis refresh_of(const Held& held) {
  return std::min(Cache::kRefresh, std::max(held.policy.max_age, Cache::kLeastAge) / 2);
}

}  // namespace

const Held* Cache::find(const std::string& domain, base::WallTime now) const {
  const auto at = entries_.find(domain);
  return at == entries_.end() || end_of(at->second.held) <= now ? nullptr : &at->second.held;
}

void Cache::put(const std::string& domain, Held held) {
  insert(domain, std::move(held));
  changed_ = true;
}

void Cache::insert(const std::string& domain, Held held) {
  erase(domain);
  const auto bytes = ipc::encode(Saved{domain, held}).size() + sizeof(std::uint32_t);
  make_room(bytes);
  bytes_ += bytes;
  const auto refresh = held.fetched + refresh_of(held);
  entries_.emplace(domain, Entry{std::move(held), bytes, refresh});
}

void Cache::erase(const std::string& domain) {
  const auto at = entries_.find(domain);
  if (at == entries_.end()) return;
  bytes_ -= at->second.bytes;
  entries_.erase(at);
}

void Cache::make_room(std::size_t bytes) {
  while (entries_.size() >= kMaxDomains || (bytes_ + bytes > kMaxBytes && !entries_.empty())) {
    const auto first = std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
      return std::pair(a.second.held.used, end_of(a.second.held)) <
             std::pair(b.second.held.used, end_of(b.second.held));
    });
    erase(std::string(first->first));
  }
}

void Cache::note_use(const std::string& domain, base::WallTime now) {
  const auto at = entries_.find(domain);
  if (at == entries_.end() || now - at->second.held.used < kUsedStep) return;
  at->second.held.used = now;
  changed_ = true;
}

std::vector<std::string> Cache::due(base::WallTime now, std::size_t most) {
  std::vector<std::string> domains;
  for (auto& [domain, entry] : entries_) {
    if (domains.size() == most) break;
    if (entry.refresh > now || now - entry.held.used >= kKeepAlive) continue;
    if (entry.held.policy.mode == StsMode::kNone) continue;
    entry.refresh = now + std::min(kAgain, refresh_of(entry.held));
    domains.push_back(domain);
  }
  return domains;
}

void Cache::drop_expired(base::WallTime now) {
  const auto over = std::erase_if(entries_, [&](const auto& entry) {
    const bool gone = end_of(entry.second.held) <= now;
    if (gone) bytes_ -= entry.second.bytes;
    return gone;
  });
  changed_ |= over > 0;
}

bool Cache::take_changed() noexcept {
  return std::exchange(changed_, false);
}

std::string Cache::encode() const {
  std::string bytes;
  bytes.reserve(bytes_);
  base::Writer writer(bytes);
  for (const auto& [domain, entry] : entries_) writer.blob(ipc::encode(Saved{domain, entry.held}));
  return bytes;
}

Cache Cache::decode(std::string_view bytes, std::uint32_t version, base::WallTime now) {
  Cache cache;
  base::Reader reader(bytes, version);
  while (reader.left() > 0 && !reader.failed() && cache.size() < kMaxDomains) {
    auto saved = ipc::decode<Saved>(reader.blob(kMaxBytes), version);
    if (!saved) continue;
    saved->held.fetched = std::min(saved->held.fetched, now);
    saved->held.used = std::min(saved->held.used, now);
    saved->held.policy.max_age = std::min(saved->held.policy.max_age, kMaxStsAge);
    if (end_of(saved->held) > now) cache.insert(saved->domain, std::move(saved->held));
  }
  return cache;
}

}  // namespace postern::fetch
