// The schedule beside a model that keeps everything in plain maps and does it the slow way: whatever happens, in
// whatever order, over restarts too, both say the same; nobody waits long while others are served, the queues of
// a next hop get equal shares of it, and the senders equal shares of their queue. POSTERN_STEPS sets how long,
// POSTERN_SEED which life.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "tests/unit/figures.h"
#include "tests/unit/queued/schedule_model.h"

namespace postern::queued {
namespace {

using namespace model;

constexpr std::uint32_t kSlots = 6;  // fewer than the next hops could use
constexpr std::size_t kLease = 40;
constexpr std::size_t kEnough = 1'500;  // recipients at a time
// Connections that others are given while a next hop waits for its first one. There are 11 at most, of
// queues whose hosts are looked for too, and one whose only message is added again goes to the end.
constexpr std::size_t kLongestWait = 3 * 11;

class ScheduleModel : public ::testing::Test {
 protected:
  ScheduleModel() {
    s->set_open(true);
    for (const auto relay : {1U, 2U}) s->deliverer_up(DelivererId(relay), false);
  }
  std::unique_ptr<Schedule> make() {
    return std::make_unique<Schedule>(
        Schedule::Limits{.relay_slots = kSlots, .turn = 4, .lease_recipients = kLease}, base::Epoch(life),
        Schedule::Rules{.blocked =
                            [this](const std::string& name, const Destination&) {
                              return model[name].frozen ? Blocked::kFrozen : Blocked::kNo;
                            },
                        .hop_frozen = [this](const std::string& hop) { return frozen_hops.contains(hop); },
                        .wait = [this](const std::string& hop) { return waits[hop]; },
                        .others =
                            [this](base::MessageId message, std::uint32_t number, const Schedule::Visit& visit) {
                              if (reading != message && is_cold(message.value)) return false;
                              for (const auto other : others(message.value, number))
                                if (!visit(queue_of(other), other)) break;
                              return true;
                            }});
  }
  std::size_t dice(std::size_t sides) { return random() % sides; }
  std::string any_queue() { return "q" + std::to_string(dice(kQueues)) + ".example"; }
  std::string any_hop() {
    const auto ways = ways_of(any_queue());
    return ways[dice(ways.size())];
  }

  // --- what happens
  void add(const std::string& name, std::uint64_t message, std::uint32_t number, QueueTime due,
           bool held) {
    auto& queue = model[name];
    if (s->find(name) == nullptr) queue.line = {};  // it begins anew
    s->add(name, destination_of(name),
           {base::MessageId(message), number, size_of(message), sender_of(message), due, held}, now);
    auto& r = queue.messages[message][number];
    if (r.leased) return;
    r.due = due;
    r.held = held;
    r.ready = !held && due <= now;
    queue.review(message);
  }
  void add_some() {
    const auto all = any_queue();
    const auto id = ++last_message;
    const std::size_t count = dice(40) == 0 ? 1 + dice(200) : 1 + dice(3);
    const bool held = dice(20) == 0;
    const bool spread = dice(3) == 0;
    for (std::uint32_t n = 0; n < count; ++n) {
      const auto name = spread ? any_queue() : all;
      add(name, id, number_in(name, n), now + base::Millis(dice(2) == 0 ? 0 : dice(3000)), held);
    }
  }
  // Of these the schedule hears of further recipients later, when they are read.
  static bool is_cold(std::uint64_t message) { return message % 3 == 0; }
  // The message's other recipients, from this one on and around.
  std::vector<std::uint32_t> others(std::uint64_t message, std::uint32_t number) {
    std::vector<std::uint32_t> all;
    for (const auto& [name, queue] : model)
      if (const auto at = queue.messages.find(message); at != queue.messages.end())
        for (const auto& [one, r] : at->second) all.push_back(one);
    std::ranges::sort(all);
    const auto at = std::ranges::find(all, number);
    if (at == all.end()) return all;
    std::rotate(all.begin(), at, all.end());
    all.erase(all.begin());
    return all;
  }
  // What else of the message this lease takes along, to be as large as it may.
  std::vector<std::uint32_t> along(const std::string& own, const std::string& hop, std::uint64_t message,
                                   std::vector<std::uint32_t> recipients) {
    for (const auto number : others(message, recipients.front())) {
      if (recipients.size() == kLease) break;
      const auto name = queue_of(number);
      const auto* queue = s->find(name);
      if (name == own || model[name].frozen || !model[name].messages[message][number].ready) continue;
      if (queue->hop() == nullptr || queue->hop()->name() != hop || destination_of(name) != destination_of(own)) continue;
      recipients.push_back(number);
    }
    std::ranges::sort(recipients);
    return recipients;
  }
  // A message was read: what it takes along goes with it.
  void widen() {
    if (unread.empty()) return;
    const auto key = unread.front();
    unread.pop_front();
    const auto known = leases.find(key);
    if (known == leases.end()) return;
    auto& lease = known->second;
    const auto grant = grants.find(lease.grant);
    const bool goes = grant != grants.end() && !grant->second.leaving;
    const auto own = s->leases().at(key).queue;
    const auto expected = goes ? along(own, grant->second.hop, lease.message, lease.recipients) : lease.recipients;
    reading = base::MessageId(lease.message);
    s->widen(key);
    reading = {};
    EXPECT_EQ(s->leases().at(key).recipients, expected);
    widened += expected.size() - lease.recipients.size();
    auto all = lease;
    all.recipients = expected;
    for (const auto number : lease.recipients) std::erase(all.recipients, number);
    take_out(all);
    lease.recipients = expected;
  }
  // A message of the queue and the queue's name; 0: it has none.
  std::pair<std::string, std::uint64_t> any_message() {
    const auto name = any_queue();
    const auto& messages = model[name].messages;
    if (messages.empty()) return {name, 0};
    auto at = messages.lower_bound(1 + dice(last_message));
    return {name, at == messages.end() ? messages.begin()->first : at->first};
  }
  void take(const std::string& name, std::uint64_t message) {
    std::vector<std::uint32_t> expected;
    auto& recipients = model[name].messages[message];
    for (const auto& [number, r] : recipients)
      if (!r.leased) expected.push_back(number);
    for (const auto number : expected) recipients.erase(number);
    model[name].review(message);
    EXPECT_EQ(s->take(name, base::MessageId(message)), expected);
  }
  void hold(const std::string& name, std::uint64_t message, bool held) {
    s->hold(name, base::MessageId(message), held, now);
    for (auto& [number, r] : model[name].messages[message]) {
      if (r.leased) continue;
      r.held = held;
      r.ready = !held && r.due <= now;
    }
    model[name].review(message);
  }
  void expedite(const std::string& name, std::uint64_t message) {
    s->expedite(name, base::MessageId(message), now);
    for (auto& [number, r] : model[name].messages[message]) {
      r.due = std::min(r.due, now);
      r.ready = !r.leased && !r.held;
    }
    model[name].review(message);
  }
  void end_lease(const ModelLease& lease) {
    for (const auto number : lease.recipients) {
      auto& queue = model[queue_of(number)];
      queue.messages[lease.message].erase(number);
      queue.review(lease.message);
    }
  }
  void come_back(const ModelLease& lease) {
    for (const auto number : lease.recipients)
      if (dice(2) == 0)
        add(queue_of(number), lease.message, number, now + base::Millis(dice(500)), false);
  }
  void settle() {
    if (leases.empty()) return;
    const auto at = std::next(leases.begin(), static_cast<std::ptrdiff_t>(dice(leases.size())));
    const auto lease = at->second;
    leases.erase(at);
    EXPECT_FALSE(s->settle(DelivererId(3), lease.key));
    const auto settled = s->settle(lease.deliverer, lease.key);
    ASSERT_TRUE(settled);
    EXPECT_EQ(settled->recipients, lease.recipients);
    if (dice(2) == 0) works(*settled);
    forget_urgent();
    end_lease(lease);
    if (const auto grant = grants.find(lease.grant); grant != grants.end())
      grant->second.busy = false;
    come_back(lease);
  }
  // A message went through: nothing of its next hop's failures is remembered.
  void works(const LeaseInfo& lease) {
    if (const auto* hop = s->note_success(lease, "")) waits[hop->name()].failures = 0;
  }
  void adopt(std::uint64_t message) {
    std::vector<Placed> claimed;
    std::vector<std::uint32_t> numbers;
    for (const auto& [name, queue] : std::map(model)) {
      const auto at = queue.messages.find(message);
      if (at == queue.messages.end()) continue;
      for (const auto& [number, r] : at->second) {
        if (dice(2) == 0) continue;
        claimed.push_back({name, number});
        if (!r.leased) numbers.push_back(number);
      }
    }
    const LeaseKey key{base::Epoch(4), base::LeaseId(++last_adopted)};
    const DelivererId relay(1 + static_cast<std::uint32_t>(dice(2)));
    ASSERT_EQ(s->adopt(relay, key, base::MessageId(message), claimed), !numbers.empty());
    if (numbers.empty()) return;
    lease({key, relay, {}, message, numbers});
  }
  // Of its queues.
  void take_out(const ModelLease& lease) {
    for (const auto number : lease.recipients) {
      auto& r = model[queue_of(number)].messages[lease.message].at(number);
      ASSERT_FALSE(r.leased);
      r.leased = true;
      r.ready = r.held = false;
    }
    for (const auto number : lease.recipients) model[queue_of(number)].review(lease.message);
  }
  void lease(ModelLease lease) {
    take_out(lease);
    const auto key = lease.key;
    leases[key] = std::move(lease);
  }
  // A connection moves on: its hosts are reported, it asks for work, or it ends.
  void ask_or_end() {
    if (grants.empty()) return;
    const auto at = std::next(grants.begin(), static_cast<std::ptrdiff_t>(dice(grants.size())));
    auto& [id, grant] = *at;
    if (grant.leaving ? !grant.busy : dice(15) == 0) {
      const auto ended = s->grant_ended(grant.deliverer, id);
      ASSERT_TRUE(ended);
      EXPECT_EQ(ended->queue, grant.queue);
      EXPECT_EQ(ended->hop, grant.hop.empty() ? grant.queue : grant.hop);
      grants.erase(at);
      if (dice(20) == 0) fail_way(*ended);
    } else if (grant.hop.empty()) {
      // It moves with its queue, if that still looks for its hosts and has something to go.
      const auto* queue = s->find(grant.queue);
      const bool moves = queue != nullptr && queue->hop() != nullptr && !queue->hop()->known() &&
                         queue->counts.ready > 0 && !model[grant.queue].frozen && !grant.leaving;
      const auto hop = ways_of(grant.queue).front();
      EXPECT_EQ(s->hop_found(grant.deliverer, id, hop, base::Millis(dice(200)), now),
                grant.queue);
      grant.waits = true;
      if (!moves) return;
      grant.hop = hop;
      if (urgent.erase(grant.queue)) waits[hop].until = QueueTime(0);
    } else if (!grant.busy && !grant.parked && !grant.leaving && !grant.waits) {
      s->ask(grant.deliverer, base::RequestId(++last_request), id);
      requests[last_request] = id;
      grant.parked = true;
      if (!frozen_hops.contains(grant.hop)) waits[grant.hop].until = QueueTime(0);
    }
  }
  // The way that this connection was opened for can never work.
  void fail_way(const EndedGrant& ended) {
    const auto ways = ways_of(ended.queue).size();
    const auto* queue = s->find(ended.queue);
    const bool there = queue != nullptr && queue->hop() != nullptr && queue->hop()->name() == ended.hop;
    const auto expected = !there                      ? Schedule::Onward::kElsewhere
                          : queue->way() + 1 == ways ? Schedule::Onward::kLastWay
                                                     : Schedule::Onward::kNextWay;
    if (ways > 1) {
      EXPECT_EQ(s->way_failed(ended), expected);
    }
    part_ways();
  }
  void wait(const std::string& hop) {
    auto& known = waits[hop];  // as the store remembers it
    known = {now + base::Millis(dice(2000)), known.failures + 1};
    if (s->find_hop(hop) != nullptr) s->defer(hop, known, now);
    part_ways();
  }
  void freeze_hop(const std::string& hop) {
    if (!frozen_hops.erase(hop)) frozen_hops.insert(hop);
    s->review_blocks(now);
    part_ways();
  }
  // Queues that have two of them may go another one, and may be back before anybody looks.
  void part_ways() {
    for (auto& [name, queue] : model)
      if (ways_of(name).size() > 1) ++queue.partings;
  }
  void freeze(const std::string& name) {
    model[name].frozen = !model[name].frozen;
    s->review_blocks(now);
  }
  void die() {
    const DelivererId relay(1 + static_cast<std::uint32_t>(dice(2)));
    std::vector<ModelLease> lost;
    for (const auto& [key, held] : leases)
      if (held.deliverer == relay) lost.push_back(held);
    EXPECT_EQ(s->deliverer_down(relay).size(), lost.size());
    forget_urgent();
    std::erase_if(grants, [&](const auto& entry) { return entry.second.deliverer == relay; });
    for (const auto& gone : lost) {
      leases.erase(gone.key);
      end_lease(gone);
      come_back(gone);
    }
    s->deliverer_up(relay, false);
  }
  // New routes: all is forgotten but what is in delivery, and added again.
  void reroute() {
    s->clear();
    starving.clear();
    shares.clear();
    auto before = model;
    for (auto& [name, queue] : model) {
      queue.line = {};
      for (auto& [message, recipients] : before[name].messages) {
        std::erase_if(queue.messages[message],
                      [](const auto& entry) { return !entry.second.leased; });
        queue.review(message);
      }
    }
    for (const auto& [name, queue] : before)
      for (const auto& [message, recipients] : queue.messages)
        for (const auto& [number, r] : recipients)
          if (!r.leased) add(name, message, number, r.due, r.held);
    s->review_blocks(now);
  }

  // queued starts again. The schedule learns of all mail, and then of what deliverers that survived have in hand;
  // before that nothing is handed out. It knows of next hops what is remembered.
  void restart() {
    const auto before = std::exchange(model, {});
    const auto in_hand = std::exchange(leases, {});
    const auto connected = std::exchange(grants, {});
    unread.clear();
    for (const auto& [name, queue] : before) model[name].frozen = queue.frozen;
    requests.clear();
    urgent.clear();
    starving.clear();
    shares.clear();
    may_go = QueueTime(0);
    ++life;
    s = make();
    for (const auto& [name, queue] : before)
      for (const auto& [message, recipients] : queue.messages)
        for (const auto& [number, r] : recipients) add(name, message, number, r.due, r.held);
    const auto dead = dice(4);  // one of the relays, or none
    for (const auto& [key, one] : in_hand) {
      if (one.deliverer.value == dead) continue;
      std::vector<Placed> held;
      for (const auto number : one.recipients) held.push_back({queue_of(number), number});
      EXPECT_TRUE(s->adopt(one.deliverer, key, base::MessageId(one.message), held));
      lease({key, one.deliverer, {}, one.message, one.recipients});
    }
    for (const auto& [id, grant] : connected) {
      EXPECT_FALSE(s->grant_ended(grant.deliverer, id));
      s->ask(grant.deliverer, base::RequestId(++last_request), id);
    }
    const auto actions = s->decide(now);
    EXPECT_EQ(actions.size(), connected.size());
    for (const auto& action : actions) EXPECT_TRUE(std::holds_alternative<SendAway>(action));
    for (const auto relay : {1U, 2U}) s->deliverer_up(DelivererId(relay), false);
    s->set_open(true);
    ++restarts;
  }

  // --- what the schedule decides
  void decide() {
    for (auto& [name, queue] : model) wake(queue);
    std::erase_if(starving, [this](const auto& entry) { return !starves(s->find_hop(entry.first)); });
    for (auto& action : s->decide(now)) {
      if (const auto* grant = std::get_if<OpenGrant>(&action)) opened(*grant);
      if (const auto* go = std::get_if<GoAhead>(&action)) went_ahead(*go);
      if (const auto* out = std::get_if<HandOut>(&action)) handed(*out);
      if (const auto* away = std::get_if<SendAway>(&action)) sent_away(*away);
      if (const auto* close = std::get_if<CloseGrant>(&action)) {
        if (const auto at = grants.find(close->grant); at != grants.end())
          at->second.leaving = true;
      }
    }
    EXPECT_LE(grants.size(), kSlots);
    forget_urgent();
    note_starving();
  }
  // Has it something to go, and no connection?
  [[nodiscard]] bool starves(const Schedule::Hop* hop) const {
    return hop != nullptr && hop->lines() > 0 && hop->grants == 0 && !hop->frozen &&
           hop->until <= now && hop->may_send(now);
  }
  void note_starving() {
    std::erase_if(starving, [this](const auto& entry) { return !starves(s->find_hop(entry.first)); });
    const auto look = [this](const Schedule::Hop* hop) {
      if (starves(hop)) starving.try_emplace(hop->name(), 0);
    };
    for (const auto& [name, hop] : s->hops()) look(&hop);
    for (const auto& [name, queue] : s->queues()) look(queue.hop());
  }
  // Those that waited before this one came, and wait still.
  void note_served(const std::string& hop) {
    starving.erase(hop);
    for (auto& [name, others] : starving) {
      longest_wait = std::max(longest_wait, ++others);
      EXPECT_LE(others, kLongestWait) << name;
    }
  }
  // A queue that went, and perhaps came again, is as any other.
  void forget_urgent() {
    std::erase_if(urgent, [&](const std::string& name) { return s->find(name) == nullptr; });
  }
  void wake(ModelQueue& queue) const {
    std::set<std::tuple<QueueTime, std::uint64_t, std::uint32_t>> due;
    for (auto& [message, recipients] : queue.messages)
      for (auto& [number, r] : recipients)
        if (!r.held && !r.leased && !r.ready && r.due <= now) due.emplace(r.due, message, number);
    for (const auto& [time, message, number] : due) {
      queue.messages[message][number].ready = true;
      queue.review(message);
    }
  }
  void opened(const OpenGrant& grant) {
    EXPECT_FALSE(model[grant.queue].frozen);
    auto hop = grant.next_hop;
    if (!hop.empty()) {
      EXPECT_TRUE(leads_to(grant.queue, hop)) << grant.queue << " by " << hop;
      EXPECT_FALSE(frozen_hops.contains(hop));
      EXPECT_LE(waits[hop].until, now);
    } else {
      EXPECT_TRUE(is_by_mx(ways_of(grant.queue).front()));
      // It may be counted with its hop already, though its hosts are to be reported.
      const auto* found = s->find(grant.queue)->hop();
      if (found != nullptr && found->known()) hop = found->name();
    }
    grants[grant.grant] = {grant.deliverer, grant.queue, hop};
    expect_few(hop);
    note_served(hop.empty() ? grant.queue : hop);
    if (const auto at = shares.find(hop); at != shares.end()) at->second.excuse(grant.queue, kQuantum);
  }
  void expect_few(const std::string& hop) {
    if (hop.empty()) return;
    EXPECT_LE(std::count_if(
                  grants.begin(), grants.end(),
                  [&](const auto& entry) {
                    return entry.second.hop == hop && !entry.second.leaving;
                  }),
              kConnections);
  }
  void went_ahead(const GoAhead& go) {
    auto& grant = grants.at(go.grant);
    EXPECT_TRUE(grant.waits);
    grant.waits = false;
    EXPECT_LE(waits[grant.hop].until, now);
    EXPECT_FALSE(frozen_hops.contains(grant.hop));
    expect_few(grant.hop);
  }
  void handed(const HandOut& out) {
    const auto request = requests.find(out.request.value);
    ASSERT_NE(request, requests.end());
    auto& grant = grants.at(request->second);
    ASSERT_TRUE(grant.parked);
    ASSERT_TRUE(leads_to(out.queue, grant.hop)) << out.queue << " by " << grant.hop;
    ways_used.insert({out.queue, grant.hop});
    EXPECT_FALSE(frozen_hops.contains(grant.hop));
    EXPECT_LE(waits[grant.hop].until, now);
    grant.parked = false;
    grant.busy = true;
    if (has_rate(grant.hop)) {
      EXPECT_GE(now + base::Millis(1), may_go) << "faster than its rate";  // the clock shows no less
      may_go = std::max(may_go, now) + kInterval;
    }
    auto& queue = model[out.queue];
    EXPECT_FALSE(queue.frozen);
    ASSERT_FALSE(queue.line.empty());
    ASSERT_EQ(queue.line.front(), out.message.value);
    expect_fair_queues(grant.hop, out);
    const auto& recipients = queue.messages[out.message.value];
    const auto ready = std::count_if(recipients.begin(), recipients.end(),
                                     [](const auto& entry) { return entry.second.ready; });
    auto own = out.recipients;
    std::erase_if(own, [&](std::uint32_t number) { return queue_of(number) != out.queue; });
    EXPECT_EQ(own.size(), std::min(kLease, static_cast<std::size_t>(ready)));
    for (const auto number : own) ASSERT_TRUE(recipients.at(number).ready);
    EXPECT_EQ(out.recipients, out.looked ? along(out.queue, grant.hop, out.message.value, own) : own);
    EXPECT_TRUE(out.looked || is_cold(out.message.value));
    widened += out.recipients.size() - own.size();
    if (!out.looked) unread.push_back({base::Epoch(life), out.lease});
    EXPECT_LE(queue.line.serve(own.size() < static_cast<std::size_t>(ready)), 0)
        << "a sender has more than his share of " << out.queue;
    most_shares = std::max(most_shares, queue.line.shares().turns());
    ++handed_out;
    lease({{base::Epoch(life), out.lease},
           out.deliverer,
           request->second,
           out.message.value,
           out.recipients});
    requests.erase(request);
  }
  // A queue gets what others of its hop get.
  void expect_fair_queues(const std::string& hop, const HandOut& out) {
    auto& line = shares[hop];
    for (const auto& [name, queue] : model) {
      if (!leads_to(name, hop)) continue;
      const auto* real = s->find(name);
      const bool runs = !queue.line.empty() && !queue.frozen && real != nullptr && real->hop() != nullptr &&
                        real->hop()->name() == hop;
      const bool parted = std::exchange(partings_seen[{hop, name}], queue.partings) != queue.partings;
      if (!runs || parted) line.leave(name);
      if (!runs) continue;
      line.allow(name, kQuantum / 2 + kQuantum);
      line.join(name);
    }
    const auto cost = cost_of(static_cast<std::uint32_t>(size_of(out.message.value)));
    EXPECT_LE(serve_queue(line, out.queue, cost), 0) << out.queue << " has more than its share of " << hop;
    // It may go on to another one, where it owes it still, and is behind.
    for (const auto& other : ways_of(out.queue))
      shares[other].allow(out.queue, kQuantum / 2 + kQuantum + count_of(cost));
  }
  void sent_away(const SendAway& away) {
    const auto request = requests.find(away.request.value);
    ASSERT_NE(request, requests.end());
    if (const auto at = grants.find(request->second); at != grants.end()) {
      at->second.parked = false;
      at->second.leaving = true;
    }
    requests.erase(request);
  }

  // --- are both the same?
  void compare(const std::string& name) {
    const auto& queue = model[name];
    const auto* real = s->find(name);
    if (real == nullptr) {
      EXPECT_TRUE(queue.messages.empty()) << name;
      return;
    }
    QueueCounts counts;
    std::uint64_t bytes = 0;
    std::vector<base::MessageId> ids;
    auto next = QueueTime::max();
    for (const auto& [message, recipients] : queue.messages) {
      bytes += size_of(message);
      ids.emplace_back(message);
      EXPECT_EQ(s->held(name, base::MessageId(message)),
                ModelQueue::any(recipients, &model::Recipient::held));
      for (const auto& [number, r] : recipients) {
        ++(r.leased  ? counts.leased
           : r.held  ? counts.held
           : r.ready ? counts.ready
                     : counts.waiting);
        EXPECT_EQ(s->leased(base::MessageId(message), number), r.leased);
        if (!r.leased && !r.held && !r.ready) next = std::min(next, r.due);
      }
    }
    EXPECT_EQ(real->counts.ready, counts.ready);
    EXPECT_EQ(real->counts.waiting, counts.waiting);
    EXPECT_EQ(real->counts.leased, counts.leased);
    EXPECT_EQ(real->counts.held, counts.held);
    EXPECT_EQ(real->bytes, bytes);
    EXPECT_EQ(real->messages(), ids.size());
    EXPECT_EQ(s->volume(name).messages, ids.size());
    EXPECT_EQ(s->volume(name).bytes, bytes);
    EXPECT_EQ(s->messages(name, base::MessageId(), ids.size() + 1), ids);
    EXPECT_EQ(s->last_message(name),
              ids.empty() ? std::nullopt : std::optional<base::MessageId>(ids.back()));
    EXPECT_EQ(s->first_message(*real),
              ids.empty() ? std::nullopt : std::optional<base::MessageId>(ids.front()));
    const auto due = s->next_due(*real);
    EXPECT_EQ(due ? due->time : QueueTime::max(), next);
    EXPECT_EQ(real->blocked != Blocked::kNo, queue.frozen);
    if (const auto* hop = real->hop(); hop != nullptr && hop->known()) {
      EXPECT_TRUE(leads_to(name, hop->name())) << name << " by " << hop->name();
      EXPECT_EQ(hop->until > now, waits[hop->name()].until > now) << name << " by " << hop->name();
      EXPECT_EQ(hop->frozen, frozen_hops.contains(hop->name()));
      if (!queue.line.empty() && !queue.frozen) expect_no_other_way(name, *real);
    }
  }
  // It has something to go: it does not wait for one next hop while another of its route could be tried.
  void expect_no_other_way(const std::string& name, const Schedule::Queue& real) {
    if (real.hop()->until <= now && !real.hop()->frozen) return;
    const auto ways = ways_of(name);
    for (std::size_t way = 0; way < ways.size(); ++way) {
      if (way == real.way() || (way < real.way() && real.better() == nullptr)) continue;
      const auto* other = s->find_hop(ways[way]);
      EXPECT_TRUE(waits[ways[way]].until > now || frozen_hops.contains(ways[way]) ||
                  (other != nullptr && (other->grants > 0 || other->lines() > 0)))
          << name << " waits for " << real.hop()->name();
    }
  }
  void compare_all() {
    std::size_t blocked = 0;
    for (const auto& [name, queue] : model) compare(name);
    for (const auto& [key, held] : leases) {
      const auto grant = grants.find(held.grant);
      const bool frozen = std::ranges::any_of(
          held.recipients, [this](std::uint32_t number) { return model[queue_of(number)].frozen; });
      blocked += frozen || (grant != grants.end() && frozen_hops.contains(grant->second.hop)) ? 1 : 0;
    }
    const auto wake = s->next_wake().value_or(QueueTime::max());
    for (const auto& [name, queue] : model) {
      const auto* real = s->find(name);
      const auto due = real != nullptr ? s->next_due(*real) : std::nullopt;
      EXPECT_LE(wake, due ? due->time : QueueTime::max());
    }
    for (const auto& [name, hop] : s->hops())
      EXPECT_LE(wake, hop.until > now ? hop.until : QueueTime::max()) << name;
    EXPECT_EQ(s->leases().size(), leases.size());
    EXPECT_EQ(s->blocked_leases(), blocked);
  }
  [[nodiscard]] std::size_t recipients() const {
    std::size_t sum = 0;
    for (const auto& [name, queue] : model)
      for (const auto& [message, recipients] : queue.messages) sum += recipients.size();
    return sum;
  }

  void step() {
    if (dice(2) == 0) widen();
    const auto what = dice(1000);
    if (what < 250) {
      if (crowd < kEnough) add_some();
    } else if (what < 500) {
      settle();
    } else if (what < 850) {
      ask_or_end();
    } else if (what < 855) {
      wait(any_hop());
    } else if (what < 860) {
      const auto name = any_queue();
      for (const auto& hop : s->end_wait(name, now)) waits.erase(hop);
      urgent.insert(name);
    } else if (what < 864) {
      freeze(any_queue());
    } else if (what < 865) {
      freeze_hop(any_hop());
    } else if (what < 867) {
      die();
    } else if (what < 868) {
      const auto luck = dice(10);
      if (luck < 2) reroute();
      if (luck == 2) restart();
    } else if (what < 880) {
      if (dice(2) == 0) s->trouble(any_hop());
      if (!leases.empty()) works(s->leases().begin()->second);
    } else if (const auto [name, message] = any_message(); message == 0) {
      return;
    } else if (what < 910) {
      take(name, message);
    } else if (what < 945) {
      hold(name, message, dice(3) == 0);
    } else if (what < 965) {
      expedite(name, message);
    } else if (what < 970) {
      adopt(message);
    } else {
      const auto& known = model[name].messages[message];
      const auto number =
          std::next(known.begin(), static_cast<std::ptrdiff_t>(dice(known.size())))->first;
      add(name, message, number, now + base::Millis(dice(1000)), dice(10) == 0);
    }
  }

  const std::uint64_t seed = wished("POSTERN_SEED", 11);
  std::mt19937_64 random{seed};
  std::map<std::string, ModelQueue> model;
  std::map<std::string, HopWait> waits;  // of next hops, as they are remembered
  std::set<std::string> frozen_hops;
  std::set<std::string> urgent;  // queues that the operator wants tried
  std::uint64_t life = 5;
  std::unique_ptr<Schedule> s = make();
  QueueTime now{1};
  std::map<LeaseKey, ModelLease> leases;
  std::map<base::GrantId, ModelGrant> grants;
  std::map<std::uint64_t, base::GrantId> requests;
  std::deque<LeaseKey> unread;  // whose messages are not in memory yet
  base::MessageId reading;
  std::size_t widened = 0;      // recipients that went along with others
  std::uint64_t last_message = 0;
  std::uint64_t last_request = 0;
  std::uint64_t last_adopted = 0;
  std::size_t crowd = 0;
  QueueTime may_go{0};  // the next message to the next hop that has a rate
  std::map<std::string, std::size_t> starving;  // and connections that others got meanwhile
  std::size_t longest_wait = 0;
  std::map<std::string, FairShares<std::string>> shares;  // of next hops
  std::map<std::pair<std::string, std::string>, std::uint64_t> partings_seen;  // of hop and queue
  std::uint64_t most_shares = 0;                          // turns of one queue's senders that were judged
  std::set<std::pair<std::string, std::string>> ways_used;
  std::uint64_t handed_out = 0;
  std::size_t restarts = 0;
};

TEST_F(ScheduleModel, DoesWhatThePlainModelDoes) {
  const auto steps = wished("POSTERN_STEPS", 100'000);
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  for (std::uint64_t n = 0; n < steps; ++n) {
    step();
    now += base::Millis(dice(4));
    decide();
    if (n % 10 == 0) compare(any_queue());
    if (n % 200 == 0) {
      compare_all();
      crowd = recipients();
    }
    ASSERT_FALSE(HasFailure()) << "step " << n;
  }
  EXPECT_GT(handed_out, steps / 20);
  EXPECT_GT(longest_wait, 0U);  // it was crowded
  EXPECT_GT(most_shares, 0U);   // of senders, too
  EXPECT_GT(widened, handed_out / 100);
  EXPECT_TRUE(ways_used.contains({"q8.example", "second:25"}));
  EXPECT_TRUE(ways_used.contains({"q9.example", "shared:25"}));
  note_figures(std::to_string(steps) + " steps of the schedule beside its model: others were given at most " +
               std::to_string(longest_wait) + " connections while one waited for its first; " +
               std::to_string(handed_out) + " leases, which took " + std::to_string(widened) + " recipients along, " + std::to_string(restarts) + " restarts, seed " +
               std::to_string(seed));
  // None is forgotten: without blocks and holds, all of it goes out.
  frozen_hops.clear();
  for (auto& [name, queue] : model) {
    queue.frozen = false;
    for (const auto& [message, known] : std::map(queue.messages)) hold(name, message, false);
  }
  s->review_blocks(now);
  for (int n = 0; n < 200'000 && recipients() > 0; ++n) {
    now += base::Millis(5);
    decide();
    ask_or_end();
    while (!leases.empty() && dice(4) != 0) settle();
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_EQ(recipients(), 0U);
  while (!grants.empty()) {
    EXPECT_TRUE(s->grant_ended(grants.begin()->second.deliverer, grants.begin()->first));
    grants.erase(grants.begin());
  }
  now += base::Millis(10'000);
  decide();
  EXPECT_TRUE(s->queues().empty());
}

}  // namespace
}  // namespace postern::queued
