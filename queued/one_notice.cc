// The part of Engine that makes one notice of delays and of successes that come in several parts: of the leases that a
// large message is split into, and of queues whose next hops fail one after the other.
//
// No outcome waits for that. A deferral is settled at once; what waits is the report, in memory, for a recipient of
// which nobody was told is reported at its next failed attempt. It is a record of its own, the notice alone, which is
// also the note that it was told.
//
// A delivery's record is written at once as well, with its notice, since nothing could make that again. While more of
// the message is coming, the notice is due a little later; the next success makes one of all so far, and ends those that
// it takes in in the same record, unless they have been sent, held or removed meanwhile: these stay what they are. So a
// crash at any place leaves every report in one notice, though perhaps in several notices.
#include <algorithm>
#include <iterator>
#include <utility>

#include "common/log/log.h"
#include "queued/engine.h"

namespace postern::queued {
namespace {

bool is_delay(const Report& report) { return report.action == mail::ReportAction::kDelayed; }
bool is_failure(const Report& report) { return report.action == mail::ReportAction::kFailed; }

}  // namespace

// --- What is still to come --------------------------------------------------------------------------

// Is a recipient of it in delivery there, or will it be before what waits since then has waited too long? Those that
// have been tried since then do not count.
bool Engine::comes_soon(const Message& message, const std::string& queue, QueueTime since) const {
  if (schedule_.coming(queue, message.id)) return true;
  const auto next = schedule_.next_try(queue, message.id);
  if (!next || next->time > since + kGatherTime) return false;
  const Recipient* recipient = find_recipient(message, next->number);
  return recipient != nullptr && recipient->tried < since;
}

bool Engine::comes_soon(const Message& message, const Recipient& recipient, QueueTime since) const {
  const auto queue = router_->route(recipient.address).queue;
  const auto standing = schedule_.standing(queue, message.id, recipient.number);
  if (!standing || standing->stage == Stage::kHeld) return false;
  if (standing->stage == Stage::kLeased) return true;
  const auto next = schedule_.next_try(queue, message.id);
  return next && std::max(next->time, standing->due) <= since + kGatherTime;
}

bool Engine::concludes_any(base::MessageId id) const {
  const auto at = concluding_.lower_bound({id, 0});
  return at != concluding_.end() && at->first == id;
}

// Of successes: in their queue.
bool Engine::more_comes(const MessageInQueue& key) const {
  const Message* message = store_.find(key.message);
  if (message == nullptr || !gathering_) return false;
  return concludes_any(key.message) || comes_soon(*message, key.queue, early_.begun(key, now()));
}

// Of delays: in any queue. Each recipient of whom that sender could be told is looked at until nothing is coming of it,
// and not again.
bool Engine::more_comes(const MessageToSender& key) {
  const Message* message = store_.find(key.message);
  if (message == nullptr || !gathering_) return false;
  if (concludes_any(key.message)) return true;
  for (auto& looked = late_.looked(key); looked < message->recipients.size(); ++looked) {
    const auto& recipient = message->recipients[looked];
    const bool told = recipient.delay_told || late_.has(key, recipient.number);
    if (!recipient.open() || told || !recipient.notify.delay()) continue;
    if (comes_soon(*message, recipient, late_.begun(key)) &&
        sender_of(*message, recipient).text() == key.sender)
      return true;
  }
  return false;
}

// An outcome of it was written, or a queue of it waits. A message that is not in memory has just ended.
void Engine::end_waits_of(base::MessageId message) {
  for (const auto& key : early_.of(message))
    if (!more_comes(key)) send_early(key);
  for (const auto& key : late_.of(message))  // the one before may have ended it
    if (late_.wait(key) && !more_comes(key)) tell_late_of(key);
}

void Engine::end_waits_before(QueueTime time) {
  for (const auto& key : late_.begun_by(time)) tell_late_of(key);
  for (const auto& key : early_.begun_by(time)) send_early(key);
}

// --- Delays -----------------------------------------------------------------------------------------

// Takes those of delays out of what was to be reported.
void Engine::keep_late(const Message& message, std::vector<Report>& reports) {
  if (std::none_of(reports.begin(), reports.end(), is_delay)) return;  // the usual case
  for (const auto& report : reports)
    if (is_delay(report))
      late_.add({message.id, sender_of(message, *find_recipient(message, report.number)).text()}, report, now());
  std::erase_if(reports, is_delay);
  while (const auto key = late_.surplus()) tell_late_of(*key);
  poke();  // so that their time is watched
}

// The message may have left memory meanwhile, and who was delayed may have ended.
void Engine::tell_late_of(const MessageToSender& key) {
  Occasion occasion{key.message, late_.take(key), {}, {}};
  if (occasion.reports.empty()) return;
  ++telling_late_;
  occasion.written = [this, alive = alive_]() noexcept {
    if (*alive) --telling_late_;
  };
  store_.fetch({key.message}, [this, occasion = std::move(occasion)]() mutable noexcept {
    if (store_.find(occasion.id) != nullptr) return tell(std::move(occasion));
    finish(std::move(occasion), {});
  });
}

// --- Successes --------------------------------------------------------------------------------------

// What is told of an occasion goes into its record. Where it has no outcomes it tells of delays, which have waited.
Engine::Done Engine::add_notice_of_go(OutcomeRecord& record, Bytes& body, const Message& message,
                                      Occasion& occasion, std::string_view head) {
  auto& reports = occasion.reports;
  if (occasion.parts.empty()) {
    const auto& first = *find_recipient(message, reports.front().number);
    auto flushed = add_notice(record, body, message, reports, head);
    note_sent({message.id, sender_of(message, first).text()}, record.notice->id, reports);
    return flushed;
  }
  const auto keys = keys_of(occasion, message);  // of several queues, where a lease was
  const auto coming = std::ranges::find_if(keys, [this](const auto& one) { return more_comes(one); });
  const auto& key = coming == keys.end() ? keys.front() : *coming;
  // Failures have waited.
  const bool last = std::any_of(reports.begin(), reports.end(), is_failure) || coming == keys.end();
  auto since = now();
  for (const auto& one : keys) {
    since = std::min(since, early_.begun(one, now()));
    while (record.replaces.size() < kMaxReplaced) {
      auto earlier = early_.take_newest(one, last ? EarlyNotices::kAny : 2 * reports.size());
      if (!earlier) break;
      if (!take_in(*earlier)) continue;
      record.replaces.push_back(earlier->id);
      reports.insert(reports.begin(), std::make_move_iterator(earlier->reports.begin()),
                     std::make_move_iterator(earlier->reports.end()));
    }
  }
  auto flushed = add_notice(record, body, message, reports, head);
  const auto id = record.notice->id;
  for (const auto earlier : record.replaces)
    log::debug("notice.replaced").field("id", message.id).field("notice", earlier).field("by", id);
  if (last) {
    note_sent({key.message, key.sender}, id, reports);
    return flushed;
  }
  for (auto& recipient : record.notice->recipients) recipient.next_try = since + kGatherTime;
  early_.add(key, {id, std::move(reports)}, since);
  while (const auto most = early_.surplus()) send_early(*most);
  return [this, alive = alive_, key, id, flushed = std::move(flushed)]() mutable noexcept {
    flushed();
    if (*alive) early_flushed(key, id);
  };
}

// Out of the schedule, if another notice may say what it says: nobody has had a hand in it yet.
bool Engine::take_in(const EarlyNotices::Notice& earlier) {
  if (!earlier.flushed) return true;
  const Message* notice = store_.find(earlier.id);
  if (notice == nullptr || !notice->held.empty() || in_delivery(*notice)) return false;
  const auto untouched = [](const Recipient& recipient) { return recipient.open() && recipient.tries == 0; };
  if (!std::all_of(notice->recipients.begin(), notice->recipients.end(), untouched)) return false;
  for (const auto& recipient : notice->recipients)
    (void)schedule_.take(router_->route(recipient.address).queue, earlier.id);
  return true;
}

void Engine::early_flushed(const MessageInQueue& key, base::MessageId notice) {
  if (!early_.note_flushed(key, notice)) hurry(notice);  // nothing more came, or another has taken it in
}

// Nothing more is coming, or it has taken too long: they go out as they are.
void Engine::send_early(const MessageInQueue& key) {
  for (const auto& notice : early_.take(key)) {
    note_sent({key.message, key.sender}, notice.id, notice.reports);
    if (notice.flushed) hurry(notice.id);
  }
}

// It is due now. Of that nothing is written: after a crash it is due when it would have been.
void Engine::hurry(base::MessageId id) {
  store_.fetch({id}, [this, id]() noexcept {
    const Message* notice = store_.find(id);
    if (notice == nullptr) return;
    for (const auto& recipient : notice->recipients)
      if (recipient.open()) schedule_.expedite(router_->route(recipient.address).queue, id, now());
    poke();
  });
}

}  // namespace postern::queued
