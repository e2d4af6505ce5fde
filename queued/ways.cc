// The part of Schedule that knows where queues lead: to the first way of their route, or, while its next
// hop is dead, to the next one; and back when it works again.
//
// Neighbouring ways that have weights are one step of the route, a group, and share the mail (shares.h): after each
// message that a queue hands out it goes on to the next way of its group. Those that are dead or frozen are passed
// over, so the others take all of it, each as much as its weight among them; they are looked at each time, and so
// get their share again with the first message behind their wait. Like any other way one of them is tried by one queue
// before the others follow. Where none of the group can be taken the queue goes on behind it, and comes home as
// soon as one can.
#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/text.h"
#include "queued/frozen_name.h"
#include "queued/schedule.h"

namespace postern::queued {
namespace {

constexpr base::Millis kNoHosts{10 * 60'000};  // a domain that has none is not asked for them again so soon
constexpr base::Millis kStale{10 * 60'000};  // how long hosts serve on after their TTL

}  // namespace

// --- Next hops by name ------------------------------------------------------------------------------

Schedule::Hop& Schedule::hop_named(const std::string& name, const std::shared_ptr<const Destination>& destination) {
  const auto [at, fresh] = hops_.try_emplace(name);
  Hop& hop = at->second;
  if (fresh) {
    hop.name_ = &at->first;
    take_up(hop, destination);
  }
  return hop;
}

// What others know of one that is new here.
void Schedule::take_up(Hop& hop, const std::shared_ptr<const Destination>& destination) {
  hop.destination_ = destination;
  hop.frozen = is_frozen(hop);
  if (rules_.wait) hop.wait(rules_.wait(hop.name()));
}

// While a queue looks for its hosts, its hop has the queue's name, and a mailbox is no host at all: no
// name of a next hop stands for these.
bool Schedule::is_frozen(const Hop& hop) const {
  return hop.known() && !hop.destination_->local && rules_.hop_frozen &&
         rules_.hop_frozen(hop.name());
}

// Of this way of the queue.
Schedule::Hop& Schedule::hop_at(Queue& queue, std::size_t way) {
  const auto& spec = queue.destination().via[way];
  if (!is_found_by_dns(spec)) {
    Hop& hop = hop_named(hop_name(spec, queue.name()), queue.destination_);
    hop.local_ = is_served_locally(spec);
    hop.called_for_ = is_called_for(spec);
    return hop;
  }
  if (Hop* hop = kept(queue)) return *hop;
  return seek(queue);
}

// The hop of a queue whose hosts are to be found.
Schedule::Hop& Schedule::seek(Queue& path) {
  Queue& queue = seeker(path);
  if (!queue.seeking_) {
    queue.seeking_ = std::make_unique<Hop>();
    queue.seeking_->name_ = queue.name_;
    queue.seeking_->seeker_ = &queue;
    take_up(*queue.seeking_, queue.destination_);
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
  queue.round_ = hop.round_;
  ++hop.queues_;
  hop.destination_ = queue.destination_;
  hop.limit(*queue.destination_);
  if (is_found_by_dns(queue.destination().via[queue.way_])) forget_kept(queue);
}

void Schedule::leave(Queue& queue) {
  if (queue.hop_ == nullptr) return;
  Hop& hop = *queue.hop_;
  if (queue.in_ring()) leave_line(queue);
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
  go_home(queue);
  if (queue.turn_over_) take_turn(queue);
  if (queue.hop_ == nullptr) lead(queue, hop_at(queue, queue.way_));
  for (auto ways = queue.destination().via.size(); ways > 0 && !is_usable(queue) && go_on(queue); --ways) {
  }
}

void Schedule::go_by(Queue& queue, std::size_t way) {
  if (way == queue.way_ && queue.hop_ != nullptr) return;
  Hop& hop = hop_at(queue, way);
  if (queue.hop_ != nullptr) keep(queue, *queue.hop_);
  queue.way_ = static_cast<std::uint8_t>(way);
  lead(queue, hop);
  if (queue.better_ == &hop) forget_better(queue);
}

// To another way of the group, or to what stands behind it; false: there is none.
bool Schedule::go_on(Queue& queue) {
  const auto group = group_at(queue.destination().via, queue.way_);
  const auto way = next_of(queue, group);
  if (!way) {
    wait_for(queue, group);
    return go_behind(queue, group);
  }
  go_by(queue, *way);
  review(queue);
  return true;
}

bool Schedule::go_behind(Queue& queue, const Group& group) {
  if (group.end == queue.destination().via.size()) return false;
  go_by(queue, group.end);
  review(queue);
  return true;
}

// The way of the group that opens first is gone back to then. On the last group the queue stays where it is, and waits
// for that one too.
void Schedule::wait_for(Queue& queue, const Group& group) {
  if (queue.better_ != nullptr) return;
  const bool stays = group.end == queue.destination().via.size();
  std::optional<std::size_t> first;
  for (auto way = group.first; way < group.end; ++way) {
    if (stays && way == queue.way_) continue;
    if (!first || opens(queue, way) < opens(queue, *first)) first = way;
  }
  if (!first) return;
  Hop& hop = *first == queue.way_ ? *queue.hop_ : hop_at(queue, *first);
  queue.better_ = &hop;
  queue.better_way_ = static_cast<std::uint8_t>(*first);
  ++hop.awaited_;
  review(hop);
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
  if (queue.hop_ != nullptr) keep(queue, *queue.hop_);
  queue.way_ = queue.better_way_;
  queue.turn_over_ = false;  // this is the one that is tried
  lead(queue, hop);
  forget_better(queue);
}

// To try the hop, or to share in it: where it is one of a group, whose turn it is decides.
void Schedule::come_back(Queue& queue, bool to_try) {
  take_better(queue);
  queue.turn_over_ = !to_try;
  review(queue);
}

// Queues that went on come back to the hop: all, or one that tries it.
void Schedule::call_back(Hop& hop, bool all) {
  if (hop.awaited_ == 0) return;
  each_path([&](Queue& queue) {
    if (queue.better_ != &hop || (!all && !queue.runs())) return true;
    come_back(queue, !all);
    return all && hop.awaited_ > 0;
  });
}

// --- What happens to next hops ----------------------------------------------------------------------

// Whose connection carried it. Where nobody knows that any more, of several ways only the one whose host has answered:
// the queue may lead elsewhere than the lease did, which may have been a second path.
Schedule::Hop* Schedule::hop_of(const LeaseInfo& lease, std::string_view remote) {
  if (const auto at = grants_.find(lease.grant); at != grants_.end()) return at->second.hop;
  const Queue* const queue = look(lease.queue, lease.by.refused);
  if (queue == nullptr) return nullptr;
  const auto& via = queue->destination().via;
  if (via.size() == 1) return queue->hop_;
  const auto host = hop_of_remote(remote);
  if (host.empty()) return nullptr;
  for (std::size_t way = 0; way < via.size(); ++way)
    if (const Hop* hop = known_hop(*queue, way); hop != nullptr && fit_hop(base::to_lower(host), hop->name()) != 0)
      return const_cast<Hop*>(hop);
  return nullptr;
}

const Schedule::Hop* Schedule::note_success(const LeaseInfo& lease, std::string_view remote) {
  Hop* const hop = hop_of(lease, remote);
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
  for (Queue* queue : others) {
    find_way(*queue);
    review(*queue);
  }
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
  Queue* queue = look(grant.queue, grant.refused);
  if (queue == nullptr || queue->hop_ == nullptr || queue->hop_->name() != grant.hop)
    return Onward::kElsewhere;
  if (!give_up(*queue)) return Onward::kLastWay;
  if (auto* hop = const_cast<Hop*>(find_hop(grant.hop)); hop != nullptr) offer(*hop);
  return Onward::kNextWay;
}

// The way is left for good; where it is an MX that shares with others, for a while: their turns bring it back, and
// while none of them works the mail waits for them.
bool Schedule::give_up(Queue& queue) {
  const auto& via = queue.destination().via;
  const auto group = group_at(via, queue.way_);
  if (!group.shares() || !is_found_by_dns(via[queue.way_])) return go_behind(queue, group);
  leave(queue);
  Hop& nowhere = seek(queue);
  nowhere.wait({now_ + kNoHosts, 1});
  keep(queue, nowhere);
  const std::size_t other = queue.way_ == group.first ? group.first + 1 : group.first;
  go_by(queue, next_of(queue, group).value_or(other));
  review(queue);
  return true;
}

std::vector<std::string> Schedule::end_wait(const std::string& name, QueueTime now) {
  now_ = std::max(now_, now);
  Queue* queue = look(name);
  if (queue == nullptr) return {};
  queue->urgent_ = true;
  std::vector<std::string> names;
  for (const auto& way : queue->destination().via)
    names.push_back(is_found_by_dns(way) ? name : hop_name(way, name));
  if (queue->better_ != nullptr) names.push_back(queue->better_->name());
  if (const Hop* hop = kept(*queue)) names.push_back(hop->name());
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
    come_back(*queue, true);
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
  Queue* queue = look(grant.queue, grant.refused);
  // Meanwhile its mail may have gone, or be stopped, or go another way.
  if (grant.leaving || queue == nullptr || queue->hop_ != grant.hop || !queue->runs() ||
      !is_found_by_dns(queue->destination().via[queue->way_])) {
    close(id, grant);
    return grant.queue;
  }
  Hop& hop = hop_named(name, queue->destination_);
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
  if (go) {
    actions_.emplace_back(std::in_place_type<GoAhead>, deliverer, id);
    stand_in_line(*queue);  // a hop that may work again it tries itself
  } else {
    close(id, grant);
  }
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
