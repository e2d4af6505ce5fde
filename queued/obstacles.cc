#include "queued/obstacles.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/config/hop.h"

namespace postern::queued {
namespace {

using ipc::Blocker;
using ipc::Obstacle;

Obstacle outbound_off(const Engine& engine) {
  const auto& off = engine.blocks().outbound();
  const auto& start = engine.config().start_place;
  return {.blocker = Blocker::kOff,
          .who = off.who,
          .reason = off.reason,
          .place = off.who == "configuration" ? place_text(start.file, start.line) : "",
          .since = off.since};
}

bool is_off(const Engine& engine, const Destination& destination) {
  const auto& off = engine.blocks().outbound();
  return off.disabled && !destination.local && (off.all || !destination.internal);
}

// While all hosts of a route are frozen the schedule has no mail for them, and may know none of them.
bool hop_is_frozen(const Engine& engine, const Site& site) {
  if (site.hop != nullptr) return site.hop->frozen;
  return std::ranges::all_of(site.destination.via, [&](const config::HopSpec& hop) {
    return is_named(hop) && engine.blocks().hop_frozen(hop_name(hop, site.queue)) != nullptr;
  });
}

// In the first unit of time that gives a whole number, as the configuration was rounded to microseconds.
std::string rate_text(std::uint64_t interval) {
  constexpr std::uint64_t kMinute = 60'000'000, kHour = 60 * kMinute, kDay = 24 * kHour;
  for (const auto& [unit, name] : {std::pair(kMinute, "min"), std::pair(kHour, "h")})
    if (const auto count = (unit + interval / 2) / interval; count > 0 && unit - count * interval <= count)
      return fmt::format("{}/{}", count, name);
  return fmt::format("{}/day", std::max<std::uint64_t>(1, (kDay + interval / 2) / interval));
}

// As a route says it.
std::string via_text(const Destination& destination, std::size_t way, bool second) {
  const auto& spec = destination.via[way];
  std::string more;
  const auto add = [&](const std::string& text) { more += (more.empty() ? "" : ", ") + text; };
  if (spec.tls != config::HopTls::kOptional) add(fmt::format("tls {}", config::tls_text(spec.tls)));
  if (const auto group = group_at(destination.via, way); group.shares())
    add(fmt::format("weight {} of {}", spec.weight, group.places));
  if (second) add("second path");
  if (!destination.masquerade.empty() && !is_served_locally(spec)) add("our senders at " + destination.masquerade);
  auto text = config::hop_text(spec);
  if (!more.empty()) text += fmt::format(" ({})", more);
  return cut(std::move(text), ipc::kMaxHopName);
}

}  // namespace

std::string cut(std::string text, std::size_t limit) {
  if (text.size() > limit) text.resize(limit);
  return text;
}

// --- Where mail goes --------------------------------------------------------------------------------

const QueueRecord* wait_for(const Engine& engine, const std::string& name) {
  const auto& waits = engine.store().waits();
  const auto at = waits.find(name);
  return at == waits.end() || at->second.failures == 0 ? nullptr : &at->second;
}

Site site_of(const Engine& engine, const std::string& name, const Destination& destination,
             QueueTime due, const Schedule::Queue* second) {
  Site site{.queue = name, .destination = destination, .due = due, .second = second != nullptr};
  const auto& schedule = engine.schedule();
  const auto* queue = second != nullptr ? second : schedule.find(name);
  if (queue != nullptr) {
    const auto first = schedule.prospect(*queue, std::max(due, engine.now()));
    site.hop = first.hop;
    site.way = std::min(first.way, destination.via.size() - 1);
  }
  const auto& spec = destination.via[site.way];
  site.local = is_served_locally(spec);
  // By this name it is remembered; where the hosts are not known, by the queue's own.
  const auto known_as = site.hop != nullptr     ? site.hop->name()
                        : is_found_by_dns(spec) ? name
                                                : hop_name(spec, name);
  if (site.hop == nullptr) site.hop = schedule.find_hop(known_as);
  site.wait = wait_for(engine, known_as);
  if (!is_found_by_dns(spec) || (site.hop != nullptr && site.hop->known()))
    site.hop_name = known_as;
  return site;
}

const Schedule::Queue& leading_path(const Schedule& schedule, const Schedule::Queue& queue) {
  if (queue.messages() > 0) return queue;  // the usual case
  for (const auto* path : schedule.paths(queue))
    if (path->messages() > 0) return *path;
  return queue;
}

// --- What people stopped ----------------------------------------------------------------------------

Obstacle hold_of(const Engine& engine, const Message& message) {
  Obstacle hold{.blocker = message.damaged ? Blocker::kDamaged : Blocker::kHeld,
                .reason = message.held,
                .since = engine.store().clock().wall_at(message.held_since)};
  // As held_by() writes it.
  const auto colon = message.held.find(": ");
  if (message.held.starts_with("by ") && colon != std::string::npos) {
    hold.who = cut(message.held.substr(3, colon - 3), 64);
    hold.reason = message.held.substr(colon + 2);
  }
  return hold;
}

Obstacle frozen_hop(const Engine& engine, const std::string& hop) {
  Obstacle frozen{.blocker = Blocker::kHopFrozen, .name = hop};
  if (const Freeze* freeze = engine.blocks().hop_frozen(hop)) {
    frozen.who = cut(freeze->who, 64);
    frozen.reason = cut(freeze->reason, ipc::kReplyShown);
    frozen.freeze = freeze->queue;
    frozen.since = freeze->since;
    frozen.until = freeze->until;
  }
  return frozen;
}

// Where there are further ways these are taken then.
std::string frozen_before(const Engine& engine, const Destination& destination, const Schedule::Hop* hop,
                          QueueTime due, const Recipient& recipient) {
  const auto& via = destination.via;
  if (due <= engine.now() || !recipient.trouble || !engine.blocks().any_hop()) return {};
  if (via.size() > 1 || !is_found_by_dns(via.front()) || hop != nullptr) return {};
  auto host = hop_of_remote(recipient.trouble->remote);
  return host.size() > ipc::kMaxHopName || engine.blocks().hop_frozen(host) == nullptr ? std::string() : host;
}

void add_blocks(const Engine& engine, const Site& site, std::vector<Obstacle>& found, const std::string& before) {
  if (const Freeze* freeze = engine.blocks().frozen(site.queue))
    found.push_back({.blocker = Blocker::kFrozen,
                     .name = freeze->queue,
                     .who = freeze->who,
                     .reason = freeze->reason,
                     .since = freeze->since,
                     .until = freeze->until});
  if (hop_is_frozen(engine, site))
    found.push_back(frozen_hop(engine, site.hop != nullptr ? site.hop->name() : site.hop_name));
  else if (!before.empty())
    found.push_back(frozen_hop(engine, before));
  if (is_off(engine, site.destination)) found.push_back(outbound_off(engine));
}

// --- Times ------------------------------------------------------------------------------------------

void add_waits(const Engine& engine, const Site& site, std::vector<Obstacle>& found) {
  const auto& clock = engine.store().clock();
  const auto begin = static_cast<std::ptrdiff_t>(found.size());
  if (site.due > engine.now())
    found.push_back({.blocker = Blocker::kRetry, .until = clock.wall_at(site.due)});
  if (site.dead_until() > engine.now()) {
    Obstacle dead{.blocker = Blocker::kHopDead,
                  .name = site.hop_name.empty() ? site.queue : site.hop_name,
                  .until = clock.wall_at(site.dead_until())};
    if (site.hop != nullptr) dead.count = site.hop->failures;
    if (site.wait != nullptr) {
      dead.count = site.wait->failures;
      dead.reason = cut(text_of(site.wait->reply), ipc::kReplyShown);
      dead.remote = site.wait->remote;
      dead.since = site.wait->when;
    }
    found.push_back(std::move(dead));
  }
  const auto own = found.begin() + begin;
  if (found.end() - own == 2 && own[0].until < own[1].until) std::swap(own[0], own[1]);
}

// --- Connections ------------------------------------------------------------------------------------

void add_connections(const Engine& engine, const Site& site, std::vector<Obstacle>& found) {
  const auto& schedule = engine.schedule();
  const auto room = schedule.room(site.local);
  if (!engine.loaded()) found.push_back({.blocker = Blocker::kLoading});
  if (!schedule.open()) found.push_back({.blocker = Blocker::kStarting});
  if (!room.deliverers)
    found.push_back({.blocker = Blocker::kNoDeliverer, .name = site.local ? "local" : "relay"});
  const auto* hop = site.hop;
  const auto& via = site.destination.via;  // of a hop that nobody leads to none is known
  if (!via.empty() && is_called_for(via[site.way]) && !schedule.is_called(site.hop_name))
    return found.push_back({.blocker = Blocker::kUncalled, .name = site.queue, .place = site.place});
  const bool known = hop != nullptr && hop->known();  // else it has no rate and no connections yet
  if (hop != nullptr && !known && hop->grants > 0)
    found.push_back({.blocker = Blocker::kLookup, .name = site.queue});
  if (known && !hop->may_send(engine.now()))
    found.push_back({.blocker = Blocker::kRate,
                     .name = hop->name(),
                     .place = site.place,
                     .until = engine.store().clock().wall_at(hop->next_turn())});
  if (known && hop->idle() > 0) return;
  if (known && hop->grants > hop->unopened && hop->grants >= hop->most()) {
    const bool fewer = hop->limit() == 0 || hop->most() < hop->limit();
    found.push_back({.blocker = Blocker::kConnections,
                     .name = hop->name(),
                     .reason = fewer ? "fewer than its limit, after a failure" : "",
                     .place = fewer || site.destination.local ? "" : site.place,
                     .count = hop->grants,
                     .of = hop->most()});
  }
  if (room.used >= room.slots)
    found.push_back({.blocker = Blocker::kSlots, .count = room.used, .of = room.slots});
  if (known && hop->unopened > 0)
    found.push_back({.blocker = Blocker::kConnecting, .name = hop->name(), .count = hop->unopened});
}

std::vector<std::string> passed(const Engine& engine, const Site& site, const std::vector<Obstacle>& obstacles) {
  const auto free_of = [&](Blocker blocker) {
    return std::none_of(obstacles.begin(), obstacles.end(),
                        [&](const Obstacle& o) { return o.blocker == blocker; });
  };
  std::vector<std::string> text;
  if (free_of(Blocker::kHeld) && free_of(Blocker::kDamaged)) text.emplace_back("hold");
  // What is frozen may be where it leads.
  const bool unsure = site.hop_name.empty() && engine.blocks().any_hop();
  if (free_of(Blocker::kFrozen) && free_of(Blocker::kHopFrozen))
    text.emplace_back(unsure ? "freeze (of its queue; where it leads is not known)" : "freeze");
  if (free_of(Blocker::kOff))
    text.emplace_back(site.destination.local      ? "outbound (local delivery)"
                      : site.destination.internal ? "outbound (internal route)"
                                                  : "outbound");
  if (free_of(Blocker::kRetry)) text.emplace_back("its own time");
  if (site.hop != nullptr && free_of(Blocker::kHopDead)) text.emplace_back("next hop is not dead");
  if (site.hop == nullptr || !free_of(Blocker::kDelivering)) return text;
  if (site.hop->interval() > 0 && free_of(Blocker::kRate))
    text.push_back("rate " + rate_text(site.hop->interval()));
  if (site.hop->known() && free_of(Blocker::kConnections))
    text.push_back(site.hop->limit() == 0
                       ? fmt::format("connections {}", site.hop->grants)
                       : fmt::format("connections {}/{}", site.hop->grants, site.hop->limit()));
  return text;
}

ipc::Way way_of(const Site& site, const RoutedBy& by) {
  return {.by = by.by,
          .place = cut(by.place, ipc::kMaxPlaceText),
          .via = via_text(site.destination, site.way, site.second),
          .number = static_cast<std::uint32_t>(site.way + 1),
          .of = static_cast<std::uint32_t>(site.destination.via.size()),
          .hop = site.hop_name};
}

// No two of them are alike.
void place_in_route(const std::vector<config::HopSpec>& via, const Site& site, ipc::Way& way) {
  way.number = static_cast<std::uint32_t>(std::ranges::find(via, site.destination.via[site.way]) - via.begin() + 1);
  way.of = static_cast<std::uint32_t>(via.size());
}

ipc::RetryPlan plan_of(const Engine& engine, const std::string& queue,
                       std::optional<ipc::FailureClass> failure, std::uint32_t failures) {
  const auto& retry = engine.config().retry;
  const auto terms =
      engine.retry_tables().terms(queue, failure.value_or(ipc::FailureClass::kConnect));
  const auto place = terms.rule != nullptr ? place_text(terms.rule->file, terms.rule->line)
                                           : place_text(retry.file, retry.line);
  return {.place = place,
          .failure = failure,
          .wait = terms.after[std::min<std::size_t>(failures, terms.after.size() - 1)],
          .repeats = failures + 1 >= terms.after.size()};
}

// --- What they mean ---------------------------------------------------------------------------------

ipc::State state_of(const std::vector<Obstacle>& obstacles) {
  if (obstacles.empty()) return ipc::State::kReady;
  switch (obstacles.front().blocker) {
    case Blocker::kDelivering:
    case Blocker::kConcluding:
      return ipc::State::kDelivering;
    case Blocker::kDamaged:
    case Blocker::kHeld:
      return ipc::State::kHeld;
    case Blocker::kFrozen:
    case Blocker::kHopFrozen:
      return ipc::State::kFrozen;
    case Blocker::kOff:
      return ipc::State::kOff;
    case Blocker::kRetry:
    case Blocker::kHopDead:
      return ipc::State::kRetry;
    case Blocker::kLoading:
    case Blocker::kStarting:
    case Blocker::kNoDeliverer:
    case Blocker::kLookup:
    case Blocker::kRate:
    case Blocker::kConnections:
    case Blocker::kSlots:
    case Blocker::kConnecting:
    case Blocker::kTurn:
      break;
    case Blocker::kUncalled:
      return ipc::State::kUncalled;
  }
  return ipc::State::kReady;
}

base::WallTime end_of(const std::vector<Obstacle>& obstacles, base::WallTime now) {
  base::WallTime end = now;
  bool sure = true;  // of what matters now; a busy connection says nothing of a later time
  for (const auto& obstacle : obstacles) {
    end = std::max(end, obstacle.until);
    switch (obstacle.blocker) {
      case Blocker::kDelivering:
      case Blocker::kConcluding:
      case Blocker::kDamaged:
      case Blocker::kHeld:
      case Blocker::kFrozen:
      case Blocker::kHopFrozen:
      case Blocker::kOff:
      case Blocker::kUncalled:
        if (obstacle.until.ms == 0) return {};
        break;
      case Blocker::kTurn:
        sure = sure && obstacle.until.ms != 0;
        break;
      case Blocker::kLoading:
      case Blocker::kStarting:
      case Blocker::kNoDeliverer:
      case Blocker::kLookup:
      case Blocker::kConnections:
      case Blocker::kSlots:
      case Blocker::kConnecting:
        sure = false;
        break;
      case Blocker::kRetry:
      case Blocker::kHopDead:
      case Blocker::kRate:
        break;
    }
  }
  return sure || end > now ? end : base::WallTime{};
}

}  // namespace postern::queued
