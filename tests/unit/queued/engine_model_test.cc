// The engine through a random life on a clock that the test turns: mail comes, deliverers succeed, fail and
// die, queues and next hops are frozen and let go, or come back by themselves, mail is held, let go and tried by
// the control socket while reads take their time, routes and retry tables change, old mail expires, queued is
// killed and starts again. A ledger beside it knows what was promised: every recipient ends exactly once, and who
// sent it is told of that exactly once, if he may be (I4), what was acknowledged is never repeated (I3), what is
// stopped does not move and stays stopped (I5), nothing is given up before its time, and of what is told to block
// a recipient each comes in its place. POSTERN_ENGINE_STEPS sets how long, POSTERN_SEED which life.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "queued/explain.h"
#include "tests/crash/courier.h"
#include "tests/unit/figures.h"
#include "tests/unit/queued/blocker_pairs.h"
#include "tests/unit/queued/fake_control.h"
#include "tests/unit/queued/notices_told.h"

namespace postern::queued {
namespace {

using Name = std::pair<base::MessageId, std::uint32_t>;  // of a recipient

struct Entry {
  std::string queue;
  std::string address = {};    // of nobody else
  std::string sender = {};     // empty: the null one
  mail::Notify notify = {};
  bool in_hand = false;   // leased to a deliverer, or its outcome is on the way
  bool ended = false;     // for certain
  bool refused = false;   // that is how
  bool arrived = false;   // that is how, and its next hop makes no reports
  bool removed = false;   // by the operator
  bool expired = false;
  QueueTime born{0};
  bool unsure = false;    // its deliverer died with an outcome of which nobody knows whether it was taken
};

// Mail is never younger when it expires.
constexpr base::Millis kLeastExpire{900'000};
constexpr std::size_t kQueues = 8;
constexpr int kLongestCommand = 5'000;  // turns

class EngineModel : public ::testing::Test, public ControlRig {
 protected:
  EngineModel() {
    set_retry();
    for (int n = 0; n < 2; ++n) add_relay();
  }
  void add_relay() {
    relays.push_back(std::make_unique<crash::Courier>(
        relay_loop, ipc::Role::kRelay,
        [this](const crash::Courier::Report& report) { saved(report); }));
  }
  std::size_t dice(std::size_t sides) { return random() % sides; }
  static std::string queue_name(std::size_t n) { return "q" + std::to_string(n) + ".example"; }
  std::string any_queue() { return queue_name(dice(kQueues)); }
  std::string any_sender() { return "s" + std::to_string(dice(4)) + "@back.example"; }
  mail::Notify any_notify() {
    constexpr const char* kWords[] = {"", "", "NEVER", "FAILURE", "SUCCESS", "SUCCESS,FAILURE,DELAY"};
    return mail::Notify::parse(kWords[dice(std::size(kWords))]).value_or(mail::Notify());
  }

  // Mail expires, and its senders are told before; or neither.
  void set_retry() {
    config.retry.expire = dice(3) == 0 ? base::Millis(0) : kLeastExpire + base::Millis(dice(600'000));
    config.retry.notify = base::Millis(dice(2) * 300'000);
    config.retry.after = {base::Millis(30'000 + dice(60'000)), base::Millis(120'000)};
  }

  // --- one life after another
  void live() {
    begin();
    for (std::size_t n = 0; n < relays.size(); ++n) connect_relay(n);
    delivery->expect(static_cast<std::uint32_t>(relays.size()));
    turns();
    serve(tool, ControlLevel::kAdmin);
  }
  void connect_relay(std::size_t n) {
    auto pair = ipc::make_channel_pair();
    delivery->connect(ipc::Role::kRelay, static_cast<std::uint32_t>(n), std::move(pair.b));
    relays[n]->connect(std::move(pair.a));
    std::vector<base::RequestId> unsaved;
    for (const auto& [number, report] : relays[n]->reports()) unsaved.push_back(number);
    for (const auto number : unsaved) relays[n]->again(number);
  }
  void crash() {
    tool.connection.reset();
    end();
    live();
    // What was reported stands; a change under way may stand or not.
    std::set<std::string> queues, hops;
    for (const auto& freeze : engine->blocks().freezes()) (freeze.hop ? hops : queues).insert(freeze.queue);
    ended_by_time();
    for (const auto& name : frozen) EXPECT_TRUE(queues.contains(name)) << name;
    for (const auto& name : frozen_hops) EXPECT_TRUE(hops.contains(name)) << name;
    frozen = std::move(queues);
    frozen_hops = std::move(hops);
    find_stopped();
    EXPECT_TRUE(engine->blocks().outbound().disabled || !off);
    off = engine->blocks().outbound().disabled;
    for (const auto& message : messages())
      EXPECT_TRUE(!message.held.empty() || !held.contains(message.id)) << base::to_string(message.id);
  }
  void turns(int times = 3) {
    for (int n = 0; n < times; ++n) {
      turn(1);
      relay_loop.run_once(false);
      take_in();
    }
  }

  // --- mail
  void mail_in() {
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
                    ledger.insert(fresh.begin(), fresh.end());
                    engine->admit(id);
                  });
  }
  // Leases that have just come.
  void take_in() {
    for (auto& relay : relays) {
      for (const auto& one : relay->in_hand()) {
        const auto& lease = one.lease;
        if (!seen.insert({lease.epoch.value, lease.lease.value}).second) continue;
        const auto known = engine->schedule().leases().find({lease.epoch, lease.lease});
        if (known != engine->schedule().leases().end())
          if (const auto* hop = engine->schedule().hop_of(known->second.grant)) {
            EXPECT_FALSE(frozen_hops.contains(hop->name())) << hop->name();
          }
        std::set<std::string> domains;
        for (const auto& recipient : lease.recipients) {
          handed(one, recipient);
          domains.insert(recipient.address.domain().text());
        }
        of_several += domains.size() > 1 ? 1 : 0;
      }
    }
  }
  void handed(const deliverd::Delivery& one, const ipc::LeaseRecipient& recipient) {
    const auto& lease = one.lease;
    const Name name{lease.message, recipient.number};
    auto known = ledger.find(name);
    if (known == ledger.end()) {  // a notice: the only mail that comes by itself
      EXPECT_TRUE(lease.from.is_null());
      EXPECT_EQ(one.body.size(), lease.body_size);
      EXPECT_TRUE(told.read(lease.message, recipient.address.text(), one.body));
      known = ledger.emplace(name, Entry{.queue = "back.example", .address = recipient.address.text()}).first;
    }
    Entry& entry = known->second;
    EXPECT_FALSE(entry.ended) << "repeated after its outcome was acknowledged";
    EXPECT_FALSE(entry.in_hand) << base::to_string(lease.message) << ' ' << recipient.number << " in two leases";
    EXPECT_FALSE(entry.removed);
    EXPECT_FALSE(entry.expired);
    EXPECT_FALSE(stopped.contains(entry.queue)) << entry.queue;
    EXPECT_FALSE(off);
    EXPECT_FALSE(held.contains(lease.message)) << base::to_string(lease.message);
    entry.in_hand = true;
  }

  // --- deliverers
  crash::Courier& any_relay() { return *relays[dice(relays.size())]; }
  void deliver() {
    constexpr ipc::Arrival kArrivals[] = {ipc::Arrival::kFinal, ipc::Arrival::kRelayed, ipc::Arrival::kAnswerable};
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
    std::vector<std::uint32_t> ending;
    for (const auto& recipient : lease.recipients) {
      ipc::RecipientResult result;
      result.number = recipient.number;
      const auto luck = draining ? 0 : dice(10);
      result.result = luck < 6   ? ipc::Result::kDelivered
                      : luck < 8 ? ipc::Result::kDeferred
                      : luck < 9 ? ipc::Result::kFailed
                                 : ipc::Result::kUnknown;
      result.reply = {static_cast<std::uint16_t>(luck < 6 ? 250 : luck < 8 ? 451 : 550),
                      static_cast<std::uint8_t>(luck < 6 ? 2 : luck < 8 ? 4 : 5), 0, 0, "said"};
      if (luck < 6 || luck == 8)
        ending.push_back(recipient.number);
      else  // it may be in another lease before failures of this one, which wait for others, are acknowledged
        ledger.at({lease.message, recipient.number}).in_hand = false;
      result.arrival = kArrivals[dice(std::size(kArrivals))];
      outcome.results.push_back(result);
    }
    relay.report(std::move(outcome), std::move(ending));
  }
  // An outcome is acknowledged.
  void saved(const crash::Courier::Report& report) {
    for (const auto& result : report.outcome.results) {
      Entry& entry = ledger.at({report.outcome.message, result.number});
      entry.in_hand = false;
      const bool ends = std::find(report.entries.begin(), report.entries.end(), result.number) !=
                        report.entries.end();
      if (ends && !entry.ended) {
        entry.refused = result.result == ipc::Result::kFailed;
        entry.arrived = !entry.refused && result.arrival != ipc::Arrival::kAnswerable;
      }
      entry.ended = entry.ended || ends;
    }
  }
  void relay_dies() {
    const auto n = dice(relays.size());
    for (const auto& one : relays[n]->in_hand())
      for (const auto& recipient : one.lease.recipients)
        ledger.at({one.lease.message, recipient.number}).in_hand = false;
    for (const auto& [number, report] : relays[n]->reports())
      for (const auto& result : report.outcome.results) {
        auto& entry = ledger.at({report.outcome.message, result.number});
        entry.in_hand = false;
        entry.unsure = true;
      }
    relays[n]->die();
    turns(1);
    connect_relay(n);
  }

  // --- the operator
  void freeze_or_not(const std::string& name, bool hop) {
    auto& names = hop ? frozen_hops : frozen;
    const bool was = names.contains(name);
    const bool keep_clock = dice(3) == 0;
    const auto until = dice(4) == 0 ? clock.wall() + base::Millis(1 + dice(300'000)) : base::WallTime{};
    if (until.ms != 0) until_[{hop, name}] = until;
    if (was) until_.erase({hop, name});
    engine->change_blocks(
        [=, this](Blocks& blocks) noexcept {
          return was ? blocks.unfreeze(name, hop, "anna", clock.wall(), engine->now())
                     : blocks.freeze({.queue = name,
                                      .reason = "full",
                                      .who = "anna",
                                      .since = clock.wall(),
                                      .from = engine->now(),
                                      .until = until,
                                      .keep_clock = keep_clock,
                                      .hop = hop});
        },
        [](Blocks::Said) noexcept {});
    if (was) names.erase(name);
    if (was) stopped.clear();
    turns();
    if (!was) names.insert(name);
    find_stopped();  // reported: from now on nothing of it may come
  }
  void find_stopped() {
    stopped.clear();
    for (std::size_t n = 0; n < kQueues + 1; ++n) {
      const auto name = n < kQueues ? queue_name(n) : "back.example";
      const Freeze* freeze = engine->blocks().frozen(name);
      if (freeze != nullptr && (freeze->until.ms == 0 || freeze->until > clock.wall())) stopped.insert(name);
    }
  }
  // Freezes whose time is over.
  void ended_by_time() {
    std::erase_if(until_, [this](const auto& one) {
      const auto& [what, until] = one;
      if (until > clock.wall()) return false;
      (what.first ? frozen_hops : frozen).erase(what.second);
      return true;
    });
    find_stopped();
  }
  // One in ten is a pattern of all of them.
  std::string any_name() { return dice(10) == 0 ? "*.example" : any_queue(); }
  // What is gone, and was not delivered, refused or removed, was given up, and was old enough.
  void find_expired() {
    for (auto& [name, entry] : ledger) {
      if (entry.in_hand || entry.ended || entry.removed || entry.expired || entry.unsure) continue;
      const Message* message = look(name.first);
      const auto* recipient = message == nullptr ? nullptr : find_recipient(*message, name.second);
      if (recipient != nullptr && recipient->open()) continue;
      entry.expired = true;
      ++expired;
      if (entry.queue == "back.example") continue;  // whose birth nobody told
      EXPECT_GE((engine->now() - entry.born).count(), kLeastExpire.count());
    }
  }
  // What blocks a recipient is told in its order, and never with what excludes it.
  void explain_something() {
    const Message* message = look(any_message());
    if (message == nullptr) return;
    for (const auto& recipient : message->recipients) {
      if (!recipient.open()) continue;
      const auto blockers = obstacles(*engine, *message, recipient);
      for (std::size_t i = 0; i < blockers.size(); ++i)
        for (std::size_t j = i + 1; j < blockers.size(); ++j) {
          const auto a = blockers[i].blocker, b = blockers[j].blocker;
          EXPECT_LT(std::ranges::find(kOrder, a), std::ranges::find(kOrder, b))
              << ipc::name(a) << " before " << ipc::name(b);
          EXPECT_TRUE(can_be(a, b)) << ipc::name(a) << " with " << ipc::name(b);
          pairs_told.insert({a, b});
        }
    }
  }
  // Of a route, or one that the DNS tells.
  std::string any_hop() {
    constexpr const char* kRouted[] = {"smart.example:25", "spare.example:25", "hub.example:25"};
    const auto n = dice(2 * std::size(kRouted));
    return n < std::size(kRouted) ? kRouted[n] : any_queue() + ":25";
  }
  void switch_outbound() {
    const bool was = off;
    engine->change_blocks(
        [=, this](Blocks& blocks) noexcept {
          return was ? blocks.enable_outbound(engine->now())
                     : blocks.disable_outbound({true, true, "spam", "anna", clock.wall(),
                                                engine->now()});
        },
        [](Blocks::Said) noexcept {});
    if (was) off = false;
    turns();
    off = !was;
  }
  base::MessageId any_message() {
    if (ledger.empty()) return {};
    auto at = ledger.lower_bound(
        {base::MessageId(ledger.begin()->first.first.value +
                         dice(ledger.rbegin()->first.first.value -
                              ledger.begin()->first.first.value + 1)),
         0});
    return at == ledger.end() ? ledger.begin()->first.first : at->first.first;
  }
  // A command of the control socket, while whoever asks for a message that is not in memory gets it late. When it
  // reports, `reported` runs at once.
  template <class M>
  void command(M message, const auto& reported) {
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
    for (int n = 0; n < 20; ++n) relay_loop.run_once(false);  // what was handed out until then
    take_in();
    reported();
    late_store->set_slow(false);
  }
  // Messages of `there` that the selector picks. They cannot be picked later unless they could be before.
  static std::vector<Message> picked(const ipc::Selector& by, std::vector<Message> there) {
    std::erase_if(there, [&](const Message& message) {
      if (by.queue.empty()) return message.from.is_null() || !message.from.address().text().starts_with(by.from);
      return std::ranges::none_of(message.recipients, [&](const Recipient& recipient) {
        return recipient.open() && recipient.address.text().ends_with("@" + by.queue);
      });
    });
    return there;
  }
  ipc::Selector any_selector() {
    ipc::Selector some;
    if (dice(2) == 0)
      some.queue = any_queue();
    else
      some.from = any_sender();
    return some;
  }
  // Messages that came before and are picked still.
  std::vector<Message> picked_of(const ipc::Selector& by, const std::set<base::MessageId>& before) {
    auto now = picked(by, messages());
    std::erase_if(now, [&](const Message& message) { return !before.contains(message.id); });
    return now;
  }
  std::set<base::MessageId> ids_now() {
    std::set<base::MessageId> ids;
    for (const auto& message : messages()) ids.insert(message.id);
    return ids;
  }
  // Durable when it is reported, for messages that are not in memory too.
  void hold_selected(bool release) {
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
  void retry_selected() {
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
  void hold_or_release() {
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
  void remove() {
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
  void reload() {
    config.routes.clear();
    if (dice(2) == 0)
      config.routes.push_back({.to = {"q0.example", "q1.example", "q2.example"},
                               .via = {{config::HopKind::kHost, "smart.example", 25},
                                       {config::HopKind::kHost, "spare.example", 25}},
                               .connections = 2});
    if (dice(2) == 0)
      config.routes.push_back({.to = {"*"}, .via = {{config::HopKind::kHost, "hub.example", 25}}});
    set_retry();
    engine->configure(config);
  }

  void step() {
    const auto what = dice(1000);
    if (what < 250) {
      if (store->count() < 300) mail_in();
    } else if (what < 850) {
      deliver();
    } else if (what < 870) {
      (void)any_relay().fail_a_grant(ipc::FailureClass::kConnect);
    } else if (what < 890) {
      freeze_or_not(any_name(), false);
    } else if (what < 900) {
      freeze_or_not(any_hop(), true);
    } else if (what < 910) {
      switch_outbound();
    } else if (what < 930) {
      hold_or_release();
    } else if (what < 940) {
      remove();
    } else if (what < 955) {
      dice(3) == 0 ? retry_selected() : engine->retry({any_message()});
    } else if (what < 960) {
      reload();
    } else if (what < 965) {
      relay_dies();
    } else if (what < 970) {
      crash();
    } else if (what < 980) {
      explain_something();
    } else {
      pass_time(base::Millis(dice(90'000)));
    }
    turns(1);
  }
  void pass_time(base::Millis time) {
    clock.advance(time);
    ended_by_time();
    engine->end_due_freezes();
    engine->poke();
    turns(1);
  }
  // Without blocks and failures all that is left goes out.
  void drain() {
    draining = true;
    until_.clear();
    for (const auto& name : std::set(frozen)) freeze_or_not(name, false);
    for (const auto& name : std::set(frozen_hops)) freeze_or_not(name, true);
    if (off) {
      off = false;
      engine->change_blocks(
          [this](Blocks& blocks) noexcept { return blocks.enable_outbound(engine->now()); },
          [](Blocks::Said) noexcept {});
    }
    for (const auto& message : messages())
      if (!message.held.empty()) engine->end_hold(message.id);
    held.clear();
    turns();
    for (int n = 0; n < 200'000 && store->count() > 0; ++n) {
      deliver();
      if (n % 50 == 0) pass_time(base::Millis(130'000));
      turns(1);
      if (HasFailure()) return;
    }
  }

  // Of notices that could not be delivered, and of mail of which nobody can be told.
  void read_badmail() {
    for (const auto& file : disk.files("badmail")) {
      if (!file.ends_with(".reason")) continue;
      const auto id = base::parse_message_id(file.substr(file.find('/') + 1, file.rfind('.') - file.find('/') - 1));
      ASSERT_TRUE(id) << file;
      const auto& reason = disk.content(file);
      std::string first;
      for (auto at = reason.find("\nTo: <"); at != std::string::npos; at = reason.find("\nTo: <", at + 1)) {
        const auto begin = at + std::string_view("\nTo: <").size();
        const auto to = reason.substr(begin, reason.find('>', begin) - begin);
        if (first.empty()) first = to;
        in_badmail.insert({*id, to});
      }
      const auto text = file.substr(0, file.rfind('.')) + ".eml";
      if (reason.find("a notice of our own") != std::string::npos) told.read(*id, first, disk.content(text));
    }
  }
  // Each sender was told what he asked for of each of his recipients, once, and nobody else of anything.
  void expect_told() {
    read_badmail();
    for (const auto& [name, entry] : ledger) {
      const auto said = told.of(entry.address);
      const auto what = base::to_string(name.first) + " to " + entry.address + " of " + entry.sender;
      const bool can = !entry.sender.empty();
      const bool failed = entry.refused || entry.expired;
      for (const auto& to : said.to) EXPECT_EQ(to, entry.sender) << what;
      EXPECT_LE(said.failed, can && entry.notify.failure()) << what;
      EXPECT_LE(said.delayed, can && entry.notify.delay()) << what;
      EXPECT_LE(said.arrived, can && entry.notify.success()) << what;
      if (entry.unsure) continue;
      EXPECT_EQ(said.failed, failed && can && entry.notify.failure()) << what;
      EXPECT_EQ(said.arrived, entry.arrived && can && entry.notify.success()) << what;
      EXPECT_TRUE(can || !failed || in_badmail.contains({name.first, entry.address})) << what;
    }
  }

  static std::uint64_t chosen_seed() {
    const char* wish = std::getenv("POSTERN_SEED");
    return wish == nullptr ? 17 : std::strtoull(wish, nullptr, 10);
  }

  const std::uint64_t seed = chosen_seed();
  std::mt19937_64 random{seed};
  event::Loop relay_loop;  // outlives queued's
  std::vector<std::unique_ptr<crash::Courier>> relays;
  std::map<Name, Entry> ledger;
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen;  // leases: epoch, number
  std::set<std::string> frozen;       // queues, or a pattern of them
  std::set<std::string> stopped;      // queues that these stop, by what is in force
  std::set<std::string> frozen_hops;
  std::set<base::MessageId> held;
  std::optional<ipc::Selector> selected;  // by which some were held
  NoticesTold told;
  std::set<std::pair<base::MessageId, std::string>> in_badmail;  // failed recipients
  std::uint64_t last_recipient = 0;
  std::map<std::pair<bool, std::string>, base::WallTime> until_;  // of freezes, by hop or not and name
  std::set<std::pair<Blocker, Blocker>> pairs_told;
  std::size_t expired = 0;
  std::size_t of_several = 0;  // leases of several queues
  bool off = false;
  bool draining = false;
};

TEST_F(EngineModel, KeepsItsPromisesThroughARandomLife) {
  const char* wish = std::getenv("POSTERN_ENGINE_STEPS");
  const auto steps = wish == nullptr ? 5'000 : std::atoll(wish);
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  const auto begun = std::chrono::steady_clock::now();
  live();
  for (long long n = 0; n < steps; ++n) {
    step();
    ASSERT_TRUE(fatal.empty()) << fatal << ", step " << n;
    if (n % 200 == 0) find_expired();
    ASSERT_FALSE(HasFailure()) << "step " << n;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  drain();
  find_expired();
  expect_told();
  ASSERT_FALSE(HasFailure());
  EXPECT_EQ(store->count(), 0U);
  std::size_t ended = 0;
  for (const auto& [name, entry] : ledger) {
    EXPECT_TRUE(entry.ended || entry.removed || entry.unsure || entry.expired)
        << base::to_string(name.first);
    ended += entry.ended ? 1 : 0;
  }
  EXPECT_GT(ended, static_cast<std::size_t>(steps) / 10);
  EXPECT_GT(of_several, static_cast<std::size_t>(steps) / 1'000);
  note_figures(std::to_string(steps) + " steps of the engine's life: " + std::to_string(ended) +
               " recipients ended, each once; " + std::to_string(expired) + " expired; " +
               std::to_string(told.notices()) + " notices; " + std::to_string(of_several) +
               " leases of several queues; " +
               std::to_string(pairs_told.size()) + " pairs of blockers told; " +
               std::to_string(static_cast<long long>(static_cast<double>(steps) / took.count())) +
               " steps a second, seed " + std::to_string(seed));
}

}  // namespace
}  // namespace postern::queued
