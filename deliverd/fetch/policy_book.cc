#include "deliverd/fetch/policy_book.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/base/text.h"
#include "common/log/log.h"

namespace postern::fetch {
namespace {

constexpr base::Millis kLookInterval{30'000};  // for what is due

std::string_view name(StsMode mode) {
  switch (mode) {
    case StsMode::kNone:
      return "none";
    case StsMode::kTesting:
      return "testing";
    case StsMode::kEnforce:
      return "enforce";
  }
  return {};
}

// For an entry that is added: what is over goes, or else all.
template <class Map>
void make_room(Map& map, base::SteadyTime now) {
  if (map.size() < PolicyBook::kMaxKnown) return;
  std::erase_if(map, [&](const auto& entry) { return entry.second.until <= now; });
  if (map.size() >= PolicyBook::kMaxKnown) map.clear();
}

base::Millis ttl_of(const dns::TxtAnswer& answer) {
  switch (answer.status) {
    case dns::Status::kRecords:
      return std::clamp(answer.ttl, PolicyBook::kMinTtl, PolicyBook::kMaxTtl);
    case dns::Status::kNoData:
    case dns::Status::kNoDomain:
      return PolicyBook::kNoneTtl;
    case dns::Status::kTemporary:
      break;
  }
  return PolicyBook::kSilentTtl;
}

}  // namespace

void PolicyBook::ask(const std::string& domain, Done done) {
  const auto now = clock_.steady();
  if (is_refreshed_aside(domain)) return answer(domain, std::move(done));
  const bool joins = checks_.contains(domain);
  checks_[domain].waiting.push_back({std::move(done), now});
  if (joins) return;
  const auto known = known_.find(domain);
  if (known == known_.end() || known->second.until <= now) return start(domain, false);
  const auto id = known->second.id;
  decide(domain, id);
}

// The DNS has named lately what is held, and a refresh of that is under way.
bool PolicyBook::is_refreshed_aside(const std::string& domain) const {
  const auto check = checks_.find(domain);
  if (check == checks_.end() || !check->second.refresh) return false;
  const auto* const held = cache_.find(domain, clock_.wall());
  const auto known = known_.find(domain);
  return held != nullptr && known != known_.end() && known->second.until > clock_.steady() &&
         known->second.id == held->id;
}

void PolicyBook::start(const std::string& domain, bool refresh) {
  auto& check = checks_[domain];
  check.refresh = refresh;
  check.query = sources_.record("_mta-sts." + domain, [this, domain](dns::TxtAnswer answer) noexcept {
    on_record(domain, answer);
  });
}

void PolicyBook::on_record(const std::string& domain, const dns::TxtAnswer& answer) {
  const auto now = clock_.steady();
  auto id = answer.status == dns::Status::kRecords ? read_sts_record(answer.texts) : std::nullopt;
  make_room(known_, now);
  known_.insert_or_assign(domain, Known{id, now + ttl_of(answer)});
  const auto* const held = cache_.find(domain, clock_.wall());
  if (!id && held != nullptr && held->policy.mode != StsMode::kNone)
    log::warning("sts.unnamed")
        .field("domain", domain)
        .field("error", answer.status == dns::Status::kTemporary ? answer.trouble
                                                                : "the DNS names no policy any more")
        .field("kept", held->id);
  decide(domain, id);
}

void PolicyBook::decide(const std::string& domain, const std::optional<std::string>& id) {
  if (!id) return finish(domain);
  auto& check = checks_.at(domain);
  const auto* const held = cache_.find(domain, clock_.wall());
  if (held != nullptr && held->id == *id && !check.refresh) return finish(domain);
  const auto failed = failures_.find(domain);
  if (failed != failures_.end() && failed->second.id == *id && failed->second.until > clock_.steady())
    return finish(domain);
  check.id = *id;
  check.refresh ? queue_.push_front(domain) : queue_.push_back(domain);  // of refreshes there are few
  fetch_next();
}

void PolicyBook::fetch_next() {
  while (fetching_ < kAtOnce && !queue_.empty()) {
    const auto domain = std::move(queue_.front());
    queue_.pop_front();
    ++fetching_;
    sources_.policy(domain, [this, domain](std::expected<std::string, std::string> text) noexcept {
      on_policy(domain, std::move(text));
    });
  }
}

void PolicyBook::on_policy(const std::string& domain, std::expected<std::string, std::string> text) {
  --fetching_;
  const auto id = checks_.at(domain).id;
  const auto now = clock_.steady();
  if (const auto taken = take(domain, id, std::move(text)); taken) {
    failures_.erase(domain);
  } else {
    make_room(failures_, now);
    failures_.insert_or_assign(domain, Failure{id, now + kFailureHolds});
    const auto* const held = cache_.find(domain, clock_.wall());
    log::warning("sts.failed")
        .field("domain", domain)
        .field("policy", id)
        .field("error", taken.error())
        .field("kept", held == nullptr ? std::string_view("none") : std::string_view(held->id));
  }
  finish(domain);
  fetch_next();
}

std::expected<void, std::string> PolicyBook::take(const std::string& domain, const std::string& id,
                                                  std::expected<std::string, std::string> text) {
  if (!text) return std::unexpected(std::move(text.error()));
  auto policy = read_sts_policy(*text);
  if (!policy) return std::unexpected("no policy: " + policy.error());
  log::info("sts.fetched")
      .field("domain", domain)
      .field("policy", id)
      .field("mode", name(policy->mode))
      .field("hosts", policy->hosts.size())
      .field("max_age", policy->max_age.count() / 1000);
  const auto now = clock_.wall();
  const auto* const held = cache_.find(domain, now);
  const auto used = checks_.at(domain).refresh && held != nullptr ? held->used : now;
  cache_.put(domain, Held{id, *std::move(policy), now, used});
  return {};
}

// What is held now holds, whatever was hoped for.
void PolicyBook::finish(const std::string& domain) {
  auto check = checks_.extract(domain);
  for (auto& waiting : check.mapped().waiting) answer(domain, std::move(waiting.done));
}

void PolicyBook::answer(const std::string& domain, Done done) {
  const auto now = clock_.wall();
  const auto* held = cache_.find(domain, now);
  if (held != nullptr) cache_.note_use(domain, now);
  done(held);
}

void PolicyBook::tick() {
  const auto now = clock_.steady();
  std::vector<std::pair<std::string, Done>> impatient;
  for (auto& [domain, check] : checks_)
    std::erase_if(check.waiting, [&](Waiting& waiting) {
      if (now - waiting.since < kPatience) return false;
      impatient.emplace_back(domain, std::move(waiting.done));
      return true;
    });
  for (auto& [domain, done] : impatient) {
    const bool tried = checks_.at(domain).id.empty() || cache_.find(domain, clock_.wall()) != nullptr;
    tried ? answer(domain, std::move(done)) : done(std::nullopt);
  }
  if (looked_.ms != 0 && now - looked_ < kLookInterval) return;
  looked_ = now;
  cache_.drop_expired(clock_.wall());
  const auto refreshes = static_cast<std::size_t>(
      std::ranges::count_if(checks_, [](const auto& entry) { return entry.second.refresh; }));
  for (const auto& domain : cache_.due(clock_.wall(), kRefreshes - std::min(kRefreshes, refreshes)))
    if (!checks_.contains(domain)) start(domain, true);
}

void PolicyBook::forget_failures() {
  failures_.clear();
  known_.clear();
}

}  // namespace postern::fetch
