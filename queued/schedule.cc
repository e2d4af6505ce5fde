#include "queued/schedule.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace postern::queued {

namespace {
constexpr std::size_t kNoHop = ~std::size_t{0};
constexpr std::size_t kFewStale = 64;  // entries of a ready list that may name nothing
}  // namespace

Schedule::Schedule(Limits limits, base::Epoch epoch, BlockRule blocked)
    : limits_(limits),
      epoch_(epoch),
      blocked_(std::move(blocked)),
      last_grant_(epoch.value << 24) {  // no number of an earlier life comes again
  pools_[0].slots = limits.relay_slots;
  pools_[1].slots = limits.local_slots;
}

// --- Queues and items -------------------------------------------------------------------------------

Schedule::Queue& Schedule::make(const std::string& name, const Destination& destination) {
  const auto [at, fresh] = queues_.try_emplace(name);
  Queue& queue = at->second;
  if (fresh) queue.name_ = name;
  if (!fresh && queue.destination_ == destination) return queue;
  const bool elsewhere = !fresh && queue.destination_.via != destination.via;
  queue.destination_ = destination;
  if (elsewhere) {  // what is connected goes where mail should not go any more
    queue.hop = 0;
    close_grants(queue);
    for (auto& [id, grant] : grants_)
      if (grant.queue == &queue) grant.hop = kNoHop;
  }
  queue.blocked = blocked_(name, destination);
  return queue;
}

Schedule::Queue* Schedule::look(std::string_view name) {
  const auto at = queues_.find(name);
  return at == queues_.end() ? nullptr : &at->second;
}
const Schedule::Queue* Schedule::find(std::string_view queue) const {
  return const_cast<Schedule*>(this)->look(queue);
}

void Schedule::drop_if_empty(Queue& queue) {
  if (!queue.empty() || queue.until > now_) return;
  timers_.erase({queue.until, &queue, {}});
  if (queue.wanting) std::erase(pool(queue).wanting, &queue);
  if (queue.serving) std::erase(pool(queue).serving, &queue);
  const auto at = queues_.find(queue.name_);
  queues_.erase(at);
}

void Schedule::refresh(Queue& queue, base::MessageId message) {
  const auto at = queue.items.find(message);
  if (at == queue.items.end()) return;
  Queue::Item& item = at->second;
  const auto count = [&](auto apply) {
    apply(queue.counts.ready, item.counts.ready);
    apply(queue.counts.waiting, item.counts.waiting);
    apply(queue.counts.leased, item.counts.leased);
    apply(queue.counts.held, item.counts.held);
  };
  count([](std::uint32_t& all, std::uint32_t own) { all -= own; });
  if (item.timer != QueueTime::max()) timers_.erase({item.timer, &queue, message});
  item.timer = QueueTime::max();
  item.counts = {};
  for (const auto& slot : item.slots) {
    if (slot.leased) {
      ++item.counts.leased;
    } else if (item.held) {
      ++item.counts.held;
    } else if (slot.due <= now_) {
      ++item.counts.ready;
    } else {
      ++item.counts.waiting;
      item.timer = std::min(item.timer, slot.due);
    }
  }
  count([](std::uint32_t& all, std::uint32_t own) { all += own; });
  if (item.slots.empty()) {
    queue.bytes -= item.size;
    queue.items.erase(at);
    if (queue.ready.size() > 2 * queue.items.size() + kFewStale) prune_ready(queue);
    return;
  }
  if (item.timer != QueueTime::max()) timers_.insert({item.timer, &queue, message});
  if (item.counts.ready > 0 && !std::exchange(item.listed, true)) queue.ready.push_back(message);
  if (item.counts.ready > 0) want(queue);
}

// A queue that never runs must not remember all that was ever ready in it.
void Schedule::prune_ready(Queue& queue) {
  std::erase_if(queue.ready, [&](base::MessageId message) {
    const auto at = queue.items.find(message);
    return at == queue.items.end() || !at->second.listed;
  });
}

void Schedule::add(const std::string& queue_name, const Destination& destination,
                   base::MessageId message, std::uint64_t size, std::uint32_t number, QueueTime due,
                   bool held, QueueTime now) {
  now_ = std::max(now_, now);
  Queue& queue = make(queue_name, destination);
  const auto [at, fresh] = queue.items.try_emplace(message);
  Queue::Item& item = at->second;
  if (fresh) {
    item.size = size;
    queue.bytes += size;
  }
  item.held = held;
  const auto same = [&](const Queue::Item::Slot& slot) { return slot.number == number; };
  const auto known = std::find_if(item.slots.begin(), item.slots.end(), same);
  if (known == item.slots.end())
    item.slots.push_back({number, false, due});
  else if (!known->leased)
    known->due = due;
  refresh(queue, message);
}

void Schedule::erase_slots(Queue& queue, base::MessageId message,
                           const std::function<bool(const Queue::Item::Slot&)>& which) {
  const auto at = queue.items.find(message);
  if (at == queue.items.end()) return;
  std::erase_if(at->second.slots, which);
  refresh(queue, message);
}

std::vector<std::uint32_t> Schedule::take(const std::string& queue_name, base::MessageId message) {
  std::vector<std::uint32_t> taken;
  Queue* queue = look(queue_name);
  if (queue == nullptr) return taken;
  erase_slots(*queue, message, [&](const Queue::Item::Slot& slot) {
    if (!slot.leased) taken.push_back(slot.number);
    return !slot.leased;
  });
  drop_if_empty(*queue);
  return taken;
}

void Schedule::hold(const std::string& queue_name, base::MessageId message, bool held,
                    QueueTime now) {
  now_ = std::max(now_, now);
  Queue* queue = look(queue_name);
  if (queue == nullptr) return;
  const auto at = queue->items.find(message);
  if (at == queue->items.end()) return;
  at->second.held = held;
  refresh(*queue, message);
}

void Schedule::expedite(const std::string& queue_name, base::MessageId message, QueueTime now) {
  now_ = std::max(now_, now);
  Queue* queue = look(queue_name);
  if (queue == nullptr) return;
  const auto at = queue->items.find(message);
  if (at == queue->items.end()) return;
  for (auto& slot : at->second.slots) slot.due = std::min(slot.due, now_);
  refresh(*queue, message);
}

void Schedule::clear() {
  for (auto& [name, queue] : queues_) {
    std::vector<base::MessageId> messages;
    for (const auto& [message, item] : queue.items) messages.push_back(message);
    for (const auto message : messages)
      erase_slots(queue, message, [](const Queue::Item::Slot& slot) { return !slot.leased; });
    prune_ready(queue);
  }
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
    served.insert(grant.queue->name_);
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
  if (grant.leaving || queue.blocked != Blocked::kNo) return send_away(parked);
  // It did open, so the queue does not wait as a whole.
  timers_.erase({queue.until, &queue, {}});
  queue.until = QueueTime(0);
  grant.parked = true;
  queue.parked.push_back(parked);
  want(queue);
}

void Schedule::send_away(const Parked& parked) {
  actions_.push_back(SendAway{parked.deliverer, parked.request});
  const auto at = grants_.find(parked.grant);
  if (at == grants_.end()) return;
  at->second.parked = false;
  if (!std::exchange(at->second.leaving, true)) ++pool(*at->second.queue).leaving;
}

void Schedule::unpark(Queue& queue, base::GrantId grant) {
  std::erase_if(queue.parked, [&](const Parked& p) { return p.grant == grant; });
}

void Schedule::end_grant(base::GrantId id) {
  const auto at = grants_.find(id);
  CHECK(at != grants_.end());
  const Grant grant = at->second;
  Queue& queue = *grant.queue;
  unpark(queue, id);
  if (!grant.opened) --queue.unopened;
  if (grant.leaving) --pool(queue).leaving;
  --queue.grants;
  --pool(queue).used;
  grants_.erase(at);
  want(queue);
}

std::optional<std::string> Schedule::grant_ended(DelivererId deliverer, base::GrantId id) {
  const auto at = grants_.find(id);
  if (at == grants_.end() || at->second.deliverer != deliverer) return std::nullopt;
  Queue& queue = *at->second.queue;
  // Its request for work may still be parked: unanswered, it would cost the channel's credit for ever.
  for (const auto& parked : queue.parked)
    if (parked.grant == id) actions_.push_back(SendAway{deliverer, parked.request});
  end_grant(id);
  std::string name = queue.name_;
  drop_if_empty(queue);
  return name;
}

bool Schedule::adopt(DelivererId deliverer, LeaseKey key, const std::string& queue_name,
                     base::MessageId message, std::span<const std::uint32_t> recipients) {
  Queue* queue = look(queue_name);
  if (queue == nullptr || leases_.contains(key)) return false;
  if (key.epoch == epoch_ && key.lease.value > last_lease_) return false;  // not handed out yet
  const auto at = queue->items.find(message);
  if (at == queue->items.end()) return false;
  std::vector<Queue::Item::Slot*> slots;
  for (const auto number : recipients)
    for (auto& slot : at->second.slots)
      if (slot.number == number && !slot.leased) slots.push_back(&slot);
  if (slots.size() != recipients.size() || slots.empty()) return false;
  for (auto* slot : slots) {
    slot->leased = true;
    leased_.emplace(message, slot->number);
  }
  leases_[key] = {key, deliverer, {}, message, queue_name, {recipients.begin(), recipients.end()}};
  ++queue->leases;
  refresh(*queue, message);
  return true;
}

std::optional<LeaseInfo> Schedule::settle(DelivererId deliverer, LeaseKey key) {
  const auto at = leases_.find(key);
  if (at == leases_.end() || at->second.deliverer != deliverer) return std::nullopt;
  LeaseInfo lease = std::move(at->second);
  leases_.erase(at);
  for (const auto number : lease.recipients) leased_.erase({lease.message, number});
  if (Queue* queue = look(lease.queue)) {
    --queue->leases;
    erase_slots(*queue, lease.message, [&](const Queue::Item::Slot& slot) {
      return slot.leased && std::find(lease.recipients.begin(), lease.recipients.end(),
                                      slot.number) != lease.recipients.end();
    });
    drop_if_empty(*queue);
  }
  return lease;
}

// --- Queues -----------------------------------------------------------------------------------------

void Schedule::note_success(const std::string& queue_name) {
  Queue* queue = look(queue_name);
  if (queue == nullptr) return;
  queue->failures = 0;
  queue->probing = false;
  want(*queue);
}

void Schedule::defer(const std::string& queue_name, QueueTime until, std::uint32_t failures,
                     QueueTime now) {
  now_ = std::max(now_, now);
  Queue* queue = look(queue_name);
  if (queue == nullptr) return;
  timers_.erase({queue->until, queue, {}});
  queue->until = until;
  queue->failures = failures;
  queue->probing = true;
  queue->hop = 0;
  timers_.insert({until, queue, {}});
}

void Schedule::cap(const std::string& queue_name, QueueTime until) {
  Queue* queue = look(queue_name);
  if (queue == nullptr) return;
  queue->cap = std::max(1U, queue->grants - queue->unopened);
  queue->cap_until = until;
}

bool Schedule::try_next_hop(const std::string& queue_name) {
  Queue* queue = look(queue_name);
  if (queue == nullptr || queue->hop + 1 >= queue->destination_.via.size()) return false;
  ++queue->hop;
  want(*queue);
  return true;
}

bool Schedule::is_current(base::GrantId id) const {
  const auto at = grants_.find(id);
  return at != grants_.end() && at->second.hop == at->second.queue->hop;
}

void Schedule::end_wait(const std::string& queue_name, QueueTime now) {
  now_ = std::max(now_, now);
  Queue* queue = look(queue_name);
  if (queue == nullptr) return;
  timers_.erase({queue->until, queue, {}});
  queue->until = QueueTime(0);
  want(*queue);
}

void Schedule::review_blocks(QueueTime now) {
  now_ = std::max(now_, now);
  for (auto at = queues_.begin(); at != queues_.end();) {
    Queue& queue = (at++)->second;
    const auto blocked = blocked_(queue.name_, queue.destination_);
    const bool changed = std::exchange(queue.blocked, blocked) != blocked;
    if (blocked != Blocked::kNo)
      close_grants(queue);  // also where a new route made it blocked
    else if (changed)
      want(queue);
    drop_if_empty(queue);
  }
}

void Schedule::close_grants(Queue& queue) {
  if (queue.grants == 0) return;
  for (const auto& parked : std::exchange(queue.parked, {})) send_away(parked);
  for (auto& [id, grant] : grants_) {
    if (grant.queue != &queue || std::exchange(grant.leaving, true)) continue;
    ++pool(queue).leaving;
    actions_.push_back(CloseGrant{grant.deliverer, id});
  }
}

std::vector<base::MessageId> Schedule::messages(std::string_view queue_name, base::MessageId after,
                                                std::size_t limit) const {
  std::vector<base::MessageId> found;
  const Queue* queue = find(queue_name);
  if (queue == nullptr) return found;
  for (auto at = queue->items.upper_bound(after); at != queue->items.end() && found.size() < limit;
       ++at)
    found.push_back(at->first);
  return found;
}

std::optional<base::MessageId> Schedule::last_message(std::string_view queue_name) const {
  const Queue* queue = find(queue_name);
  if (queue == nullptr || queue->items.empty()) return std::nullopt;
  return queue->items.rbegin()->first;
}

bool Schedule::held(std::string_view queue_name, base::MessageId message) const {
  const Queue* queue = find(queue_name);
  if (queue == nullptr) return false;
  const auto at = queue->items.find(message);
  return at != queue->items.end() && at->second.held;
}

std::optional<Schedule::Due> Schedule::next_due(std::string_view queue_name) const {
  const Queue* queue = find(queue_name);
  if (queue == nullptr) return std::nullopt;
  Due next{QueueTime::max(), {}};
  for (const auto& [message, item] : queue->items)
    if (item.timer < next.time) next = {item.timer, message};
  if (next.time == QueueTime::max()) return std::nullopt;
  return next;
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
