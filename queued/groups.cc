// The part of Schedule that lets several ways share a queue's mail: whose turn is next, and who can take it. The
// rule stands on top of ways.cc.
#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "queued/schedule.h"

namespace postern::queued {
namespace {

constexpr QueueTime kNever = QueueTime::max();

}  // namespace

// --- Turns ------------------------------------------------------------------------------------------

// Each queue begins at a place of its own, and at another one when it comes again: so queues that never have more than
// one message share as well.
void Schedule::begin_turns(Queue& queue) {
  queue.turn_over_ = true;
  const auto group = first_group(queue.destination().via);
  if (!group.shares()) return;
  constexpr std::uint64_t kGolden = 0x9E37'79B9'7F4A'7C15;
  const auto seed = (std::hash<std::string>()(queue.name()) ^ (++begun_ * kGolden)) * kGolden;
  queue.place_ = static_cast<std::uint8_t>((seed >> 32) % group.places);
}

// A message went: the next one goes by the next of the group.
void Schedule::pass_turn(Queue& queue) {
  queue.turn_over_ = true;
  if (queue.runs() && shares(queue)) {
    go_home(queue);
    if (queue.turn_over_) take_turn(queue);
  }
  review(queue);
}

// Likewise where it was the queue's turn. What is left of its round in the ring of its hop it has on the next one, at
// once; what it owes it has there too, at the end of the line.
void Schedule::end_turn(Queue& queue) {
  const Hop* const before = queue.hop_;
  const bool over = queue.deficit_ <= 0;
  pass_turn(queue);
  if (queue.hop_ == before || over || !queue.in_ring()) return;
  queue.hop_->ring_.begin_with(queue);
}

// To the way that is next in its group. Where none can be taken the queue stays, as on one that it tries.
void Schedule::take_turn(Queue& queue) {
  queue.turn_over_ = false;
  const auto way = next_of(queue, group_at(queue.destination().via, queue.way_));
  if (way) go_by(queue, *way);
}

// From behind a group back to it, if one of it can be taken.
void Schedule::go_home(Queue& queue) {
  if (queue.better_ == nullptr) return;
  const auto group = group_at(queue.destination().via, queue.better_way_);
  if (group.has(queue.way_)) return;
  const auto way = next_of(queue, group);
  if (!way) return;
  go_by(queue, *way);
  queue.turn_over_ = false;
  forget_better(queue);
}

// Blocks changed: queues that had no way to go may have one now, which nobody waited for.
void Schedule::review_groups() {
  each_path([this](Queue& queue) {
    if (!queue.in_ring() || !shares(queue) || is_usable(queue)) return true;
    find_way(queue);
    review(queue);
    return true;
  });
}

// --- Who can take one -------------------------------------------------------------------------------

// Does it share, or did it leave a group?
bool Schedule::shares(const Queue& queue) const {
  const auto& via = queue.destination().via;
  return group_at(via, queue.way_).shares() ||
         (queue.better_ != nullptr && group_at(via, queue.better_way_).shares());
}

// The way whose place is the next that can be taken; none of a way by itself.
std::optional<std::size_t> Schedule::next_of(Queue& queue, const Group& group) {
  Round round(queue.destination().via, group, queue.place_);
  std::uint32_t barred = 0;  // a bit for each way that was looked at in vain
  for (auto left = group.places; left > 0; --left) {
    const auto way = round.next();
    const auto bit = 1U << (way - group.first);
    if ((barred & bit) != 0) continue;
    if (!may_take(queue, way)) {
      barred |= bit;
      continue;
    }
    queue.place_ = static_cast<std::uint8_t>(round.place());
    return way;
  }
  return std::nullopt;
}

// What stands for this way now; null: nobody leads there.
const Schedule::Hop* Schedule::known_hop(const Queue& queue, std::size_t way) const {
  if (way == queue.way_ && queue.hop_ != nullptr) return queue.hop_;
  const auto& spec = queue.destination().via[way];
  if (!is_found_by_dns(spec)) return find_hop(hop_name(spec, queue.name()));
  if (const Hop* hop = kept(queue)) return hop;
  return seeker(queue).seeking_.get();
}

// When it can be taken, as far as is known or remembered of it.
QueueTime Schedule::opens(const Queue& queue, std::size_t way) const {
  if (const Hop* hop = known_hop(queue, way)) return hop->frozen ? kNever : hop->until;
  const auto& spec = queue.destination().via[way];
  const auto name = is_found_by_dns(spec) ? queue.name() : hop_name(spec, queue.name());
  if (is_named(spec) && rules_.hop_frozen && rules_.hop_frozen(name)) return kNever;
  return rules_.wait ? rules_.wait(name).until : QueueTime(0);
}

// The way where it stands, if that is open then; else what would be looked at, in that order.
Schedule::Prospect Schedule::prospect(const Queue& queue, QueueTime when) const {
  Prospect best{queue.way_, queue.hop_, opens(queue, queue.way_)};
  const auto look = [&](std::size_t way, const Hop* hop, QueueTime time) {
    if (best.opens > when && time < best.opens) best = {way, hop, time};
  };
  if (const Hop* better = queue.better_; better != nullptr)
    look(queue.better_way_, better, better->frozen ? kNever : better->until);
  const auto& via = queue.destination().via;
  for (auto way = group_at(via, queue.way_).first; way < via.size(); ++way)
    look(way, known_hop(queue, way), opens(queue, way));
  return best;
}

// A hop that may work again is tried by one queue alone, which may not have a connection yet.
bool Schedule::may_take(const Queue& queue, std::size_t way) const {
  const Hop* const hop = known_hop(queue, way);
  if (hop == nullptr) return opens(queue, way) <= now_;
  if (hop == queue.hop_) return is_usable(queue);
  return hop->until <= now_ && !hop->frozen && (!hop->probing() || (hop->grants == 0 && hop->ring_.empty()));
}

// --- An MX that shares ------------------------------------------------------------------------------

// What was found of it holds as long as the DNS says; that it has no hosts, for the time that was set.
Schedule::Hop* Schedule::kept(const Queue& queue) const {
  if (kept_.empty()) return nullptr;
  const auto at = kept_.find(&queue);
  if (at == kept_.end()) return nullptr;
  const auto until = at->second->known() ? queue.found_until_ : at->second->until;
  return until > now_ ? at->second : nullptr;
}

// Of the way that the queue is about to leave; nothing is kept of others.
void Schedule::keep(Queue& queue, Hop& hop) {
  const auto& via = queue.destination().via;
  if (!is_found_by_dns(via[queue.way_]) || !group_at(via, queue.way_).shares()) return;
  if (!hop.known() && hop.until <= now_) return;
  if (kept_.emplace(&queue, &hop).second) ++hop.queues_;
}

void Schedule::forget_kept(Queue& queue) {
  const auto node = kept_.extract(&queue);
  if (!node) return;
  Hop& hop = *node.mapped();
  --hop.queues_;
  drop_if_unused(hop);
}

}  // namespace postern::queued
