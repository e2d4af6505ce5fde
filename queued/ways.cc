// The part of Schedule that knows where queues lead: to the first way of their route, or, while its next
// hop is dead, to the next one; and back when it works again.
#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "queued/schedule.h"

namespace postern::queued {
namespace {

constexpr base::Millis kStale{10 * 60'000};  // how long hosts serve on after their TTL

}  // namespace

// --- Next hops by name ------------------------------------------------------------------------------

Schedule::Hop& Schedule::hop_named(const std::string& name, const Queue& queue) {
  const auto [at, fresh] = hops_.try_emplace(name);
  Hop& hop = at->second;
  if (fresh) {
    hop.name_ = &at->first;
    take_up(hop, queue);
  }
  return hop;
}

// What others know of one that is new here.
void Schedule::take_up(Hop& hop, const Queue& queue) {
  hop.destination_ = queue.destination_;
  hop.frozen = is_frozen(hop);
  if (rules_.wait) hop.wait(rules_.wait(hop.name()));
}

// While a queue looks for its hosts, its hop has the queue's name, and a mailbox is no host at all: no
// name of a next hop stands for these.
bool Schedule::is_frozen(const Hop& hop) const {
  return hop.known() && !hop.destination_->local && rules_.hop_frozen &&
         rules_.hop_frozen(hop.name());
}

// Of the way that the queue is on.
Schedule::Hop& Schedule::hop_of_way(Queue& queue) {
  const auto& spec = queue.destination().via[queue.way_];
  if (!is_found_by_dns(spec)) {
    Hop& hop = hop_named(hop_name(spec), queue);
    hop.local_ = is_served_locally(spec);
    return hop;
  }
  if (!queue.seeking_) {
    queue.seeking_ = std::make_unique<Hop>();
    queue.seeking_->name_ = queue.name_;
    queue.seeking_->seeker_ = &queue;
    take_up(*queue.seeking_, queue);
  }
  return *queue.seeking_;
}

const Schedule::Hop* Schedule::find_hop(std::string_view name) const {
  if (const auto at = hops_.find(name); at != hops_.end()) return &at->second;
  const Queue* queue = find(name);
  return queue == nullptr ? nullptr : queue->seeking_.get();
}

// One that has just got a message stays until the next may go, or its rate would be forgotten with it.
void Schedule::drop_if_unused(Hop& hop) {
  if (hop.queues_ > 0 || hop.grants > 0 || hop.awaited_ > 0 || hop.is_paced(now_)) return;
  enlist(hop, false, false);
  set_wake(hop, QueueTime(0));
  if (hop.known()) {
    const auto at = hops_.find(hop.name());
    hops_.erase(at);
  } else {
    hop.seeker_->seeking_.reset();
  }
}

std::vector<std::string> Schedule::queues_of(std::string_view hop, std::string& after,
                                             std::size_t looks) const {
  std::vector<std::string> found;
  auto at = after.empty() ? queues_.begin() : queues_.upper_bound(after);
  for (; at != queues_.end() && looks > 0; ++at, --looks) {
    after = at->first;
    const Queue& queue = at->second;
    if (queue.hop_ != nullptr && queue.runs() && queue.hop_->name() == hop)
      found.push_back(at->first);
  }
  if (at == queues_.end()) after.clear();
  return found;
}

// --- One queue's way --------------------------------------------------------------------------------

void Schedule::lead(Queue& queue, Hop& hop) {
  leave(queue);
  queue.hop_ = &hop;
  ++hop.queues_;
  hop.destination_ = queue.destination_;
  hop.limit(*queue.destination_);
}

void Schedule::leave(Queue& queue) {
  if (queue.hop_ == nullptr) return;
  Hop& hop = *queue.hop_;
  if (queue.in_ring()) hop.ring_.remove(queue);
  hop.lines_ -= std::exchange(queue.lines_there_, 0);
  --hop.queues_;
  queue.hop_ = nullptr;
  review(hop);
  drop_if_unused(hop);
}

void Schedule::forget_better(Queue& queue) {
  if (queue.better_ == nullptr) return;
  Hop& hop = *std::exchange(queue.better_, nullptr);
  --hop.awaited_;
  drop_if_unused(hop);
}

// A dead or frozen hop is no way to go, nor one that is being tried by another queue.
bool Schedule::is_usable(const Queue& queue) const {
  const Hop& hop = *queue.hop_;
  if (hop.until > now_ || hop.frozen) return false;
  return !hop.probing() || hop.grants == 0 || queue.destination().via.size() == 1;
}

// For a queue that has something to go. If nobody tries the better way, which may work again, it does.
void Schedule::find_way(Queue& queue) {
  if (queue.better_ != nullptr && is_untried(*queue.better_)) take_better(queue);
  if (queue.hop_ == nullptr) lead(queue, hop_of_way(queue));
  while (!is_usable(queue) && go_on(queue, true)) {
  }
}

// To the next way of the route; false: this is the last one.
bool Schedule::go_on(Queue& queue, bool come_back) {
  if (queue.way_ + 1U >= queue.destination().via.size()) return false;
  Hop& hop = *queue.hop_;
  if (come_back && queue.better_ == nullptr) {
    queue.better_ = &hop;
    queue.better_way_ = queue.way_;
    ++hop.awaited_;
  }
  ++queue.way_;
  lead(queue, hop_of_way(queue));
  review(queue);
  return true;
}

// Its time to be tried again has come, but no queue that leads there has something to go.
bool Schedule::is_untried(const Hop& hop) const {
  return hop.until <= now_ && !hop.frozen && hop.grants == 0 && hop.ring_.empty();
}

// One of the queues that went on tries it; the others stay where they are meanwhile.
void Schedule::offer(Hop& hop) {
  if (hop.awaited_ > 0 && is_untried(hop)) call_back(hop, false);
}

void Schedule::take_better(Queue& queue) {
  Hop& hop = *queue.better_;
  queue.way_ = queue.better_way_;
  lead(queue, hop);
  forget_better(queue);
}

void Schedule::come_back(Queue& queue) {
  take_better(queue);
  review(queue);
}

// Queues that went on come back to the hop: all, or one that tries it.
void Schedule::call_back(Hop& hop, bool all) {
  for (auto& [name, queue] : queues_) {
    if (hop.awaited_ == 0) return;
    if (queue.better_ != &hop || (!all && !queue.runs())) continue;
    come_back(queue);
    if (!all) return;
  }
}

// --- What happens to next hops ----------------------------------------------------------------------

const Schedule::Hop* Schedule::note_success(const LeaseInfo& lease) {
  Hop* hop = nullptr;
  if (const auto at = grants_.find(lease.grant); at != grants_.end())
    hop = at->second.hop;
  else if (const Queue* queue = find(lease.queue))
    hop = queue->hop_;
  if (hop == nullptr) return nullptr;
  hop->works();
  if (hop->awaited_ > 0) call_back(*hop, true);
  review(*hop);
  return hop;
}

void Schedule::defer(const std::string& name, const HopWait& wait, QueueTime now) {
  now_ = std::max(now_, now);
  Hop* hop = const_cast<Hop*>(find_hop(name));
  if (hop == nullptr) return;
  hop->wait(wait);
  send_on(*hop);
  review(*hop);
  drop_if_unused(*hop);
}

// Queues that have another way take it.
void Schedule::send_on(Hop& hop) {
  ++hop.queues_;  // it stays while its queues leave
  std::vector<Queue*> others;
  for (Queue* queue = hop.ring_.front(); queue != nullptr; queue = hop.ring_.after(*queue))
    if (queue->destination().via.size() > 1) others.push_back(queue);
  for (Queue* queue : others) find_way(*queue);
  --hop.queues_;
}

void Schedule::seek_anew(QueueTime now) {
  now_ = std::max(now_, now);
  std::vector<Queue*> stale;
  for (auto& [name, hop] : hops_) {
    if (!hop.frozen) continue;
    for (Queue* queue = hop.ring_.front(); queue != nullptr; queue = hop.ring_.after(*queue))
      if (is_stale(*queue)) stale.push_back(queue);
  }
  for (Queue* queue : stale) {
    leave(*queue);
    review(*queue);
  }
}

// Its hosts may be others by now.
bool Schedule::is_stale(const Queue& queue) const {
  return is_found_by_dns(queue.destination().via[queue.way_]) && queue.hop_->known() &&
         now_ - queue.found_until_ > kStale;
}

void Schedule::trouble(const std::string& name) {
  Hop* hop = const_cast<Hop*>(find_hop(name));
  if (hop == nullptr) return;
  hop->trouble();
  review(*hop);
}

Schedule::Onward Schedule::way_failed(const EndedGrant& grant) {
  Queue* queue = look(grant.queue);
  if (queue == nullptr || queue->hop_ == nullptr || queue->hop_->name() != grant.hop)
    return Onward::kElsewhere;
  if (!go_on(*queue, false)) return Onward::kLastWay;
  if (auto* hop = const_cast<Hop*>(find_hop(grant.hop)); hop != nullptr) offer(*hop);
  return Onward::kNextWay;
}

std::vector<std::string> Schedule::end_wait(const std::string& name, QueueTime now) {
  now_ = std::max(now_, now);
  Queue* queue = look(name);
  if (queue == nullptr) return {};
  queue->urgent_ = true;
  std::vector<std::string> names;
  for (const auto& way : queue->destination().via)
    names.push_back(is_found_by_dns(way) ? name : hop_name(way));
  if (queue->better_ != nullptr) names.push_back(queue->better_->name());
  if (queue->hop_ != nullptr) names.push_back(queue->hop_->name());
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  const auto end_waits = [&] {
    for (const auto& one : names)
      if (auto* hop = const_cast<Hop*>(find_hop(one)); hop != nullptr) {
        hop->until = QueueTime(0);
        review(*hop);
      }
  };
  end_waits();
  if (queue->better_ != nullptr) {
    come_back(*queue);
    end_waits();  // where others try the better way, it may have gone on to one that was not known here
  }
  for (const auto& one : names)  // has it nothing to go, others try them
    if (auto* hop = const_cast<Hop*>(find_hop(one)); hop != nullptr) offer(*hop);
  return names;
}

std::optional<std::string> Schedule::hop_found(DelivererId deliverer, base::GrantId id,
                                               const std::string& name, base::Millis ttl,
                                               QueueTime now) {
  now_ = std::max(now_, now);
  const auto at = grants_.find(id);
  if (at == grants_.end() || at->second.deliverer != deliverer) return std::nullopt;
  Grant& grant = at->second;
  Queue* queue = look(grant.queue);
  // Meanwhile its mail may have gone, or be stopped, or go another way.
  if (grant.leaving || queue == nullptr || queue->hop_ != grant.hop || !queue->runs() ||
      !is_found_by_dns(queue->destination().via[queue->way_])) {
    close(id, grant);
    return grant.queue;
  }
  Hop& hop = hop_named(name, *queue);
  queue->found_until_ = now_ + ttl;
  if (&hop != grant.hop) {
    Hop& before = *grant.hop;
    ++before.queues_;  // it stays until the grant is moved
    lead(*queue, hop);
    change_hop(grant, hop);
    --before.queues_;
    review(before);
    drop_if_unused(before);
  }
  if (std::exchange(queue->urgent_, false)) hop.until = QueueTime(0);
  const bool go = hop.until <= now_ && !hop.frozen && hop.grants <= std::max(1U, hop.most());
  if (go)
    actions_.emplace_back(std::in_place_type<GoAhead>, deliverer, id);
  else
    close(id, grant);
  if (hop.until > now_ || hop.frozen) find_way(*queue);
  review(*queue);
  return queue->name();
}

void Schedule::change_hop(Grant& grant, Hop& to) {
  Hop& from = *grant.hop;
  pool(from).recount(from.grants, from.grants - 1);
  --from.grants;
  pool(to).recount(to.grants, to.grants + 1);
  ++to.grants;
  if (!grant.opened) {
    --from.unopened;
    ++to.unopened;
  }
  if (grant.leaving) {
    --from.leaving;
    ++to.leaving;
  }
  grant.hop = &to;
}

}  // namespace postern::queued
