#include "deliverd/relay/directory.h"

#include <algorithm>
#include <utility>

#include "common/log/log.h"

namespace postern::relay {
namespace {

bool is_temporary(const dns::AddressAnswer& answer) noexcept {
  return answer.status == dns::Status::kTemporary;
}

// Not yet answered: not even with a trouble.
bool is_open(const dns::AddressAnswer& answer) noexcept {
  return is_temporary(answer) && answer.trouble.empty();
}

// How long to wait for what is open yet; nothing: until it is answered. `hosts`: best first.
std::optional<base::Millis> patience_for(const std::vector<Host>& hosts) noexcept {
  const Host* known = nullptr;    // the best one with addresses
  const Host* unknown = nullptr;  // the best one that may have some
  for (const auto& host : hosts) {
    const bool has_addresses = !host.v4.addresses.empty() || !host.v6.addresses.empty();
    if (has_addresses && known == nullptr) known = &host;
    if (!has_addresses && unknown == nullptr && (is_open(host.v4) || is_open(host.v6))) unknown = &host;
  }
  if (known == nullptr) return std::nullopt;
  if (unknown == nullptr) return Directory::kFamilyPatience;
  if (unknown->preference < known->preference) return std::nullopt;
  return Directory::kHostPatience;
}

bool is_certain(const Directory::Result& result) noexcept {
  return result && std::none_of(result->begin(), result->end(), [](const Host& host) {
           return is_temporary(host.v4) || is_temporary(host.v6);
         });
}

}  // namespace

dns::Query Directory::mail_hosts(const mail::Domain& domain, Done done) {
  return find({true, domain.text()}, domain, std::move(done));
}

dns::Query Directory::host(const mail::Domain& name, Done done) {
  return find({false, name.text()}, name, std::move(done));
}

dns::Query Directory::find(Key key, const mail::Domain& name, Done done) {
  auto interest = std::make_shared<char>();
  Waiting waiting{interest, std::move(done)};
  auto at = entries_.find(key);
  if (at != entries_.end() && at->second.complete && at->second.expires <= clock_.steady()) {
    expire(at->second);
    at->second.waiting.push_back(std::move(waiting));
    start(key, name);
  } else if (at != entries_.end() && at->second.complete) {
    answer_later(at->second.result, std::move(waiting));
  } else if (at != entries_.end() && at->second.usable) {
    answer_later(so_far(at->second), std::move(waiting));
  } else if (at == entries_.end()) {
    make_room();
    entries_[key].waiting.push_back(std::move(waiting));
    start(key, name);
  } else {
    at->second.waiting.push_back(std::move(waiting));
  }
  return dns::Query(std::move(interest));
}

void Directory::start(const Key& key, const mail::Domain& name) {
  auto& entry = entries_.at(key);
  if (key.first) {
    entry.queries.push_back(resolver_.mx(
        name, [this, key, name](dns::MxAnswer answer) noexcept { on_mx(key, name, answer); }));
    return;
  }
  // The configuration's word needs nobody to vouch for it.
  entry.result = std::vector<Host>{{0, name, {}, {}, true}};
  ask_addresses(key);
}

void Directory::on_mx(const Key& key, const mail::Domain& domain, const dns::MxAnswer& answer) {
  auto& entry = entries_.at(key);
  entry.result = hosts_of(domain, answer, chance_);
  if (answer.status == dns::Status::kRecords) entry.ttl = std::min(entry.ttl, answer.ttl);
  if (!entry.result) return complete(key);
  ask_addresses(key);
}

void Directory::ask_addresses(const Key& key) {
  auto& entry = entries_.at(key);
  entry.open_queries = entry.result->size() * 2;
  for (std::size_t i = 0; i < entry.result->size(); ++i) {
    for (const auto family : {base::IpFamily::kV4, base::IpFamily::kV6}) {
      entry.queries.push_back(
          resolver_.addresses((*entry.result)[i].name, family,
                              [this, key, i, family](dns::AddressAnswer answer) noexcept {
                                on_addresses(key, i, family, std::move(answer));
                              }));
    }
  }
}

void Directory::on_addresses(const Key& key, std::size_t host, base::IpFamily family,
                             dns::AddressAnswer answer) {
  auto& entry = entries_.at(key);
  if (answer.status == dns::Status::kRecords) entry.ttl = std::min(entry.ttl, answer.ttl);
  auto& place = (*entry.result)[host];
  (family == base::IpFamily::kV4 ? place.v4 : place.v6) = std::move(answer);
  if (--entry.open_queries == 0) return complete(key);
  if (!entry.usable) be_patient(key, entry);
}

// Its time only ever gets shorter.
void Directory::be_patient(const Key& key, Entry& entry) {
  const auto patience = patience_for(*entry.result);
  if (!patience || (entry.patience && *patience >= entry.patience_left)) return;
  if (!entry.patience)
    entry.patience = std::make_unique<event::Timer>(loop_, [this, key]() noexcept {
      entries_.at(key).usable = true;
      loop_.defer([this, alive = alive_, key]() noexcept {
        if (*alive) answer_early(key);
      });
    });
  entry.patience_left = *patience;
  entry.patience->start(*patience);
}

// Unless it was completed, or even forgotten and asked for again, in the same turn.
void Directory::answer_early(const Key& key) {
  const auto at = entries_.find(key);
  if (at == entries_.end() || !at->second.usable) return;
  const auto result = so_far(at->second);
  for (auto& each : std::exchange(at->second.waiting, {})) answer(result, each);
}

// Its time is over: it will be asked for again.
void Directory::expire(Entry& entry) {
  Entry fresh;
  if (entry.stale.empty()) {
    fresh.stale = std::move(*entry.result);
    fresh.stale_until = entry.expires + kMaxStale;
  } else {
    fresh.stale = std::move(entry.stale);
    fresh.stale_until = entry.stale_until;
  }
  entry = std::move(fresh);
}

// What the name servers do not say now is taken from what they said before, if that is not too old.
void Directory::fill_from_stale(const Entry& entry, Result& result) const {
  if (entry.stale.empty() || clock_.steady() >= entry.stale_until) return;
  if (!result) {
    if (result.error().end == ipc::GrantEnd::kTemporary) result = entry.stale;
    return;
  }
  for (auto& host : *result) {
    const auto before = std::find_if(entry.stale.begin(), entry.stale.end(),
                                     [&](const Host& h) { return h.name == host.name; });
    if (before == entry.stale.end()) continue;
    if (is_temporary(host.v4)) host.v4 = before->v4;
    if (is_temporary(host.v6)) host.v6 = before->v6;
  }
}

// What is open yet is a trouble for whoever cannot wait for it.
Directory::Result Directory::so_far(const Entry& entry) const {
  auto result = entry.result;
  for (auto& host : *result)
    for (auto* const answer : {&host.v4, &host.v6})
      if (is_open(*answer)) answer->trouble = "no answer yet from the name servers";
  fill_from_stale(entry, result);
  return result;
}

// Answers everybody; what is certain is kept for a while.
void Directory::complete(const Key& key) {
  auto& entry = entries_.at(key);
  auto waiting = std::exchange(entry.waiting, {});
  const bool fresh = is_certain(entry.result);
  if (!fresh) fill_from_stale(entry, entry.result);
  const auto result = entry.result;
  if (is_certain(result)) {
    entry.complete = true;
    entry.usable = false;
    entry.patience.reset();
    entry.queries.clear();
    entry.expires =
        clock_.steady() + (fresh ? std::clamp(entry.ttl, kMinTtl, kMaxTtl) : kStaleTtl);
    if (fresh)
      entry.stale.clear();
    else
      log::warning("relay.stale").field("name", key.second);
  } else {
    entries_.erase(key);
  }
  for (auto& each : waiting) answer(result, each);
}

void Directory::answer_later(Result result, Waiting waiting) {
  loop_.defer([this, alive = alive_, result = std::move(result),
               waiting = std::move(waiting)]() mutable noexcept {
    if (*alive) answer(result, waiting);
  });
}

void Directory::answer(const Result& result, Waiting& waiting) {
  if (waiting.interest.expired()) return;
  auto copy = result;
  if (copy) shuffle_equals(*copy, chance_);
  waiting.done(std::move(copy));
}

void Directory::make_room() {
  if (entries_.size() < kMaxEntries) return;
  const auto now = clock_.steady();
  std::erase_if(entries_,
                [&](const auto& e) { return e.second.complete && e.second.expires <= now; });
  if (entries_.size() >= kMaxEntries) clear();
}

void Directory::clear() {
  std::erase_if(entries_, [](const auto& e) { return e.second.complete; });
}

}  // namespace postern::relay
