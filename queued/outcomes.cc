// The part of Engine that ends things: outcomes, failures of whole queues, expiry.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "common/log/log.h"
#include "queued/engine.h"
#include "queued/history.h"

namespace postern::queued {
namespace {

constexpr std::size_t kSlice = 50;  // messages of a queue that end in one turn

// What was stopped while its mail ended, slice by slice, keeps what is left of it.
bool is_stopped(const Schedule::Queue& queue) {
  return queue.blocked != Blocked::kNo || (queue.hop() != nullptr && queue.hop()->frozen);
}

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

// The attempts of recipients who have a sender in common; nothing where all have the message's.
std::vector<std::vector<RecipientAttempt>> by_sender(const Message* message,
                                                     const std::vector<RecipientAttempt>& attempts) {
  std::map<std::string, std::vector<RecipientAttempt>> apart;
  const auto owned = [](const Recipient& recipient) { return recipient.sender.has_value(); };
  if (message == nullptr ||
      std::none_of(message->recipients.begin(), message->recipients.end(), owned))
    return {};
  for (const auto& attempt : attempts)
    if (const Recipient* recipient = find_recipient(*message, attempt.number))
      apart[sender_of(*message, *recipient).text()].push_back(attempt);
  std::vector<std::vector<RecipientAttempt>> all;
  for (auto& [sender, some] : apart) all.push_back(std::move(some));
  return all;
}

}  // namespace

base::Millis Engine::age(const Message& message, const mail::Address& recipient) const {
  const auto raw = now() - message.born;
  // The usual case needs no more.
  if (raw < retry_tables_.youngest()) return raw;
  const auto route = router_->route(recipient);
  return age(message, route.queue, route.destination);
}

std::vector<Span> Engine::standstills(std::string_view queue, const Destination& destination,
                                      QueueTime until, std::string_view hop) const {
  const auto* known = schedule_.find(queue);
  if (known != nullptr && known->hop() != nullptr && known->hop()->known()) hop = known->hop()->name();
  return blocks_.standstills(queue, destination, until, hop, hops_forgotten_);
}

bool Engine::clock_stands(std::string_view queue, const Destination& destination, std::string_view hop) const {
  const auto at = now();
  const auto spans = standstills(queue, destination, at + base::Millis(1), hop);
  return std::any_of(spans.begin(), spans.end(), [at](const Span& span) { return span.to > at; });
}

// Where a hold and a block overlap, their time is taken off once.
base::Millis Engine::age(const Message& message, std::string_view queue,
                         const Destination& destination, std::string_view hop) const {
  const auto at = now();
  auto spans = standstills(queue, destination, at, hop);
  const auto holds = message.holds(at);
  spans.insert(spans.end(), holds.begin(), holds.end());
  return at - message.born - covered(std::move(spans), message.born, at);
}

base::Millis Engine::least_age(const Message& message) const {
  auto least = now() - message.born;
  for (const auto& recipient : message.recipients) {
    if (!recipient.open()) continue;
    const auto route = router_->route(recipient.address);
    least = std::min(least, age(message, route.queue, route.destination));
  }
  return least;
}

std::optional<base::Millis> Engine::left(const Message& message, const Recipient& recipient) const {
  const auto route = router_->route(recipient.address);
  const auto failure =
      recipient.trouble ? recipient.trouble->failure : ipc::FailureClass::kConnect;
  const auto expire = retry_tables_.terms(route.queue, failure).expire;
  if (expire.count() == 0) return std::nullopt;
  return expire - age(message, route.queue, route.destination);
}

// The queue matters only to what is tried again.
RetryTerms Engine::terms(const Recipient& recipient, const Attempt& attempt) const {
  const bool ends =
      attempt.result == ipc::Result::kDelivered || attempt.result == ipc::Result::kFailed;
  return retry_tables_.terms(ends ? std::string() : router_->route(recipient.address).queue,
                             attempt.failure);
}

void Engine::conclude(base::MessageId id, std::vector<RecipientAttempt> attempts,
                      std::string remote, Done written, ipc::TlsNote tls, std::optional<Passage> by) {
  if (store_.find(id) != nullptr)  // the usual case
    return judge_all(id, attempts, std::move(remote), std::move(written), std::move(tls), by);
  for (const auto& attempt : attempts) concluding_.emplace(id, attempt.number);
  store_.fetch({id}, [this, id, attempts = std::move(attempts), remote = std::move(remote),
                      written = std::move(written), tls = std::move(tls), by = std::move(by)]() mutable noexcept {
    for (const auto& attempt : attempts) concluding_.erase({id, attempt.number});
    judge_all(id, attempts, std::move(remote), std::move(written), std::move(tls), by);
  });
}

// The message is in memory, unless it is gone. What goes to several senders is as many occasions.
void Engine::judge_all(base::MessageId id, const std::vector<RecipientAttempt>& attempts,
                       std::string remote, Done written, ipc::TlsNote tls,
                       const std::optional<Passage>& by) {
  const Message* message = store_.find(id);
  if (auto apart = by_sender(message, attempts); apart.size() > 1) {
    auto all = std::make_shared<std::pair<Done, std::size_t>>(std::move(written), apart.size());
    for (const auto& some : apart)
      judge_all(id, some, remote,
                [all]() noexcept {
                  if (--all->second == 0 && all->first) all->first();
                },
                tls, by);
    return;
  }
  std::vector<RecipientFate> fates;
  std::vector<Report> reports;
  std::vector<SecondTry> again;
  bool bad = false;
  for (const auto& [number, attempt] : attempts) {
    const Recipient* recipient = message != nullptr ? find_recipient(*message, number) : nullptr;
    if (recipient == nullptr || !recipient->open()) continue;
    if (auto second = second_try(*recipient, attempt, by)) {
      again.push_back(*std::move(second));
      continue;
    }
    const auto old = age(*message, recipient->address);
    auto fate = judge(terms(*recipient, attempt), id, *recipient, attempt, old, now());
    if (by && by->refused != 0 && recipient->goes_on())
      fate.reply = after_refusal(std::move(fate.reply), *recipient->trouble);
    if (auto report = report_of(*message, *recipient, fate, remote, attempt, old))
      reports.push_back(*std::move(report));
    bad = bad || (fate.fate == Fate::kFailed && !has_sender(*message));
    fates.push_back(std::move(fate));
  }
  // Before it is asked whether more of the message is to come.
  if (!again.empty())
    try_again(*message, again, remote, fates.empty() ? std::exchange(written, {}) : Done());
  if (fates.empty()) {
    if (written) written();
    return;
  }
  keep_late(*message, reports);
  Occasion occasion{id, std::move(reports), {}, std::move(written)};
  occasion.parts.push_back({std::move(remote), std::move(fates), std::move(tls)});
  if (bad && goes_anew(*message, occasion.parts.front().fates)) return send_anew(std::move(occasion));
  if (bad) return put_into_badmail(std::move(occasion));
  gather(std::move(occasion), *message);
}

// What is known of the occasion goes into its record. The message is in memory, unless it is gone.
void Engine::settle(Occasion occasion) {
  if (occasion.reports.empty()) return finish(std::move(occasion), {});
  tell(std::move(occasion));
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
  if (occasion.parts.empty() && occasion.reports.empty()) {
    if (occasion.written) occasion.written();
    return;
  }
  OutcomeRecord record;
  record.message = occasion.id;
  record.when = store_.clock().wall();
  record.clock = now();
  record.remote = remotes_of(occasion).substr(0, ipc::kMaxRemote);
  // What waited before the last part has ended, and is told of in the history alone.
  if (!occasion.parts.empty()) record.tls = ipc::text_of(occasion.parts.back().tls);
  Bytes notice_body;
  Done flushed;
  if (occasion.anew) flushed = add_anew(record, notice_body, *message, occasion, head);
  for (const auto& part : occasion.parts)
    for (const auto& fate : part.fates) report(*message, fate, part);
  if (!occasion.reports.empty())
    flushed = add_notice_of_go(record, notice_body, *message, occasion, head);
  for (auto& part : occasion.parts) {
    if (history_ != nullptr)
      history_->add(history_lines(*message, part.fates, part.remote, ipc::text_of(part.tls),
                                  record.when, *router_));
    std::move(part.fates.begin(), part.fates.end(), std::back_inserter(record.fates));
  }
  std::vector<std::pair<std::uint32_t, QueueTime>> again;
  for (const auto& fate : record.fates)
    if (fate.fate == Fate::kDeferred) again.emplace_back(fate.number, fate.next_try);
  store_.outcome(std::move(record), std::move(notice_body), std::move(occasion.written),
                 std::move(flushed));
  for (const auto& [number, due] : again) put_back(occasion.id, {number}, due);
  end_waits_of(occasion.id);
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
  Occasion occasion{id, {}, {}, {}};
  if (!fates.empty()) occasion.parts.push_back({{}, std::move(fates), {}});
  finish(std::move(occasion), {});
}

void Engine::report(const Message& message, const RecipientFate& fate,
                    const Occasion::Part& part) {
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
  auto line = log::info(event_name(fate.fate));
  (void)std::move(line)
      .field("id", message.id)
      .field("to", recipient->address.text())
      .field("queue", router_->route(recipient->address).queue)
      .field("remote", part.remote)
      .field("reply", text_of(fate.reply))
      .field("tries", recipient->tries_so_far())
      .field("delay", (store_.clock().wall() - message.arrived).count());
  if (!recipient->alias.empty()) (void)std::move(line).field("alias", recipient->alias);
  if (recipient->sender) (void)std::move(line).field("from", recipient->sender->text());
  if (!part.tls.tls.empty()) (void)std::move(line).field("tls", part.tls.tls);
  if (!part.tls.verified.empty()) (void)std::move(line).field("verified", part.tls.verified);
  if (!part.tls.policy.empty()) (void)std::move(line).field("tls_policy", part.tls.policy);
}

// --- Next hops --------------------------------------------------------------------------------------

void Engine::hop_found(DelivererId deliverer, const ipc::HopFound& found) {
  const auto queue =
      schedule_.hop_found(deliverer, found.grant, found.next_hop, found.ttl, now());
  if (queue) forget_wait(*queue);  // its hosts can be found again
}

void Engine::hop_works(const LeaseInfo& lease, std::string_view remote) {
  if (const auto* hop = schedule_.note_success(lease, remote)) forget_wait(hop->name());
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
  record.until = now() + retry_delay(retry_tables_.terms(grant.queue, failure), record.failures,
                                     lot_of(grant.hop, record.failures));
  record.behalf = grant.queue;
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
  expire_queues(grant.hop, {.queue = {}, .failure = failure, .reply = reply, .remote = remote, .after = {},
                            .run = placings_});
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

// Its hosts have had that long to call since the start.
void Engine::end_uncalled() {
  constexpr base::Millis kEvery{10 * 60'000};
  const auto steady = store_.clock().steady();
  if (uncalled_again_.ms != 0 && steady < uncalled_again_) return;
  if (std::exchange(uncalled_again_, steady + kEvery).ms != 0) expire_uncalled();
}

// That nobody calls is no failure of anybody; but what waits for a call gets old.
void Engine::expire_uncalled() {
  constexpr std::size_t kLooks = 500;
  slices_.add([this, after = std::string()]() mutable noexcept {
    for (auto& name : schedule_.uncalled(after, kLooks))
      expire_slice({.queue = std::move(name),
                    .failure = ipc::FailureClass::kConnect,
                    .reply = our_reply(4, 4, 1, "its host has not called for it"),
                    .remote = {},
                    .after = {},
                    .run = placings_});
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
    if (queue == nullptr || is_stopped(*queue) || work.run != placings_) return;  // by new routes nothing failed yet
    const auto terms = retry_tables_.terms(work.queue, work.failure);
    std::vector<base::MessageId> old, late;
    bool more = true;
    for (const auto id : slice) {
      const Message* message = store_.find(id);
      const bool by_age = in_order_of_age(id);
      work.gap = work.gap || !by_age || (message != nullptr && !message->holds(now()).empty());
      if (message == nullptr || !message->held.empty()) continue;
      const auto raw = now() - message->born;
      if (!is_expired(terms, raw) && !is_late(terms, raw)) {
        if (!by_age) continue;
        more = false;
        break;
      }
      const auto lived = age(*message, work.queue, queue->destination());
      if (is_expired(terms, lived))
        old.push_back(id);
      else if (is_late(terms, lived))
        late.push_back(id);
    }
    for (const auto id : old) {
      std::vector<RecipientAttempt> attempts;
      for (const auto number : schedule_.take_first(work.queue, id))
        attempts.push_back({number, {ipc::Result::kDeferred, work.failure, work.reply, {}}});
      conclude(id, std::move(attempts), work.remote, {});
    }
    for (const auto id : late)
      if (const Message* message = store_.find(id)) tell_delay(*message, work);
    work.after = slice.back();
    if (!more) return;
    skip_told(work, late.empty() ? base::MessageId() : late.back());
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
      if (grant.refused != 0) return fail_path(grant, failure, reply, remote);
      return fail_queue(grant.queue, failure, reply, remote);
    case Schedule::Onward::kElsewhere:
      return;
  }
}

void Engine::fail_queue(const std::string& name, ipc::FailureClass failure,
                        const ipc::ReplyText& reply, const std::string& remote) {
  const auto last = schedule_.last_message(name);  // what comes later is tried by itself
  if (!last) return;
  slices_.add([this, name, failure, reply, remote, last, run = placings_,
               after = base::MessageId()]() mutable noexcept {
    const auto* queue = schedule_.find(name);
    if (queue == nullptr || is_stopped(*queue) || run != placings_) return false;  // new routes may lead elsewhere
    const auto slice = schedule_.messages(name, after, kSlice);
    if (slice.empty()) return false;
    after = slice.back();
    for (const auto id : slice) {
      if (id > *last) return false;
      if (schedule_.held(name, id)) continue;
      std::vector<RecipientAttempt> attempts;
      for (const auto number : schedule_.take_first(name, id))
        attempts.push_back({number, {ipc::Result::kFailed, failure, reply, {}}});
      conclude(id, std::move(attempts), remote, {});
    }
    return true;
  });
}

}  // namespace postern::queued
