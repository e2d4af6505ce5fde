#include "queued/schedule.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/check.h"

namespace postern::queued {

namespace {
constexpr auto kNoHop = std::numeric_limits<std::uint32_t>::max();
}  // namespace

Schedule::Schedule(Limits limits, base::Epoch epoch, BlockRule blocked)
    : limits_(limits),
      epoch_(epoch),
      blocked_(std::move(blocked)),
      last_grant_(epoch.value << 24) {  // no number of an earlier life comes again
  pools_[0].slots = limits.relay_slots;
  pools_[1].slots = limits.local_slots;
}

// --- Queues by name ---------------------------------------------------------------------------------

Schedule::Queue& Schedule::make(const std::string& name, const Destination& destination) {
  Queue* known = look(name);
  if (known != nullptr && known->destination() == destination) return *known;
  if (known == nullptr) {
    const auto at = queues_.try_emplace(name).first;
    known = &at->second;
    known->name_ = &at->first;
    if (free_numbers_.empty()) {
      known->number_ = static_cast<std::uint32_t>(by_number_.size());
      by_number_.push_back(known);
    } else {
      known->number_ = free_numbers_.back();
      free_numbers_.pop_back();
      by_number_[known->number_] = known;
    }
    by_name_.insert(known);
  } else {
    CHECK(known->destination().local == destination.local);
    if (known->destination().via != destination.via) {
      // What is connected goes where mail should not go any more.
      known->hop_ = 0;
      close_grants(*known);
      for (auto& [id, grant] : grants_)
        if (grant.queue == known) grant.hop = kNoHop;
    }
  }
  known->destination_ = shared(destination);
  known->blocked = blocked_(name, destination);
  review(*known);
  return *known;
}

std::size_t Schedule::ByValue::operator()(const Destination& destination) const {
  auto hash = std::size_t{destination.connections};
  for (const auto& hop : destination.via) hash = hash * 31 + std::hash<std::string>()(hop.host);
  return hash;
}

// Queues of one route share its destination.
std::shared_ptr<const Destination> Schedule::shared(const Destination& destination) {
  if (const auto at = destinations_.find(destination); at != destinations_.end()) return *at;
  std::erase_if(destinations_, [](const auto& known) { return known.use_count() == 1; });
  return *destinations_.insert(std::make_shared<const Destination>(destination)).first;
}

Schedule::Queue* Schedule::look(std::string_view name) {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : *at;
}
const Schedule::Queue* Schedule::find(std::string_view queue) const {
  return const_cast<Schedule*>(this)->look(queue);
}

void Schedule::drop_if_empty(Queue& queue) {
  if (!queue.empty() || queue.until > now_) return;
  set_wait(queue, QueueTime(0));
  enlist(queue, false, false);
  free_numbers_.push_back(queue.number_);
  by_name_.erase(&queue);
  const auto at = queues_.find(queue.name());
  queues_.erase(at);
}

// The wait stands in the backlog while it lasts.
void Schedule::set_wait(Queue& queue, QueueTime until) {
  queue.until = until;
  const Key key{queue.number_, {}, 0};
  const bool waits = until > now_;
  const Entry wait{key, Stage::kWaiting, static_cast<std::uint64_t>(until.count()), 0};
  if (waits && queue.waits_) backlog_.update(wait);
  if (waits && !queue.waits_) backlog_.insert(wait);
  if (!waits && queue.waits_) backlog_.erase(key);
  queue.waits_ = waits;
}

// --- Deliverers -------------------------------------------------------------------------------------

void Schedule::deliverer_up(DelivererId deliverer, bool local) {
  pools_[local ? 1 : 0].deliverers.push_back(deliverer);
}

std::vector<LeaseInfo> Schedule::deliverer_down(DelivererId deliverer) {
  for (auto& pool : pools_) std::erase(pool.deliverers, deliverer);
  std::vector<base::GrantId> grants;
  std::set<std::string> served;
  for (const auto& [id, grant] : grants_) {
    if (grant.deliverer != deliverer) continue;
    grants.push_back(id);
    served.insert(grant.queue->name());
  }
  for (const auto id : grants) end_grant(id);
  std::vector<LeaseKey> keys;
  for (const auto& [key, lease] : leases_)
    if (lease.deliverer == deliverer) keys.push_back(key);
  std::vector<LeaseInfo> lost;
  for (const auto& key : keys) lost.push_back(*settle(deliverer, key));
  for (const auto& name : served)
    if (Queue* queue = look(name)) drop_if_empty(*queue);
  return lost;
}

void Schedule::ask(DelivererId deliverer, base::RequestId request, base::GrantId id) {
  const auto at = grants_.find(id);
  const Parked parked{deliverer, request, id};
  // A connection that an earlier life granted, or one that is told to go already.
  if (at == grants_.end() || at->second.deliverer != deliverer || at->second.parked) {
    actions_.push_back(SendAway{deliverer, request});
    return;
  }
  Grant& grant = at->second;
  Queue& queue = *grant.queue;
  if (!std::exchange(grant.opened, true)) --queue.unopened;
  if (grant.leaving || queue.blocked != Blocked::kNo) {
    send_away(parked);
    return review(queue);
  }
  set_wait(queue, QueueTime(0));  // it did open, so the queue does not wait as a whole
  grant.parked = true;
  queue.parked_.push_back(parked);
  ++pool(queue).idle;
  review(queue);
}

void Schedule::send_away(const Parked& parked) {
  actions_.push_back(SendAway{parked.deliverer, parked.request});
  const auto at = grants_.find(parked.grant);
  if (at == grants_.end()) return;
  at->second.parked = false;
  if (!std::exchange(at->second.leaving, true)) ++pool(*at->second.queue).leaving;
}

std::optional<Schedule::Parked> Schedule::unpark(Queue& queue, base::GrantId grant) {
  const auto at = std::find_if(queue.parked_.begin(), queue.parked_.end(),
                               [&](const Parked& parked) { return parked.grant == grant; });
  if (at == queue.parked_.end()) return std::nullopt;
  const Parked parked = *at;
  queue.parked_.erase(at);
  --pool(queue).idle;
  return parked;
}

void Schedule::end_grant(base::GrantId id) {
  const auto at = grants_.find(id);
  CHECK(at != grants_.end());
  const Grant grant = at->second;
  Queue& queue = *grant.queue;
  (void)unpark(queue, id);
  if (!grant.opened) --queue.unopened;
  if (grant.leaving) --pool(queue).leaving;
  pool(queue).recount(queue.grants, queue.grants - 1);
  --queue.grants;
  --pool(queue).used;
  grants_.erase(at);
  review(queue);
}

std::optional<std::string> Schedule::grant_ended(DelivererId deliverer, base::GrantId id) {
  const auto at = grants_.find(id);
  if (at == grants_.end() || at->second.deliverer != deliverer) return std::nullopt;
  Queue& queue = *at->second.queue;
  // Its request for work may still be parked: unanswered, it would cost the channel's credit for
  // ever.
  if (const auto parked = unpark(queue, id))
    actions_.push_back(SendAway{deliverer, parked->request});
  end_grant(id);
  std::string name = queue.name();
  drop_if_empty(queue);
  return name;
}

// --- What queues do ---------------------------------------------------------------------------------

void Schedule::note_success(const std::string& queue_name) {
  Queue* queue = look(queue_name);
  if (queue == nullptr) return;
  queue->failures = 0;
  queue->probing_ = false;
  review(*queue);
}

void Schedule::defer(const std::string& queue_name, QueueTime until, std::uint32_t failures,
                     QueueTime now) {
  now_ = std::max(now_, now);
  Queue* queue = look(queue_name);
  if (queue == nullptr) return;
  set_wait(*queue, until);
  queue->failures = failures;
  queue->probing_ = true;
  queue->hop_ = 0;
  review(*queue);
  drop_if_empty(*queue);
}

void Schedule::cap(const std::string& queue_name, QueueTime until) {
  Queue* queue = look(queue_name);
  if (queue == nullptr) return;
  queue->cap_ = std::max(1U, queue->grants - queue->unopened);
  queue->cap_until_ = until;
  review(*queue);
}

bool Schedule::try_next_hop(const std::string& queue_name) {
  Queue* queue = look(queue_name);
  if (queue == nullptr || queue->hop_ + 1 >= queue->destination().via.size()) return false;
  ++queue->hop_;
  review(*queue);
  return true;
}

bool Schedule::is_current(base::GrantId id) const {
  const auto at = grants_.find(id);
  return at != grants_.end() && at->second.hop == at->second.queue->hop_;
}

void Schedule::end_wait(const std::string& queue_name, QueueTime now) {
  now_ = std::max(now_, now);
  Queue* queue = look(queue_name);
  if (queue == nullptr) return;
  set_wait(*queue, QueueTime(0));
  review(*queue);
  drop_if_empty(*queue);
}

void Schedule::review_blocks(QueueTime now) {
  now_ = std::max(now_, now);
  for (auto at = queues_.begin(); at != queues_.end();) {
    Queue& queue = (at++)->second;
    queue.blocked = blocked_(queue.name(), queue.destination());
    if (queue.blocked != Blocked::kNo) close_grants(queue);  // also where a new route made it so
    review(queue);
    drop_if_empty(queue);
  }
}

void Schedule::close_grants(Queue& queue) {
  if (queue.grants == 0) return;
  for (const auto& parked : std::exchange(queue.parked_, {})) {
    --pool(queue).idle;
    send_away(parked);
  }
  for (auto& [id, grant] : grants_) {
    if (grant.queue != &queue || std::exchange(grant.leaving, true)) continue;
    ++pool(queue).leaving;
    actions_.push_back(CloseGrant{grant.deliverer, id});
  }
}

bool Schedule::leased(base::MessageId message, std::uint32_t number) const {
  return leased_.contains({message, number});
}

std::uint64_t Schedule::blocked_leases() const {
  std::uint64_t sum = 0;
  for (const auto& [name, queue] : queues_)
    if (queue.blocked != Blocked::kNo) sum += queue.leases;
  return sum;
}

}  // namespace postern::queued
