#include "queued/schedule.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace postern::queued {
namespace {

bool is_blocked(const Schedule::Queue& queue) { return queue.blocked != Blocked::kNo; }

}  // namespace

Schedule::Schedule(Limits limits, base::Epoch epoch, Rules rules)
    : limits_(limits),
      epoch_(epoch),
      rules_(std::move(rules)),
      last_grant_(epoch.value << 24) {  // no number of an earlier life comes again
  pools_[0].slots = limits.relay_slots;
  pools_[1].slots = limits.local_slots;
}

Schedule::~Schedule() {
  each_path([](Queue& queue) {
    if (queue.in_ring()) queue.hop_->ring_.remove(queue);
    return true;
  });
}

// --- Queues by name ---------------------------------------------------------------------------------

Schedule::Queue& Schedule::make(const std::string& name, const Destination& destination) {
  Queue* known = look(name);
  if (known != nullptr && known->destination() == destination) return *known;
  if (known == nullptr) {
    const auto at = queues_.try_emplace(name).first;
    known = &at->second;
    known->name_ = &at->first;
    give_number(*known);
    by_name_.insert(known);
  } else {
    CHECK(known->destination().local == destination.local);
  }
  set_destination(*known, destination);
  return *known;
}

void Schedule::give_number(Queue& queue) {
  if (free_numbers_.empty()) {
    queue.number_ = static_cast<std::uint32_t>(by_number_.size());
    by_number_.push_back(&queue);
  } else {
    queue.number_ = free_numbers_.back();
    free_numbers_.pop_back();
    by_number_[queue.number_] = &queue;
  }
}

void Schedule::set_destination(Queue& queue, const Destination& destination) {
  leave(queue);
  forget_better(queue);
  forget_kept(queue);
  queue.way_ = 0;
  queue.destination_ = shared(destination);
  begin_turns(queue);
  queue.blocked = rules_.blocked(queue.name(), destination);
  review(queue);
}

std::size_t Schedule::ByValue::operator()(const Destination& destination) const {
  auto hash = std::size_t{destination.connections};
  for (const auto& hop : destination.via) hash = hash * 31 + std::hash<std::string>()(hop.host);
  return hash;
}

// Queues of one route share its destination. Those of no queue any more go when the table is full, and half of
// it is free then: with a route for each queue every one is new, and a look at all for each would take for ever.
std::shared_ptr<const Destination> Schedule::shared(const Destination& destination) {
  if (const auto at = destinations_.find(destination); at != destinations_.end()) return *at;
  if (destinations_.size() >= destinations_.bucket_count()) {
    std::erase_if(destinations_, [](const auto& known) { return known.use_count() == 1; });
    destinations_.reserve(2 * destinations_.size());
  }
  return *destinations_.insert(std::make_shared<const Destination>(destination)).first;
}

Schedule::Queue* Schedule::look(std::string_view name) {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : *at;
}
const Schedule::Queue* Schedule::find(std::string_view queue) const {
  return const_cast<Schedule*>(this)->look(queue);
}

// Whose connection is gone: the search for hosts is the queue's also where a second path had begun it.
void Schedule::drop_if_empty(const std::string& name, std::uint8_t refused) {
  if (Queue* queue = look(name, refused)) drop_if_empty(*queue);
  if (Queue* first = refused == 0 ? nullptr : look(name)) drop_if_empty(*first);
}

void Schedule::drop_if_empty(Queue& queue) {
  if (!queue.empty()) return;
  leave(queue);
  forget_better(queue);
  forget_kept(queue);
  free_numbers_.push_back(queue.number_);
  if (queue.refused_ != 0) return drop_second(queue);
  by_name_.erase(&queue);
  const auto at = queues_.find(queue.name());
  queues_.erase(at);
}

// --- Deliverers -------------------------------------------------------------------------------------

void Schedule::deliverer_up(DelivererId deliverer, bool local) {
  pools_[local ? 1 : 0].deliverers.push_back(deliverer);
}

std::vector<LeaseInfo> Schedule::deliverer_down(DelivererId deliverer) {
  for (auto& pool : pools_) std::erase(pool.deliverers, deliverer);
  std::vector<base::GrantId> grants;
  std::set<std::pair<std::string, std::uint8_t>> served;
  for (const auto& [id, grant] : grants_) {
    if (grant.deliverer != deliverer) continue;
    grants.push_back(id);
    served.emplace(grant.queue, grant.refused);
  }
  for (const auto id : grants) end_grant(id);
  std::vector<LeaseKey> keys;
  for (const auto& [key, lease] : leases_)
    if (lease.deliverer == deliverer) keys.push_back(key);
  std::vector<LeaseInfo> lost;
  for (const auto& key : keys) lost.push_back(*settle(deliverer, key));
  for (const auto& [name, refused] : served) drop_if_empty(name, refused);
  return lost;
}

void Schedule::ask(DelivererId deliverer, base::RequestId request, base::GrantId id) {
  const auto at = grants_.find(id);
  const Parked parked{deliverer, request, id};
  // A connection that an earlier life granted, or one that is told to go already.
  if (at == grants_.end() || at->second.deliverer != deliverer || at->second.parked) {
    actions_.emplace_back(std::in_place_type<SendAway>, deliverer, request);
    return;
  }
  Grant& grant = at->second;
  Hop& hop = *grant.hop;
  if (!std::exchange(grant.opened, true)) --hop.unopened;
  if (grant.leaving || hop.frozen) {
    send_away(parked);
    return review(hop);
  }
  hop.until = QueueTime(0);  // it did open, so the hop is not dead
  if (grant.caller) return answer_caller(id, grant, parked);
  park(grant, parked);
}

void Schedule::park(Grant& grant, const Parked& parked) {
  grant.parked = true;
  grant.hop->parked_.add(parked);
  ++pool(*grant.hop).idle;
  review(*grant.hop);
}

void Schedule::send_away(const Parked& parked) {
  actions_.emplace_back(std::in_place_type<SendAway>, parked.deliverer, parked.request);
  const auto at = grants_.find(parked.grant);
  if (at == grants_.end()) return;
  at->second.parked = false;
  (void)mark_leaving(at->second);
}

// False: it was told before.
bool Schedule::mark_leaving(Grant& grant) {
  if (std::exchange(grant.leaving, true)) return false;
  ++grant.hop->leaving;
  ++pool(*grant.hop).leaving;
  return true;
}

std::optional<Parked> Schedule::unpark(Hop& hop, base::GrantId grant) {
  const auto parked = hop.parked_.take(grant);
  if (parked) --pool(hop).idle;
  return parked;
}

void Schedule::end_grant(base::GrantId id) {
  const auto at = grants_.find(id);
  CHECK(at != grants_.end());
  const Grant& grant = at->second;
  Hop& hop = *grant.hop;
  (void)unpark(hop, id);
  if (!grant.opened) --hop.unopened;
  if (grant.leaving) {
    --hop.leaving;
    --pool(hop).leaving;
  }
  pool(hop).recount(hop.grants, hop.grants - 1);
  if (--hop.grants == 0) (void)hop.parked_.take_all();
  --pool(hop).used;
  if (grant.caller) forget_caller(id, *grant.caller);
  grants_.erase(at);
  review(hop);
  offer(hop);  // its time may have come meanwhile
  drop_if_unused(hop);
}

std::optional<EndedGrant> Schedule::grant_ended(DelivererId deliverer, base::GrantId id) {
  const auto at = grants_.find(id);
  if (at == grants_.end() || at->second.deliverer != deliverer) return std::nullopt;
  EndedGrant ended{at->second.queue, at->second.hop->name(), at->second.refused, at->second.outdated};
  // Its request for work may still be parked: unanswered, it would cost the channel's credit for
  // ever.
  if (const auto parked = unpark(*at->second.hop, id))
    actions_.emplace_back(std::in_place_type<SendAway>, deliverer, parked->request);
  end_grant(id);
  drop_if_empty(ended.queue, ended.refused);
  return ended;
}

// --- Blocks -----------------------------------------------------------------------------------------

void Schedule::review_blocks(QueueTime now) {
  now_ = std::max(now_, now);
  std::vector<Hop*> thawed;
  const auto review_hop = [&](Hop& hop) {
    const bool was = std::exchange(hop.frozen, is_frozen(hop));
    if (hop.frozen && !was) send_on(hop);
    // Whether a caller may stay, who knows all that he may take decides.
    if (hop.frozen || (hop.ring_.empty() && !hop.called_for_)) close_grants(hop, hop.frozen);
    review(hop);
    if (!was || hop.frozen) return;
    thawed.push_back(&hop);
    ++hop.queues_;  // it stays while queues leave it for others
  };
  for (auto at = seconds_.begin(); at != seconds_.end();) {  // no queue goes before its second paths
    Queue& queue = (at++)->second;
    queue.blocked = rules_.blocked(queue.name(), queue.destination());
    review(queue);
    drop_if_empty(queue);
  }
  for (auto at = queues_.begin(); at != queues_.end();) {
    Queue& queue = (at++)->second;
    queue.blocked = rules_.blocked(queue.name(), queue.destination());
    review(queue);
    if (queue.seeking_) review_hop(*queue.seeking_);
    drop_if_empty(queue);
  }
  for (auto& [name, hop] : hops_) review_hop(hop);
  for (Hop* hop : thawed)
    if (hop->awaited_ > 0) call_back(*hop, true);
  for (Hop* hop : thawed) --hop->queues_;
  review_groups();
  for (auto at = hops_.begin(); at != hops_.end();) drop_if_unused((at++)->second);
  close_blocked();
}

// Connections that carry something of a blocked queue end with it; what was not begun comes back.
void Schedule::close_blocked() {
  for (const auto& [key, lease] : leases_) {
    if (!any_queue(lease, is_blocked)) continue;
    if (const auto at = grants_.find(lease.grant); at != grants_.end())
      close(at->first, at->second);
  }
}

void Schedule::recall(base::MessageId message) {
  for (const auto& [key, lease] : leases_) {
    if (lease.message != message) continue;
    if (const auto at = grants_.find(lease.grant); at != grants_.end()) close(at->first, at->second);
  }
}

void Schedule::close(base::GrantId id, Grant& grant) {
  if (mark_leaving(grant)) actions_.emplace_back(std::in_place_type<CloseGrant>, grant.deliverer, id);
}

void Schedule::close_grants(Hop& hop, bool busy_too) {
  if (hop.grants == 0) return;
  for (const auto& parked : hop.parked_.take_all()) {
    --pool(hop).idle;
    send_away(parked);
  }
  for (auto& [id, grant] : grants_)
    if (grant.hop == &hop && (busy_too || !grant.busy())) close(id, grant);
}

bool Schedule::leased(base::MessageId message, std::uint32_t number) const {
  return leased_.contains({message, number});
}

std::uint64_t Schedule::blocked_leases() const {
  std::uint64_t sum = 0;
  for (const auto& [key, lease] : leases_) {
    const Hop* hop = hop_of(lease.grant);
    if ((hop != nullptr && hop->frozen) || any_queue(lease, is_blocked)) ++sum;
  }
  return sum;
}

}  // namespace postern::queued
