// The part of EngineModel that is the operator: what he stops, and lets go, tries or removes.
#include <algorithm>

#include "tests/unit/queued/engine_model.h"

namespace postern::queued {
namespace {

constexpr int kLongestCommand = 5'000;  // turns
constexpr const char* kRouted[] = {"smart.example:25", "spare.example:25", "hub.example:25"};
constexpr const char* kAllQueues[] = {"q0.example", "q1.example", "q2.example", "q3.example",  "q4.example",
                                      "q5.example", "q6.example", "q7.example", "back.example"};

// Messages of `there` that the selector picks. They cannot be picked later unless they could be before.
std::vector<Message> picked(const ipc::Selector& by, std::vector<Message> there) {
  std::erase_if(there, [&](const Message& message) {
    if (by.queue.empty()) return message.from.is_null() || !message.from.address().text().starts_with(by.from);
    return std::ranges::none_of(message.recipients, [&](const Recipient& recipient) {
      return recipient.open() && recipient.address.text().ends_with("@" + by.queue);
    });
  });
  return there;
}

}  // namespace

std::string EngineModel::any_name() { return dice(10) == 0 ? "*.example" : any_queue(); }

std::string EngineModel::any_hop() {
  if (frozen_hops.contains("*") ? dice(3) == 0 : dice(20) == 0) return "*";
  const auto n = dice(2 * std::size(kRouted));
  return n < std::size(kRouted) ? kRouted[n] : any_queue() + ":25";
}

ipc::Selector EngineModel::any_selector() {
  ipc::Selector some;
  if (dice(2) == 0)
    some.queue = any_queue();
  else
    some.from = any_sender();
  return some;
}

// --- Blocks -----------------------------------------------------------------------------------------

void EngineModel::change(Engine::Change change) {
  engine->change_blocks(std::move(change), [](Blocks::Said) noexcept {});
}

void EngineModel::freeze_or_not(const std::string& name, bool hop) {
  auto& names = hop ? frozen_hops : frozen;
  const bool was = names.contains(name);
  const bool keep_clock = dice(3) == 0;
  const auto until = dice(4) == 0 ? clock.wall() + base::Millis(1 + dice(300'000)) : base::WallTime{};
  if (until.ms != 0) until_[{hop, name}] = until;
  if (was) until_.erase({hop, name});
  change([=, this](Blocks& blocks) noexcept {
    return was ? blocks.unfreeze(name, hop, "anna", clock.wall(), engine->now())
               : blocks.freeze({.queue = name,
                                .reason = "full",
                                .who = "anna",
                                .since = clock.wall(),
                                .from = engine->now(),
                                .until = until,
                                .keep_clock = keep_clock,
                                .hop = hop});
  });
  if (was) names.erase(name);
  if (was) (hop ? stopped_hops : stopped).clear();
  turns();
  if (!was) names.insert(name);
  find_stopped();  // reported: from now on nothing of it may come
}

void EngineModel::find_stopped() {
  const auto stops = [this](const Freeze* freeze) {
    return freeze != nullptr && (freeze->until.ms == 0 || freeze->until > clock.wall());
  };
  const auto& blocks = engine->blocks();
  stopped.clear();
  stopped_hops.clear();
  const auto look_at = [&](const std::string& hop) {
    if (stops(blocks.hop_frozen(hop))) stopped_hops.insert(hop);
  };
  for (const std::string name : kAllQueues) {
    if (stops(blocks.frozen(name))) stopped.insert(name);
    look_at(name + ":25");
    look_at("turn:" + name);
  }
  for (const auto* name : kRouted) look_at(name);
}

// Freezes whose time is over.
void EngineModel::ended_by_time() {
  std::erase_if(until_, [this](const auto& one) {
    const auto& [what, until] = one;
    if (until > clock.wall()) return false;
    (what.first ? frozen_hops : frozen).erase(what.second);
    return true;
  });
  find_stopped();
}

void EngineModel::switch_outbound() {
  const bool was = off;
  change([=, this](Blocks& blocks) noexcept {
    return was ? blocks.enable_outbound(engine->now())
               : blocks.disable_outbound({true, true, "spam", "anna", clock.wall(), engine->now()});
  });
  if (was) off = false;
  turns();
  off = !was;
}

void EngineModel::lock_or_not(const std::string& account) {
  const bool was = locked.contains(account);
  change([=](Blocks& blocks) noexcept {
    return was ? blocks.unlock(account) : blocks.lock({.account = account, .reason = "spam"});
  });
  if (was) locked.erase(account);
  turns();
  if (!was) locked.insert(account);
}

// What was reported stands; a change under way may stand or not.
void EngineModel::expect_blocks_survive() {
  std::set<std::string> queues, hops, accounts;
  for (const auto& freeze : engine->blocks().freezes()) (freeze.hop ? hops : queues).insert(freeze.queue);
  for (const auto& lock : engine->blocks().locks()) accounts.insert(lock.account);
  for (const auto& name : frozen) EXPECT_TRUE(queues.contains(name)) << name;
  for (const auto& name : frozen_hops) EXPECT_TRUE(hops.contains(name)) << name;
  for (const auto& name : locked) EXPECT_TRUE(accounts.contains(name)) << name;
  frozen = std::move(queues);
  frozen_hops = std::move(hops);
  locked = std::move(accounts);
  find_stopped();
  EXPECT_TRUE(engine->blocks().outbound().disabled || !off);
  off = engine->blocks().outbound().disabled;
  for (const auto& message : messages())
    EXPECT_TRUE(!message.held.empty() || !held.contains(message.id)) << base::to_string(message.id);
}

void EngineModel::stop_while_bodies_are_read() {
  late_store->set_bodies_slow(true);
  for (auto n = dice(4); n > 0; --n) mail_in();
  turns();
  switch (dice(4)) {
    case 0:
      freeze_or_not(any_name(), false);
      break;
    case 1:
      freeze_or_not(any_hop(), true);
      break;
    case 2:
      switch_outbound();
      break;
    default:
      lock_or_not(config.accounts[dice(config.accounts.size())].name);
  }
  late_store->set_bodies_slow(false);
  turns();
}

void EngineModel::let_all_go() {
  until_.clear();
  for (const auto& name : std::set(frozen)) freeze_or_not(name, false);
  for (const auto& name : std::set(frozen_hops)) freeze_or_not(name, true);
  for (const auto& name : std::set(locked)) lock_or_not(name);
  if (off) switch_outbound();
  for (const auto& message : messages())
    if (!message.held.empty()) engine->end_hold(message.id);
  held.clear();
  turns();
}

// --- Messages ---------------------------------------------------------------------------------------

// A command of the control socket, while whoever asks for a message that is not in memory gets it late. When it
// reports, `reported` runs at once.
template <class M>
void EngineModel::command(M message, const auto& reported) {
  message.request = base::RequestId(++request);
  const auto before = tool.done.size();
  late_store->set_slow(true);
  tool.connection->send(message);
  for (int n = 0; n < kLongestCommand && tool.done.size() == before; ++n) {
    turns(1);
    if (dice(2) == 0) late_store->let_come();
  }
  ASSERT_EQ(tool.done.size(), before + 1);
  EXPECT_EQ(tool.done.back().exit, 0) << tool.done.back().text;
  flush();  // what was handed out until then
  reported();
  late_store->set_slow(false);
}

// Messages that came before and are picked still.
std::vector<Message> EngineModel::picked_of(const ipc::Selector& by, const std::set<base::MessageId>& before) {
  auto now = picked(by, messages());
  std::erase_if(now, [&](const Message& message) { return !before.contains(message.id); });
  return now;
}

std::set<base::MessageId> EngineModel::ids_now() {
  std::set<base::MessageId> ids;
  for (const auto& message : messages()) ids.insert(message.id);
  return ids;
}

// Durable when it is reported, for messages that are not in memory too.
void EngineModel::hold_selected(bool release) {
  const auto by = release ? *selected : any_selector();
  const auto before = ids_now();
  const auto expect_it = [&] {
    for (const auto& message : picked_of(by, before))
      EXPECT_EQ(message.held.empty(), release) << base::to_string(message.id);
  };
  // Those that are released may go before the command reports.
  for (const auto& message : picked(by, messages()))
    if (release) held.erase(message.id);
  command(ipc::Hold{.selector = by, .release = release, .reason = release ? "" : "a look"}, [&] {
    expect_it();
    for (const auto& message : picked_of(by, before))
      if (release)
        held.erase(message.id);
      else
        held.insert(message.id);
  });
  selected = release ? std::nullopt : std::optional(by);
  if (HasFailure() || dice(3) != 0) return;
  crash();
  expect_it();
}

void EngineModel::retry_selected() {
  const auto by = any_selector();
  const auto before = ids_now();
  const auto since = engine->now();
  // What was tried since waits again.
  const auto expect_it = [&] {
    for (const auto& message : picked_of(by, before))
      for (const auto& recipient : message.recipients)
        EXPECT_TRUE(!recipient.open() || recipient.tried >= since || recipient.next_try <= engine->now())
            << recipient.address.text() << " of " << base::to_string(message.id) << ", due in "
            << (recipient.next_try - engine->now()).count() << " ms";
  };
  command(ipc::Retry{.selector = by}, expect_it);
  if (HasFailure() || dice(3) != 0) return;
  crash();
  expect_it();
}

void EngineModel::hold_or_release() {
  if (dice(2) == 0) {
    hold_selected(selected.has_value());
  } else if (held.size() > 5) {
    engine->end_hold(*held.begin());
    held.erase(held.begin());
  } else if (const auto id = any_message(); look(id) != nullptr) {
    engine->hold(id, "by anna: a look");
    turns();
    held.insert(id);
  }
}

void EngineModel::remove() {
  const auto id = any_message();
  const Message* message = look(id);
  if (message == nullptr || engine->in_delivery(*message)) return;
  store->fetch({id}, [this, id]() noexcept {
    const Message* now = store->find(id);
    if (now == nullptr || engine->in_delivery(*now)) return;
    for (const auto& recipient : now->recipients)
      if (recipient.open()) ledger[{id, recipient.number}].removed = true;
    engine->remove(id, "by anna");
    held.erase(id);
  });
  turns();
}

}  // namespace postern::queued
