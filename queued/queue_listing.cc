// Listings of queues.
#include <algorithm>

#include "common/base/text.h"
#include "queued/listings.h"
#include "queued/obstacles.h"

namespace postern::queued {
namespace {

constexpr std::size_t kScannedQueues = 5000;

// Of those recipients of a message that belong to the queue, the first that was told something; null: none was.
const Recipient* told_in(const Engine& engine, const Message& message, const std::string& queue) {
  for (const auto& recipient : message.recipients)
    if (recipient.open() && recipient.trouble &&
        engine.router().route(recipient.address).queue == queue)
      return &recipient;
  return nullptr;
}

// Nothing keeps the queue as a whole, but all its messages wait for their own times.
bool only_its_messages_wait(const Engine& engine, const Schedule::Queue& queue) {
  if (queue.blocked != Blocked::kNo || queue.leases > 0 || queue.counts.ready > 0 || queue.counts.waiting == 0)
    return false;
  const auto* hop = hop_of(engine, queue);
  return (hop == nullptr || !hop->frozen) && wait_of(engine, hop) == nullptr;
}

// Who goes by a second path is of the queue too.
ipc::QueueRow queue_row(const Engine& engine, const Schedule::Queue& queue) {
  ipc::QueueRow row;
  row.queue = queue.name();
  const auto volume = engine.schedule().volume(queue);
  row.messages = volume.messages;
  row.bytes = volume.bytes;
  std::uint32_t leases = 0;
  engine.schedule().each_path(queue, [&](const Schedule::Queue& each) {
    leases += each.leases;
    if (each.hop() != nullptr)
      row.connections += each.hop()->queues() == 1 ? each.hop()->grants : each.leases;
    if (const auto first = engine.schedule().first_message(each))
      row.oldest = row.oldest.ms == 0 ? arrival_of(*first) : std::min(row.oldest, arrival_of(*first));
  });
  const auto& path = leading_path(engine.schedule(), queue);
  const auto& clock = engine.store().clock();
  const auto* hop = hop_of(engine, path);
  const auto* wait = wait_of(engine, hop);
  if (wait != nullptr) row.last_reply = cut(text_of(wait->reply), kReplyRoom);
  if (path.blocked != Blocked::kNo) {
    auto stands = stopped(engine, path.name(), path.destination(), path.blocked);
    row.state = stands.state;
    row.why = std::move(stands.why);
    row.until = stands.until;
  } else if (auto stands = stopped_on_the_way(engine, hop)) {
    row.state = stands->state;
    row.why = std::move(stands->why);
    row.until = stands->until;
  } else if (wait != nullptr) {
    row.state = ipc::State::kRetry;
    const auto next = path.counts.ready > 0 ? std::nullopt : engine.schedule().next_due(path);
    row.next_try = clock.wall_at(next ? std::max(next->time, hop->until) : hop->until);
    row.why = cut(row.last_reply, ipc::kMaxReason);
  } else if (leases > 0) {
    row.state = ipc::State::kDelivering;
  } else if (only_its_messages_wait(engine, path)) {
    row.state = ipc::State::kRetry;
    if (const auto next = engine.schedule().next_due(path)) row.next_try = clock.wall_at(next->time);
  } else if (path.counts.ready == 0 && path.counts.held > 0) {
    row.state = ipc::State::kHeld;
    row.why = "its messages are held";
  } else if (is_uncalled(engine, path)) {
    row.state = ipc::State::kUncalled;
    row.why = why_uncalled(engine, path.name());
  }
  return row;
}

// A page of queues under way.
struct QueuePage {
  ipc::QueueRows answer;
  std::vector<ipc::QueueRow> rows;
  // Rows of queues that are well themselves: what the first of their messages was told, or why it is held, says more.
  struct Told {
    std::size_t row = 0;
    base::MessageId by;
  };
  std::vector<Told> told;
};

QueuePage gather_queues(const Engine& engine, const ipc::ListQueues& ask) {
  QueuePage page;
  page.rows.reserve(page.answer.rows.kMostRows);
  page.answer.request = ask.request;
  const auto& queues = engine.schedule().queues();
  const auto pattern = ask.pattern.empty() ? std::string("*") : base::to_lower(ask.pattern);
  std::size_t looked_at = 0;
  for (auto at = ask.after.empty() ? queues.begin() : queues.upper_bound(ask.after);
       at != queues.end(); ++at) {
    const auto& [name, queue] = *at;
    // A page ends with a row, for its name is the cursor.
    if (page.rows.size() == page.answer.rows.kMostRows ||
        (looked_at >= kScannedQueues && !page.rows.empty())) {
      page.answer.more = true;
      break;
    }
    ++looked_at;
    if (!matches(pattern, name) || !queue.has_mail()) continue;
    if (only_its_messages_wait(engine, queue))
      if (const auto next = engine.schedule().next_due(queue))
        page.told.push_back({page.rows.size(), next->message});
    page.rows.push_back(queue_row(engine, queue));
    if (page.rows.back().state == ipc::State::kHeld)
      if (const auto first = engine.schedule().first_message(queue))
        page.told.push_back({page.rows.size() - 1, *first});
  }
  return page;
}

// What a queue waits for that is well itself. Where it leads may not be known, and frozen (frozen_before()).
void add_told(const Engine& engine, const Message& message, const Recipient& recipient, ipc::QueueRow& row) {
  row.last_reply = reply_of(recipient);
  auto stands = standing(engine, message, recipient);
  if (stands.state != ipc::State::kFrozen) return;
  row.state = stands.state;
  row.why = std::move(stands.why);
  row.until = stands.until;
  row.next_try = {};
}

}  // namespace

void list_queues(Engine& engine, const ipc::ListQueues& ask, Reply<ipc::QueueRows> reply) {
  auto use = std::make_unique<Throttle::Use>(engine.throttle());
  if (ask.hops) return reply(list_hops(engine, ask));
  auto page = gather_queues(engine, ask);
  std::vector<base::MessageId> ids;
  for (const auto& told : page.told) ids.push_back(told.by);
  engine.store().fetch(std::move(ids), [&engine, use = std::move(use), page = std::move(page),
                                        reply = std::move(reply)]() mutable noexcept {
    for (const auto& told : page.told) {
      auto& row = page.rows[told.row];
      const Message* message = engine.store().find(told.by);
      if (message == nullptr) continue;
      if (row.state == ipc::State::kHeld)
        row.why = cut("its messages are held: " + message->held, ipc::kMaxReason);
      else if (const Recipient* recipient = told_in(engine, *message, row.queue))
        add_told(engine, *message, *recipient, row);
    }
    for (auto& row : page.rows) {
      if (page.answer.rows.add(std::move(row))) continue;
      page.answer.more = true;
      break;
    }
    reply(page.answer);
  });
}

}  // namespace postern::queued
