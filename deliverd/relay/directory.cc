#include "deliverd/relay/directory.h"

#include <algorithm>
#include <utility>

namespace postern::relay {
namespace {

bool is_temporary(const Host& host) noexcept {
  return host.v4.status == dns::Status::kTemporary || host.v6.status == dns::Status::kTemporary;
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
    entries_.erase(at);
    at = entries_.end();
  }
  if (at != entries_.end() && at->second.complete) {
    loop_.defer([this, alive = alive_, result = at->second.result,
                 waiting = std::move(waiting)]() mutable noexcept {
      if (*alive) answer(result, waiting);
    });
    return dns::Query(std::move(interest));
  }
  if (at == entries_.end()) {
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
  entry.result = std::vector<Host>{{0, name, {}, {}}};
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
  if (--entry.open_queries == 0) complete(key);
}

// Answers everybody; what is certain is kept for a while.
void Directory::complete(const Key& key) {
  auto& entry = entries_.at(key);
  auto waiting = std::exchange(entry.waiting, {});
  const auto result = entry.result;
  if (result && std::none_of(result->begin(), result->end(), is_temporary)) {
    entry.complete = true;
    entry.expires = clock_.steady() + std::clamp(entry.ttl, kMinTtl, kMaxTtl);
    entry.queries.clear();
  } else {
    entries_.erase(key);
  }
  for (auto& each : waiting) answer(result, each);
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
