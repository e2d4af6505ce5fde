#include "queued/blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace postern::queued {
namespace {

constexpr base::Millis kPastKept{60LL * 24 * 3600 * 1000};

auto find_by_name(auto& list, std::string_view queue, bool hop) {
  return std::find_if(list.begin(), list.end(),
                      [&](const auto& e) { return e.hop == hop && e.queue == queue; });
}

std::size_t fit_any(std::string_view name, std::string_view what, bool hop) {
  return hop ? fit_hop(name, what) : fit(name, what);
}

bool stops(bool all, const Destination& destination) {
  return !destination.local && (all || !destination.internal);
}

Past::Kind kind_of(const Freeze& freeze) {
  return freeze.keep_clock ? Past::Kind::kKeptClock : Past::Kind::kStopped;
}

}  // namespace

std::string typed_name(std::string_view name, bool hop) {
  return (hop ? "--hop " : "") + std::string(name);
}

// --- What is stopped --------------------------------------------------------------------------------

const Freeze* Blocks::frozen_by(std::string_view what, bool hop) const {
  const Freeze* best = nullptr;
  std::size_t best_fit = 0;
  for (const auto& freeze : freezes_) {
    if (freeze.hop != hop) continue;
    const auto fits = fit_any(freeze.queue, what, hop);
    if (fits <= best_fit) continue;
    best = &freeze;
    best_fit = fits;
  }
  if (best == nullptr) return nullptr;
  const bool excepted =
      std::any_of(exceptions_.begin(), exceptions_.end(), [&](const FreezeException& e) {
        return e.hop == hop && fit_any(e.queue, what, hop) > best_fit;
      });
  return excepted ? nullptr : best;
}

const Freeze* Blocks::frozen(std::string_view queue) const {
  return frozen_by(queue, false);
}

// A set stands still with any of its hosts, for it may lead to each of them.
const Freeze* Blocks::hop_frozen(std::string_view hop) const {
  if (freezes_.empty()) return nullptr;
  const Freeze* best = nullptr;
  std::size_t best_fit = 0;
  for (const auto& host : hosts_of(hop)) {
    const Freeze* freeze = frozen_by(host, true);
    if (freeze == nullptr || fit_hop(freeze->queue, host) <= best_fit) continue;
    best = freeze;
    best_fit = fit_hop(freeze->queue, host);
  }
  return best;
}

const Freeze* Blocks::frozen(std::string_view queue, const Destination& destination) const {
  if (freezes_.empty()) return nullptr;
  if (const Freeze* freeze = frozen(queue)) return freeze;
  const Freeze* last = nullptr;
  for (const auto& hop : destination.via) {
    last = is_named(hop) ? hop_frozen(hop_name(hop, queue)) : nullptr;
    if (last == nullptr) return nullptr;
  }
  return last;
}

bool Blocks::outbound_stops(const Destination& destination) const {
  return outbound_.disabled && stops(outbound_.all, destination);
}

Blocked Blocks::blocked(const std::string& queue, const Destination& destination) const {
  if (frozen(queue, destination) != nullptr) return Blocked::kFrozen;
  return outbound_stops(destination) ? Blocked::kOff : Blocked::kNo;
}

// --- Changes ----------------------------------------------------------------------------------------

void Blocks::add_past(Past past) {
  if (past.from >= past.to) return;
  std::erase_if(past_, [&](const Past& old) { return past.to - old.to > kPastKept; });
  if (past_.size() >= kMax) past_.erase(past_.begin());
  past_.push_back(std::move(past));
}

Blocks::Said Blocks::freeze(Freeze freeze) {
  const auto name = typed_name(freeze.queue, freeze.hop);
  if (auto at = find_by_name(freezes_, freeze.queue, freeze.hop); at != freezes_.end()) {
    if (at->keep_clock == freeze.keep_clock)
      freeze.from = at->from;  // the clocks have stood, or gone, since then
    else
      add_past({.queue = at->queue,
                .hop = at->hop,
                .kind = kind_of(*at),
                .from = at->from,
                .to = freeze.from});
    *at = std::move(freeze);
    return fmt::format("{} was frozen already; this replaces what was said before", name);
  }
  if (freezes_.size() >= kMax) return std::unexpected("there are too many freezes");
  if (auto at = find_by_name(exceptions_, freeze.queue, freeze.hop); at != exceptions_.end()) {
    add_past({.queue = at->queue,
              .hop = at->hop,
              .kind = Past::Kind::kException,
              .from = at->from,
              .to = freeze.from});
    exceptions_.erase(at);
  }
  freezes_.push_back(std::move(freeze));
  return fmt::format("{} is frozen", name);
}

void Blocks::end(std::vector<Freeze>::iterator at, QueueTime now) {
  add_past({.queue = at->queue, .hop = at->hop, .kind = kind_of(*at), .from = at->from, .to = now});
  freezes_.erase(at);
  drop_idle_exceptions(now);
}

// Those of which no freeze stands any more.
void Blocks::drop_idle_exceptions(QueueTime now) {
  std::erase_if(exceptions_, [&](const FreezeException& e) {
    const bool needed = std::any_of(freezes_.begin(), freezes_.end(), [&](const Freeze& f) {
      return f.hop == e.hop && fit_any(f.queue, e.queue, e.hop) != 0;
    });
    if (!needed)
      add_past({.queue = e.queue,
                .hop = e.hop,
                .kind = Past::Kind::kException,
                .from = e.from,
                .to = now});
    return !needed;
  });
}

Blocks::Said Blocks::unfreeze(const std::string& queue, bool hop, const std::string& who,
                              base::WallTime when, QueueTime now) {
  const auto name = typed_name(queue, hop);
  const auto at = find_by_name(freezes_, queue, hop);
  const bool found = at != freezes_.end();
  if (found) end(at, now);
  const Freeze* by = frozen_by(queue, hop);
  if (by == nullptr && !found) return std::unexpected(fmt::format("{} is not frozen", name));
  // Members of a pattern that are frozen by another one stay so.
  if (by == nullptr || (found && is_pattern(queue)))
    return fmt::format("{} is not frozen any more", name);
  if (is_pattern(queue))
    return std::unexpected(fmt::format("{} is frozen by {}; unfreeze that, or its members by name",
                                       name, typed_name(by->queue, hop)));
  if (exceptions_.size() >= kMax) return std::unexpected("there are too many exceptions");
  exceptions_.push_back({queue, who, when, now, hop});
  return fmt::format("{} is an exception to the freeze of {} now", name,
                     typed_name(by->queue, hop));
}

bool Blocks::any_due(base::WallTime wall) const {
  return std::any_of(freezes_.begin(), freezes_.end(), [&](const Freeze& freeze) {
    return freeze.until.ms != 0 && freeze.until <= wall;
  });
}

std::vector<Freeze> Blocks::end_due(base::WallTime wall, QueueTime now) {
  std::vector<Freeze> ended;
  for (auto at = freezes_.begin(); at != freezes_.end();) {
    if (at->until.ms == 0 || at->until > wall) {
      ++at;
      continue;
    }
    ended.push_back(*at);
    const auto place = at - freezes_.begin();
    end(at, now);
    at = freezes_.begin() + place;
  }
  return ended;
}

Blocks::Said Blocks::disable_outbound(OutboundSwitch outbound) {
  const bool was = outbound_.disabled;
  if (was) {
    if (outbound.all == outbound_.all) outbound.from = outbound_.from;
    else
      add_past({.all = outbound_.all, .from = outbound_.from, .to = outbound.from});
  }
  outbound.disabled = true;
  outbound_ = std::move(outbound);
  return was ? "outbound was disabled already; the reason is replaced" : "outbound is disabled";
}

Blocks::Said Blocks::enable_outbound(QueueTime now) {
  if (!outbound_.disabled) return std::unexpected("outbound is not disabled");
  add_past({.all = outbound_.all, .from = outbound_.from, .to = now});
  outbound_ = {};
  return "outbound is enabled";
}

Blocks::Said Blocks::disable_intake(IntakeSwitch intake) {
  const bool was = intake_.disabled;
  intake_ = std::move(intake);
  intake_.disabled = true;
  return was ? "intake was disabled already; the reason is replaced" : "intake is disabled";
}

Blocks::Said Blocks::enable_intake() {
  if (!intake_.disabled) return std::unexpected("intake is not disabled");
  intake_ = {};
  return "intake is enabled";
}

Blocks::Said Blocks::hold(StandingHold hold) {
  const auto text = conditions_text(hold.what);
  const auto at = std::find_if(holds_.begin(), holds_.end(),
                               [&](const StandingHold& h) { return h.what == hold.what; });
  if (at != holds_.end()) {
    *at = std::move(hold);
    return fmt::format("new mail with {} was held already; the reason is replaced", text);
  }
  if (holds_.size() >= kMaxHolds) return std::unexpected("there are too many standing holds");
  holds_.push_back(std::move(hold));
  return fmt::format("new mail with {} is held", text);
}

Blocks::Said Blocks::end_hold(const ipc::Selector& what) {
  if (std::erase_if(holds_, [&](const StandingHold& h) { return h.what == what; }) == 0)
    return std::unexpected("there is no such standing hold");
  return fmt::format("new mail with {} is not held any more", conditions_text(what));
}

const AccountLock* Blocks::locked(std::string_view account) const {
  const auto at = std::find_if(locks_.begin(), locks_.end(),
                               [&](const AccountLock& lock) { return lock.account == account; });
  return at == locks_.end() ? nullptr : &*at;
}

Blocks::Said Blocks::lock(AccountLock lock) {
  const auto name = lock.account;
  const auto at = std::find_if(locks_.begin(), locks_.end(),
                               [&](const AccountLock& known) { return known.account == name; });
  if (at != locks_.end()) {
    *at = std::move(lock);
    return fmt::format("account {} was locked already; the reason is replaced", name);
  }
  if (locks_.size() >= kMaxLocks) return std::unexpected("there are too many locked accounts");
  locks_.push_back(std::move(lock));
  return fmt::format("account {} is locked", name);
}

Blocks::Said Blocks::unlock(const std::string& account) {
  if (std::erase_if(locks_, [&](const AccountLock& lock) { return lock.account == account; }) == 0)
    return std::unexpected(fmt::format("account {} is not locked", account));
  return fmt::format("account {} is not locked any more", account);
}

// --- Clocks -----------------------------------------------------------------------------------------

namespace {

// How well a block fits, and what it does to the clocks: of several the last one decides.
using Claim = std::pair<std::size_t, Past::Kind>;
struct Edge {
  QueueTime at;
  bool begins;
  Claim claim;
};

// Adds the times in which the claim that decides stops the clocks.
void add_stopped(std::vector<Edge> edges, std::vector<Span>& spans) {
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.at < b.at; });
  std::multiset<Claim> claims;
  QueueTime before{0};
  for (const auto& edge : edges) {
    if (!claims.empty() && claims.rbegin()->second == Past::Kind::kStopped && before < edge.at)
      spans.push_back({before, edge.at});
    before = edge.at;
    if (edge.begins)
      claims.insert(edge.claim);
    else
      claims.erase(claims.find(edge.claim));
  }
}

}  // namespace

void Blocks::add_standstills(std::string_view what, bool hop, QueueTime now,
                             std::vector<Span>& spans) const {
  std::vector<Edge> edges;
  const auto add = [&](const auto& block, Past::Kind kind, QueueTime to) {
    if (block.hop != hop || block.queue.empty() || block.from >= to) return;
    const auto fits = fit_any(block.queue, what, hop);
    if (fits == 0) return;
    edges.push_back({block.from, true, {fits, kind}});
    edges.push_back({to, false, {fits, kind}});
  };
  for (const auto& past : past_) add(past, past.kind, past.to);
  for (const auto& freeze : freezes_) add(freeze, kind_of(freeze), now);
  for (const auto& exception : exceptions_) add(exception, Past::Kind::kException, now);
  add_stopped(std::move(edges), spans);
}

void Blocks::add_any_hop_standstills(QueueTime until, std::vector<Span>& spans) const {
  const auto add = [&](const auto& block, Past::Kind kind, QueueTime to) {
    if (block.hop && kind == Past::Kind::kStopped && block.from < to) spans.push_back({block.from, to});
  };
  for (const auto& past : past_) add(past, past.kind, std::min(past.to, until));
  for (const auto& freeze : freezes_) add(freeze, kind_of(freeze), until);
}

std::vector<Span> Blocks::standstills(std::string_view queue, const Destination& destination,
                                      QueueTime now, std::string_view hop,
                                      QueueTime forgotten) const {
  std::vector<Span> spans;
  add_standstills(queue, false, now, spans);
  if (!hop.empty()) {
    for (const auto& host : hosts_of(hop)) add_standstills(host, true, now, spans);
  } else {
    for (const auto& way : destination.via)
      if (is_named(way)) add_standstills(hop_name(way, queue), true, now, spans);
    if (std::any_of(destination.via.begin(), destination.via.end(), is_found_by_dns))
      add_any_hop_standstills(std::min(now, forgotten), spans);
  }
  for (const auto& past : past_)
    if (past.queue.empty() && stops(past.all, destination)) spans.push_back({past.from, past.to});
  if (outbound_stops(destination)) spans.push_back({outbound_.from, now});
  return spans;
}

}  // namespace postern::queued
