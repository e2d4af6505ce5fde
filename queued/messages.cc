#include "queued/messages.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "common/base/check.h"

namespace postern::queued {
namespace {

constexpr std::size_t kFewBodies = 1024;  // below it, gaps in the list of bodies do not matter
constexpr std::size_t kFewIdle = 1024;    // likewise in the list of saved residents

bool same(const ipc::ReplyText& a, const ipc::ReplyText& b) {
  return a.code == b.code && a.status == b.status && a.subject == b.subject &&
         a.detail == b.detail && a.text == b.text;
}

Recipient* look_up(Message& message, std::uint32_t number) {
  return const_cast<Recipient*>(find_recipient(message, number));
}

}  // namespace

// --- Records ----------------------------------------------------------------------------------------

Message* Messages::put(MessageRecord&& record, const Place& place, Sequence sequence) {
  const auto id = record.id;
  if (ended_.contains(id)) return nullptr;
  Saving saving;
  saving.counted = true;
  if (Message* before = bring_in(id)) {
    if (before->saving.last >= sequence) return nullptr;
    saving = before->saving;
    if (saving.counted) count_out(*before);
    drop_body(*before);
  }
  // Most are younger than all that are there.
  Message& message =
      residents_.insert_or_assign(residents_.end(), id, to_message(std::move(record), place))->second;
  message.saving = saving;
  if (saving.counted) count_in(message);
  touch(message.id, message.saving, sequence);
  return &message;
}

bool Messages::apply(const OutcomeRecord& record, Sequence sequence) {
  for (const auto notice : record.replaces) end_replaced(notice, sequence);
  Message* message = bring_in(record.message);
  if (message == nullptr || message->saving.last >= sequence) return false;
  std::shared_ptr<const Trouble> shared;
  for (const auto& fate : record.fates) {
    Recipient* recipient = look_up(*message, fate.number);
    if (recipient == nullptr || !recipient->open()) continue;
    if (fate.fate == Fate::kRemoved) {  // nothing was tried
      recipient->end = ipc::RecipientEnd::kRemoved;
      --message->open;
      continue;
    }
    recipient->tries = recipient->tries_so_far();
    recipient->last_try = record.when;
    recipient->tried = record.clock;
    recipient->next_try = fate.next_try;
    if (!shared || shared->failure != fate.failure || !same(shared->reply, fate.reply))
      shared = std::make_shared<const Trouble>(
          Trouble{fate.failure, fate.reply, record.remote, record.tls});
    recipient->trouble = shared;
    switch (fate.fate) {
      case Fate::kDelivered:
        recipient->end = ipc::RecipientEnd::kDelivered;
        break;
      case Fate::kFailed:
        recipient->end = ipc::RecipientEnd::kBounced;
        break;
      case Fate::kDeferred:
      case Fate::kRemoved:
        break;
    }
    if (!recipient->open()) --message->open;
  }
  for (const auto number : record.delayed)
    if (Recipient* recipient = look_up(*message, number)) recipient->delay_told = true;
  if (message->open > 0) {
    touch(message->id, message->saving, sequence);
    return false;
  }
  end(*message, sequence);
  return true;
}

void Messages::apply(const QueueRecord& record) {
  wait_segments_.erase(record.queue);
  changed_waits_.insert(record.queue);
  if (record.failures == 0)
    waits_.erase(record.queue);
  else
    waits_[record.queue] = record;
}

void Messages::apply(const RetryRecord& record, Sequence sequence) {
  for (const auto id : record.messages) {
    Message* message = bring_in(id);
    if (message == nullptr || message->saving.last >= sequence) continue;
    for (auto& recipient : message->recipients)
      recipient.next_try = std::min(recipient.next_try, record.clock);
    touch(id, message->saving, sequence);
  }
  for (const auto& queue : record.queues) {
    waits_.erase(queue);
    wait_segments_.erase(queue);
    changed_waits_.insert(queue);
  }
}

void Messages::apply(const HoldRecord& record, Sequence sequence) {
  Message* message = bring_in(record.message);
  if (message == nullptr || message->saving.last >= sequence) return;
  if (record.why.empty() && message->damaged) return;  // nothing of it can be sent
  if (message->held.empty())
    message->held_since = record.clock;
  else if (record.why.empty())
    add_span(message->former_holds, {message->held_since, record.clock}, kMaxFormerHolds);
  message->held = record.why;
  touch(record.message, message->saving, sequence);
}

void Messages::move(Message& message, const Place& place, Sequence sequence) {
  if (message.saving.counted) count_out(message);
  message.place = place;
  if (message.saving.counted) count_in(message);
  touch(message.id, message.saving, sequence);
}

void Messages::touch(base::MessageId id, Saving& saving, Sequence sequence) {
  saving.last = std::max(saving.last, sequence);
  const bool changed = saving.unsaved.value != 0;
  if (changed && saving.unsaved <= sequence) return;
  if (changed) changed_.erase({saving.unsaved, id});
  saving.unsaved = sequence;
  changed_.emplace_hint(changed_.end(), sequence, id);
}

// Until the record that ends it is flushed, and its row gone, the message is remembered as ended.
void Messages::end(Message& message, Sequence sequence) {
  const auto id = message.id;
  if (message.saving.counted) count_out(message);
  drop_body(message);
  auto saving = message.saving;
  residents_.erase(id);
  touch(id, saving, sequence);
  ended_[id] = saving;
  if (!saving.has_row) rowless_.emplace_back(sequence, id);
}

// Alive, the record that it began with may be on its way into the journal still, in front of this one: put() finds it
// ended then.
void Messages::end_replaced(base::MessageId id, Sequence sequence) {
  if (ended_.contains(id)) return;
  if (Message* notice = bring_in(id)) {
    if (notice->saving.last < sequence) end(*notice, sequence);
    return;
  }
  Saving saving;
  touch(id, saving, sequence);
  ended_[id] = saving;
  rowless_.emplace_back(sequence, id);
}

// --- Residents --------------------------------------------------------------------------------------

Message* Messages::find(base::MessageId id) {
  const auto at = residents_.find(id);
  return at == residents_.end() ? nullptr : &at->second;
}
const Message* Messages::find(base::MessageId id) const {
  return const_cast<Messages*>(this)->find(id);
}

Message* Messages::bring_in(base::MessageId id) {
  if (Message* message = find(id)) return message;
  if (!source_ || ended_.contains(id)) return nullptr;
  auto row = source_(id);
  return row ? adopt(*std::move(row)) : nullptr;
}

Message* Messages::adopt(Message message) {
  if (ended_.contains(message.id)) return nullptr;
  const auto [at, fresh] = residents_.try_emplace(message.id);
  if (fresh) {
    at->second = std::move(message);
    at->second.saving.counted = at->first <= counted_upto_;
    idle_.push_back(at->first);
  }
  return &at->second;
}

const Message* Messages::next(base::MessageId after) const {
  const auto at = residents_.upper_bound(after);
  return at == residents_.end() ? nullptr : &at->second;
}

void Messages::evict(std::size_t most) {
  while (!buried_.empty()) {
    const auto at = ended_.find(buried_.front());
    if (at != ended_.end() && at->second.read_mark > reads_done_) break;
    if (at != ended_.end()) ended_.erase(at);
    buried_.pop_front();
  }
  if (!all_counted()) return;
  while (residents_.size() > most && !idle_.empty()) {
    const auto at = residents_.find(idle_.front());
    if (at != residents_.end()) {
      Message& message = at->second;
      if (message.saving.read_mark > reads_done_) break;
      const auto& saving = message.saving;
      if (saving.unsaved.value == 0 && !saving.on_its_way && !message.moving && message.uses == 0) {
        drop_body(message);
        residents_.erase(at);
      }
    }
    idle_.pop_front();
  }
}

void Messages::keep_body(Message& message, std::shared_ptr<const std::string> body,
                         std::uint64_t budget) {
  drop_body(message);
  body_bytes_ += body->size();
  message.body = std::move(body);
  bodied_.push_back(message.id);
  while (body_bytes_ > budget && !bodied_.empty()) {
    if (Message* oldest = find(bodied_.front())) drop_body(*oldest);
    bodied_.pop_front();
  }
  // Most messages end long before the budget does; their places go when they are the majority.
  if (bodied_.size() > 2 * residents_.size() + kFewBodies)
    std::erase_if(bodied_, [this](base::MessageId id) {
      const Message* found = find(id);
      return found == nullptr || !found->body;
    });
}

void Messages::drop_body(Message& message) {
  if (!message.body) return;
  body_bytes_ -= message.body->size();
  message.body.reset();
}

// --- Sums -------------------------------------------------------------------------------------------

void Messages::count_row(const Message& row) {
  if (row.id <= counted_upto_) return;
  counted_upto_ = row.id;
  if (Message* resident = find(row.id)) {
    if (!std::exchange(resident->saving.counted, true)) count_in(*resident);
  } else if (!ended_.contains(row.id)) {
    count_in(row);
  }
}

void Messages::count_all() {
  counted_upto_ = base::MessageId(~0ULL);
  for (auto& [id, message] : residents_)
    if (!std::exchange(message.saving.counted, true)) count_in(message);
}

std::uint64_t Messages::in_segment(std::uint64_t number) const {
  const auto at = segments_.find(number);
  return at == segments_.end() ? 0 : at->second.live;
}

std::vector<base::MessageId> Messages::ids_in_segment(std::uint64_t number, std::size_t& cursor,
                                                      std::size_t limit) {
  std::vector<base::MessageId> ids;
  const auto at = segments_.find(number);
  if (at == segments_.end()) return ids;
  const auto& came = at->second.came;
  while (cursor < came.size() && ids.size() < limit) ids.push_back(came[cursor++]);
  return ids;
}

void Messages::count_in(const Message& message) {
  auto& segment = segments_[message.place.segment];
  ++segment.live;
  segment.came.push_back(message.id);
  ++count_;
  bytes_ += message.size();
  live_bytes_ += message.place.size;
  if (message.large) large_bytes_ += message.body_size;
}

void Messages::count_out(const Message& message) {
  const auto at = segments_.find(message.place.segment);
  CHECK(at != segments_.end());
  if (--at->second.live == 0) segments_.erase(at);
  --count_;
  bytes_ -= message.size();
  live_bytes_ -= message.place.size;
  if (message.large) large_bytes_ -= message.body_size;
}

// --- Waits ------------------------------------------------------------------------------------------

void Messages::adopt(const WaitRow& row) {
  waits_[row.record.queue] = row.record;
  wait_segments_[row.record.queue] = row.segment;
}

void Messages::wait_stands(const std::string& queue, std::uint64_t segment) {
  if (!waits_.contains(queue)) return;
  wait_segments_[queue] = segment;
  changed_waits_.insert(queue);
}

std::vector<QueueRecord> Messages::take_waits(std::uint64_t segment) {
  std::vector<QueueRecord> taken;
  for (auto at = wait_segments_.begin(); at != wait_segments_.end();) {
    if (at->second > segment) {
      ++at;
      continue;
    }
    taken.push_back(std::move(waits_.at(at->first)));
    waits_.erase(at->first);
    changed_waits_.insert(at->first);
    at = wait_segments_.erase(at);
  }
  return taken;
}

// --- Saving -----------------------------------------------------------------------------------------

Saving* Messages::saving_of(base::MessageId id) {
  if (Message* message = find(id)) return &message->saving;
  const auto at = ended_.find(id);
  return at == ended_.end() ? nullptr : &at->second;
}

// What ended without a row needs none.
void Messages::forget_rowless(Sequence flushed) {
  for (; !rowless_.empty() && rowless_.front().first <= flushed; rowless_.pop_front()) {
    const auto at = ended_.find(rowless_.front().second);
    CHECK(at != ended_.end());
    changed_.erase({at->second.unsaved, at->first});
    ended_.erase(at);
  }
}

Messages::Changes Messages::changes(Sequence flushed, Sequence settled, std::size_t limit) {
  forget_rowless(flushed);
  Changes changes;
  changes.covered = flushed;
  for (auto at = changed_.begin(); at != changed_.end();) {
    const auto [unsaved, id] = *at;
    Message* message = find(id);
    Saving& saving = message != nullptr ? message->saving : ended_.at(id);
    const bool young = message != nullptr && !saving.has_row && unsaved > settled;
    const bool stays = young || saving.last > flushed || changes.messages.size() == limit;
    // They come in the order of their first unsaved records, so the first that stays decides.
    if (stays) changes.covered = std::min(changes.covered, Sequence(unsaved.value - 1));
    if (stays && saving.last <= flushed) break;  // so would the others
    if (stays) {
      ++at;
      continue;
    }
    changes.messages.emplace_back(id, std::exchange(saving.unsaved, {}));
    auto& row = changes.rows.emplace_back(Table::kMessages, message_key(id), std::nullopt);
    if (message != nullptr) row.value = encode_row(*message);
    saving.has_row = saving.on_its_way = true;
    at = changed_.erase(at);
  }
  for (const auto& queue : std::exchange(changed_waits_, {})) {
    auto& row = changes.rows.emplace_back(Table::kWaits, queue, std::nullopt);
    const auto segment = wait_segments_.find(queue);
    if (const auto wait = waits_.find(queue); wait != waits_.end())
      row.value = ipc::encode(
          WaitRow{.record = wait->second,
                  .segment = segment == wait_segments_.end() ? 0 : segment->second});
    changes.waits.push_back(queue);
  }
  return changes;
}

void Messages::saved(const Changes& changes) {
  for (const auto& [id, unsaved] : changes.messages) {
    Saving* saving = saving_of(id);
    CHECK(saving != nullptr);
    saving->on_its_way = false;
    if (saving->unsaved.value != 0) continue;  // it changed again
    saving->read_mark = reads_begun_;
    (ended_.contains(id) ? buried_ : idle_).push_back(id);
  }
  if (idle_.size() > 2 * residents_.size() + kFewIdle) tidy_idle();
}

// Most messages end before anybody needs their room, and those that change often stand in it often: the
// last place of each resident counts.
void Messages::tidy_idle() {
  std::unordered_set<base::MessageId> seen;
  std::deque<base::MessageId> kept;
  for (auto at = idle_.rbegin(); at != idle_.rend(); ++at)
    if (find(*at) != nullptr && seen.insert(*at).second) kept.push_front(*at);
  idle_ = std::move(kept);
}

void Messages::unsaved(const Changes& changes) {
  for (const auto& [id, unsaved] : changes.messages) {
    Saving* saving = saving_of(id);
    CHECK(saving != nullptr);
    saving->on_its_way = false;
    touch(id, *saving, unsaved);
  }
  changed_waits_.insert(changes.waits.begin(), changes.waits.end());
}

}  // namespace postern::queued
