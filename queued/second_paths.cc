// The part of Schedule that lets recipients go by a second path: those whom a way of their route refused, by another
// one, in the same try. What refused them is a queue's path of its own, for what it may take differs by that: it leads
// nowhere that the queue does not lead, obeys the same blocks, and its connections are counted where they lead.
//
// Nobody waits there for a way that is dead or frozen. Such a path is closed; the try of those who are on it is over,
// and the next one begins anew.
#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "queued/schedule.h"

namespace postern::queued {

Schedule::Queue& Schedule::make_second(Queue& first, const Destination& destination, std::uint8_t refused) {
  const auto path = second_path(destination, refused - 1U);
  CHECK(!path.via.empty());
  const auto [at, fresh] = seconds_.try_emplace({first.name(), refused});
  Queue& queue = at->second;
  if (fresh) {
    queue.name_ = first.name_;
    queue.refused_ = refused;
    ++first.seconds_;
    give_number(queue);
  }
  if (fresh || queue.destination() != path) set_destination(queue, path);
  return queue;
}

// A queue stays while there is a second path of it.
void Schedule::drop_second(Queue& queue) {
  Queue& first = *look(queue.name());
  const auto at = seconds_.find({queue.name(), queue.refused_});
  seconds_.erase(at);
  --first.seconds_;
  drop_if_empty(first);
}

Schedule::Queue* Schedule::look(std::string_view name, std::uint8_t refused) {
  if (refused == 0) return look(name);
  const auto at = seconds_.find({std::string(name), refused});
  return at == seconds_.end() ? nullptr : &at->second;
}

std::vector<Schedule::Queue*> Schedule::paths(Queue& first) {
  std::vector<Queue*> all{&first};
  if (first.seconds_ == 0) return all;  // the usual case
  for (auto at = seconds_.lower_bound({first.name(), 0}); at != seconds_.end() && at->first.first == first.name(); ++at)
    all.push_back(&at->second);
  return all;
}

std::vector<Schedule::Queue*> Schedule::paths(std::string_view name) {
  Queue* const first = look(name);
  return first == nullptr ? std::vector<Queue*>() : paths(*first);
}

std::vector<const Schedule::Queue*> Schedule::paths(std::string_view name) const {
  const Queue* const first = find(name);
  return first == nullptr ? std::vector<const Queue*>() : paths(*first);
}

std::vector<const Schedule::Queue*> Schedule::paths(const Queue& first) const {
  const auto all = const_cast<Schedule*>(this)->paths(const_cast<Queue&>(first));
  return {all.begin(), all.end()};
}

// One that is here already stays where it is, or it would be here twice.
Schedule::Queue& Schedule::path_of(Queue& first, const Destination& destination, const Mail& mail) {
  if (first.seconds_ > 0 || mail.refused != 0)
    for (Queue* queue : paths(first.name()))
      if (backlog_.find({queue->number_, mail.message, mail.number})) return *queue;
  return mail.refused == 0 ? first : make_second(first, destination, mail.refused);
}

const Schedule::Queue* Schedule::second_of(std::string_view name, base::MessageId message,
                                           std::uint32_t number) const {
  for (const Queue* queue : paths(name))
    if (queue->refused_ != 0 && backlog_.find({queue->number_, message, number})) return queue;
  return nullptr;
}

// --- What several paths have of one message -----------------------------------------------------------

std::optional<Schedule::Entry> Schedule::elsewhere(const Queue& queue, base::MessageId message) const {
  if (queue.refused_ == 0 && queue.seconds_ == 0) return std::nullopt;  // the usual case
  for (const Queue* path : paths(queue.name()))
    if (path != &queue)
      if (auto found = any_of(*path, message)) return found;
  return std::nullopt;
}

void Schedule::note_twin(const Queue& queue, std::uint32_t size) {
  auto& twins = twins_[&seeker(queue)];
  ++twins.messages;
  twins.bytes += size;
}

void Schedule::forget_twin(const Queue& queue, std::uint32_t size) {
  const auto at = twins_.find(&seeker(queue));
  at->second.bytes -= size;
  if (--at->second.messages == 0) twins_.erase(at);
}

Schedule::Volume Schedule::volume(std::string_view name) const {
  const Queue* const first = find(name);
  return first == nullptr ? Volume() : volume(*first);
}

Schedule::Volume Schedule::volume(const Queue& first) const {
  Volume volume;
  each_path(first, [&](const Queue& queue) {
    volume.messages += queue.messages();
    volume.bytes += queue.bytes;
  });
  if (const auto twins = twins_.find(&first); twins != twins_.end()) {
    volume.messages -= twins->second.messages;
    volume.bytes -= twins->second.bytes;
  }
  return volume;
}

std::vector<base::MessageId> Schedule::all_messages(std::string_view name, base::MessageId after,
                                                    std::size_t limit) const {
  std::vector<base::MessageId> found;
  for (const Queue* queue : paths(name)) {
    const auto some = messages(*queue, after, limit);
    found.insert(found.end(), some.begin(), some.end());
  }
  std::ranges::sort(found);
  const auto [twins, end] = std::ranges::unique(found);
  found.erase(twins, end);
  found.resize(std::min(found.size(), limit));
  return found;
}

// --- Paths that are closed ----------------------------------------------------------------------------

// Either its hosts are all frozen while the queue's others are not; or none can be reached. Of the ways before it only one
// can be gone back to, if any: others were left for good.
bool Schedule::is_closed(const Queue& queue) const {
  if (queue.lines_ > 0 && queue.blocked == Blocked::kFrozen && find(queue.name())->blocked == Blocked::kNo) return true;
  if (!queue.runs() || queue.hop_ == nullptr) return false;
  if (queue.better_ != nullptr && queue.better_->until <= now_ && !queue.better_->frozen) return false;
  const auto& via = queue.destination().via;
  for (auto way = group_at(via, queue.way_).first; way < via.size(); ++way)
    if (opens(queue, way) <= now_) return false;
  return true;
}

std::vector<Schedule::Closed> Schedule::closed_paths() const {
  std::vector<Closed> closed;
  for (const auto& [key, queue] : seconds_)
    if (is_closed(queue)) {
      const bool blocked = queue.blocked != Blocked::kNo;
      closed.push_back({queue.name(), queue.refused_, blocked ? hop_name(queue.destination().via.front()) : queue.hop_->name(),
                        blocked || queue.hop_->frozen});
    }
  return closed;
}

}  // namespace postern::queued
