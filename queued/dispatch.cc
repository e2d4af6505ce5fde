// The part of Schedule that decides: who gets a connection, who gets a message, who must make room.
#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "queued/schedule.h"

namespace postern::queued {

bool Schedule::may_run(const Queue& queue) const {
  return queue.blocked == Blocked::kNo && queue.until <= now_;
}

// Puts the queue on the lists of those that have something for their parked connections, or need
// further ones, or takes it off. Called at every change that may matter to that, so that nobody has
// to look at queues of which nothing is to be done.
void Schedule::review(Queue& queue) {
  const bool runs = queue.lines_ > 0 && may_run(queue);
  enlist(queue, runs && !queue.parked_.empty(), runs && wanted_grants(queue) > 0);
}

void Schedule::enlist(Queue& queue, bool serve, bool want) {
  Pool& pool = this->pool(queue);
  if (std::exchange(queue.serving_, serve) != serve) {
    if (serve)
      queue.serves_ = pool.serving.insert(pool.serving.end(), &queue);
    else
      pool.serving.erase(queue.serves_);
  }
  if (std::exchange(queue.wanting_, want) != want) {
    if (want)
      queue.wants_ = pool.wanting.insert(pool.wanting.end(), &queue);
    else
      pool.wanting.erase(queue.wants_);
  }
  const auto count = [](std::uint32_t& sum, bool& counted, bool counts) {
    if (std::exchange(counted, counts) == counts) return;
    counts ? ++sum : --sum;
  };
  count(pool.starved, queue.starved_, want && queue.parked_.empty());
  count(pool.newcomers, queue.newcomer_, want && queue.grants == 0);
}

// Further connections that the queue could use. Their number at most doubles from what has opened,
// so that a host is not met by all of them at once.
std::uint32_t Schedule::wanted_grants(const Queue& queue) const {
  const auto configured = queue.destination().connections;
  auto limit = queue.probing_ ? 1U : configured == 0 ? ~0U : configured;
  if (queue.cap_until_ > now_) limit = std::min(limit, queue.cap_);
  const auto opened = queue.grants - queue.unopened;
  const std::size_t waiting = queue.lines_;
  const auto coming = queue.unopened + queue.parked_.size();
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
      serve(pool);
      open_grants(pool);
      free_idle(pool);
    }
  return std::exchange(actions_, {});
}

// --- How crowded it is ------------------------------------------------------------------------------

std::uint32_t Schedule::Pool::share() const {
  return std::max(1U, slots / std::max(1U, served + newcomers));
}

void Schedule::Pool::recount(std::uint32_t before, std::uint32_t after) {
  if (crowd.size() <= after) crowd.resize(after + 1);
  if (before > 0) --crowd[before];
  if (before == 0) ++served;
  if (after > 0) ++crowd[after];
  if (after == 0) --served;
  most = std::max(most, after);
  while (most > 0 && crowd[most] == 0) --most;
}

// --- Decisions --------------------------------------------------------------------------------------

// Messages go to the connections that wait for them.
void Schedule::serve(Pool& pool) {
  while (!pool.serving.empty()) {  // ends: each turn serves one to its end
    Queue& queue = *pool.serving.front();
    hand_out(queue);
    review(queue);
  }
}

void Schedule::hand_out(Queue& queue) {
  while (!queue.parked_.empty() && queue.lines_ > 0) {
    const Parked parked = queue.parked_.front();
    const Grant& grant = grants_.at(parked.grant);
    (void)unpark(queue, parked.grant);
    if (must_leave(pool(queue), queue, grant))
      send_away(parked);
    else
      lease_next(queue, parked);
  }
}

bool Schedule::must_leave(const Pool& pool, const Queue& queue, const Grant& grant) const {
  if (!pool.crowded()) return false;
  if (queue.grants > pool.share() && queue.grants == pool.most) return true;
  return grant.served >= limits_.turn;
}

// One connection for each queue in turn, round after round.
void Schedule::open_grants(Pool& pool) {
  if (pool.deliverers.empty()) return;
  while (!pool.full() && !pool.wanting.empty()) {
    Queue& queue = *pool.wanting.front();
    // A limit may have ended, or begun, by the clock alone.
    if (may_run(queue) && wanted_grants(queue) > 0) open_grant(pool, queue);
    enlist(queue, false, false);  // to the list's end, if it wants more
    review(queue);
  }
}

void Schedule::open_grant(Pool& pool, Queue& queue) {
  const auto deliverer = pool.deliverers[pool.next++ % pool.deliverers.size()];
  const base::GrantId id(++last_grant_);
  grants_[id] = {.deliverer = deliverer, .queue = &queue, .hop = queue.hop_};
  pool.recount(queue.grants, queue.grants + 1);
  ++queue.grants;
  ++queue.unopened;
  ++pool.used;
  actions_.push_back(OpenGrant{deliverer, id, queue.name(), queue.destination().via[queue.hop_]});
}

// Connections that have nothing to do make room at once.
void Schedule::free_idle(Pool& pool) {
  for (auto at = grants_.begin(); at != grants_.end(); ++at) {
    if (!pool.crowded() || pool.idle == 0) break;
    if (!at->second.parked || &this->pool(*at->second.queue) != &pool) continue;
    const auto parked = unpark(*at->second.queue, at->first);
    CHECK(parked);
    send_away(*parked);
    review(*at->second.queue);
  }
}

}  // namespace postern::queued
