// The part of Engine that lets a try go on by a second path. Whom a next hop refuses by its policy (X.7.N), at MAIL, RCPT,
// DATA or behind the final dot, goes by another next hop of the route at once, where the route says so, and he alone.
//
// The refusal is recorded as a deferral that is due already: so the try is not counted twice (message.h), its sender
// hears nothing of it, and whatever happens next, a crash or other routes, the recipient is tried again. That he goes by
// a second path is in the schedule alone. What is said there is the result of the try, and so is that nobody can be asked
// there now. An attempt whose end is not known was no refusal.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/config/hop.h"
#include "common/log/log.h"
#include "queued/engine.h"

namespace postern::queued {
namespace {

constexpr std::size_t kAtOnce = 50;    // recipients in one turn
constexpr base::Millis kDueBefore{1};  // it was tried

}  // namespace

std::optional<Engine::SecondTry> Engine::second_try(const Recipient& recipient, const Attempt& attempt,
                                                    const std::optional<Passage>& by) const {
  if (!by || by->refused != 0 || !is_policy_refusal(attempt)) return std::nullopt;
  const auto destination = router_->route(recipient.address).destination;
  if (!destination.second_path) return std::nullopt;
  SecondTry second{recipient.number, attempt, 0};
  // Handed out in an earlier life, or by other routes.
  if (by->destination == nullptr || *by->destination != destination) return second;
  if (second_path(destination, by->way).via.empty()) return std::nullopt;
  second.refused = static_cast<std::uint8_t>(by->way + 1);
  return second;
}

// The message is in memory, and stays there.
void Engine::try_again(const Message& message, const std::vector<SecondTry>& tries, std::string remote, Done written) {
  const auto id = message.id;
  OutcomeRecord record;
  record.message = id;
  record.when = store_.clock().wall();
  record.clock = now();
  record.remote = std::move(remote);
  for (const auto& one : tries) {
    RecipientFate fate;
    fate.number = one.number;
    fate.fate = Fate::kDeferred;
    fate.next_try = record.clock - kDueBefore;
    fate.failure = one.attempt.failure;
    fate.reply = one.attempt.reply;
    const Recipient& recipient = *find_recipient(message, one.number);
    const auto route = router_->route(recipient.address);
    const auto next = one.refused == 0 ? route.destination : second_path(route.destination, one.refused - 1U);
    log::info("delivery.second_path")
        .field("id", id)
        .field("to", recipient.address.text())
        .field("queue", route.queue)
        .field("remote", record.remote)
        .field("reply", text_of(fate.reply))
        .field("next", config::hop_text(next.via.front()))
        .field("tries", recipient.tries_so_far());
    record.fates.push_back(std::move(fate));
  }
  store_.outcome(std::move(record), {}, std::move(written), {});
  const Message* now_so = store_.find(id);
  for (const auto& one : tries) {
    const Recipient* recipient = find_recipient(*now_so, one.number);
    add(router_->route(recipient->address), *now_so, one.number, now(), one.refused);
  }
  poke();
}

// --- Paths that nobody can take ---------------------------------------------------------------------

// The try is over, and waits: nobody fails by a refusal from which there was to be a way out.
void Engine::end_closed_paths() {
  for (const auto& closed : schedule_.closed_paths()) {
    Attempt attempt;
    std::string remote;
    if (closed.frozen) {
      const Freeze* freeze = blocks_.hop_frozen(closed.hop);
      auto text = fmt::format("next hop {} is frozen: {}", closed.hop, freeze == nullptr ? "" : freeze->reason);
      attempt.failure = ipc::FailureClass::kPolicy;
      attempt.reply = our_reply(4, 3, 2, text.substr(0, mail::Reply::kMaxText));
    } else if (const auto wait = store_.waits().find(closed.hop); wait != store_.waits().end()) {
      attempt.failure = wait->second.failure;
      attempt.reply = wait->second.reply;
      remote = wait->second.remote;
    } else {
      attempt.reply = our_reply(4, 4, 1, fmt::format("next hop {} cannot be reached", closed.hop));
    }
    end_some(closed.queue, closed.refused, attempt, remote);
    poke();  // there may be more of them
  }
}

void Engine::end_some(const std::string& queue, std::uint8_t refused, const Attempt& attempt,
                      const std::string& remote) {
  for (const auto& [id, numbers] : schedule_.take_second(queue, refused, kAtOnce)) {
    std::vector<RecipientAttempt> attempts;
    for (const auto number : numbers) attempts.push_back({number, attempt});
    conclude(id, std::move(attempts), remote, {}, {}, Passage{.refused = refused});
  }
}

// The last way of the path can never work. What comes to it later is tried by itself.
void Engine::fail_path(const EndedGrant& grant, ipc::FailureClass failure, const ipc::ReplyText& reply,
                       const std::string& remote) {
  const auto at = schedule_.seconds().find({grant.queue, grant.refused});
  if (at == schedule_.seconds().end()) return;
  const auto& counts = at->second.counts;
  slices_.add([this, grant, remote, attempt = Attempt{ipc::Result::kFailed, failure, reply, {}},
               left = std::size_t{counts.ready} + counts.waiting, run = placings_]() mutable noexcept {
    const auto path = schedule_.seconds().find({grant.queue, grant.refused});
    if (left == 0 || run != placings_ || path == schedule_.seconds().end() || path->second.blocked != Blocked::kNo)
      return false;
    end_some(grant.queue, grant.refused, attempt, remote);
    left -= std::min(left, kAtOnce);
    return true;
  });
}

}  // namespace postern::queued
