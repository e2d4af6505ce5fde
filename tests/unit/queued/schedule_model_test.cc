// The schedule beside a model that keeps everything in plain maps and does it the slow way:
// whatever happens, in whatever order, both say the same, and nobody waits long while others are
// served. POSTERN_STEPS sets how long.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <random>
#include <set>

#include "queued/schedule.h"
#include "tests/unit/figures.h"

namespace postern::queued {
namespace {

constexpr std::uint32_t kSlots = 6;  // fewer than the next hops could use
constexpr std::uint32_t kConnections = 5;
constexpr base::Millis kInterval{25};  // between messages to the next hop that has a rate
constexpr std::size_t kLease = 40;
constexpr std::size_t kEnough = 1'500;  // recipients at a time
// Connections that others are given while a next hop waits for its first one. There are 13 at most, of
// queues whose hosts are looked for too, and one whose only message is added again goes to the end.
constexpr std::size_t kLongestWait = 3 * 13;

struct Recipient {
  QueueTime due{0};
  bool held = false;
  bool leased = false;
  bool ready = false;
};
using Recipients = std::map<std::uint32_t, Recipient>;

struct ModelQueue {
  std::map<std::uint64_t, Recipients> messages;
  std::deque<std::uint64_t> line;  // of messages with a ready recipient
  bool frozen = false;

  // After a change of the message's recipients.
  void review(std::uint64_t message) {
    const auto at = messages.find(message);
    const bool ready = at != messages.end() && any(at->second, &Recipient::ready);
    const auto place = std::find(line.begin(), line.end(), message);
    if (ready && place == line.end()) line.push_back(message);
    if (!ready && place != line.end()) line.erase(place);
    if (at != messages.end() && at->second.empty()) messages.erase(at);
  }
  static bool any(const Recipients& recipients, bool Recipient::*what) {
    return std::any_of(recipients.begin(), recipients.end(),
                       [&](const auto& entry) { return entry.second.*what; });
  }
};

struct ModelLease {
  LeaseKey key;
  DelivererId deliverer;
  base::GrantId grant;
  std::string queue;
  std::uint64_t message = 0;
  std::vector<std::uint32_t> recipients;
};

// A queue's next hop; two queues share one, two sets of MX hosts have two queues each.
std::string hop_of(const std::string& queue) {
  if (queue < "q2") return "shared:25";
  return queue < "q6" ? "mx" + std::to_string((queue[1] - '0') % 2) + ":25" : queue + ":25";
}
// Its one queue is often empty, and forgotten.
bool has_rate(const std::string& hop) {
  return hop.starts_with("q7");
}
Destination destination_of(const std::string& queue) {
  const auto hop = hop_of(queue);
  Destination to{.connections = kConnections, .via = {config::HopSpec{}}};
  if (has_rate(hop)) to.interval = static_cast<std::uint64_t>(kInterval.count()) * 1000;
  if (!hop.starts_with("mx"))
    to.via = {{config::HopKind::kHost, hop.substr(0, hop.find(':')), 25}};
  return to;
}

struct ModelGrant {
  DelivererId deliverer;
  std::string queue;
  std::string hop;       // empty: not reported yet
  bool waits = false;    // for the word to go ahead
  bool busy = false;
  bool parked = false;
  bool leaving = false;
};

std::uint64_t size_of(std::uint64_t message) {
  return 100 + message % 1000;
}

class ScheduleModel : public ::testing::Test {
 protected:
  ScheduleModel() {
    s.set_open(true);
    for (const auto relay : {1U, 2U}) s.deliverer_up(DelivererId(relay), false);
  }
  std::size_t dice(std::size_t sides) { return random() % sides; }
  std::string any_queue() { return "q" + std::to_string(dice(8)) + ".example"; }

  // --- what happens
  void add(const std::string& name, std::uint64_t message, std::uint32_t number, QueueTime due,
           bool held) {
    s.add(name, destination_of(name),
          {base::MessageId(message), number, size_of(message), 0, due, held}, now);
    auto& queue = model[name];
    auto& r = queue.messages[message][number];
    if (r.leased) return;
    r.due = due;
    r.held = held;
    r.ready = !held && due <= now;
    queue.review(message);
  }
  void add_some() {
    const auto name = any_queue();
    const auto id = ++last_message;
    const std::size_t count = dice(40) == 0 ? 1 + dice(200) : 1 + dice(3);
    const bool held = dice(20) == 0;
    for (std::uint32_t n = 0; n < count; ++n)
      add(name, id, n, now + base::Millis(dice(2) == 0 ? 0 : dice(3000)), held);
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
    EXPECT_EQ(s.take(name, base::MessageId(message)), expected);
  }
  void hold(const std::string& name, std::uint64_t message, bool held) {
    s.hold(name, base::MessageId(message), held, now);
    for (auto& [number, r] : model[name].messages[message]) {
      if (r.leased) continue;
      r.held = held;
      r.ready = !held && r.due <= now;
    }
    model[name].review(message);
  }
  void expedite(const std::string& name, std::uint64_t message) {
    s.expedite(name, base::MessageId(message), now);
    for (auto& [number, r] : model[name].messages[message]) {
      r.due = std::min(r.due, now);
      r.ready = !r.leased && !r.held;
    }
    model[name].review(message);
  }
  void end_lease(const ModelLease& lease) {
    auto& queue = model[lease.queue];
    for (const auto number : lease.recipients) queue.messages[lease.message].erase(number);
    queue.review(lease.message);
  }
  void come_back(const ModelLease& lease) {
    for (const auto number : lease.recipients)
      if (dice(2) == 0)
        add(lease.queue, lease.message, number, now + base::Millis(dice(500)), false);
  }
  void settle() {
    if (leases.empty()) return;
    const auto at = std::next(leases.begin(), static_cast<std::ptrdiff_t>(dice(leases.size())));
    const auto lease = at->second;
    leases.erase(at);
    EXPECT_FALSE(s.settle(DelivererId(3), lease.key));
    const auto settled = s.settle(lease.deliverer, lease.key);
    ASSERT_TRUE(settled);
    EXPECT_EQ(settled->recipients, lease.recipients);
    forget_urgent();
    end_lease(lease);
    if (const auto grant = grants.find(lease.grant); grant != grants.end())
      grant->second.busy = false;
    come_back(lease);
  }
  void adopt(const std::string& name, std::uint64_t message) {
    std::vector<std::uint32_t> claimed, numbers;
    for (const auto& [number, r] : model[name].messages[message]) {
      if (claimed.size() == 3) break;
      claimed.push_back(number);
      if (!r.leased) numbers.push_back(number);
    }
    const LeaseKey key{base::Epoch(4), base::LeaseId(++last_adopted)};
    const DelivererId relay(1 + static_cast<std::uint32_t>(dice(2)));
    ASSERT_EQ(s.adopt(relay, key, name, base::MessageId(message), claimed), !numbers.empty());
    if (numbers.empty()) return;
    lease({key, relay, {}, name, message, numbers});
  }
  void lease(ModelLease lease) {
    auto& queue = model[lease.queue];
    for (const auto number : lease.recipients) {
      auto& r = queue.messages[lease.message].at(number);
      ASSERT_FALSE(r.leased);
      r.leased = true;
      r.ready = r.held = false;
    }
    queue.review(lease.message);
    const auto key = lease.key;
    leases[key] = std::move(lease);
  }
  // A connection moves on: its hosts are reported, it asks for work, or it ends.
  void ask_or_end() {
    if (grants.empty()) return;
    const auto at = std::next(grants.begin(), static_cast<std::ptrdiff_t>(dice(grants.size())));
    auto& [id, grant] = *at;
    if (grant.leaving ? !grant.busy : dice(15) == 0) {
      const auto ended = s.grant_ended(grant.deliverer, id);
      ASSERT_TRUE(ended);
      EXPECT_EQ(ended->queue, grant.queue);
      EXPECT_EQ(ended->hop, grant.hop.empty() ? grant.queue : grant.hop);
      grants.erase(at);
    } else if (grant.hop.empty()) {
      // It moves with its queue, if that still looks for its hosts and has something to go.
      const auto* queue = s.find(grant.queue);
      const bool moves = queue != nullptr && queue->hop() != nullptr && !queue->hop()->known() &&
                         queue->counts.ready > 0 && !model[grant.queue].frozen && !grant.leaving;
      EXPECT_EQ(s.hop_found(grant.deliverer, id, hop_of(grant.queue), base::Millis(dice(200)), now),
                grant.queue);
      grant.waits = true;
      if (!moves) return;
      grant.hop = hop_of(grant.queue);
      if (urgent.erase(grant.queue)) dead[grant.hop] = QueueTime(0);
    } else if (!grant.busy && !grant.parked && !grant.leaving && !grant.waits) {
      s.ask(grant.deliverer, base::RequestId(++last_request), id);
      requests[last_request] = id;
      grant.parked = true;
      if (!frozen_hops.contains(grant.hop)) dead[grant.hop] = QueueTime(0);
    }
  }
  void wait(const std::string& hop) {
    const auto* known = s.find_hop(hop);
    const auto until = now + base::Millis(dice(2000));
    dead[hop] = until;  // the store would know
    if (known != nullptr) s.defer(hop, {until, 1}, now);
  }
  void freeze_hop(const std::string& hop) {
    if (!frozen_hops.erase(hop)) frozen_hops.insert(hop);
    s.review_blocks(now);
  }
  void freeze(const std::string& name) {
    model[name].frozen = !model[name].frozen;
    s.review_blocks(now);
  }
  void die() {
    const DelivererId relay(1 + static_cast<std::uint32_t>(dice(2)));
    std::vector<ModelLease> lost;
    for (const auto& [key, held] : leases)
      if (held.deliverer == relay) lost.push_back(held);
    EXPECT_EQ(s.deliverer_down(relay).size(), lost.size());
    forget_urgent();
    std::erase_if(grants, [&](const auto& entry) { return entry.second.deliverer == relay; });
    for (const auto& gone : lost) {
      leases.erase(gone.key);
      end_lease(gone);
      come_back(gone);
    }
    s.deliverer_up(relay, false);
  }
  // New routes: all is forgotten but what is in delivery, and added again.
  void reroute() {
    s.clear();
    starving.clear();
    auto before = model;
    for (auto& [name, queue] : model)
      for (auto& [message, recipients] : before[name].messages) {
        std::erase_if(queue.messages[message],
                      [](const auto& entry) { return !entry.second.leased; });
        queue.review(message);
      }
    for (const auto& [name, queue] : before)
      for (const auto& [message, recipients] : queue.messages)
        for (const auto& [number, r] : recipients)
          if (!r.leased) add(name, message, number, r.due, r.held);
    s.review_blocks(now);
  }

  // --- what the schedule decides
  void decide() {
    for (auto& [name, queue] : model) wake(queue);
    std::erase_if(starving, [this](const auto& entry) { return !starves(s.find_hop(entry.first)); });
    for (auto& action : s.decide(now)) {
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
    std::erase_if(starving, [this](const auto& entry) { return !starves(s.find_hop(entry.first)); });
    const auto look = [this](const Schedule::Hop* hop) {
      if (starves(hop)) starving.try_emplace(hop->name(), 0);
    };
    for (const auto& [name, hop] : s.hops()) look(&hop);
    for (const auto& [name, queue] : s.queues()) look(queue.hop());
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
    std::erase_if(urgent, [&](const std::string& name) { return s.find(name) == nullptr; });
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
    const auto hop = hop_of(grant.queue);
    if (!grant.next_hop.empty()) {
      EXPECT_EQ(grant.next_hop, hop);
      EXPECT_FALSE(frozen_hops.contains(hop));
      EXPECT_LE(dead[hop], now);
    }
    // By another way than MX, or counted with its hop already, though its hosts are to be reported.
    const auto* found = s.find(grant.queue)->hop();
    grants[grant.grant] = {grant.deliverer, grant.queue,
                           found != nullptr && found->known() ? found->name() : std::string()};
    expect_few(grants[grant.grant].hop);
    if (found != nullptr) note_served(found->name());
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
    EXPECT_LE(dead[grant.hop], now);
    EXPECT_FALSE(frozen_hops.contains(grant.hop));
    expect_few(grant.hop);
  }
  void handed(const HandOut& out) {
    const auto request = requests.find(out.request.value);
    ASSERT_NE(request, requests.end());
    auto& grant = grants.at(request->second);
    ASSERT_TRUE(grant.parked);
    ASSERT_EQ(grant.hop, hop_of(out.queue));
    EXPECT_FALSE(frozen_hops.contains(grant.hop));
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
    queue.line.pop_front();  // the rest of it goes to the end
    const auto& recipients = queue.messages[out.message.value];
    const auto ready = std::count_if(recipients.begin(), recipients.end(),
                                     [](const auto& entry) { return entry.second.ready; });
    EXPECT_EQ(out.recipients.size(), std::min(kLease, static_cast<std::size_t>(ready)));
    for (const auto number : out.recipients) ASSERT_TRUE(recipients.at(number).ready);
    lease({{base::Epoch(5), out.lease},
           out.deliverer,
           request->second,
           out.queue,
           out.message.value,
           out.recipients});
    requests.erase(request);
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
    const auto* real = s.find(name);
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
      EXPECT_EQ(s.held(name, base::MessageId(message)),
                ModelQueue::any(recipients, &Recipient::held));
      for (const auto& [number, r] : recipients) {
        ++(r.leased  ? counts.leased
           : r.held  ? counts.held
           : r.ready ? counts.ready
                     : counts.waiting);
        EXPECT_EQ(s.leased(base::MessageId(message), number), r.leased);
        if (!r.leased && !r.held && !r.ready) next = std::min(next, r.due);
      }
    }
    EXPECT_EQ(real->counts.ready, counts.ready);
    EXPECT_EQ(real->counts.waiting, counts.waiting);
    EXPECT_EQ(real->counts.leased, counts.leased);
    EXPECT_EQ(real->counts.held, counts.held);
    EXPECT_EQ(real->bytes, bytes);
    EXPECT_EQ(real->messages(), ids.size());
    EXPECT_EQ(s.messages(name, base::MessageId(), ids.size() + 1), ids);
    EXPECT_EQ(s.last_message(name),
              ids.empty() ? std::nullopt : std::optional<base::MessageId>(ids.back()));
    EXPECT_EQ(s.first_message(*real),
              ids.empty() ? std::nullopt : std::optional<base::MessageId>(ids.front()));
    const auto due = s.next_due(*real);
    EXPECT_EQ(due ? due->time : QueueTime::max(), next);
    EXPECT_EQ(real->blocked != Blocked::kNo, queue.frozen);
    if (const auto* hop = real->hop(); hop != nullptr && hop->known()) {
      EXPECT_EQ(hop->name(), hop_of(name));
      EXPECT_EQ(hop->until > now, dead[hop->name()] > now);
      EXPECT_EQ(hop->frozen, frozen_hops.contains(hop->name()));
    }
  }
  void compare_all() {
    std::size_t blocked = 0;
    for (const auto& [name, queue] : model) compare(name);
    for (const auto& [key, held] : leases) {
      const auto grant = grants.find(held.grant);
      blocked += model[held.queue].frozen ||
                         (grant != grants.end() && frozen_hops.contains(grant->second.hop))
                     ? 1
                     : 0;
    }
    const auto wake = s.next_wake().value_or(QueueTime::max());
    for (const auto& [name, queue] : model) {
      const auto* real = s.find(name);
      const auto due = real != nullptr ? s.next_due(*real) : std::nullopt;
      EXPECT_LE(wake, due ? due->time : QueueTime::max());
    }
    for (const auto& [name, hop] : s.hops())
      EXPECT_LE(wake, hop.until > now ? hop.until : QueueTime::max()) << name;
    EXPECT_EQ(s.leases().size(), leases.size());
    EXPECT_EQ(s.blocked_leases(), blocked);
  }
  [[nodiscard]] std::size_t recipients() const {
    std::size_t sum = 0;
    for (const auto& [name, queue] : model)
      for (const auto& [message, recipients] : queue.messages) sum += recipients.size();
    return sum;
  }

  void step() {
    const auto what = dice(1000);
    if (what < 250) {
      if (crowd < kEnough) add_some();
    } else if (what < 500) {
      settle();
    } else if (what < 850) {
      ask_or_end();
    } else if (what < 855) {
      wait(hop_of(any_queue()));
    } else if (what < 860) {
      const auto name = any_queue();
      for (const auto& hop : s.end_wait(name, now)) dead[hop] = QueueTime(0);
      urgent.insert(name);
    } else if (what < 864) {
      freeze(any_queue());
    } else if (what < 865) {
      freeze_hop(hop_of(any_queue()));
    } else if (what < 867) {
      die();
    } else if (what < 868) {
      if (dice(5) == 0) reroute();
    } else if (what < 880) {
      if (dice(2) == 0) s.trouble(hop_of(any_queue()));
      if (!leases.empty()) s.note_success({leases.begin()->second.key,
                                           leases.begin()->second.deliverer,
                                           leases.begin()->second.grant,
                                           {},
                                           leases.begin()->second.queue,
                                           {}});
    } else if (const auto [name, message] = any_message(); message == 0) {
      return;
    } else if (what < 910) {
      take(name, message);
    } else if (what < 945) {
      hold(name, message, dice(3) == 0);
    } else if (what < 965) {
      expedite(name, message);
    } else if (what < 970) {
      adopt(name, message);
    } else {
      const auto& known = model[name].messages[message];
      const auto number =
          std::next(known.begin(), static_cast<std::ptrdiff_t>(dice(known.size())))->first;
      add(name, message, number, now + base::Millis(dice(1000)), dice(10) == 0);
    }
  }

  std::mt19937_64 random{11};
  std::map<std::string, ModelQueue> model;
  std::map<std::string, QueueTime> dead;  // next hops
  std::set<std::string> frozen_hops;
  std::set<std::string> urgent;  // queues that the operator wants tried
  Schedule s{{.relay_slots = kSlots, .turn = 4, .lease_recipients = kLease},
             base::Epoch(5),
             {.blocked =
                  [this](const std::string& name, const Destination&) {
                    return model[name].frozen ? Blocked::kFrozen : Blocked::kNo;
                  },
              .hop_frozen = [this](const std::string& hop) { return frozen_hops.contains(hop); },
              .wait = [this](const std::string& hop) { return HopWait{dead[hop], 0}; }}};
  QueueTime now{1};
  std::map<LeaseKey, ModelLease> leases;
  std::map<base::GrantId, ModelGrant> grants;
  std::map<std::uint64_t, base::GrantId> requests;
  std::uint64_t last_message = 0;
  std::uint64_t last_request = 0;
  std::uint64_t last_adopted = 0;
  std::size_t crowd = 0;
  QueueTime may_go{0};  // the next message to the next hop that has a rate
  std::map<std::string, std::size_t> starving;  // and connections that others got meanwhile
  std::size_t longest_wait = 0;
};

TEST_F(ScheduleModel, DoesWhatThePlainModelDoes) {
  const char* wish = std::getenv("POSTERN_STEPS");
  const auto steps = wish == nullptr ? 100'000 : std::atoll(wish);
  std::uint64_t handed_out = 0;
  for (long long n = 0; n < steps; ++n) {
    step();
    now += base::Millis(dice(4));
    decide();
    handed_out =
        std::max(handed_out, s.leases().empty() ? 0 : s.leases().rbegin()->first.lease.value);
    if (n % 10 == 0) compare(any_queue());
    if (n % 200 == 0) {
      compare_all();
      crowd = recipients();
    }
    ASSERT_FALSE(HasFailure()) << "step " << n;
  }
  EXPECT_GT(handed_out, static_cast<std::uint64_t>(steps) / 20);
  EXPECT_GT(longest_wait, 0U);  // it was crowded
  note_figures(std::to_string(steps) + " steps of the schedule beside its model: others were given at most " +
               std::to_string(longest_wait) + " connections while one waited for its first");
  // None is forgotten: without blocks and holds, all of it goes out.
  frozen_hops.clear();
  for (auto& [name, queue] : model) {
    queue.frozen = false;
    for (const auto& [message, known] : std::map(queue.messages)) hold(name, message, false);
  }
  s.review_blocks(now);
  for (int n = 0; n < 200'000 && recipients() > 0; ++n) {
    now += base::Millis(5);
    decide();
    ask_or_end();
    while (!leases.empty() && dice(4) != 0) settle();
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_EQ(recipients(), 0U);
  while (!grants.empty()) {
    EXPECT_TRUE(s.grant_ended(grants.begin()->second.deliverer, grants.begin()->first));
    grants.erase(grants.begin());
  }
  now += base::Millis(10'000);
  decide();
  EXPECT_TRUE(s.queues().empty());
}

}  // namespace
}  // namespace postern::queued
