// The part of Engine that ends things: outcomes with their notices, failures of whole queues, expiry.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/log/log.h"
#include "queued/engine.h"
#include "queued/history.h"
#include "queued/notices.h"

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
  }
  return "delivery";
}

}  // namespace

base::Millis Engine::age(const Message& message, const mail::Address& recipient) const {
  const auto age = now() - message.born - message.held_for(now());
  if (!is_expired(config_.retry, age)) return age;  // the usual case needs no more
  const auto route = router_->route(recipient);
  return age - blocks_.paused(route.queue, route.destination, message.born, now());
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
  std::vector<RecipientFate> fates;
  if (message != nullptr)
    for (const auto& [number, attempt] : attempts) {
      const Recipient* recipient = find_recipient(*message, number);
      if (recipient == nullptr || !recipient->open()) continue;
      fates.push_back(judge(config_.retry, *recipient, attempt, age(*message, recipient->address),
                            now()));
    }
  if (fates.empty()) {
    if (written) written();
    return;
  }
  const bool fails = std::any_of(fates.begin(), fates.end(), [](const RecipientFate& fate) {
    return fate.fate == Fate::kFailed;
  });
  if (!fails || !wants_notice(*message))
    return finish(id, std::move(fates), remote, {}, std::move(written));
  for (const auto& fate : fates) concluding_.emplace(id, fate.number);
  store_.load_head(
      id, kNoticeHeader,
      [this, id, fates = std::move(fates), remote = std::move(remote),
       written = std::move(written)](std::string head) mutable noexcept {
        for (const auto& fate : fates) concluding_.erase({id, fate.number});
        finish(id, std::move(fates), remote, head, std::move(written));
      });
}

// The outcome and the notice that it causes become one record. The message is in memory, unless it is
// gone.
void Engine::finish(base::MessageId id, std::vector<RecipientFate> fates,
                    const std::string& remote, std::string_view head, Done written) {
  const Message* message = store_.find(id);
  if (message == nullptr) {
    if (written) written();
    return;
  }
  std::vector<RecipientFate> failed;
  for (const auto& fate : fates) {
    report(*message, fate, remote);
    if (fate.fate == Fate::kFailed) failed.push_back(fate);
  }
  OutcomeRecord record;
  record.message = id;
  record.when = store_.clock().wall();
  record.clock = now();
  record.remote = remote.substr(0, ipc::kMaxRemote);
  Bytes notice_body;
  Done flushed;
  if (!failed.empty() && wants_notice(*message)) {
    auto notice = make_notice(*message, failed, remote, head, store_.new_id(), config_, record.when,
                              record.clock);
    counters_.bounces.add(store_.clock().steady());
    log::info("bounce.sent")
        .field("id", id)
        .field("notice", notice.record.id)
        .field("to", message->from.text())
        .field("recipients", failed.size());
    notice_body = std::make_shared<const std::string>(std::move(notice.body));
    flushed = [this, alive = alive_, notice_id = notice.record.id]() noexcept {
      if (*alive) admit(notice_id);
    };
    record.notice = std::move(notice.record);
  } else if (!failed.empty()) {
    log::warning("bounce.none").field("id", id).field("reason", "the reverse-path is null");
  }
  if (history_ != nullptr) history_->add(history_lines(*message, fates, remote, record.when, *router_));
  record.fates = fates;
  store_.outcome(std::move(record), std::move(notice_body), std::move(written), std::move(flushed));
  for (const auto& fate : fates)
    if (fate.fate == Fate::kDeferred) put_back(id, {fate.number}, fate.next_try);
  poke();
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

// --- Whole queues -----------------------------------------------------------------------------------

void Engine::queue_works(const std::string& queue) {
  schedule_.note_success(queue);
  if (!store_.waits().contains(queue)) return;
  QueueRecord record;
  record.queue = queue;
  record.when = store_.clock().wall();
  record.clock = now();
  store_.note(std::move(record));
}

void Engine::queue_failed(const std::string& name, ipc::FailureClass failure,
                          const ipc::ReplyText& reply, const std::string& remote) {
  const auto* queue = schedule_.find(name);
  // Connections that fail together count once; while others work, this one was merely too many.
  if (queue == nullptr || queue->until > now()) return;
  if (queue->grants > queue->unopened) return schedule_.cap(name, now() + kCapTime);
  if (schedule_.try_next_hop(name)) return poke();
  QueueRecord record;
  record.queue = name;
  record.when = store_.clock().wall();
  record.clock = now();
  record.failures = queue->failures + 1;
  record.until = now() + retry_delay(config_.retry, record.failures);
  record.failure = failure;
  record.reply = reply;
  record.remote = remote;
  schedule_.defer(name, record.until, record.failures, now());
  log::info("queue.deferred")
      .field("queue", name)
      .field("class", ipc::name(failure))
      .field("remote", remote)
      .field("reply", text_of(reply))
      .field("failures", record.failures)
      .field("seconds", (record.until - record.clock).count() / 1000);
  store_.note(std::move(record));
  expire_slice({name, failure, reply, remote, {}});
}

// After a failed attempt of the whole queue: its messages that are too old end, a slice at a time.
void Engine::expire_slice(OldMail work) {
  auto slice = schedule_.messages(work.queue, work.after, kSlice);
  if (slice.empty()) return;
  store_.fetch(slice, [this, slice, work = std::move(work)]() mutable noexcept {
    const auto* queue = schedule_.find(work.queue);
    if (queue == nullptr) return;
    std::vector<base::MessageId> old;
    bool more = true;
    for (const auto id : slice) {
      const Message* message = store_.find(id);
      if (message == nullptr || !message->held.empty()) continue;
      // Nor is any that came later.
      if (!(more = is_expired(config_.retry, now() - message->born))) break;
      const auto paused =
          message->held_for(now()) +
          blocks_.paused(work.queue, queue->destination(), message->born, now());
      if (is_expired(config_.retry, now() - message->born - paused)) old.push_back(id);
    }
    for (const auto id : old) {
      std::vector<RecipientAttempt> attempts;
      for (const auto number : schedule_.take(work.queue, id))
        attempts.push_back({number, {ipc::Result::kDeferred, work.failure, work.reply}});
      conclude(id, std::move(attempts), work.remote, {});
    }
    work.after = slice.back();
    if (!more) return;
    slices_.add([this, work = std::move(work)]() mutable noexcept {
      expire_slice(std::move(work));
      return false;
    });
  });
}

void Engine::queue_failed_for_good(const std::string& name, ipc::FailureClass failure,
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
        attempts.push_back({number, {ipc::Result::kFailed, failure, reply}});
      conclude(id, std::move(attempts), remote, {});
    }
    return true;
  });
}

}  // namespace postern::queued
