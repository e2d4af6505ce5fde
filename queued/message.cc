#include "queued/message.h"

#include <algorithm>
#include <utility>

namespace postern::queued {

mail::ReversePath sender_of(const Message& message, const Recipient& recipient) {
  return recipient.sender ? mail::ReversePath(*recipient.sender) : message.from;
}

std::uint8_t sender_hash(const Message& message) {
  const std::string path = message.from.text();
  const auto at = path.rfind('@');
  const auto stem = path.substr(0, std::min(path.find_first_of("+=-0123456789"), at));
  const auto domain = at == std::string::npos ? std::string() : path.substr(at);
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a: a clash makes two share one's turns, no more
  const auto mix = [&](std::uint8_t byte) { hash = (hash ^ byte) * 1099511628211ULL; };
  for (const auto byte : message.client.bytes) mix(byte);
  for (const char c : stem) mix(static_cast<std::uint8_t>(c));
  for (const char c : domain) mix(static_cast<std::uint8_t>(c));
  return static_cast<std::uint8_t>(hash ^ hash >> 32);
}

std::vector<Span> Message::holds(QueueTime now) const {
  auto spans = former_holds;
  if (!held.empty()) spans.push_back({held_since, now});
  return spans;
}

Recipient to_recipient(RecipientRecord&& record) {
  Recipient recipient;
  recipient.address = std::move(record.address);
  recipient.number = record.number;
  recipient.tries = record.tries;
  recipient.last_try = record.last_try;
  recipient.tried = record.tried;
  recipient.next_try = record.next_try;
  recipient.notify = record.notify;
  recipient.delay_told = record.delay_told;
  recipient.orcpt = std::move(record.orcpt);
  recipient.alias = std::move(record.alias);
  recipient.sender = std::move(record.sender);
  recipient.expanded = record.expanded;
  if (record.tries > 0)
    recipient.trouble = std::make_shared<const Trouble>(Trouble{
        record.failure, std::move(record.reply), std::move(record.remote), std::move(record.tls)});
  return recipient;
}

RecipientRecord to_record(const Recipient& recipient) {
  RecipientRecord record;
  record.number = recipient.number;
  record.address = recipient.address;
  record.tries = recipient.tries;
  record.last_try = recipient.last_try;
  record.tried = recipient.tried;
  record.next_try = recipient.next_try;
  record.notify = recipient.notify;
  record.delay_told = recipient.delay_told;
  record.orcpt = recipient.orcpt;
  record.alias = recipient.alias;
  record.sender = recipient.sender;
  record.expanded = recipient.expanded;
  if (recipient.trouble) {
    record.failure = recipient.trouble->failure;
    record.reply = recipient.trouble->reply;
    record.remote = recipient.trouble->remote;
    record.tls = recipient.trouble->tls;
  }
  return record;
}

const Recipient* find_recipient(const Message& message, std::uint32_t number) {
  const auto at = std::lower_bound(message.recipients.begin(), message.recipients.end(), number,
                                   [](const Recipient& r, std::uint32_t n) { return r.number < n; });
  return at != message.recipients.end() && at->number == number ? &*at : nullptr;
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
  record.smtputf8 = message.smtputf8;
  record.tls_wish = message.tls_wish;
  if (message.first) record.first = *message.first;
  record.ret = message.ret;
  record.envid = message.envid;
  record.notice = message.notice;
  record.damaged = message.damaged;
  record.large = message.large;
  record.body_size = message.body_size;
  record.body_crc = message.body_crc;
  record.prefix = message.prefix;
  record.held = message.held;
  record.held_since = message.held_since;
  record.former_holds = message.former_holds;
  record.origin = message.origin;
  for (const auto& recipient : message.recipients)
    if (recipient.open()) record.recipients.push_back(to_record(recipient));
  return record;
}

Message to_message(MessageRecord&& record, const Place& place) {
  Message message;
  message.id = record.id;
  message.token = record.token;
  message.arrived = record.arrived;
  message.born = record.born;
  message.client = record.client;
  message.hello = std::move(record.hello);
  message.from = std::move(record.from);
  message.prefix = std::move(record.prefix);
  message.prefix_size = static_cast<std::uint32_t>(message.prefix.size());
  message.held = std::move(record.held);
  message.held_since = record.held_since;
  message.former_holds = std::move(record.former_holds);
  message.origin = record.origin;
  message.body_size = record.body_size;
  message.body_crc = record.body_crc;
  message.form = record.form;
  message.eight_bit = record.eight_bit;
  message.smtputf8 = record.smtputf8;
  message.tls_wish = record.tls_wish;
  if (record.first)
    message.first = std::make_shared<const ipc::FirstClient>(*std::move(record.first));
  message.ret = record.ret;
  message.envid = std::move(record.envid);
  message.notice = record.notice;
  message.damaged = record.damaged;
  message.large = record.large;
  message.recipients.reserve(record.recipients.size());
  for (auto& recipient : record.recipients)
    message.recipients.push_back(to_recipient(std::move(recipient)));
  std::sort(message.recipients.begin(), message.recipients.end(),
            [](const Recipient& a, const Recipient& b) { return a.number < b.number; });
  message.open = static_cast<std::uint32_t>(message.recipients.size());
  message.place = place;
  return message;
}

}  // namespace postern::queued
