// The part of Engine that ends things: outcomes, failures of whole queues, expiry.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/log/log.h"
#include "queued/engine.h"
#include "queued/history.h"

namespace postern::queued {
namespace {

constexpr base::Millis kCapTime{60'000};  // how long a host's limit of connections is respected
constexpr std::size_t kSlice = 50;  // messages of a queue that end in one turn

std::string_view event_name(Fate fate) {
  switch (fate) {
    case Fate::kDelivered:
      return "delivery.ok";
    case Fate::kDeferred:
      return "delivery.deferred";
    case Fate::kFailed:
      return "delivery.failed";
    case Fate::kRemoved:
      return "message.removed";
  }
  return "delivery";
}

}  // namespace

base::Millis Engine::age(const Message& message, const mail::Address& recipient) const {
  const auto age = now() - message.born - message.held_for(now());
  // The usual case needs no more.
  if (!is_expired(config_.retry, age) && !is_late(config_.retry, age)) return age;
  const auto route = router_->route(recipient);
  return this->age(message, route.queue, route.destination);
}

base::Millis Engine::age(const Message& message, std::string_view queue,
                         const Destination& destination) const {
  return now() - message.born - message.held_for(now()) -
         blocks_.paused(std::string(queue), destination, message.born, now());
}

void Engine::conclude(base::MessageId id, std::vector<RecipientAttempt> attempts,
                      std::string remote, Done written) {
  if (store_.find(id) != nullptr)  // the usual case
    return judge_all(id, attempts, std::move(remote), std::move(written));
  for (const auto& attempt : attempts) concluding_.emplace(id, attempt.number);
  store_.fetch({id}, [this, id, attempts = std::move(attempts), remote = std::move(remote),
                      written = std::move(written)]() mutable noexcept {
    for (const auto& attempt : attempts) concluding_.erase({id, attempt.number});
    judge_all(id, attempts, std::move(remote), std::move(written));
  });
}

// The message is in memory, unless it is gone.
void Engine::judge_all(base::MessageId id, const std::vector<RecipientAttempt>& attempts,
                       std::string remote, Done written) {
  const Message* message = store_.find(id);
  Occasion occasion{id, {}, {}, std::move(remote), std::move(written)};
  bool bad = false;
  for (const auto& [number, attempt] : attempts) {
    const Recipient* recipient = message != nullptr ? find_recipient(*message, number) : nullptr;
    if (recipient == nullptr || !recipient->open()) continue;
    const auto old = age(*message, recipient->address);
    auto fate = judge(config_.retry, *recipient, attempt, old, now());
    if (auto report = report_of(*message, *recipient, fate, attempt.arrival, old))
      occasion.reports.push_back(*std::move(report));
    bad = bad || (fate.fate == Fate::kFailed && !has_sender(*message));
    occasion.fates.push_back(std::move(fate));
  }
  if (occasion.fates.empty()) {
    if (occasion.written) occasion.written();
    return;
  }
  if (bad) return put_into_badmail(std::move(occasion));
  if (!occasion.reports.empty()) return tell(std::move(occasion));
  finish(std::move(occasion), {});
}

// The outcome and the notice that it causes become one record. The message is in memory, unless it is
// gone.
void Engine::finish(Occasion occasion, std::string_view head) {
  const Message* message = store_.find(occasion.id);
  if (message == nullptr) {
    if (occasion.written) occasion.written();
    return;
  }
  forget_known(occasion.reports, *message);
  if (occasion.fates.empty() && occasion.reports.empty()) return;
  for (const auto& fate : occasion.fates) report(*message, fate, occasion.remote);
  OutcomeRecord record;
  record.message = occasion.id;
  record.when = store_.clock().wall();
  record.clock = now();
  record.remote = occasion.remote.substr(0, ipc::kMaxRemote);
  Bytes notice_body;
  Done flushed;
  if (!occasion.reports.empty())
    flushed = add_notice(record, notice_body, *message, occasion.reports, head);
  if (history_ != nullptr)
    history_->add(history_lines(*message, occasion.fates, occasion.remote, record.when, *router_));
  record.fates = occasion.fates;
  store_.outcome(std::move(record), std::move(notice_body), std::move(occasion.written),
                 std::move(flushed));
  for (const auto& fate : occasion.fates)
    if (fate.fate == Fate::kDeferred) put_back(occasion.id, {fate.number}, fate.next_try);
  poke();
}

void Engine::remove(base::MessageId id, const std::string& why) {
  const Message* message = store_.find(id);
  if (message == nullptr) return;
  std::vector<RecipientFate> fates;
  for (const auto& recipient : message->recipients) {
    if (!recipient.open()) continue;
    fates.push_back({.number = recipient.number,
                     .fate = Fate::kRemoved,
                     .reply = our_reply(2, 0, 0, why)});
    (void)schedule_.take(router_->route(recipient.address).queue, id);
  }
  finish({id, std::move(fates), {}, {}, {}}, {});
}

void Engine::report(const Message& message, const RecipientFate& fate, const std::string& remote) {
  const Recipient* recipient = find_recipient(message, fate.number);
  if (recipient == nullptr) return;
  const auto steady = store_.clock().steady();
  switch (fate.fate) {
    case Fate::kDelivered:
      counters_.delivered.add(steady);
      break;
    case Fate::kDeferred:
      counters_.deferred.add(steady);
      break;
    case Fate::kFailed:
      counters_.failed.add(steady);
      break;
    case Fate::kRemoved:
      break;
  }
  if (fate.fate == Fate::kFailed && fate.reply.code == 0 && fate.reply.subject == 4 &&
      fate.reply.detail == 7)
    log::warning("message.expired").field("id", message.id).field("to", recipient->address.text());
  log::info(event_name(fate.fate))
      .field("id", message.id)
      .field("to", recipient->address.text())
      .field("queue", router_->route(recipient->address).queue)
      .field("remote", remote)
      .field("reply", text_of(fate.reply))
      .field("tries", recipient->tries + 1)
      .field("delay", (store_.clock().wall() - message.arrived).count());
}

// --- Next hops --------------------------------------------------------------------------------------

void Engine::hop_found(DelivererId deliverer, const ipc::HopFound& found) {
  const auto queue =
      schedule_.hop_found(deliverer, found.grant, found.next_hop, found.ttl, now());
  if (queue) forget_wait(*queue);  // its hosts can be found again
}

void Engine::hop_works(const LeaseInfo& lease) {
  if (const auto* hop = schedule_.note_success(lease)) forget_wait(hop->name());
}

void Engine::forget_wait(const std::string& name) {
  if (!store_.waits().contains(name)) return;
  QueueRecord record;
  record.queue = name;
  record.when = store_.clock().wall();
  record.clock = now();
  store_.note(std::move(record));
}

void Engine::hop_failed(const EndedGrant& grant, ipc::FailureClass failure,
                        const ipc::ReplyText& reply, const std::string& remote) {
  const auto* hop = schedule_.find_hop(grant.hop);
  // Connections that fail together count once; while others work, this one was merely too many.
  if (hop == nullptr || hop->until > now()) return;
  if (hop->grants > hop->unopened) return schedule_.trouble(grant.hop);
  QueueRecord record;
  record.queue = grant.hop;
  record.when = store_.clock().wall();
  record.clock = now();
  record.failures = hop->failures + 1;
  record.until = now() + retry_delay(config_.retry, record.failures);
  record.failure = failure;
  record.reply = reply;
  record.remote = remote;
  log::info("queue.deferred")
      .field("queue", grant.queue)
      .field("hop", hop->known() ? grant.hop : "")
      .field("class", ipc::name(failure))
      .field("remote", remote)
      .field("reply", text_of(reply))
      .field("failures", record.failures)
      .field("seconds", (record.until - record.clock).count() / 1000);
  schedule_.defer(grant.hop, {record.until, record.failures}, now());
  store_.note(std::move(record));
  expire_queues(grant.hop, {{}, failure, reply, remote, {}});
}

// All queues that lead to the hop and found no other way: a few in each turn.
void Engine::expire_queues(std::string hop, OldMail work) {
  constexpr std::size_t kLooks = 2'000;
  slices_.add([this, hop = std::move(hop), work = std::move(work),
               after = std::string()]() mutable noexcept {
    for (auto& name : schedule_.queues_of(hop, after, kLooks)) {
      auto one = work;
      one.queue = std::move(name);
      expire_slice(std::move(one));
    }
    return !after.empty();
  });
}

// After a failed attempt of the whole queue: its messages that are too old end, and of late ones the
// sender is told, a slice at a time.
void Engine::expire_slice(OldMail work) {
  auto slice = schedule_.messages(work.queue, work.after, kSlice);
  if (slice.empty()) return;
  store_.fetch(slice, [this, slice, work = std::move(work)]() mutable noexcept {
    const auto* queue = schedule_.find(work.queue);
    if (queue == nullptr) return;
    std::vector<base::MessageId> old;
    std::vector<std::pair<base::MessageId, base::Millis>> late;
    bool more = true;
    for (const auto id : slice) {
      const Message* message = store_.find(id);
      work.gap = work.gap || (message != nullptr && message->held_for(now()).count() != 0);
      if (message == nullptr || !message->held.empty()) continue;
      // Nor is any that came later.
      const auto raw = now() - message->born;
      if (!(more = is_expired(config_.retry, raw) || is_late(config_.retry, raw))) break;
      const auto age = raw - message->held_for(now()) -
                       blocks_.paused(work.queue, queue->destination(), message->born, now());
      if (is_expired(config_.retry, age))
        old.push_back(id);
      else if (is_late(config_.retry, age))
        late.emplace_back(id, age);
    }
    for (const auto id : old) {
      std::vector<RecipientAttempt> attempts;
      for (const auto number : schedule_.take(work.queue, id))
        attempts.push_back({number, {ipc::Result::kDeferred, work.failure, work.reply, {}}});
      conclude(id, std::move(attempts), work.remote, {});
    }
    for (const auto& [id, age] : late)
      if (const Message* message = store_.find(id)) tell_delay(*message, work, age);
    work.after = slice.back();
    if (!more) return;
    skip_told(work, late.empty() ? base::MessageId() : late.back().first);
    slices_.add([this, work = std::move(work)]() mutable noexcept {
      expire_slice(std::move(work));
      return false;
    });
  });
}

void Engine::way_failed(const EndedGrant& grant, ipc::FailureClass failure,
                        const ipc::ReplyText& reply, const std::string& remote) {
  switch (schedule_.way_failed(grant)) {
    case Schedule::Onward::kNextWay:
      return poke();
    case Schedule::Onward::kLastWay:  // only that may end mail
      return fail_queue(grant.queue, failure, reply, remote);
    case Schedule::Onward::kElsewhere:
      return;
  }
}

void Engine::fail_queue(const std::string& name, ipc::FailureClass failure,
                        const ipc::ReplyText& reply, const std::string& remote) {
  const auto last = schedule_.last_message(name);  // what comes later is tried by itself
  if (!last) return;
  slices_.add([this, name, failure, reply, remote, last,
               after = base::MessageId()]() mutable noexcept {
    const auto* queue = schedule_.find(name);
    if (queue == nullptr || queue->blocked != Blocked::kNo) return false;
    const auto slice = schedule_.messages(name, after, kSlice);
    if (slice.empty()) return false;
    after = slice.back();
    for (const auto id : slice) {
      if (id > *last) return false;
      if (schedule_.held(name, id)) continue;
      std::vector<RecipientAttempt> attempts;
      for (const auto number : schedule_.take(name, id))
        attempts.push_back({number, {ipc::Result::kFailed, failure, reply, {}}});
      conclude(id, std::move(attempts), remote, {});
    }
    return true;
  });
}

}  // namespace postern::queued
