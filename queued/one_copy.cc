// The part of Schedule that lets one copy of a message serve several queues.
//
// A lease is of a message in the queue whose turn it is. Recipients of the message that are ready in other queues of the
// same next hop go along, up to the limit of a lease: they are one transaction. A next hop's name tells what is demanded
// of it, so the connection that carries the one may carry the other; and a destination that is not the same, in whatever,
// is another way.
//
// Whoever goes along does so out of turn. It costs its queue nothing, for the body goes once, and it costs nobody his
// place: the line behind it moves up. For the rate of the next hop it is all one message. Only where ways share the
// mail it counts as a turn, for that is counted by messages.
//
// No index leads from a message to its queues. Who has the message in memory names its recipients; of one that is not, the
// lease is widened when it has been read. Until then other connections may be given it for other queues.
#include <algorithm>
#include <functional>
#include <ranges>

#include "common/base/check.h"
#include "queued/schedule.h"

namespace postern::queued {

// False: the message is not in memory.
bool Schedule::widen(LeaseInfo& lease, const Hop& hop) {
  const auto has_room = [&] { return lease.recipients.size() < limits_.lease_recipients; };
  if (!rules_.others || hop.queues_ < 2 || !has_room() || lease.by.refused != 0) return true;
  const Queue& own = *look(lease.queue);
  const auto visit = [&](std::string_view name, std::uint32_t number) {
    Queue* queue = look(name);
    if (queue == nullptr || !goes_along(*queue, own, hop)) return true;
    const auto entry = backlog_.find({queue->number_, lease.message, number});
    if (entry && entry->stage == Stage::kReady) join(lease, *queue, *entry);
    return has_room();
  };
  const bool known = rules_.others(lease.message, lease.recipients.front(), std::ref(visit));
  if (lease.along.empty()) return known;
  std::ranges::sort(lease.recipients);
  std::ranges::sort(lease.along, {}, &Placed::number);
  for (Queue* queue : queues_of(lease) | std::views::drop(1)) {
    ++queue->leases;
    pass_turn(*queue);
  }
  return known;
}

void Schedule::widen(LeaseKey key) {
  const auto at = leases_.find(key);
  if (at == leases_.end()) return;
  const auto grant = grants_.find(at->second.grant);
  if (grant != grants_.end() && !grant->second.leaving) (void)widen(at->second, *grant->second.hop);
}

// What was found of its hosts must hold: they are not asked for anew while a message is on its way.
bool Schedule::goes_along(const Queue& queue, const Queue& with, const Hop& hop) const {
  return &queue != &with && queue.hop_ == &hop && queue.blocked == Blocked::kNo &&
         queue.destination_ == with.destination_ && !is_stale(queue);
}

// One that is not leased. What it leaves its place in line to takes that.
void Schedule::join(LeaseInfo& lease, Queue& queue, const Entry& entry) {
  const auto [number_of_queue, message, number] = entry.key;
  (void)move(queue, entry, Stage::kLeased, {});
  leased_.emplace(message, number);
  lease.recipients.push_back(number);
  if (queue.name() != lease.queue) lease.along.push_back({queue.name(), number});
}

// Each once; first the one whose turn it was.
std::vector<Schedule::Queue*> Schedule::queues_of(const LeaseInfo& lease) {
  std::vector<Queue*> queues{look(lease.queue, lease.by.refused)};
  for (const auto& one : lease.along)
    if (Queue* queue = look(one.queue); std::ranges::find(queues, queue) == queues.end())
      queues.push_back(queue);
  CHECK(std::ranges::find(queues, nullptr) == queues.end());
  return queues;
}

std::vector<Schedule::Key> Schedule::keys_of(const LeaseInfo& lease) {
  std::vector<Key> keys;
  keys.reserve(lease.recipients.size());
  const auto own = look(lease.queue, lease.by.refused)->number_;
  auto along = lease.along.begin();
  for (const auto number : lease.recipients) {
    const bool other = along != lease.along.end() && along->number == number;
    keys.push_back({other ? look((along++)->queue)->number_ : own, lease.message, number});
  }
  return keys;
}

}  // namespace postern::queued
