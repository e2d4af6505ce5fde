// The part of Control that stops things and lets them go on. A block is durable and in force before
// it is reported; when what was in flight is over, whoever stopped it is told on asking.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/text.h"
#include "common/log/log.h"
#include "common/sasl/account.h"
#include "queued/control.h"
#include "queued/exits.h"
#include "queued/selecting.h"

namespace postern::queued {
namespace {

constexpr base::Millis kQuietPause{20};
constexpr int kQuietChecks = 250;  // five seconds
constexpr std::size_t kMayRepeatNamed = 1'000;

// A question for quiet that is not answered yet.
struct Quiet {
  Quiet(event::Loop& loop) : timer(loop, [this]() noexcept { check(); }) {}
  event::Callback check;
  int checks = 0;
  event::Timer timer;
};

std::string frozen_name(const std::string& text) {
  return base::to_lower(base::trim(text));
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string_view expected_name(bool hop) {
  return hop ? "a next hop is a host like mx1.example.net or 10.0.0.1:25, a pattern like "
               "*.example.net, a socket like unix:/run/dovecot/lmtp, or turn:inner.example, whose host calls"
             : "a queue is a name like example.org, a pattern like *.example.org, or local";
}

// Is there, or could there be by the configuration, what this name stands for?
bool is_known(const Engine& engine, const std::string& name, bool hop) {
  const auto& hops = engine.schedule().hops();
  if (hop)
    return engine.router().names_hop(name) ||
           std::any_of(hops.begin(), hops.end(),
                       [&](const auto& entry) {
                         return !entry.second.destination().local &&
                                fit_hop(name, entry.first) != 0;
                       });
  const auto& queues = engine.schedule().queues();
  if (engine.router().names(name) || queues.contains(name)) return true;
  return is_pattern(name) && std::any_of(queues.begin(), queues.end(), [&](const auto& entry) {
           return matches(name, entry.first);
         });
}

void log_freeze(const Freeze& freeze) {
  log::warning(freeze.hop ? "hop.frozen" : "queue.frozen")
      .field(freeze.hop ? "hop" : "queue", freeze.queue)
      .field("who", freeze.who)
      .field("reason", freeze.reason)
      .field("until", freeze.until.ms == 0 ? std::string() : base::iso8601(freeze.until))
      .field("keep_clock", freeze.keep_clock);
}

}  // namespace

// --- Until nothing is in flight ---------------------------------------------------------------------

// Also what is being told to its sender, or waits to be: until then something of it goes on.
std::uint64_t Control::in_flight_of(const Engine::Stopped& stopped) const {
  const auto& schedule = engine_.schedule();
  std::uint64_t count = engine_.concluding(stopped);
  for (const auto& [key, lease] : schedule.leases())
    count += schedule.any_queue(lease, [&](const auto& queue) { return stopped(lease, queue); }) ? 1 : 0;
  return count;
}

void Control::stopped(SessionId id, base::RequestId request, std::string text, Stopping what) {
  ControlSession* to = find(id);
  if (to == nullptr) return;
  const auto in_flight = what.in_flight();
  stopping_[id] = std::move(what);
  to->send(ipc::Done{request, kOk, std::move(text), in_flight});
}

void Control::await_quiet(SessionId id, const ipc::AwaitQuiet& ask) {
  auto quiet = std::make_shared<Quiet>(loop_);
  quiet->check = [this, id, request = ask.request, quiet]() noexcept {
    ControlSession* to = find(id);
    const auto at = stopping_.find(id);
    ipc::Quiet answer{.request = request};
    if (at != stopping_.end()) answer.in_flight = at->second.in_flight();
    if (to != nullptr && answer.in_flight > 0 && ++quiet->checks < kQuietChecks)
      return quiet->timer.start(kQuietPause);
    if (at != stopping_.end() && at->second.broken_off && answer.in_flight == 0) {
      const auto& all = at->second.broken_off->may_repeat;
      answer.may_repeat_count = all.size();
      for (const auto one : all)
        if (answer.may_repeat.size() < kMayRepeatNamed) answer.may_repeat.push_back(one);
    }
    if (to != nullptr) to->send(answer);
    // The timer must not end inside its own callback.
    loop_.defer([quiet]() noexcept { quiet->check = {}; });
  };
  quiet->timer.start(base::Millis(0));
}

// --- Freezes ----------------------------------------------------------------------------------------

void Control::freeze(SessionId id, const ipc::Freeze& command, const std::string& who) {
  const auto name = frozen_name(command.queue);
  const bool hop = command.hop;
  const auto wall = engine_.store().clock().wall();
  if (hop ? !names_hops(name) : !names_queues(name))
    return done(id, command.request, kUsage, std::string(expected_name(hop)));
  if (command.until.ms != 0 && command.until <= wall)
    return done(id, command.request, kUsage, "that time is over already");
  if (!command.future && !is_known(engine_, name, hop)) {
    auto text = hop ? fmt::format("no route names a next hop {}, and none is in use", name)
                    : fmt::format("there is no queue {}", name);
    text += "; --future freezes it all the same";
    const auto near = hop ? std::vector<std::string>() : near_names(engine_, name);
    if (!near.empty()) text += "; near it: " + joined(near);
    return done(id, command.request, kDataError, std::move(text));
  }
  const Freeze freeze{.queue = name,
                      .reason = command.reason,
                      .who = who,
                      .since = wall,
                      .from = engine_.now(),
                      .until = command.until,
                      .keep_clock = command.keep_clock,
                      .hop = hop};
  engine_.change_blocks([freeze](Blocks& blocks) noexcept { return blocks.freeze(freeze); },
                        [this, id, request = command.request, freeze](Blocks::Said said) noexcept {
                          if (!said) return done(id, request, kTemporary, said.error());
                          log_freeze(freeze);
                          const auto by_it = [this, name = freeze.queue, hop = freeze.hop](
                                                 const LeaseInfo& lease,
                                                 const Schedule::Queue& queue) noexcept {
                            const auto* on = engine_.schedule().hop_of(lease.grant);
                            if (on == nullptr) on = queue.hop();  // a lease of an earlier life
                            const Freeze* by = !hop ? engine_.blocks().frozen(queue.name())
                                               : on != nullptr
                                                   ? engine_.blocks().hop_frozen(on->name())
                                                   : nullptr;
                            return by != nullptr && by->queue == name;
                          };
                          stopped(id, request, *std::move(said),
                                  {[this, by_it]() noexcept { return in_flight_of(by_it); }, nullptr});
                        });
}

void Control::unfreeze(SessionId id, const ipc::Unfreeze& command, const std::string& who) {
  const auto name = frozen_name(command.queue);
  const bool hop = command.hop;
  // An exception by the name of a set of hosts, say, would let nothing go.
  if (hop ? !names_hops(name) : !names_queues(name))
    return done(id, command.request, kUsage, std::string(expected_name(hop)));
  engine_.change_blocks(
      [name, hop, who, wall = engine_.store().clock().wall(), now = engine_.now()](
          Blocks& blocks) noexcept { return blocks.unfreeze(name, hop, who, wall, now); },
      [this, id, request = command.request, name, hop, who](Blocks::Said said) noexcept {
        if (!said) return done(id, request, kDataError, said.error());
        log::warning(hop ? "hop.unfrozen" : "queue.unfrozen")
            .field(hop ? "hop" : "queue", name)
            .field("who", who);
        auto text = *std::move(said);
        if (engine_.blocks().outbound().disabled) text += "; outbound is disabled";
        ipc::Selector selector;
        selector.all = hop;
        if (!hop) selector.queue = name;
        say_expiring(id, request, std::move(text), std::move(selector),
                     [this, name, hop](const Route& route, const Recipient& recipient) noexcept {
                       return hop ? leads_to(engine_.schedule(), route, recipient, name) : Leads::kYes;
                     });
      });
}

// --- Switches ---------------------------------------------------------------------------------------

void Control::switch_outbound(SessionId id, const ipc::SwitchOutbound& command,
                              const std::string& who) {
  if (command.enable) return enable_outbound(id, command.request, who);
  const OutboundSwitch off{.disabled = true,
                           .all = command.all,
                           .reason = command.reason,
                           .who = who,
                           .since = engine_.store().clock().wall(),
                           .from = engine_.now()};
  engine_.change_blocks(
      [off](Blocks& blocks) noexcept { return blocks.disable_outbound(off); },
      [this, id, request = command.request, now = command.now, off](Blocks::Said said) noexcept {
        if (!said) return done(id, request, kTemporary, said.error());
        const auto by_it = [this](const LeaseInfo&, const Schedule::Queue& queue) noexcept {
          return engine_.blocks().outbound_stops(queue.destination());
        };
        auto broken_off = now ? engine_.break_off(by_it) : nullptr;
        log::warning("outbound.disabled")
            .field("who", off.who)
            .field("reason", off.reason)
            .field("all", off.all)
            .field("broken_off", broken_off ? broken_off->open.size() : 0);
        stopped(id, request, *std::move(said),
                {[this, by_it]() noexcept { return in_flight_of(by_it); }, std::move(broken_off)});
      });
}

void Control::enable_outbound(SessionId id, base::RequestId request, const std::string& who) {
  const auto was = engine_.blocks().outbound();
  engine_.change_blocks(
      [now = engine_.now()](Blocks& blocks) noexcept { return blocks.enable_outbound(now); },
      [this, id, request, who, was](Blocks::Said said) noexcept {
        if (!said) return done(id, request, kDataError, said.error());
        log::warning("outbound.enabled").field("who", who);
        ipc::Selector selector;
        selector.all = true;
        say_expiring(id, request, *std::move(said), std::move(selector),
                     [all = was.all](const Route& route, const Recipient&) noexcept {
                       const bool stopped = !route.destination.local && (all || !route.destination.internal);
                       return stopped ? Leads::kYes : Leads::kNo;
                     });
      });
}

void Control::switch_intake(SessionId id, const ipc::SwitchIntake& command,
                            const std::string& who) {
  const IntakeSwitch off{.disabled = true,
                         .reason = command.reason,
                         .who = who,
                         .since = engine_.store().clock().wall()};
  engine_.change_blocks(
      [enable = command.enable, off](Blocks& blocks) noexcept {
        return enable ? blocks.enable_intake() : blocks.disable_intake(off);
      },
      [this, id, request = command.request, enable = command.enable,
       off](Blocks::Said said) noexcept {
        if (!said) return done(id, request, enable ? kDataError : kTemporary, said.error());
        log::warning(enable ? "intake.enabled" : "intake.disabled")
            .field("who", off.who)
            .field("reason", off.reason);
        // What was under way to the journal is accepted now; nothing follows it.
        engine_.store().settle([this, id, request, text = *std::move(said)]() mutable noexcept {
          done(id, request, kOk, std::move(text));
        });
      });
}

// --- Accounts ---------------------------------------------------------------------------------------

// Its sessions end as soon as the lock is in force (Intake).
void Control::lock_account(SessionId id, const ipc::LockAccount& command, const std::string& who) {
  const AccountLock lock{.account = base::to_lower(command.account),
                         .reason = command.reason,
                         .who = who,
                         .since = engine_.store().clock().wall()};
  if (auto wrong = sasl::wrong_with_account(lock.account); !wrong.empty())
    return done(id, command.request, kUsage, std::move(wrong));
  engine_.change_blocks(
      [lock, unlock = command.unlock](Blocks& blocks) noexcept {
        return unlock ? blocks.unlock(lock.account) : blocks.lock(lock);
      },
      [this, id, request = command.request, unlock = command.unlock, lock](Blocks::Said said) noexcept {
        if (!said) return done(id, request, unlock ? kDataError : kTemporary, said.error());
        log::warning(unlock ? "account.unlocked" : "account.locked")
            .field("account", lock.account)
            .field("who", lock.who)
            .field("reason", lock.reason);
        done(id, request, kOk, *std::move(said));
      });
}

// --- What goes on -----------------------------------------------------------------------------------

void Control::say_expiring(SessionId id, base::RequestId request, std::string text,
                           ipc::Selector selector, Concerns concerns) {
  struct Counts {
    std::uint64_t concerned = 0;
    std::uint64_t unknown = 0;  // nobody knows yet whether they are
  };
  auto counts = std::make_shared<Counts>();
  auto work = std::make_shared<Selecting>();
  work->selector = std::move(selector);
  work->look = [this, counts, concerns = std::move(concerns)](
                   const std::vector<const Message*>& messages) noexcept {
    for (const Message* message : messages) {
      const auto any = [&](Leads leads) {
        return expires_soon(engine_, *message, [&](const Recipient& recipient) {
          const auto route = engine_.router().route(recipient.address);
          return concerns(route, recipient) == leads &&
                 engine_.blocks().blocked(route.queue, route.destination) == Blocked::kNo;
        });
      };
      if (any(Leads::kYes))
        ++counts->concerned;
      else if (any(Leads::kUnknown))
        ++counts->unknown;
    }
  };
  // Mail starts to leave at the same time, and waits for the rows that are read here.
  work->enough = [this](const Message& last) noexcept {
    return ends_soon_expiring(engine_, last);
  };
  work->finished = [this, id, request, counts, text = std::move(text)]() mutable noexcept {
    text += expiring_text(counts->concerned);
    if (counts->unknown > 0)
      text += fmt::format(", and {} more if they lead there, which is not known yet", counts->unknown);
    done(id, request, kOk, std::move(text));
  };
  select(std::move(work));
}

}  // namespace postern::queued
