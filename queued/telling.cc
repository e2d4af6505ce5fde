// The part of Engine that tells senders what became of their mail, and puts into badmail what nobody can
// be told of.
#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "common/log/log.h"
#include "queued/engine.h"
#include "queued/expansion.h"
#include "queued/retry.h"

namespace postern::queued {
namespace {

constexpr std::size_t kFewTold = 1024;  // queues; those that are gone are forgotten above it
constexpr base::Millis kBadmailRetry{15 * 60'000};  // where there was no room for it

}  // namespace

std::optional<Report> Engine::report_of(const Message& message, const Recipient& recipient,
                                        const RecipientFate& fate, const std::string& remote,
                                        const Attempt& attempt, base::Millis age) const {
  if (!has_sender(message)) return std::nullopt;
  RetryTerms terms;
  bool late = false;
  if (fate.fate == Fate::kDeferred && age >= retry_tables_.youngest()) {
    terms = retry_tables_.terms(router_->route(recipient.address).queue, fate.failure);
    late = !recipient.delay_told && is_late(terms, age);
  }
  auto action = report_on(recipient.notify, fate.fate, attempt.arrival, late);
  if (!action) return std::nullopt;
  if (recipient.expanded == Expanded::kAlias && *action == mail::ReportAction::kDelivered)
    action = mail::ReportAction::kExpanded;
  Report report{recipient.number, *action, answer_to(attempt), {}, remote, has_expired(fate, attempt)};
  if (*action == mail::ReportAction::kDelayed && terms.expire.count() != 0)
    report.until = {store_.clock().wall().ms + (terms.expire - age).count()};
  return report;
}

// The original, or its header, is read first.
void Engine::tell(Occasion occasion) {
  const auto id = occasion.id;
  const auto wanted = wanted_of_original(*store_.find(id), occasion.reports);
  set_concluding(occasion, true);
  store_.load_head(id, wanted,
                   [this, occasion = std::move(occasion)](std::string head) mutable noexcept {
                     go_on(std::move(occasion), std::move(head));
                   });
}

// Until its record is made.
void Engine::set_concluding(const Occasion& occasion, bool concluding) {
  for (const auto& part : occasion.parts)
    for (const auto& fate : part.fates) {
      if (concluding)
        concluding_.emplace(occasion.id, fate.number);
      else
        concluding_.erase({occasion.id, fate.number});
    }
}

// Meanwhile the message may have been saved, and have left memory; so may notices that this one can take in. As that
// ends them, it is done while nobody holds a message in hand.
void Engine::go_on(Occasion occasion, std::string head) {
  auto ids = early_.flushed(occasion.id);
  const bool later = !ids.empty();
  ids.push_back(occasion.id);
  auto go = [this, alive = alive_, ids = std::move(ids), occasion = std::move(occasion),
             head = std::move(head)]() mutable noexcept {
    if (!*alive) return;
    store_.fetch(std::move(ids), [this, occasion = std::move(occasion), head = std::move(head)]() mutable noexcept {
      set_concluding(occasion, false);
      finish(std::move(occasion), head);
    });
  };
  if (later) return loop_.defer(std::move(go));
  go();
}

// Meanwhile another occasion may have told of the same delay, or the recipient's own outcome be on its way.
void Engine::forget_known(std::vector<Report>& reports, const Message& message) const {
  std::erase_if(reports, [&](const Report& report) {
    const Recipient* recipient = find_recipient(message, report.number);
    if (recipient == nullptr || !recipient->open()) return true;
    return report.action == mail::ReportAction::kDelayed &&
           (recipient->delay_told || concludes(message.id, report.number));
  });
}

// The sender of what came back may be an alias of ours, like a list's owner.
void Engine::replace_aliases(MessageRecord& notice) const {
  std::vector<Named> named;
  for (auto& recipient : notice.recipients) {
    auto decision = router_->find(recipient.address);
    named.push_back({std::move(recipient.address), recipient.notify, {}, std::move(decision)});
  }
  notice.recipients =
      expand(std::move(named), true, [&](const mail::Address& address) { return router_->key(address); });
  if (notice.recipients.size() > kMostTold) notice.recipients.resize(kMostTold);
}

// Puts the notice into the outcome's record; what it returns is for when that is flushed.
Engine::Done Engine::add_notice(OutcomeRecord& record, Bytes& body, const Message& message,
                                const std::vector<Report>& reports, std::string_view head) {
  auto notice = make_notice(message, reports, head, store_.new_id(), config_, record.when,
                            record.clock);
  replace_aliases(notice.record);
  hold_if_told_to(notice.record);
  for (const auto& report : reports)
    if (report.action == mail::ReportAction::kDelayed) record.delayed.push_back(report.number);
  record.notice = std::move(notice.record);
  return when_flushed(record, body, std::move(notice.body));
}

// What we write ourselves is new mail, too.
void Engine::hold_if_told_to(MessageRecord& notice) const {
  notice.held = standing_hold(notice);
  notice.held_since = notice.born;
  if (!notice.held.empty()) log::info("message.held").field("id", notice.id).field("reason", notice.held);
}

void Engine::note_sent(const MessageToSender& to, base::MessageId notice,
                       const std::vector<Report>& reports) {
  const bool failed = std::any_of(reports.begin(), reports.end(), [](const Report& report) {
    return report.action == mail::ReportAction::kFailed;
  });
  if (failed) counters_.bounces.add(store_.clock().steady());
  log::info(failed ? "bounce.sent" : "notice.sent")
      .field("id", to.message)
      .field("notice", notice)
      .field("to", to.sender)
      .field("recipients", reports.size());
}

Engine::Done Engine::when_flushed(OutcomeRecord& record, Bytes& to, std::string body) {
  to = std::make_shared<const std::string>(std::move(body));
  return [this, alive = alive_, id = record.notice->id]() noexcept {
    if (*alive) admit(id);
  };
}

// What of it can go is read first.
void Engine::send_anew(Occasion occasion) {
  const auto id = occasion.id;
  set_concluding(occasion, true);
  store_.load_head(id, store_.find(id)->size(),
                   [this, occasion = std::move(occasion)](std::string head) mutable noexcept {
                     auto text = mail::with_header_alone(head);
                     occasion.anew = text.has_value();
                     if (text) return go_on(std::move(occasion), *std::move(text));
                     store_.fetch({occasion.id}, [this, occasion = std::move(occasion)]() mutable noexcept {
                       set_concluding(occasion, false);
                       if (store_.find(occasion.id) == nullptr) return finish(std::move(occasion), {});
                       put_into_badmail(std::move(occasion));
                     });
                   });
}

// In its recipients' place come those of another notice, with this text, in the same record.
Engine::Done Engine::add_anew(OutcomeRecord& record, Bytes& body, const Message& message,
                              Occasion& occasion, std::string_view text) {
  auto& notice = record.notice.emplace();
  notice.id = store_.new_id();
  notice.arrived = record.when;
  notice.born = record.clock;
  notice.tls_wish = message.tls_wish;
  notice.notice = true;
  notice.body_size = text.size();
  for (auto& fate : occasion.parts.front().fates) {  // of one attempt, so there is no other part
    const Recipient* recipient = find_recipient(message, fate.number);
    if (recipient == nullptr || !recipient->open()) continue;
    const auto number = static_cast<std::uint32_t>(notice.recipients.size());
    auto& again = notice.recipients.emplace_back();
    again.number = number;
    again.address = recipient->address;
    again.alias = recipient->alias;
    fate.fate = Fate::kRemoved;
    fate.reply = our_reply(2, 0, 0,
                           "sent without the returned message as " + base::to_string(notice.id) +
                               "; " + text_of(fate.reply).substr(0, mail::Reply::kMaxText / 2));
  }
  hold_if_told_to(notice);
  if (!notice.recipients.empty()) return when_flushed(record, body, std::string(text));
  record.notice.reset();  // they ended meanwhile
  return {};
}

// --- Delays of whole queues -------------------------------------------------------------------------

// Of these two queues, do both wait for one next hop that is dead?
bool Engine::wait_together(const std::string& queue, const std::string& other) const {
  if (queue == other) return true;
  const auto* a = schedule_.find(queue);
  const auto* b = schedule_.find(other);
  return a != nullptr && b != nullptr && a->hop() != nullptr && a->hop() == b->hop() &&
         a->hop()->until > now() && a->blocked == Blocked::kNo;
}

// The queue waits, its recipients are not touched. All queues of the message that wait with it are told of at once, and
// what is told of them waits for others.
void Engine::tell_delay(const Message& message, const OldMail& work) {
  if (!has_sender(message)) return;
  std::vector<Report> reports;
  std::map<std::string, std::optional<base::Millis>> ages;  // by queue; nullopt: it does not wait with this one
  const Attempt attempt{ipc::Result::kDeferred, work.failure, work.reply, {}};
  RecipientFate fate;
  fate.failure = work.failure;
  for (const auto& recipient : message.recipients) {
    if (!recipient.open() || recipient.delay_told || concludes(message.id, recipient.number)) continue;
    const auto route = router_->route(recipient.address);
    const auto [known, fresh] = ages.try_emplace(route.queue);
    if (fresh && wait_together(route.queue, work.queue))
      known->second = age(message, route.queue, route.destination);
    if (!known->second) continue;
    fate.number = recipient.number;
    if (auto report = report_of(message, recipient, fate, work.remote, attempt, *known->second))
      reports.push_back(*std::move(report));
  }
  keep_late(message, reports);
  end_waits_of(message.id);
}

// Those that were told of are not looked at again at the queue's next failure: all up to `last` need no
// notice, and none of them is as old as one before it that has not expired. Where the clock of a message
// stood still by itself, neither is certain.
void Engine::skip_told(OldMail& work, base::MessageId last) {
  if (last.value == 0 || work.gap) return;
  if (told_upto_.size() > 2 * schedule_.queues().size() + kFewTold)
    std::erase_if(told_upto_,
                  [this](const auto& told) { return schedule_.find(told.first) == nullptr; });
  auto& upto = told_upto_[work.queue];
  work.after = std::max(work.after, upto);
  upto = std::max(upto, last);
}

// --- Badmail ----------------------------------------------------------------------------------------

// First the message lies there, then its recipients have failed; where there is no room for it, they are
// tried again.
void Engine::put_into_badmail(Occasion occasion) {
  const auto id = occasion.id;
  set_concluding(occasion, true);
  const auto& part = occasion.parts.front();  // of one attempt, so there is no other
  auto reason = badmail_reason(*store_.find(id), part.fates, part.remote);
  store_.put_into_badmail(
      id, std::move(reason),
      [this, id, occasion = std::move(occasion)](os::Result<void> done) mutable noexcept {
        if (done)
          log::warning("message.badmail").field("id", id);
        else
          log::error("badmail.unwritten").field("id", id).field("reason", done.error().text());
        for (auto& fate : occasion.parts.front().fates) {
          if (done || fate.fate != Fate::kFailed) continue;
          fate.fate = Fate::kDeferred;
          fate.next_try = now() + kBadmailRetry;
        }
        go_on(std::move(occasion), {});
      });
}

}  // namespace postern::queued
