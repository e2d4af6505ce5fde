// The part of Schedule that decides: who gets a connection, who gets a message, who must make room.
#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "queued/schedule.h"

namespace postern::queued {
namespace {

// A debt is soon forgiven, or a very large message would cost many rounds.
constexpr int kRoundsOfDebt = 8;

}  // namespace

bool Schedule::may_run(const Hop& hop) const {
  return !hop.frozen && hop.until <= now_ && hop.lines_ > 0;
}

// Puts the queue into its hop's ring while it has something to go, and the hop on its lists. Called at
// every change that may matter to that, so that nobody has to look at queues of which nothing is to be
// done.
void Schedule::review(Queue& queue) {
  const bool runs = queue.runs();
  if (runs && !queue.in_ring()) find_way(queue);
  if (queue.hop_ == nullptr) return;
  Hop& hop = *queue.hop_;
  if (runs) {
    stand_in_line(queue);
  } else if (queue.in_ring()) {
    leave_line(queue);
    offer(hop);  // which it was to try
  }
  const auto lines = runs ? queue.lines_ : 0;
  hop.lines_ += lines - std::exchange(queue.lines_there_, lines);
  review(hop);
  // What nobody looks for need not be remembered.
  if (!runs && !hop.known() && hop.grants == 0 && hop.until <= now_) leave(queue);
}

// --- The line of a next hop -------------------------------------------------------------------------

// At its end. What the queue owes it owes still, here or on another next hop, but for the rounds that went by without
// it here: or it would gain by going away.
void Schedule::stand_in_line(Queue& queue) {
  if (queue.in_ring()) return;
  Hop& hop = *queue.hop_;
  const int missed = static_cast<std::uint16_t>(hop.round_ - queue.round_);
  const int earned = std::min(missed, kRoundsOfDebt + 1) * Queue::kQuantum;
  queue.deficit_ = static_cast<std::int16_t>(std::min<int>(queue.deficit_ + earned, Queue::kQuantum));
  queue.round_ = hop.round_;
  hop.ring_.push(queue);
}

void Schedule::leave_line(Queue& queue) {
  Hop& hop = *queue.hop_;
  if (hop.ring_.front() == &queue && queue.deficit_ <= 0) give_round(hop, queue);  // its turn is over
  hop.ring_.remove(queue);
  if (!hop.ring_.empty()) return;
  hop.round_ = static_cast<std::uint16_t>(hop.round_ + kRoundsOfDebt + 1);  // nobody waits to whom anything is owed
}

// The queue gets what it may send in one more round: the next one, if it had that of this round.
void Schedule::give_round(Hop& hop, Queue& queue) {
  if (queue.round_ == hop.round_) ++hop.round_;
  queue.round_ = hop.round_;
  queue.deficit_ = static_cast<std::int16_t>(queue.deficit_ + Queue::kQuantum);
}

void Schedule::charge(Queue& queue, std::uint32_t cost) {
  constexpr std::int64_t kMostDebt = kRoundsOfDebt * Queue::kQuantum;
  queue.deficit_ = static_cast<std::int16_t>(std::max(queue.deficit_ - std::int64_t{cost}, -kMostDebt));
}

// --- What hops want ---------------------------------------------------------------------------------

// Puts the hop on the lists of those that have something for their parked connections, or need further
// ones, or takes it off.
void Schedule::review(Hop& hop) {
  const bool runs = may_run(hop);
  const bool now = runs && hop.may_send(now_);
  enlist(hop, now && !hop.parked_.empty(), now && wanted_grants(hop) > 0);
  if (hop.called_for_ && now && hop.parked_.empty() && callers_.contains(hop.name())) looked_for_.insert(hop.name());
  if (hop.until > now_)
    set_wake(hop, hop.until);
  else if (hop.awaited_ == 0 || hop.wake_ == QueueTime(0) || hop.wake_ > now_)  // else wake() has to offer it
    set_wake(hop, hop.is_paced(now_) ? hop.next_turn() : QueueTime(0));
}

void Schedule::set_wake(Hop& hop, QueueTime wake) {
  if (hop.wake_ == wake) return;
  if (hop.wake_ != QueueTime(0)) wakes_.erase(&hop);
  hop.wake_ = wake;
  if (wake != QueueTime(0)) wakes_.insert(&hop);
}

void Schedule::enlist(Hop& hop, bool serve, bool want) {
  Pool& pool = this->pool(hop);
  if (hop.serving_ != serve) {
    if (serve)
      hop.serves_ = pool.serving.insert(pool.serving.end(), &hop);
    else
      pool.serving.erase(hop.serves_);
    hop.serving_ = serve;
  }
  if (hop.wanting_ != want) {
    if (want)
      hop.wants_ = pool.wanting.insert(pool.wanting.end(), &hop);
    else
      pool.wanting.erase(hop.wants_);
    hop.wanting_ = want;
  }
  const auto count = [](std::uint32_t& sum, bool counted, bool counts) {
    if (counted != counts) counts ? ++sum : --sum;
    return counts;
  };
  hop.starved_ = count(pool.starved, hop.starved_, want && hop.parked_.empty());
  hop.newcomer_ = count(pool.newcomers, hop.newcomer_, want && hop.grants == 0);
}

// Further connections that the hop could use. Their number at most doubles from what has opened, so that
// a host is not met by all of them at once; who looks for a queue's hosts goes alone.
std::uint32_t Schedule::wanted_grants(const Hop& hop) const {
  if (hop.called_for_) return 0;
  const auto limit = hop.known() ? hop.most() : 1U;
  const auto opened = hop.grants - hop.unopened;
  const std::size_t waiting = hop.lines_;
  const auto coming = hop.unopened + hop.parked_.size();
  if (hop.grants >= limit || waiting <= coming) return 0;
  const auto pace = std::max(2U, opened);
  if (hop.unopened >= pace) return 0;
  return static_cast<std::uint32_t>(
      std::min<std::size_t>({limit - hop.grants, waiting - coming, pace - hop.unopened}));
}

std::vector<Action> Schedule::decide(QueueTime now) {
  wake(now);
  if (open_) bring_callers();
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
    Hop& hop = *pool.serving.front();
    hand_out(hop);
    review(hop);
  }
}

void Schedule::hand_out(Hop& hop) {
  while (!hop.parked_.empty() && hop.may_send(now_)) {
    Queue* queue = next_queue(hop);
    if (queue == nullptr) return;
    const Parked parked = hop.parked_.front();
    const Grant& grant = grants_.at(parked.grant);
    (void)unpark(hop, parked.grant);
    if (must_leave(pool(hop), hop, grant)) {
      send_away(parked);
    } else {
      lease_next(*queue, parked);
      end_turn(*queue);
    }
  }
}

// Whose turn it is. One that has spent what a round gives it waits for the next.
Schedule::Queue* Schedule::next_queue(Hop& hop) {
  for (Queue* queue = hop.ring_.front(); queue != nullptr; queue = hop.ring_.front()) {
    if (is_stale(*queue)) {
      leave(*queue);
      review(*queue);
      continue;
    }
    if (queue->deficit_ > 0) return queue;
    give_round(hop, *queue);
    hop.ring_.rotate();
  }
  return nullptr;
}

bool Schedule::must_leave(const Pool& pool, const Hop& hop, const Grant& grant) const {
  if (hop.grants - hop.leaving > hop.most()) return true;
  if (!pool.crowded() || grant.caller) return false;  // who calls waits for nobody's slot
  if (hop.grants > pool.share() && hop.grants == pool.most) return true;
  return grant.served >= limits_.turn;
}

// One connection for each hop in turn, round after round.
void Schedule::open_grants(Pool& pool) {
  if (pool.deliverers.empty()) return;
  while (!pool.full() && !pool.wanting.empty()) {
    Hop& hop = *pool.wanting.front();
    open_grant(pool, hop);
    enlist(hop, false, false);  // to the list's end, if it wants more
    review(hop);
  }
}

void Schedule::open_grant(Pool& pool, Hop& hop) {
  Queue& queue = *hop.ring_.front();
  hop.ring_.rotate();
  const auto id = add_grant(pool, hop, queue.name(), queue.refused_);
  const auto& spec = queue.destination().via[queue.way_];
  const bool named = hop.known() && (!is_found_by_dns(spec) || queue.found_until_ > now_);
  actions_.emplace_back(std::in_place_type<OpenGrant>, grants_.at(id).deliverer, id, queue.name(), spec,
                        named ? hop.name() : std::string());
}

base::GrantId Schedule::add_grant(Pool& pool, Hop& hop, const std::string& queue, std::uint8_t refused) {
  const auto deliverer = pool.deliverers[pool.next++ % pool.deliverers.size()];
  const base::GrantId id(++last_grant_);
  grants_[id] = {.deliverer = deliverer, .hop = &hop, .queue = queue, .refused = refused};
  pool.recount(hop.grants, hop.grants + 1);
  ++hop.grants;
  ++hop.unopened;
  ++pool.used;
  return id;
}

// Connections that have nothing to do make room at once.
void Schedule::free_idle(Pool& pool) {
  for (auto at = grants_.begin(); at != grants_.end(); ++at) {
    if (!pool.crowded() || pool.idle == 0) break;
    if (!at->second.parked || at->second.caller || &this->pool(*at->second.hop) != &pool) continue;
    const auto parked = unpark(*at->second.hop, at->first);
    CHECK(parked);
    send_away(*parked);
    review(*at->second.hop);
  }
}

}  // namespace postern::queued
