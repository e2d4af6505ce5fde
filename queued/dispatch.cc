// The part of Schedule that decides: who gets a connection, who gets a message, who must make room.
#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "queued/schedule.h"

namespace postern::queued {

std::optional<QueueTime> Schedule::next_wake() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->due;
}

void Schedule::wake(QueueTime now) {
  now_ = std::max(now_, now);
  while (!timers_.empty() && timers_.begin()->due <= now_) {  // ends: each turn removes one
    const Timer timer = *timers_.begin();
    timers_.erase(timers_.begin());
    if (timer.message.value != 0) {
      refresh(*timer.queue, timer.message);
    } else {
      want(*timer.queue);
      drop_if_empty(*timer.queue);
    }
  }
}

bool Schedule::may_run(const Queue& queue) const {
  return queue.blocked == Blocked::kNo && queue.until <= now_;
}

// The queue may have something for its parked connections, or need further ones. Called at every change
// of either, so that nobody has to look at queues of which nothing is to be done.
void Schedule::want(Queue& queue) {
  if (queue.ready.empty() || !may_run(queue)) return;
  if (!queue.parked.empty() && !std::exchange(queue.serving, true))
    pool(queue).serving.push_back(&queue);
  if (!queue.wanting && wanted_grants(queue) > 0) {
    queue.wanting = true;
    pool(queue).wanting.push_back(&queue);
  }
}

// Further connections that the queue could use. Their number at most doubles from what has opened, so
// that a host is not met by all of them at once.
std::uint32_t Schedule::wanted_grants(const Queue& queue) const {
  const auto configured = queue.destination_.connections;
  auto limit = queue.probing ? 1U : configured == 0 ? ~0U : configured;
  if (queue.cap_until > now_) limit = std::min(limit, queue.cap);
  const auto opened = queue.grants - queue.unopened;
  // The list may name what is not ready any more.
  const auto waiting = std::min<std::size_t>(queue.ready.size(), queue.counts.ready);
  const auto coming = queue.unopened + queue.parked.size();
  if (queue.grants >= limit || waiting <= coming) return 0;
  const auto pace = std::max(2U, opened);
  if (queue.unopened >= pace) return 0;
  return static_cast<std::uint32_t>(
      std::min<std::size_t>({limit - queue.grants, waiting - coming, pace - queue.unopened}));
}

std::vector<Action> Schedule::decide(QueueTime now) {
  wake(now);
  if (open_)
    for (auto& pool : pools_) {
      measure(pool);
      serve(pool);
      open_grants(pool);
      measure(pool);
      free_idle(pool);
    }
  return std::exchange(actions_, {});
}

// How crowded it is.
void Schedule::measure(Pool& pool) {
  pool.starved = 0;
  if (!pool.full()) return;
  // There are far fewer connections than queues.
  std::vector<const Queue*> served;
  for (const auto& [id, grant] : grants_)
    if (&this->pool(*grant.queue) == &pool) served.push_back(grant.queue);
  std::sort(served.begin(), served.end());
  served.erase(std::unique(served.begin(), served.end()), served.end());
  auto active = static_cast<std::uint32_t>(served.size());
  pool.most = 0;
  for (const Queue* queue : served) pool.most = std::max(pool.most, queue->grants);
  // More of them than there are slots change nothing. Who needs none any more leaves the list here.
  std::vector<Queue*> still;
  while (!pool.wanting.empty() && pool.starved <= pool.slots) {
    Queue& queue = *pool.wanting.front();
    pool.wanting.pop_front();
    queue.wanting = may_run(queue) && wanted_grants(queue) > 0;
    if (!queue.wanting) continue;
    still.push_back(&queue);
    if (!queue.parked.empty()) continue;
    ++pool.starved;
    if (queue.grants == 0) ++active;
  }
  pool.wanting.insert(pool.wanting.begin(), still.begin(), still.end());
  pool.share = std::max(1U, pool.slots / std::max(1U, active));
}

// Messages go to the connections that wait for them.
void Schedule::serve(Pool& pool) {
  for (auto left = pool.serving.size(); left > 0; --left) {
    Queue& queue = *pool.serving.front();
    pool.serving.pop_front();
    queue.serving = false;
    if (!may_run(queue)) continue;  // comes back when it may
    hand_out(pool, queue);
    want(queue);
  }
}

void Schedule::hand_out(Pool& pool, Queue& queue) {
  while (!queue.parked.empty() && !queue.ready.empty()) {
    const Parked parked = queue.parked.front();
    const auto& grant = grants_.at(parked.grant);
    if (must_leave(pool, queue, grant)) {
      queue.parked.pop_front();
      send_away(parked);
    } else if (lease_next(queue, parked)) {
      queue.parked.pop_front();
    }
  }
}

bool Schedule::must_leave(const Pool& pool, const Queue& queue, const Grant& grant) const {
  if (pool.starved <= pool.leaving) return false;
  if (queue.grants > pool.share && queue.grants == pool.most) return true;
  return grant.served >= limits_.turn;
}

// False: the queue's first entry was not ready after all.
bool Schedule::lease_next(Queue& queue, const Parked& to) {
  const auto message = queue.ready.front();
  queue.ready.pop_front();
  const auto at = queue.items.find(message);
  if (at == queue.items.end()) return false;
  Queue::Item& item = at->second;
  item.listed = false;
  HandOut out{to.deliverer, to.request, {}, message, queue.name_, {}};
  if (!item.held)
    for (auto& slot : item.slots) {
      if (slot.leased || slot.due > now_ || out.recipients.size() == limits_.lease_recipients)
        continue;
      slot.leased = true;
      out.recipients.push_back(slot.number);
      leased_.emplace(message, slot.number);
    }
  refresh(queue, message);
  if (out.recipients.empty()) return false;
  out.lease = base::LeaseId(++last_lease_);
  const LeaseKey key{epoch_, out.lease};
  leases_[key] = {key, to.deliverer, to.grant, message, queue.name_, out.recipients};
  ++queue.leases;
  auto& grant = grants_.at(to.grant);
  grant.parked = false;
  ++grant.served;
  actions_.push_back(std::move(out));
  return true;
}

// One connection for each queue in turn, round after round.
void Schedule::open_grants(Pool& pool) {
  if (pool.deliverers.empty()) return;
  while (!pool.full() && !pool.wanting.empty()) {
    Queue& queue = *pool.wanting.front();
    pool.wanting.pop_front();
    queue.wanting = false;
    if (!may_run(queue) || wanted_grants(queue) == 0) continue;
    open_grant(pool, queue);
    want(queue);
  }
}

void Schedule::open_grant(Pool& pool, Queue& queue) {
  const auto deliverer = pool.deliverers[pool.next++ % pool.deliverers.size()];
  const base::GrantId id(++last_grant_);
  grants_[id] = {.deliverer = deliverer, .queue = &queue, .hop = queue.hop};
  ++queue.grants;
  ++queue.unopened;
  ++pool.used;
  actions_.push_back(OpenGrant{deliverer, id, queue.name_, queue.destination_.via[queue.hop]});
}

// Connections that have nothing to do make room at once.
void Schedule::free_idle(Pool& pool) {
  if (pool.starved <= pool.leaving) return;
  for (auto& [id, grant] : grants_) {
    if (pool.starved <= pool.leaving) break;
    if (!grant.parked || &this->pool(*grant.queue) != &pool) continue;
    const auto& parked = grant.queue->parked;
    const auto at = std::find_if(parked.begin(), parked.end(),
                                 [&, wanted = id](const Parked& p) { return p.grant == wanted; });
    CHECK(at != parked.end());
    const Parked leaves = *at;
    unpark(*grant.queue, id);
    send_away(leaves);
  }
}

}  // namespace postern::queued
