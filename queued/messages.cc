#include "queued/messages.h"

#include <algorithm>

#include "common/base/check.h"

namespace postern::queued {
namespace {

Recipient to_recipient(const RecipientRecord& record) {
  Recipient recipient;
  recipient.address = record.address;
  recipient.number = record.number;
  recipient.tries = record.tries;
  recipient.last_try = record.last_try;
  recipient.next_try = record.next_try;
  if (record.tries > 0)
    recipient.trouble =
        std::make_shared<const Trouble>(Trouble{record.failure, record.reply, record.remote});
  return recipient;
}

RecipientRecord to_record(const Recipient& recipient) {
  RecipientRecord record;
  record.number = recipient.number;
  record.address = recipient.address;
  record.tries = recipient.tries;
  record.last_try = recipient.last_try;
  record.next_try = recipient.next_try;
  if (recipient.trouble) {
    record.failure = recipient.trouble->failure;
    record.reply = recipient.trouble->reply;
    record.remote = recipient.trouble->remote;
  }
  return record;
}

bool same(const ipc::ReplyText& a, const ipc::ReplyText& b) {
  return a.code == b.code && a.status == b.status && a.subject == b.subject &&
         a.detail == b.detail && a.text == b.text;
}

Recipient* look_up(Message& message, std::uint32_t number) {
  return const_cast<Recipient*>(find_recipient(message, number));
}

}  // namespace

const Recipient* find_recipient(const Message& message, std::uint32_t number) {
  const auto at = std::lower_bound(message.recipients.begin(), message.recipients.end(), number,
                                   [](const Recipient& r, std::uint32_t n) { return r.number < n; });
  return at != message.recipients.end() && at->number == number ? &*at : nullptr;
}

Message& Messages::put(const MessageRecord& record, const Place& place) {
  const auto at = messages_.try_emplace(messages_.end(), record.id);
  Message& message = at->second;
  if (message.id.value != 0) count_out(message);
  message = {};
  message.id = record.id;
  message.token = record.token;
  message.arrived = record.arrived;
  message.born = record.born;
  message.client = record.client;
  message.hello = record.hello;
  message.from = record.from;
  message.prefix = record.prefix;
  message.held = record.held;
  message.body_size = record.body_size;
  message.body_crc = record.body_crc;
  message.form = record.form;
  message.eight_bit = record.eight_bit;
  message.notice = record.notice;
  message.damaged = record.damaged;
  message.large = record.large;
  message.recipients.reserve(record.recipients.size());
  for (const auto& recipient : record.recipients)
    message.recipients.push_back(to_recipient(recipient));
  std::sort(message.recipients.begin(), message.recipients.end(),
            [](const Recipient& a, const Recipient& b) { return a.number < b.number; });
  message.open = static_cast<std::uint32_t>(message.recipients.size());
  message.place = place;
  count_in(message);
  return message;
}

bool Messages::apply(const OutcomeRecord& record) {
  const auto at = messages_.find(record.message);
  if (at == messages_.end()) return false;
  Message& message = at->second;
  std::shared_ptr<const Trouble> shared;
  for (const auto& fate : record.fates) {
    Recipient* recipient = look_up(message, fate.number);
    if (recipient == nullptr || !recipient->open()) continue;
    ++recipient->tries;
    recipient->last_try = record.when;
    recipient->next_try = fate.next_try;
    if (!shared || shared->failure != fate.failure || !same(shared->reply, fate.reply))
      shared = std::make_shared<const Trouble>(Trouble{fate.failure, fate.reply, record.remote});
    recipient->trouble = shared;
    switch (fate.fate) {
      case Fate::kDelivered:
        recipient->end = ipc::RecipientEnd::kDelivered;
        break;
      case Fate::kFailed:
        recipient->end = ipc::RecipientEnd::kBounced;
        break;
      case Fate::kDeferred:
        break;
    }
    if (!recipient->open()) --message.open;
  }
  if (message.open > 0) return false;
  count_out(message);
  messages_.erase(at);
  return true;
}

void Messages::apply(const QueueRecord& record) {
  wait_segments_.erase(record.queue);
  if (record.failures == 0)
    waits_.erase(record.queue);
  else
    waits_[record.queue] = record;
}

void Messages::wait_stands(const std::string& queue, std::uint64_t segment) {
  if (waits_.contains(queue)) wait_segments_[queue] = segment;
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
    at = wait_segments_.erase(at);
  }
  return taken;
}

void Messages::apply(const ReleaseRecord& record) {
  for (const auto id : record.messages) {
    Message* message = find(id);
    if (message == nullptr) continue;
    if (!message->damaged) message->held.clear();
    for (auto& recipient : message->recipients)
      recipient.next_try = std::min(recipient.next_try, record.clock);
  }
  for (const auto& queue : record.queues) {
    waits_.erase(queue);
    wait_segments_.erase(queue);
  }
}

void Messages::apply(const HoldRecord& record) {
  if (Message* message = find(record.message)) message->held = record.why;
}

void Messages::move(Message& message, const Place& place) {
  count_out(message);
  message.place = place;
  count_in(message);
}

Message* Messages::find(base::MessageId id) {
  const auto at = messages_.find(id);
  return at == messages_.end() ? nullptr : &at->second;
}
const Message* Messages::find(base::MessageId id) const {
  return const_cast<Messages*>(this)->find(id);
}

Message* Messages::next(base::MessageId after) {
  const auto at = messages_.upper_bound(after);
  return at == messages_.end() ? nullptr : &at->second;
}
const Message* Messages::next(base::MessageId after) const {
  return const_cast<Messages*>(this)->next(after);
}

std::uint64_t Messages::in_segment(std::uint64_t number) const {
  const auto at = segments_.find(number);
  return at == segments_.end() ? 0 : at->second.live;
}

Message* Messages::next_in_segment(std::uint64_t number, std::size_t& cursor) {
  const auto at = segments_.find(number);
  if (at == segments_.end()) return nullptr;
  while (cursor < at->second.came.size()) {
    Message* message = find(at->second.came[cursor++]);
    if (message != nullptr && message->place.segment == number) return message;
  }
  return nullptr;
}

void Messages::count_in(const Message& message) {
  auto& segment = segments_[message.place.segment];
  ++segment.live;
  segment.came.push_back(message.id);
  bytes_ += message.size();
  live_bytes_ += message.place.size;
  if (message.large) large_bytes_ += message.body_size;
}

void Messages::count_out(const Message& message) {
  const auto at = segments_.find(message.place.segment);
  CHECK(at != segments_.end());
  if (--at->second.live == 0) segments_.erase(at);
  bytes_ -= message.size();
  live_bytes_ -= message.place.size;
  if (message.large) large_bytes_ -= message.body_size;
}

MessageRecord to_record(const Message& message) {
  MessageRecord record;
  record.id = message.id;
  record.token = message.token;
  record.arrived = message.arrived;
  record.born = message.born;
  record.client = message.client;
  record.hello = message.hello;
  record.from = message.from;
  record.form = message.form;
  record.eight_bit = message.eight_bit;
  record.notice = message.notice;
  record.damaged = message.damaged;
  record.large = message.large;
  record.body_size = message.body_size;
  record.body_crc = message.body_crc;
  record.prefix = message.prefix;
  record.held = message.held;
  for (const auto& recipient : message.recipients)
    if (recipient.open()) record.recipients.push_back(to_record(recipient));
  return record;
}

}  // namespace postern::queued
