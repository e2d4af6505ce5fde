// Listings of next hops.
#include <map>

#include "common/base/text.h"
#include "queued/listings.h"
#include "queued/obstacles.h"

namespace postern::queued {
namespace {

ipc::QueueRow hop_row(const Engine& engine, const Schedule::Hop& hop) {
  ipc::QueueRow row;
  row.queue = hop.name();
  row.hop = true;
  row.queues = hop.queues();
  row.messages = hop.lines();
  row.connections = hop.grants;
  const auto wait = engine.store().waits().find(hop.name());
  if (wait != engine.store().waits().end())
    row.why = row.last_reply = cut(text_of(wait->second.reply), ipc::kMaxReason);
  if (hop.frozen) {
    row.state = ipc::State::kFrozen;
    if (const Freeze* freeze = engine.blocks().hop_frozen(hop.name())) {
      row.why = freeze->reason;
      row.until = freeze->until;
    }
  } else if (hop.until > engine.now()) {
    row.state = ipc::State::kRetry;
    row.next_try = engine.store().clock().wall_at(hop.until);
  } else if (hop.grants > 0) {
    row.state = ipc::State::kDelivering;
  }
  return row;
}

// Frozen next hops by the names that were typed, where none that such a name stands for is known: no mail leads there
// while it is frozen, or none has come yet. Patterns name no hop of their own.
using FrozenHops = std::map<std::string, ipc::QueueRow, std::less<>>;

FrozenHops frozen_hops(const Engine& engine, const std::string& pattern, const std::string& after) {
  FrozenHops rows;
  const auto& hops = engine.schedule().hops();
  for (const auto& freeze : engine.blocks().freezes()) {
    if (!freeze.hop || is_pattern(freeze.queue) || freeze.queue <= after || !matches(pattern, freeze.queue)) continue;
    // Typed without its port, say, it has its row already.
    if (std::ranges::any_of(hops, [&](const auto& hop) { return fit_hop(freeze.queue, hop.first) != 0; })) continue;
    auto& row = rows[freeze.queue];
    row.queue = freeze.queue;
    row.hop = true;
    row.state = ipc::State::kFrozen;
    row.why = freeze.reason;
    row.until = freeze.until;
  }
  if (rows.empty()) return rows;
  for (const auto& [name, queue] : engine.schedule().queues()) {
    if (queue.blocked != Blocked::kFrozen) continue;
    const Freeze* freeze = engine.blocks().frozen(name, queue.destination());
    if (freeze == nullptr || !freeze->hop) continue;
    const auto row = rows.find(freeze->queue);
    if (row == rows.end()) continue;
    ++row->second.queues;
    row->second.messages += queue.messages();
  }
  return rows;
}

}  // namespace

ipc::QueueRows list_hops(const Engine& engine, const ipc::ListQueues& ask) {
  ipc::QueueRows answer;
  answer.request = ask.request;
  const auto& hops = engine.schedule().hops();
  const auto pattern = ask.pattern.empty() ? std::string("*") : base::to_lower(ask.pattern);
  const auto frozen = frozen_hops(engine, pattern, ask.after);
  auto known = ask.after.empty() ? hops.begin() : hops.upper_bound(ask.after);
  auto stopped = frozen.begin();
  while (!answer.more && (known != hops.end() || stopped != frozen.end())) {  // both are in order of their names
    if (stopped != frozen.end() && (known == hops.end() || stopped->first < known->first)) {
      answer.more = !answer.rows.add(stopped->second);
      ++stopped;
      continue;
    }
    if (matches(pattern, known->first)) answer.more = !answer.rows.add(hop_row(engine, known->second));
    ++known;
  }
  return answer;
}

}  // namespace postern::queued
