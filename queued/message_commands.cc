// The part of Control that carries out commands on messages: hold, release, retry. A selector is
// resolved to messages a batch of the store at a time, once all are in the schedule.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_set>
#include <utility>

#include "common/base/text.h"
#include "common/base/utf8.h"
#include "common/log/log.h"
#include "queued/control.h"
#include "queued/exits.h"
#include "queued/message_id.h"
#include "queued/selecting.h"

namespace postern::queued {
namespace {

// Looked at in one turn: what is delivered meanwhile waits for it, and for its rows to be read.
constexpr std::size_t kSelected = 250;

std::string messages_text(std::uint64_t count) {
  return fmt::format("{} {}", count, count == 1 ? "message" : "messages");
}

std::vector<base::MessageId> ids_of(const std::vector<const Message*>& messages) {
  std::vector<base::MessageId> ids;
  for (const Message* message : messages) ids.push_back(message->id);
  return ids;
}

}  // namespace

// --- Selected messages ------------------------------------------------------------------------------

void Control::select(std::shared_ptr<Selecting> work) {
  engine_.when_loaded([this, work]() noexcept {
    const auto& ids = work->selector.ids;  // at most kMaxRetried by its field's limit
    if (ids.empty()) return select_from(work, {});
    engine_.store().fetch(ids, [this, work]() noexcept {
      std::vector<const Message*> named;
      const std::set<base::MessageId> once(work->selector.ids.begin(), work->selector.ids.end());
      for (const auto one : once)
        if (const Message* message = engine_.store().find(one)) named.push_back(message);
      select_among(work, named, [work]() noexcept { work->finished(); });
    });
  });
}

void Control::select_from(std::shared_ptr<Selecting> work, base::MessageId after) {
  engine_.store().scan(after, kSelected, [this, work](const Batch& batch) noexcept {
    const bool enough = work->enough && !batch.messages.empty() && work->enough(*batch.messages.back());
    select_among(work, batch.messages, [this, work, more = batch.more && !enough, last = batch.last]() noexcept {
      if (more)
        select_from(work, last);
      else
        work->finished();
    });
  });
}

void Control::select_among(const std::shared_ptr<Selecting>& work,
                           const std::vector<const Message*>& messages, event::Callback then) {
  std::vector<const Message*> selected;
  for (const Message* message : messages)
    if (selects(engine_, work->selector, *message)) selected.push_back(message);
  if (work->selector.message_id.empty()) return act_on(work, selected, std::move(then));
  search_headers(engine_, ids_of(selected), work->selector.message_id,
                 [this, work, then = std::move(then)](std::vector<base::MessageId> ids) mutable noexcept {
                   engine_.store().fetch(ids, [this, work, ids, then = std::move(then)]() mutable noexcept {
                     std::vector<const Message*> found;
                     for (const auto one : ids)
                       if (const Message* message = engine_.store().find(one)) found.push_back(message);
                     act_on(work, found, std::move(then));
                   });
                 });
}

// What is to be changed is brought into memory first, all of it at once: a change that had to wait for its
// message would come behind the word that it was made.
void Control::act_on(const std::shared_ptr<Selecting>& work, const std::vector<const Message*>& selected,
                     event::Callback then) {
  if (selected.empty()) return then();
  if (work->look) work->look(selected);
  if (!work->change) return then();
  auto ids = ids_of(selected);
  engine_.store().fetch(ids, [work, ids, then = std::move(then)]() mutable noexcept {
    for (auto at = ids.begin(); at != ids.end();) {
      const auto end = at + std::min<std::ptrdiff_t>(kMaxRetried, ids.end() - at);
      work->change({at, end});
      at = end;
    }
    then();
  });
}

// --- Retry ------------------------------------------------------------------------------------------

void Control::retry(SessionId id, const ipc::Retry& command, const std::string& who) {
  if (command.selector.empty())
    return done(id, command.request, kUsage, "an empty selector selects nothing; --all is all");
  struct Count {
    std::uint64_t others = 0, in_delivery = 0;
  };
  auto count = std::make_shared<Count>();
  auto work = std::make_shared<Selecting>();
  work->selector = command.selector;
  work->look = [this, count](const std::vector<const Message*>& messages) noexcept {
    for (const Message* message : messages) ++(engine_.in_delivery(*message) ? count->in_delivery : count->others);
  };
  if (!command.dry_run)
    work->change = [this](const std::vector<base::MessageId>& ids) noexcept { engine_.retry(ids); };
  auto report = [this, id, count, who, reason = command.reason, request = command.request,
                 dry_run = command.dry_run]() noexcept {
    if (!dry_run)
      log::info("messages.retried")
          .field("count", count->others)
          .field("in_delivery", count->in_delivery)
          .field("who", who)
          .field("reason", reason);
    auto text = fmt::format("{} {}", dry_run ? "would retry" : "retrying", messages_text(count->others));
    if (count->in_delivery > 0) text += fmt::format(", in delivery {}", count->in_delivery);
    done(id, request, kOk, std::move(text));
  };
  if (command.dry_run)
    work->finished = std::move(report);
  else  // durable before it is reported
    work->finished = [this, report]() mutable noexcept { engine_.store().settle(std::move(report)); };
  select(std::move(work));
}

// --- Hold and release -------------------------------------------------------------------------------

struct Control::Holding {
  SessionId session;
  ipc::Hold command;
  std::string who;
  std::string standing;  // what became of the standing hold
  std::uint64_t count = 0;
  std::uint64_t already = 0;  // held before
  std::uint64_t damaged = 0;  // stay held
  std::uint64_t expiring = 0;  // of those that are released
  std::unordered_set<base::MessageId> in_delivery;
};

void Control::hold(SessionId id, const ipc::Hold& command, const std::string& who) {
  auto work = std::make_shared<Holding>();
  work->session = id;
  work->command = command;
  work->who = who;
  auto& selector = work->command.selector;
  selector.queue = base::to_lower(base::trim(selector.queue));
  if (selector.empty())
    return done(id, command.request, kUsage, "an empty selector selects nothing; --all is all");
  if (command.release) return end_standing_hold(work);
  if (command.reason.empty())
    return done(id, command.request, kUsage, "a hold needs a reason: others will ask why");
  if (command.also_new) return begin_standing_hold(work);
  hold_selected(work);
}

// It is in force before the messages that are here already are looked for: none comes between.
void Control::begin_standing_hold(const std::shared_ptr<Holding>& work) {
  const auto& selector = work->command.selector;
  const auto request = work->command.request;
  if (!can_stand(selector))
    return done(work->session, request, kUsage,
                "of new mail only --from, --to, --client, --queue, --larger and --smaller can be told");
  if (!base::is_harmless(selector.from + selector.to + selector.queue))
    return done(work->session, request, kUsage, "a standing hold's conditions are printable text");
  if (work->command.dry_run) return hold_selected(work);
  StandingHold hold{selector, work->command.reason, work->who, engine_.store().clock().wall()};
  engine_.change_blocks(
      [hold](Blocks& blocks) noexcept { return blocks.hold(hold); },
      [this, work, hold](Blocks::Said said) noexcept {
        if (!said) return done(work->session, work->command.request, kTemporary, said.error());
        log::warning("hold.begun")
            .field("what", conditions_text(hold.what))
            .field("who", hold.who)
            .field("reason", hold.reason);
        work->standing = *std::move(said);
        // What was accepted before it is flushed now, and can be found.
        engine_.store().settle([this, work]() noexcept { hold_selected(work); });
      });
}

// Where there is none with this selector, only messages are released.
void Control::end_standing_hold(const std::shared_ptr<Holding>& work) {
  const auto& selector = work->command.selector;
  const auto& holds = engine_.blocks().holds();
  const bool stands = std::any_of(holds.begin(), holds.end(),
                                  [&](const StandingHold& hold) { return hold.what == selector; });
  if (!stands || work->command.dry_run) return hold_selected(work);
  engine_.change_blocks(
      [selector](Blocks& blocks) noexcept { return blocks.end_hold(selector); },
      [this, work](Blocks::Said said) noexcept {
        if (!said) return done(work->session, work->command.request, kTemporary, said.error());
        log::warning("hold.ended")
            .field("what", conditions_text(work->command.selector))
            .field("who", work->who);
        work->standing = *std::move(said);
        engine_.store().settle([this, work]() noexcept { hold_selected(work); });
      });
}

void Control::hold_selected(const std::shared_ptr<Holding>& work) {
  auto selecting = std::make_shared<Selecting>();
  selecting->selector = work->command.selector;
  if (work->command.dry_run)
    selecting->look = [this, work](const std::vector<const Message*>& messages) noexcept {
      for (const Message* message : messages) hold_one(*work, *message);
    };
  else
    selecting->change = [this, work](const std::vector<base::MessageId>& ids) noexcept {
      for (const auto one : ids)
        if (const Message* message = engine_.store().find(one)) hold_one(*work, *message);
    };
  selecting->finished = [this, work]() noexcept {
    // Durable before it is reported.
    engine_.store().settle([this, work]() noexcept { held(work); });
  };
  select(std::move(selecting));
}

void Control::hold_one(Holding& work, const Message& message) {
  const auto& command = work.command;
  const auto id = message.id;
  if (command.release ? message.held.empty() : message.damaged) return;
  if (command.release && message.damaged) {
    ++work.damaged;
    return;
  }
  if (!command.release && !message.held.empty()) ++work.already;
  if (!command.release && engine_.in_delivery(message))
    work.in_delivery.insert(id);
  else
    ++work.count;
  if (command.release && expires_soon(engine_, message, [](const Recipient&) { return true; }))
    ++work.expiring;
  if (command.dry_run) return;
  if (command.release) return engine_.end_hold(id);
  engine_.hold(id, held_by(work.who, command.reason));
  if (work.in_delivery.contains(id)) engine_.recall(id);
}

// A message in delivery is held as soon as its outcome is known, if anything is left of it.
void Control::held(const std::shared_ptr<Holding>& work) {
  const auto& command = work->command;
  const auto all = work->count + work->in_delivery.size() + work->damaged;
  if (!command.selector.ids.empty() && all == 0)
    return done(work->session, command.request, kDataError,
                command.release ? "no such message is held" : "there is no such message");
  auto text = work->standing;
  text += fmt::format("{}{}{} {}", text.empty() ? "" : "; ", command.dry_run ? "would have " : "",
                      command.release ? "released" : "held", messages_text(work->count));
  if (work->already > 0) text += fmt::format(", {} of them held already", work->already);
  if (!work->in_delivery.empty())
    text += fmt::format(", in delivery {}", work->in_delivery.size());
  if (work->damaged > 0)
    text += fmt::format("; {} stay held, for their bodies are lost", work->damaged);
  if (command.release) text += expiring_text(work->expiring);
  if (command.dry_run) return done(work->session, command.request, kOk, std::move(text));
  log::info(command.release ? "messages.released" : "messages.held")
      .field("count", work->count)
      .field("who", work->who)
      .field("reason", command.reason);
  if (command.release) return done(work->session, command.request, kOk, std::move(text));
  const auto in_flight = [this, work]() noexcept {
    std::uint64_t count = 0;
    for (const auto& [key, lease] : engine_.schedule().leases())
      count += work->in_delivery.contains(lease.message) ? 1 : 0;
    for (const auto one : work->in_delivery) count += engine_.concluding(one);
    return count;
  };
  stopped(work->session, command.request, std::move(text), {in_flight, nullptr});
}

}  // namespace postern::queued
