// The part of explain that is about queues and next hops.
#include <algorithm>
#include <utility>

#include "common/base/text.h"
#include "queued/explain.h"
#include "queued/obstacles.h"

namespace postern::queued {
namespace {

using ipc::Blocker;
using ipc::Obstacle;

ipc::HopFacts hop_facts(const Engine& engine, const std::string& name) {
  const auto& clock = engine.store().clock();
  ipc::HopFacts facts;
  facts.name = name;
  auto until = QueueTime(0);
  if (const auto* hop = engine.schedule().find_hop(name)) {
    facts.connections = hop->grants;
    facts.opening = hop->unopened;
    facts.idle = static_cast<std::uint32_t>(hop->idle());
    facts.limit = hop->limit();
    facts.interval = hop->interval();
    facts.queues = hop->queues();
    facts.failures = hop->failures;
    until = hop->until;
  }
  if (const auto* wait = wait_for(engine, name)) {
    facts.failures = wait->failures;
    facts.failed = wait->when;
    facts.last_reply = cut(text_of(wait->reply), ipc::kReplyShown);
    facts.remote = wait->remote;
    if (engine.schedule().find_hop(name) == nullptr) until = wait->until;
  }
  if (until > engine.now()) facts.dead_until = clock.wall_at(until);
  return facts;
}

void conclude(const Engine& engine, const Site& site, ipc::QueueExplained& answer) {
  answer.next = end_of(answer.obstacles, engine.store().clock().wall());
  answer.passed = passed(engine, site, answer.obstacles);
  answer.state = state_of(answer.obstacles);
  if (answer.obstacles.empty() && answer.delivering > 0) answer.state = ipc::State::kDelivering;
  std::optional<ipc::FailureClass> failure;
  if (site.wait != nullptr) failure = site.wait->failure;
  answer.retry = plan_of(engine, site.queue, failure, site.wait == nullptr ? 0 : site.wait->failures);
}

// A recipient of the queue, for the router: any address of a domain of ours leads there.
std::optional<mail::Address> address_in(const Engine& engine, const std::string& queue) {
  if (queue == kLocalQueue) return engine.config().rights.postmaster;
  const auto domain = queue.ends_with('.') ? queue.substr(0, queue.size() - 1) : queue;
  auto address = mail::Address::parse("postmaster@" + domain);
  return address ? std::optional(*std::move(address)) : std::nullopt;
}

void explain_known(const Engine& engine, const Schedule::Queue& queue,
                   ipc::QueueExplained& answer) {
  answer.found = true;
  const auto volume = engine.schedule().volume(queue);
  answer.messages = volume.messages;
  answer.bytes = volume.bytes;
  for (const auto* each : engine.schedule().paths(queue)) {
    answer.ready += each->counts.ready;
    answer.waiting += each->counts.waiting;
    answer.held += each->counts.held;
    answer.delivering += each->counts.leased;
    if (const auto first = engine.schedule().first_message(*each))
      answer.oldest = answer.oldest.ms == 0 ? arrival_of(*first) : std::min(answer.oldest, arrival_of(*first));
  }
  const auto& path = leading_path(engine.schedule(), queue);
  const bool none_ready = path.counts.ready == 0 && path.counts.leased == 0;
  const auto due = none_ready ? engine.schedule().next_due(path) : std::nullopt;
  auto site = site_of(engine, queue.name(), path.destination(), due ? due->time : QueueTime(0),
                      path.refused() == 0 ? nullptr : &path);
  RoutedBy by;
  if (const auto address = address_in(engine, queue.name()))
    by = engine.router().routed_by(*address);
  site.place = by.place;
  answer.way = way_of(site, by);
  if (site.second) place_in_route(queue.destination().via, site, answer.way);
  add_blocks(engine, site, answer.obstacles);
  if (none_ready && !due && path.counts.held > 0)
    answer.obstacles.insert(answer.obstacles.begin(),
                            Obstacle{.blocker = Blocker::kHeld, .count = path.counts.held});
  add_waits(engine, site, answer.obstacles);
  add_connections(engine, site, answer.obstacles);
  for (std::size_t i = 0; i < queue.destination().via.size() && answer.hops.size() < 16; ++i) {
    const auto& spec = queue.destination().via[i];
    const bool current = spec == site.destination.via[site.way];
    const auto name = current && site.hop != nullptr ? site.hop->name()
                      : is_found_by_dns(spec)        ? queue.name()
                                                     : hop_name(spec, queue.name());
    answer.hops.push_back(hop_facts(engine, name));
    answer.hops.back().current = current;
  }
  conclude(engine, site, answer);
}

void explain_hop(const Engine& engine, ipc::QueueExplained& answer) {
  constexpr std::size_t kLooks = 20'000, kNamed = 10;
  const auto* hop = engine.schedule().find_hop(answer.name);
  const auto* wait = wait_for(engine, answer.name);
  const bool frozen =
      hop != nullptr ? hop->frozen : engine.blocks().hop_frozen(answer.name) != nullptr;
  if (hop == nullptr && wait == nullptr && !frozen) return;
  answer.found = answer.is_hop = true;
  Site site{.local = is_local_name(answer.name), .hop_name = answer.name, .hop = hop, .wait = wait};
  if (hop != nullptr) site.destination = hop->destination();
  if (frozen) answer.obstacles.push_back(frozen_hop(engine, answer.name));
  add_waits(engine, site, answer.obstacles);
  add_connections(engine, site, answer.obstacles);
  answer.hops.push_back(hop_facts(engine, answer.name));
  answer.hops.back().current = true;
  std::size_t looked_at = 0;
  for (const auto& [name, queue] : engine.schedule().queues()) {
    if (hop == nullptr || answer.queues.size() == kNamed || ++looked_at > kLooks) break;
    if (queue.hop() == hop) answer.queues.push_back(name);
  }
  conclude(engine, site, answer);
}

}  // namespace

ipc::QueueExplained explain_queue(const Engine& engine, const ipc::ExplainQueue& ask) {
  ipc::QueueExplained answer;
  answer.request = ask.request;
  answer.name = ask.name.starts_with("unix:/") ? ask.name : base::to_lower(ask.name);
  const auto* queue = engine.schedule().find(answer.name);
  if (queue != nullptr && queue->has_mail())
    explain_known(engine, *queue, answer);
  else if (answer.name.find(':') != std::string::npos)
    explain_hop(engine, answer);
  if (!answer.found) answer.near = near_names(engine, answer.name);
  return answer;
}

}  // namespace postern::queued
