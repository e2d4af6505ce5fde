#include "queued/standing.h"

#include <fmt/format.h>

#include <algorithm>

#include "queued/obstacles.h"

namespace postern::queued {
namespace {

// Does its mail go, or wait, by the way where the queue stands, whenever it is due?
bool is_settled(const Engine& engine, const Schedule::Queue& queue) {
  const auto* hop = queue.hop();
  return hop == nullptr || queue.destination().via.size() == 1 || (!hop->frozen && hop->until <= engine.now());
}

// Where mail of the queue that is due then is tried first; null: that is not known, or nobody leads there.
const Schedule::Hop* hop_then(const Engine& engine, const Schedule::Queue& queue, QueueTime due) {
  if (is_settled(engine, queue)) return queue.hop();  // the usual case
  return engine.schedule().prospect(queue, std::max(due, engine.now())).hop;
}

// By this next hop; nullopt: it is not frozen.
std::optional<Standing> stopped_by(const Engine& engine, const std::string& hop) {
  const Freeze* freeze = engine.blocks().hop_frozen(hop);
  if (freeze == nullptr) return std::nullopt;
  return Standing{ipc::State::kFrozen,
                  cut(typed_name(freeze->queue, true) + ": " + freeze->reason, ipc::kMaxReason),
                  {},
                  freeze->until};
}

}  // namespace

std::string reply_of(const Recipient& recipient) {
  return recipient.trouble ? cut(text_of(recipient.trouble->reply), kReplyRoom) : std::string();
}

Standing stopped(const Engine& engine, const std::string& queue, const Destination& destination,
                 Blocked blocked) {
  const auto& blocks = engine.blocks();
  if (blocked == Blocked::kOff)
    return {ipc::State::kOff,
            cut("outbound is off: " + blocks.outbound().reason, ipc::kMaxReason),
            {},
            {}};
  const Freeze* freeze = blocks.frozen(queue, destination);
  if (freeze == nullptr) return {ipc::State::kFrozen, "", {}, {}};
  const bool by_itself = freeze->queue == queue && !freeze->hop;
  const auto by = by_itself ? std::string() : typed_name(freeze->queue, freeze->hop) + ": ";
  return {ipc::State::kFrozen, cut(by + freeze->reason, ipc::kMaxReason), {}, freeze->until};
}

const Schedule::Hop* hop_of(const Engine& engine, const Schedule::Queue& queue) {
  if (is_settled(engine, queue)) return queue.hop();
  const auto next = queue.counts.ready > 0 ? std::nullopt : engine.schedule().next_due(queue);
  return hop_then(engine, queue, next ? next->time : QueueTime(0));
}

std::optional<Standing> stopped_on_the_way(const Engine& engine, const Schedule::Hop* hop) {
  return hop != nullptr && hop->frozen ? stopped_by(engine, hop->name()) : std::nullopt;
}

const QueueRecord* wait_of(const Engine& engine, const Schedule::Hop* hop) {
  if (hop == nullptr || hop->until <= engine.now()) return nullptr;
  const auto wait = engine.store().waits().find(hop->name());
  return wait == engine.store().waits().end() ? nullptr : &wait->second;
}

bool is_uncalled(const Engine& engine, const Schedule::Queue& queue) {
  const auto& way = queue.destination().via.front();
  return queue.counts.ready > 0 && is_called_for(way) && !engine.schedule().is_called(hop_name(way, queue.name()));
}

std::string why_uncalled(const Engine& engine, const std::string& queue) {
  const auto place = engine.router().called_for_by(queue);
  return cut(fmt::format("waits until its host calls: ATRN{}", place.empty() ? "" : " (" + place + ")"), ipc::kMaxReason);
}

Standing standing(const Engine& engine, const Message& message, const Recipient& recipient) {
  const auto& clock = engine.store().clock();
  if (engine.schedule().leased(message.id, recipient.number))
    return {ipc::State::kDelivering, "", {}, {}};
  if (!message.held.empty()) return {ipc::State::kHeld, message.held, {}, {}};
  const auto route = engine.router().route(recipient.address);
  const auto blocked = engine.blocks().blocked(route.queue, route.destination);
  if (blocked != Blocked::kNo) return stopped(engine, route.queue, route.destination, blocked);
  auto due = engine.due(message, recipient, route.queue);
  std::string why;
  const auto* queue = engine.schedule().second_of(route.queue, message.id, recipient.number);
  if (queue == nullptr) queue = engine.schedule().find(route.queue);
  const auto* hop = queue == nullptr ? nullptr : hop_then(engine, *queue, due);
  if (auto stands = stopped_on_the_way(engine, hop)) return *std::move(stands);
  if (const auto before = frozen_before(engine, route.destination, hop, due, recipient); !before.empty())
    if (auto stands = stopped_by(engine, before)) return *std::move(stands);
  if (const auto* wait = wait_of(engine, hop); wait != nullptr && hop->until > due) {
    due = hop->until;
    why = cut(text_of(wait->reply), ipc::kMaxReason);
  }
  if (due > engine.now()) return {ipc::State::kRetry, std::move(why), clock.wall_at(due), {}};
  if (queue != nullptr && is_uncalled(engine, *queue))
    return {ipc::State::kUncalled, why_uncalled(engine, route.queue), {}, {}};
  return {};
}

}  // namespace postern::queued
