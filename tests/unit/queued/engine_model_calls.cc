// The part of EngineModel that is other hosts' calls: of those that take their mail over a connection that they have
// opened (ATRN), or have its delivery started (ETRN), and ours of those that keep mail for us.
#include <unistd.h>

#include <algorithm>

#include "tests/unit/queued/engine_model.h"

namespace postern::queued {
namespace {

constexpr std::size_t kMostCalls = 6;  // at the same time
constexpr std::uint16_t kStarted = 253, kNothingWaits = 251;

}  // namespace

// --- For their mail ---------------------------------------------------------------------------------

// By what was reported.
bool EngineModel::may_go(const std::string& queue) const {
  return !off && !stopped.contains(queue) && !stopped_hops.contains("turn:" + queue);
}

// Does a connection stand that has called for it, and is not told to go?
bool EngineModel::is_called(const std::string& queue) const {
  return std::ranges::any_of(calls, [&](const auto& one) {
    const auto& [grant, call] = one;
    return engine->schedule().knows(grant) && std::ranges::find(call.queues, queue) != call.queues.end() &&
           std::ranges::none_of(relays, [&](const auto& relay) { return relay->dismisses(grant); });
  });
}

void EngineModel::host_calls(const config::AccountLimits& account, bool for_all) {
  turns();
  find_stopped();  // a freeze whose time is over has hidden another one
  std::erase_if(calls, [this](const auto& one) { return !engine->schedule().knows(one.first); });
  if (calls.size() >= kMostCalls) return;
  std::vector<std::string> named;
  for (const auto& queue : account.atrn)
    if (!for_all && dice(2) == 0) named.push_back(queue);
  calling = Call{account.name, named.empty() ? account.atrn : named, account.atrn_wait.count() != 0};
  const auto has_mail = [this](const std::string& queue) {
    const auto* known = engine->schedule().find(queue);
    return known != nullptr && known->counts.ready + known->counts.waiting > 0;
  };
  const bool may = !locked.contains(account.name) && engine->schedule().open() && engine->schedule().room(false).deliverers &&
                   std::ranges::any_of(calling->queues, [&](const std::string& queue) {
                     return may_go(queue) && (calling->waits || has_mail(queue));
                   });
  const auto before = calls.size();
  const auto taken = intake->callers().take({account.name, base::parse_ip("192.0.2.9").value(), "", named});
  EXPECT_EQ(taken.has_value(), may) << account.name << ' ' << (taken ? "" : taken.error().why);
  EXPECT_EQ(calls.size() - before, taken.has_value() ? 1U : 0U);
  turns(4);
  expect_callers_served();
}

void EngineModel::host_hangs_up() {
  if (calls.empty()) return;
  const auto call = std::next(calls.begin(), static_cast<std::ptrdiff_t>(dice(calls.size())))->first;
  for (const auto& relay : relays) (void)relay->hang_up(call);
  turns();
}

// A connection that waits, at whichever of its queues, waits for none that has something to go.
void EngineModel::expect_callers_served() {
  const auto& schedule = engine->schedule();
  for (const auto& [grant, call] : calls) {
    const auto* at = schedule.hop_of(grant);
    if (at == nullptr || at->idle() != at->grants) continue;
    for (const auto& queue : call.queues) {
      const auto* hop = schedule.find_hop("turn:" + queue);
      EXPECT_TRUE(hop == nullptr || hop->lines() == 0 || hop->frozen) << queue << ", for which " << call.account << " waits";
    }
  }
}

// What waits for its own time is tried now; who asks hears how much there is.
void EngineModel::start_queue() {
  turns();
  ipc::StartQueue start;
  start.request = base::RequestId(++request);
  start.origin = base::parse_ip("10.1.2.3").value();
  start.queue = any_queue();
  const auto* queue = engine->schedule().find(start.queue);
  const bool any = queue != nullptr && queue->messages() > 0;
  smtpd.connection->send(start);
  turns();
  ASSERT_FALSE(smtpd.queues_started.empty());
  const auto& said = smtpd.queues_started.back();
  EXPECT_EQ(said.request, start.request);
  EXPECT_TRUE(said.reply.code == kStarted || said.reply.code == kNothingWaits) << said.reply.text;
  if (any) {
    EXPECT_EQ(said.reply.code, kStarted) << start.queue;
  }
}

// --- Of hosts that keep ours ------------------------------------------------------------------------

void EngineModel::begin_collecting() {
  collector = std::make_unique<Collector>(
      *loop, clock,
      Collector::Outlets{[this]() noexcept { return intake->can_serve(); },
                         [this](const ipc::Collect& call) noexcept { return delivery->collect(call); },
                         [this](const ipc::EndCollect& end) noexcept { delivery->end_collect(end); },
                         [this](const ipc::ServeTurned& turned, base::UniqueFd fd) noexcept {
                           return intake->serve(turned, std::move(fd));
                         }});
  delivery->on_collect(
      [this](const ipc::TurnedRound& turned, base::UniqueFd fd) noexcept { collector->turned(turned, std::move(fd)); },
      [this](const ipc::Collected& done) noexcept { collector->collected(done); });
  collector->configure(config.collects);
}

void EngineModel::collect() {
  auto& relay = any_relay();
  if (relay.collects().empty()) return;
  const auto call = relay.collects().begin()->first;
  const auto served = smtpd.turned.size();
  switch (dice(4)) {
    case 0:
      relay.turn_round(call, base::UniqueFd::adopt(::dup(STDERR_FILENO)));
      turns();
      EXPECT_LE(smtpd.turned.size(), served + 1);
      return;
    case 1:
      return relay.end_collect(call, ipc::CollectEnd::kServed, 0);
    case 2:
      return relay.end_collect(call, ipc::CollectEnd::kNothing, 453);
    default:
      return relay.end_collect(call, ipc::CollectEnd::kFailed, dice(2) == 0 ? 451 : 550);
  }
}

void EngineModel::look_at_collects() {
  std::set<std::string> hosts;
  for (const auto& relay : relays)
    for (const auto& [number, call] : relay->collects()) {
      EXPECT_TRUE(hosts.insert(call.hop.host).second) << call.hop.host << " is called twice at the same time";
      const auto known = collected.find(call.hop.host);
      if (known != collected.end() && known->second.first == number) continue;
      if (known != collected.end()) {
        EXPECT_GE(clock.steady() - known->second.second, CallPlan::kLeast) << call.hop.host;
      }
      collected[call.hop.host] = {number, clock.steady()};
      ++collects;
    }
}

void EngineModel::expect_all_are_called() {
  for (const auto& relay : relays)
    while (!relay->collects().empty())
      relay->end_collect(relay->collects().begin()->first, ipc::CollectEnd::kFailed, 550);
  turns();
  const auto since = clock.steady();
  for (int n = 0; n < 20; ++n) pass_time(base::Millis(20'000));
  for (const auto& one : config.collects) {
    const auto known = collected.find(one.hop.host);
    ASSERT_NE(known, collected.end()) << one.hop.host;
    EXPECT_GT(known->second.second, since) << one.hop.host << " is not called any more";
  }
}

}  // namespace postern::queued
