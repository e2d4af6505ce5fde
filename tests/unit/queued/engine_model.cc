// The part of EngineModel that is mail, and the deliverers that take it.
#include "tests/unit/figures.h"
#include "tests/unit/queued/engine_model.h"

#include <algorithm>
#include <cstdlib>

namespace postern::queued {
namespace {

constexpr std::size_t kQueues = 8;
constexpr std::size_t kFirstTurned = 5;  // of those that may wait for a call

config::HopSpec to_host(const char* name, std::uint8_t weight = 0) {
  config::HopSpec spec{config::HopKind::kHost, name, 25};
  spec.weight = weight;
  return spec;
}

// A lease, by it or its outcome.
std::pair<std::uint64_t, std::uint64_t> name_of(const auto& lease) { return {lease.epoch.value, lease.lease.value}; }

bool is_policy(const ipc::RecipientResult& result) {
  const bool refused = result.result == ipc::Result::kDeferred || result.result == ipc::Result::kFailed;
  return refused && result.reply.subject == 7;
}

}  // namespace

EngineModel::EngineModel() {
  set_retry();
  config.rights.listeners[0].etrn_from = config.rights.listeners[0].relay_from;
  config.accounts = {{.name = "amy"}, {.name = "bob"}, {.name = "zoe"}};
  set_routes();
  for (int n = 0; n < 2; ++n) add_relay();
}

void EngineModel::add_relay() {
  relays.push_back(std::make_unique<crash::Courier>(
      relay_loop, ipc::Role::kRelay, [this](const crash::Courier::Report& report) { saved(report); }));
}

std::uint64_t EngineModel::chosen_seed() {
  return wished("POSTERN_SEED", 17);
}

// --- Chance -----------------------------------------------------------------------------------------

std::string EngineModel::any_queue() { return queue_name(dice(kQueues)); }

mail::Notify EngineModel::any_notify() {
  constexpr const char* kWords[] = {"", "", "NEVER", "FAILURE", "SUCCESS", "SUCCESS,FAILURE,DELAY"};
  return mail::Notify::parse(kWords[dice(std::size(kWords))]).value_or(mail::Notify());
}

base::MessageId EngineModel::any_message() {
  if (unfinished.empty()) return {};
  const auto first = unfinished.begin()->first.value;
  const auto at = unfinished.lower_bound({base::MessageId(first + dice(unfinished.rbegin()->first.value - first + 1)), 0});
  return at->first;
}

// --- One life after another -------------------------------------------------------------------------

void EngineModel::live() {
  begin();
  intake->callers().set_connect([this](const Schedule::Call& call, ipc::Turned turned, base::UniqueFd fd) noexcept {
    const auto grant = delivery->call(call, std::move(turned), std::move(fd));
    if (grant) calls.emplace(*grant, *calling);
    return grant;
  });
  for (std::size_t n = 0; n < relays.size(); ++n) connect_relay(n);
  delivery->expect(static_cast<std::uint32_t>(relays.size()));
  turns();
  connect(smtpd);
  begin_collecting();
  serve(tool, ControlLevel::kAdmin);
}

void EngineModel::connect_relay(std::size_t n) {
  auto pair = ipc::make_channel_pair();
  delivery->connect(ipc::Role::kRelay, static_cast<std::uint32_t>(n), std::move(pair.b));
  relays[n]->connect(std::move(pair.a));
  std::vector<base::RequestId> unsaved;
  for (const auto& [number, report] : relays[n]->reports()) unsaved.push_back(number);
  for (const auto number : unsaved) relays[n]->again(number);
}

void EngineModel::crash() {
  tool.connection.reset();
  smtpd = FakeSmtpd();
  collector.reset();
  calls.clear();
  collected.clear();
  end();
  old_loops.clear();
  disk.log.clear();
  ++routes;
  live();
  ended_by_time();
  expect_blocks_survive();
}

void EngineModel::turns(int times) {
  for (int n = 0; n < times; ++n) {
    turn(1);
    relay_loop.run_once(false);
    take_in();
  }
  look_at_collects();
}

// What was sent until now has come.
void EngineModel::flush() {
  for (int n = 0; n < 20; ++n) relay_loop.run_once(false);
  take_in();
}

void EngineModel::pass_time(base::Millis time) {
  clock.advance(time);
  ended_by_time();
  engine->end_due_freezes();
  engine->follow_dns();
  engine->end_uncalled();
  engine->poke();
  collector->configure(config.collects);  // its own timer knows another clock
  turns(1);
}

// --- Mail -------------------------------------------------------------------------------------------

// It expires, and its senders are told before; or neither.
void EngineModel::set_retry() {
  config.retry.expire = dice(3) == 0 ? base::Millis(0) : kLeastExpire + base::Millis(dice(600'000));
  config.retry.notify = base::Millis(dice(2) * 300'000);
  config.retry.after = {base::Millis(30'000 + dice(60'000)), base::Millis(120'000)};
}

void EngineModel::set_routes() {
  config.routes.clear();
  const auto weight = static_cast<std::uint8_t>(dice(2));
  if (dice(2) == 0)
    config.routes.push_back({.to = {"q0.example", "q1.example", "q2.example"},
                             .via = {to_host("smart.example", weight), to_host("spare.example", weight)},
                             .connections = 2,
                             .second_path = dice(4) != 0});
  if (dice(2) == 0)
    config.routes.push_back({.to = {"q3.example"}, .via = {to_host("smart.example"), {}}, .second_path = dice(3) != 0});
  std::vector<std::string> turned;
  for (auto n = kFirstTurned; n < kQueues; ++n)
    if (dice(3) != 0) turned.push_back(queue_name(n));
  for (auto& account : config.accounts) {
    account.atrn.clear();
    account.atrn_wait = base::Millis(account.name == "amy" ? 0 : 60'000);
    for (const auto& queue : turned)
      if (account.name == "amy" || dice(2) == 0) account.atrn.push_back(queue);
  }
  if (!turned.empty()) config.routes.push_back({.to = turned, .via = {{.kind = config::HopKind::kTurn}}});
  if (dice(2) == 0)
    config.routes.push_back({.to = {"*"}, .via = {to_host("hub.example"), to_host("spare.example")}, .second_path = dice(4) != 0});
  config.collects.clear();
  for (const auto* name : {"keeper.example", "outer.example"}) {
    if (dice(3) == 0) continue;
    config::CollectConfig one;
    one.hop = to_host(name);
    one.every = base::Millis(120'000);
    one.wait = dice(2) == 0;
    config.collects.push_back(std::move(one));
  }
}

void EngineModel::reload() {
  turns(2);
  flush();
  set_routes();
  set_retry();
  ++routes;
  engine->configure(config);
  std::erase_if(collected, [this](const auto& known) {
    return std::ranges::none_of(config.collects, [&](const auto& one) { return one.hop.host == known.first; });
  });
  collector->configure(config.collects);
  intake->callers().review();
}

std::set<std::string> EngineModel::hops_of(const std::string& queue) const {
  const config::RouteConfig* by = nullptr;
  for (const auto& route : config.routes)
    for (const auto& to : route.to)
      if (to == queue || (to == "*" && by == nullptr)) by = &route;
  if (by == nullptr) return {queue + ":25"};
  std::set<std::string> names;
  for (const auto& way : by->via)
    names.insert(way.kind == config::HopKind::kHost ? way.host + ":25"
                 : way.kind == config::HopKind::kMx ? queue + ":25"
                                                    : "turn:" + queue);
  return names;
}

void EngineModel::mail_in() {
  auto record = envelope(0);
  const auto sender = dice(3) == 0 ? std::string() : any_sender();
  record.from = sender.empty() ? mail::ReversePath() : mail::ReversePath(address(sender));
  // Some are tried in several leases, and their senders hear of each success.
  const bool many = dice(30) == 0;
  const auto count = static_cast<std::uint32_t>(many ? 2 + dice(3 * ipc::kLeaseRecipients) : 1 + dice(3));
  const auto id = record.id;
  const auto queue_of_all = any_queue();
  const bool spread = dice(2) == 0;  // over queues that may lead to one next hop
  std::map<Name, Entry> fresh;
  for (std::uint32_t n = 0; n < count; ++n) {
    const auto queue = many && !spread ? queue_of_all : any_queue();
    const auto to = "r" + std::to_string(++last_recipient) + "@" + queue;
    const auto notify = many ? mail::Notify::parse("SUCCESS,FAILURE").value() : any_notify();
    record.recipients.push_back({.number = n, .address = address(to), .notify = notify});
    fresh[{id, n}] = {.queue = queue, .address = to, .sender = sender, .notify = notify, .born = record.born};
  }
  const std::string body = "Subject: x\r\n\r\n" + std::string(dice(3000), 'x') + "\r\n";
  record.body_size = body.size();
  store->accept(std::move(record), std::make_shared<const std::string>(body),
                [this, id, fresh = std::move(fresh)](bool stored) noexcept {
                  if (!stored) return;
                  for (const auto& [name, entry] : fresh) unfinished.insert(name);
                  ledger.insert(fresh.begin(), fresh.end());
                  engine->admit(id);
                });
}

// --- Leases -----------------------------------------------------------------------------------------

// They stand behind those that came before.
void EngineModel::take_in() {
  for (auto& relay : relays) {
    const auto& in_hand = relay->in_hand();
    auto known = in_hand.size();
    while (known > 0 && !handed.contains(name_of(in_hand[known - 1].lease))) --known;
    for (; known < in_hand.size(); ++known) lease_came(in_hand[known]);
  }
}

void EngineModel::lease_came(const deliverd::Delivery& one) {
  const auto& lease = one.lease;
  Handed how;
  if (const auto known = engine->schedule().leases().find({lease.epoch, lease.lease});
      known != engine->schedule().leases().end()) {
    how.life = life;
    how.grant = known->second.grant;
    how.by = known->second.by;
    if (const auto* hop = engine->schedule().hop_of(how.grant)) how.hop = hop->name();
  }
  EXPECT_FALSE(stopped_hops.contains(how.hop)) << how.hop;
  std::set<std::string> domains;
  for (const auto& recipient : lease.recipients) {
    recipient_came(one, recipient, how);
    domains.insert(recipient.address.domain().text());
  }
  const bool second = how.by.refused != 0;
  EXPECT_FALSE(second && domains.size() > 1) << "who goes by a second path goes alone";
  of_several += domains.size() > 1 ? 1 : 0;
  of_second += second ? 1 : 0;
  of_calls += calls.contains(how.grant) ? 1 : 0;
  handed[name_of(lease)] = std::move(how);
}

void EngineModel::recipient_came(const deliverd::Delivery& one, const ipc::LeaseRecipient& recipient, Handed& how) {
  const auto& lease = one.lease;
  const Name name{lease.message, recipient.number};
  auto known = ledger.find(name);
  if (known == ledger.end()) {  // a notice: the only mail that comes by itself
    EXPECT_TRUE(lease.from.is_null());
    EXPECT_EQ(one.body.size(), lease.body_size);
    EXPECT_TRUE(told.read(lease.message, recipient.address.text(), one.body));
    known = ledger.emplace(name, Entry{.queue = "back.example", .address = recipient.address.text()}).first;
    unfinished.insert(name);
  }
  Entry& entry = known->second;
  EXPECT_FALSE(entry.ended) << "repeated after its outcome was acknowledged";
  EXPECT_FALSE(entry.in_hand) << base::to_string(lease.message) << ' ' << recipient.number << " in two leases";
  EXPECT_FALSE(entry.removed);
  EXPECT_FALSE(entry.expired);
  EXPECT_FALSE(stopped.contains(entry.queue)) << entry.queue;
  EXPECT_FALSE(off);
  EXPECT_FALSE(held.contains(lease.message)) << base::to_string(lease.message);
  const Message* message = late_store->find(lease.message);
  const Recipient* there = message == nullptr ? nullptr : find_recipient(*message, recipient.number);
  if (there != nullptr && !message->notice) {  // one that waited for more to tell goes as soon as nothing comes
    EXPECT_LE(engine->due(*message, *there, entry.queue), engine->now()) << entry.address << " before its time";
  }
  expect_way(entry, how);
  if (how.by.refused == 0) entry.refused_in = 0;
  entry.in_hand = true;
  how.leases[recipient.number] = ++entry.leases;
}

// By the second path of its route only whom the first one has just refused by its policy, and never by the same next
// hop; where its host has to call, only over a connection that this host has opened for this queue.
void EngineModel::expect_way(const Entry& entry, const Handed& how) {
  if (how.by.refused != 0) {
    EXPECT_EQ(entry.refused_in, routes) << entry.address << " was not refused in this try";
    EXPECT_NE(entry.refused_by, how.hop) << entry.address;
  }
  if (how.hop.empty()) return;
  EXPECT_TRUE(hops_of(entry.queue).contains(how.hop)) << entry.queue << " over " << how.hop;
  if (!is_turned(entry.queue)) return;
  const auto call = calls.find(how.grant);
  ASSERT_NE(call, calls.end()) << entry.queue << " without a call";
  EXPECT_NE(std::ranges::find(call->second.queues, entry.queue), call->second.queues.end()) << entry.queue;
  EXPECT_FALSE(locked.contains(call->second.account)) << call->second.account;
}

// --- Outcomes ---------------------------------------------------------------------------------------

ipc::RecipientResult EngineModel::any_result(std::uint32_t number) {
  constexpr ipc::Arrival kArrivals[] = {ipc::Arrival::kFinal, ipc::Arrival::kRelayed, ipc::Arrival::kAnswerable};
  const auto say = [&](ipc::Result result, std::uint16_t code, std::uint16_t subject) {
    ipc::RecipientResult said;
    said.number = number;
    said.result = result;
    said.failure = subject == 7 ? ipc::FailureClass::kPolicy : ipc::FailureClass::kConnect;
    said.reply = {code, static_cast<std::uint8_t>(code / 100), subject, static_cast<std::uint16_t>(subject == 7 ? 1 : 0), "said"};
    said.arrival = kArrivals[dice(std::size(kArrivals))];
    return said;
  };
  const auto luck = draining ? 0 : dice(14);
  if (luck < 7) return say(ipc::Result::kDelivered, 250, 0);
  if (luck < 9) return say(ipc::Result::kDeferred, 451, 0);
  if (luck < 10) return say(ipc::Result::kFailed, 550, 0);
  if (luck < 11) return say(ipc::Result::kUnknown, 550, dice(2) == 0 ? 7 : 0);
  if (luck < 12) return say(ipc::Result::kDeferred, 450, 7);
  if (luck < 13) return say(ipc::Result::kFailed, 550, 7);
  return say(ipc::Result::kReturned, 0, 0);
}

void EngineModel::deliver() {
  auto& relay = any_relay();
  auto& in_hand = relay.in_hand();
  if (in_hand.empty()) return;
  const auto at = in_hand.begin() + static_cast<std::ptrdiff_t>(dice(in_hand.size()));
  const auto lease = at->lease;
  in_hand.erase(at);
  ipc::Outcome outcome;
  outcome.lease = lease.lease;
  outcome.epoch = lease.epoch;
  outcome.message = lease.message;
  outcome.remote = "mx[192.0.2.9]:25";
  Handed& how = handed.at(name_of(lease));
  how.reported_in = routes;
  std::vector<std::uint32_t> ending;
  for (const auto& recipient : lease.recipients) {
    const Name name{lease.message, recipient.number};
    Entry& entry = ledger.at(name);
    const auto result = any_result(recipient.number);
    const bool policy = is_policy(result);
    if (!policy && (result.result == ipc::Result::kDelivered || result.result == ipc::Result::kFailed))
      ending.push_back(recipient.number);
    else  // it may be in another lease before failures of this one, which wait for others, are acknowledged
      entry.in_hand = false;
    note_refusal(name, entry, result, how);
    outcome.results.push_back(result);
  }
  relay.report(std::move(outcome), std::move(ending));
}

void EngineModel::note_refusal(const Name& name, Entry& entry, const ipc::RecipientResult& result, Handed& how) {
  const bool untried = result.result == ipc::Result::kReturned;
  if (how.by.refused == 0 || !untried || how.life != life) {
    entry.refused_in = 0;
  } else if (entry.refused_in != 0) {  // it comes back to that path, where routes of now have the same
    const auto route = engine->router().route(address(entry.address)).destination;
    if (*how.by.destination == second_path(route, how.by.refused - 1U)) entry.refused_in = routes;
  }
  if (!is_policy(result)) return;
  if (goes_second(entry, how)) {
    entry.refused_in = routes;
    entry.refused_by = how.hop;
  }
  if (result.result == ipc::Result::kFailed) how.refused[name.second] = goes_on(entry, how);
}

// Whom it refuses by its policy is tried again at once: by the second path, or from the beginning where nobody knows
// which way of these routes it was.
bool EngineModel::goes_on(const Entry& entry, const Handed& how) const {
  const auto route = engine->router().route(address(entry.address)).destination;
  if (!route.second_path) return false;
  if (how.life != life) return true;
  return how.by.refused == 0 && (*how.by.destination != route || goes_second(entry, how));
}

bool EngineModel::goes_second(const Entry& entry, const Handed& how) const {
  if (how.life != life || how.by.refused != 0) return false;
  const auto route = engine->router().route(address(entry.address)).destination;
  return *how.by.destination == route && !second_path(route, how.by.way).via.empty();
}

// One that goes on may have been given up since, where its second path was closed.
bool EngineModel::ended_by_policy(const Name& name, const Entry& entry, const Handed& how) {
  const bool again = entry.leases != how.leases.at(name.second);
  const Message* message = again ? nullptr : look(name.first);
  const Recipient* recipient = message == nullptr ? nullptr : find_recipient(*message, name.second);
  const bool there = again || (recipient != nullptr && recipient->open());
  if (how.reported_in == routes && !entry.unsure) {
    const bool old = engine->now() - entry.born >= kLeastExpire;
    EXPECT_TRUE(there || !how.refused.at(name.second) || old || entry.removed || entry.expired) << entry.address;
    EXPECT_TRUE(!there || how.refused.at(name.second)) << entry.address << " was refused, and there is no second path";
  }
  return !there && !entry.removed && !entry.expired;
}

void EngineModel::saved(const crash::Courier::Report& report) {
  const auto at = handed.find(name_of(report.outcome));
  ASSERT_NE(at, handed.end());
  const Handed& how = at->second;
  for (const auto& result : report.outcome.results) {
    const Name name{report.outcome.message, result.number};
    Entry& entry = ledger.at(name);
    if (entry.leases == how.leases.at(result.number)) entry.in_hand = false;
    const bool ends = how.refused.contains(result.number)
                          ? ended_by_policy(name, entry, how)
                          : std::ranges::find(report.entries, result.number) != report.entries.end();
    if (ends && !entry.ended) {
      entry.refused = result.result == ipc::Result::kFailed;
      entry.arrived = !entry.refused && result.arrival != ipc::Arrival::kAnswerable;
    }
    entry.ended = entry.ended || (ends && !entry.unsure);
  }
  handed.erase(at);
}

void EngineModel::relay_dies() {
  const auto n = dice(relays.size());
  const auto lose = [this](LeaseName lease, base::MessageId message, bool unsure) {
    const auto at = handed.find(lease);
    if (at == handed.end()) return;
    for (const auto& [number, count] : at->second.leases) {
      Entry& entry = ledger.at({message, number});
      if (entry.leases != count) continue;  // it has gone on
      entry.in_hand = false;
      if (!unsure) entry.refused_in = 0;
      entry.unsure = entry.unsure || unsure;
    }
    handed.erase(at);
  };
  for (const auto& one : relays[n]->in_hand())
    lose(name_of(one.lease), one.lease.message, false);
  for (const auto& [number, report] : relays[n]->reports())
    lose(name_of(report.outcome), report.outcome.message, true);
  relays[n]->die();
  turns(1);
  connect_relay(n);
}

void EngineModel::find_expired() {
  turns();
  std::set<Name> there;
  for (const auto& message : messages())
    for (const auto& recipient : message.recipients)
      if (recipient.open()) there.insert({message.id, recipient.number});
  std::erase_if(unfinished, [&](const Name& name) {
    Entry& entry = ledger.at(name);
    if (entry.ended || entry.removed || entry.expired || entry.unsure) return true;
    if (entry.in_hand || there.contains(name)) return false;
    entry.expired = true;
    ++expired;
    if (entry.queue == "back.example") return true;  // whose birth nobody told
    EXPECT_GE((engine->now() - entry.born).count(), kLeastExpire.count());
    return true;
  });
}

}  // namespace postern::queued
