// The part of Schedule that knows hosts which call for their mail (ATRN, RFC 2645): a connection that such a host has
// opened serves the queues that it has called for. After each message it goes on to the next of them that has something;
// where none has, it ends, or waits until one of them gets some. They do not compete with the connections that we open: no
// queue of theirs ever wants one, they are told to go only where the limit of a next hop says so, and they have at most
// half of all slots.
#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "queued/schedule.h"

namespace postern::queued {

Schedule::Hop& Schedule::hop_at(const Caller::Place& place) {
  Hop& hop = hop_named(place.hop, place.destination);
  hop.called_for_ = true;
  hop.limit(*place.destination);
  return hop;
}

bool Schedule::has_room(const Hop& hop) const { return hop.grants - hop.leaving < hop.most(); }

// With mail, if there is one; else with room for a connection.
std::optional<std::size_t> Schedule::first_place(const Caller& caller) const {
  std::optional<std::size_t> empty;
  for (std::size_t i = 0; i < caller.places.size(); ++i) {
    const auto hop = hops_.find(caller.places[i].hop);
    if (hop != hops_.end() && !has_room(hop->second)) continue;
    if (hop != hops_.end() && may_run(hop->second)) return i;
    if (!empty) empty = i;
  }
  return empty;
}

std::optional<OpenGrant> Schedule::call(const Call& call, QueueTime now) {
  CHECK(!call.queues.empty());
  now_ = std::max(now_, now);
  Pool& relays = pools_[0];
  if (!open_ || relays.deliverers.empty() || relays.full() || calls_ >= relays.slots / 2) return std::nullopt;
  auto caller = std::make_unique<Caller>();
  caller->waits = call.waits;
  for (const auto& [queue, destination] : call.queues)
    caller->places.push_back({queue, hop_name(destination.via.front(), queue), shared(destination)});
  const auto first = first_place(*caller);
  if (!first) return std::nullopt;
  caller->at = *first;
  const auto& place = caller->places[*first];
  const auto id = add_grant(relays, hop_at(place), place.queue);
  for (const auto& one : caller->places) callers_.emplace(one.hop, id);
  ++calls_;
  Grant& grant = grants_.at(id);
  grant.caller = std::move(caller);
  return OpenGrant{grant.deliverer, id, grant.queue, place.destination->via.front(), {}};
}

// Those of its next hops that are known obey it at once; the others when they are.
void Schedule::serve_call_by(base::GrantId id, const std::vector<Call::For>& queues) {
  const auto at = grants_.find(id);
  if (at == grants_.end() || !at->second.caller) return;
  for (auto& place : at->second.caller->places) {
    const auto now = std::ranges::find(queues, place.queue, &Call::For::queue);
    if (now == queues.end()) continue;
    place.destination = shared(now->destination);
    const auto hop = hops_.find(place.hop);
    if (hop == hops_.end()) continue;
    hop->second.limit(*place.destination);
    review(hop->second);
  }
}

void Schedule::forget_caller(base::GrantId id, const Caller& caller) {
  --calls_;
  for (const auto& place : caller.places) {
    const auto [from, to] = callers_.equal_range(place.hop);
    callers_.erase(std::find_if(from, to, [id](const auto& one) { return one.second == id; }));
  }
}

void Schedule::hang_up(base::GrantId id) {
  const auto at = grants_.find(id);
  if (at == grants_.end()) return;
  Hop& hop = *at->second.hop;
  const auto parked = unpark(hop, id);
  if (!parked) return close(id, at->second);
  send_away(*parked);
  review(hop);
}

// Behind where it is now: one with something to go, or else one whose rate lets something go later.
std::optional<std::size_t> Schedule::next_place(const Grant& grant) const {
  const auto& places = grant.caller->places;
  std::optional<std::size_t> later;
  for (std::size_t n = 1; n <= places.size(); ++n) {
    const auto i = (grant.caller->at + n) % places.size();
    const auto at = hops_.find(places[i].hop);
    if (at == hops_.end() || !may_run(at->second)) continue;
    const Hop& hop = at->second;
    if (&hop != grant.hop && !has_room(hop)) continue;
    if (hop.may_send(now_)) return i;
    if (!later) later = i;
  }
  return later;
}

// Its connection wants work.
void Schedule::answer_caller(base::GrantId id, Grant& grant, const Parked& parked) {
  const auto place = next_place(grant);
  if (place) go_to(id, grant, *place);
  if (place || grant.caller->waits) return park(grant, parked);
  send_away(parked);
  review(*grant.hop);
}

void Schedule::go_to(base::GrantId id, Grant& grant, std::size_t place) {
  grant.caller->at = place;
  grant.queue = grant.caller->places[place].queue;
  Hop& from = *grant.hop;
  Hop& to = hop_at(grant.caller->places[place]);
  if (&from == &to) return;
  const auto parked = from.parked_.take(id);  // of the same pool, so as many are idle as before
  change_hop(grant, to);
  if (parked) to.parked_.add(*parked);
  review(from);
  review(to);
  drop_if_unused(from);
}

// A connection that waits where there is nothing goes to where there is.
void Schedule::bring_callers() {
  for (const auto& name : std::exchange(looked_for_, {})) {
    const auto at = hops_.find(name);
    if (at == hops_.end()) continue;
    const Hop& hop = at->second;
    if (!may_run(hop) || !hop.may_send(now_) || !hop.parked_.empty() || !has_room(hop)) continue;
    const auto [from, to] = callers_.equal_range(name);
    const auto idle = std::find_if(from, to, [&](const auto& one) {
      const Grant& grant = grants_.at(one.second);
      return grant.parked && !grant.leaving && !(may_run(*grant.hop) && grant.hop->may_send(now_));
    });
    if (idle == to) continue;
    Grant& grant = grants_.at(idle->second);
    const auto& places = grant.caller->places;
    const auto place = std::ranges::find(places, name, &Caller::Place::hop);
    go_to(idle->second, grant, static_cast<std::size_t>(place - places.begin()));
  }
}

bool Schedule::is_called(std::string_view hop) const {
  const auto [from, to] = callers_.equal_range(hop);
  return std::any_of(from, to, [this](const auto& one) { return !grants_.at(one.second).leaving; });
}

std::vector<std::string> Schedule::uncalled(std::string& after, std::size_t most) const {
  std::vector<std::string> found;
  auto at = after.empty() ? hops_.lower_bound(kCalledFor) : hops_.upper_bound(after);
  for (; at != hops_.end() && at->first.starts_with(kCalledFor); ++at) {
    if (most-- == 0) return found;
    after = at->first;
    if (is_called(at->first)) continue;
    if (const Queue* queue = at->second.ring_.front()) found.push_back(queue->name());
  }
  after.clear();
  return found;
}

}  // namespace postern::queued
