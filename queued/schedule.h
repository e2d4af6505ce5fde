// Schedule: which message goes out next, on which connection. Queues (destination domains, and
// `local`) hold recipients of messages. Deliverers hold grants (each one connection of one queue)
// and ask for work on them; a lease hands a message's due recipients in a queue to one of them.
//
// Pure: it is told facts with the time, and says what to do as a list of actions. It knows no
// message but by its number, opens nothing, logs nothing. Everything it knows can be rebuilt from
// the store.
//
// Fairness: slots for connections are given to queues in turn. When none is free and another queue
// waits, the connection of the queue most above its share gets SendAway at its next question, and
// so does any connection that has had its turn (Limits::turn messages). Within a queue messages go
// in the order in which they became ready; after each lease the rest of a large one goes to the
// line's end.
//
// A recipient takes 29 to 42 bytes (see backlog.h), a queue some 350. Every step takes O(log n) for
// each recipient that it changes.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "common/base/ids.h"
#include "common/config/roles.h"
#include "queued/backlog.h"
#include "queued/clock.h"

namespace postern::queued {

using DelivererId = base::Strong<struct DelivererTag, std::uint32_t>;

// How a queue is served now.
struct Destination {
  bool local = false;
  bool internal = false;  // spared by `outbound disable`
  std::uint32_t connections = 20;
  std::vector<config::HopSpec> via;  // in order; never empty

  friend bool operator==(const Destination&, const Destination&) = default;
};

enum class Blocked : std::uint8_t { kNo, kFrozen, kOff };

// --- What to do -------------------------------------------------------------------------------------

struct OpenGrant {
  DelivererId deliverer;
  base::GrantId grant;
  std::string queue;
  config::HopSpec hop;
};
struct CloseGrant {
  DelivererId deliverer;
  base::GrantId grant;
};
struct HandOut {
  DelivererId deliverer;
  base::RequestId request;
  base::LeaseId lease;
  base::MessageId message;
  std::string queue;
  std::vector<std::uint32_t> recipients;
};
struct SendAway {
  DelivererId deliverer;
  base::RequestId request;
};
using Action = std::variant<OpenGrant, CloseGrant, HandOut, SendAway>;

// --- What is known ----------------------------------------------------------------------------------

struct LeaseKey {
  base::Epoch epoch;
  base::LeaseId lease;
  friend auto operator<=>(const LeaseKey&, const LeaseKey&) = default;
};

struct LeaseInfo {
  LeaseKey key;
  DelivererId deliverer;
  base::GrantId grant;
  base::MessageId message;
  std::string queue;
  std::vector<std::uint32_t> recipients;
};

struct QueueCounts {  // recipients
  std::uint32_t ready = 0;
  std::uint32_t waiting = 0;
  std::uint32_t leased = 0;
  std::uint32_t held = 0;
};

class Schedule {
 private:
  struct Parked {  // a connection that waits for a message
    DelivererId deliverer;
    base::RequestId request;
    base::GrantId grant;
  };

 public:
  struct Limits {
    std::uint32_t relay_slots = 400;
    std::uint32_t local_slots = 8;
    std::uint32_t turn = 20;  // messages of one connection while another queue waits
    std::size_t lease_recipients = 36;
  };
  class Queue {
   public:
    QueueTime until{0};       // waits as a whole until then
    std::uint64_t bytes = 0;  // of its messages; one of 4 GiB and more counts as that
    QueueCounts counts;
    std::uint32_t grants = 0;
    std::uint32_t unopened = 0;  // of these, not yet asking
    std::uint32_t leases = 0;
    std::uint32_t failures = 0;
    Blocked blocked = Blocked::kNo;

    [[nodiscard]] const std::string& name() const { return *name_; }
    [[nodiscard]] const Destination& destination() const { return *destination_; }
    // Messages of which a recipient is here, in delivery or not.
    [[nodiscard]] std::size_t messages() const { return messages_; }
    [[nodiscard]] bool empty() const { return messages_ == 0 && grants == 0 && leases == 0; }

   private:
    friend class Schedule;
    bool waits_ = false;        // its wait stands in the backlog
    bool probing_ = false;      // after a failure: one connection until one message went
    bool wanting_ = false;      // stands in its pool's list
    bool serving_ = false;      // stands in its pool's list
    bool starved_ = false;      // counted in its pool
    bool newcomer_ = false;     // counted in its pool
    std::uint32_t number_ = 0;  // in the backlog
    std::uint32_t messages_ = 0;
    std::uint32_t lines_ = 0;  // messages of which a recipient is ready
    std::uint32_t hop_ = 0;    // of destination().via
    std::uint32_t cap_ = 0;    // connections that its hosts bear, until `cap_until_`
    QueueTime cap_until_{0};
    const std::string* name_ = nullptr;  // where `queues_` has it
    std::shared_ptr<const Destination> destination_;
    std::vector<Parked> parked_;  // the longest waiting first
    std::list<Queue*>::iterator wants_;
    std::list<Queue*>::iterator serves_;
  };
  struct Due {
    QueueTime time{0};
    base::MessageId message;
  };
  // What blocks a queue now.
  using BlockRule = std::function<Blocked(const std::string& queue, const Destination&)>;

  Schedule(Limits limits, base::Epoch epoch, BlockRule blocked);

  // --- mail
  // A recipient of `message` that is due at `due`. One that is here already gets this time and this
  // hold; one in delivery is left alone.
  void add(const std::string& queue, const Destination& destination, base::MessageId message,
           std::uint64_t size, std::uint32_t number, QueueTime due, bool held, QueueTime now);
  // Takes a message's recipients that are not in delivery off the queue; their numbers.
  std::vector<std::uint32_t> take(const std::string& queue, base::MessageId message);
  void hold(const std::string& queue, base::MessageId message, bool held, QueueTime now);
  // All its recipients here are due now.
  void expedite(const std::string& queue, base::MessageId message, QueueTime now);
  // Forgets all recipients that are not in delivery, to be added again by new routes.
  void clear();

  // --- deliverers
  void deliverer_up(DelivererId deliverer, bool local);
  // Its leases, which are gone with it.
  std::vector<LeaseInfo> deliverer_down(DelivererId deliverer);
  // A connection wants work; answered by HandOut or SendAway, perhaps later.
  void ask(DelivererId deliverer, base::RequestId request, base::GrantId grant);
  // The queue that it was for; nullopt: no such grant of this deliverer.
  std::optional<std::string> grant_ended(DelivererId deliverer, base::GrantId grant);
  // A lease from before our start; false if a recipient of it is not here or leased already.
  bool adopt(DelivererId deliverer, LeaseKey key, const std::string& queue, base::MessageId message,
             std::span<const std::uint32_t> recipients);
  // Ends a lease of this deliverer: its recipients leave the schedule until they are added again.
  std::optional<LeaseInfo> settle(DelivererId deliverer, LeaseKey key);
  // A message went through: the queue works.
  void note_success(const std::string& queue);

  // --- queues
  // The queue waits as a whole; `failures` in a row.
  void defer(const std::string& queue, QueueTime until, std::uint32_t failures, QueueTime now);
  // One connection too many failed while others work: no further ones until then.
  void cap(const std::string& queue, QueueTime until);
  // The next way of the route is to be tried at once; false: that was the last one.
  bool try_next_hop(const std::string& queue);
  // Was this connection meant for the way that the queue tries now?
  [[nodiscard]] bool is_current(base::GrantId grant) const;
  void end_wait(const std::string& queue, QueueTime now);
  // Blocks changed: connections of blocked queues are closed.
  void review_blocks(QueueTime now);

  // --- time and decisions
  void set_open(bool open) { open_ = open; }
  [[nodiscard]] std::optional<QueueTime> next_wake() const;
  // Everything that is to be done now.
  [[nodiscard]] std::vector<Action> decide(QueueTime now);

  // --- looking
  [[nodiscard]] const Queue* find(std::string_view queue) const;
  [[nodiscard]] const std::map<std::string, Queue, std::less<>>& queues() const { return queues_; }
  // At most `limit` of the queue's messages behind `after`, in order, each once, in delivery or
  // not.
  [[nodiscard]] std::vector<base::MessageId> messages(std::string_view queue, base::MessageId after,
                                                      std::size_t limit) const;
  [[nodiscard]] std::optional<base::MessageId> last_message(std::string_view queue) const;
  // Is a recipient of it in delivery here, or about to be?
  [[nodiscard]] bool coming(std::string_view queue, base::MessageId message) const;
  // Is a recipient of it held here?
  [[nodiscard]] bool held(std::string_view queue, base::MessageId message) const;
  // What of the queue is due next, of what is not due yet; its own wait is not asked.
  [[nodiscard]] std::optional<Due> next_due(std::string_view queue) const;
  [[nodiscard]] bool leased(base::MessageId message, std::uint32_t number) const;
  [[nodiscard]] const std::map<LeaseKey, LeaseInfo>& leases() const { return leases_; }
  // Leases on queues that are blocked now.
  [[nodiscard]] std::uint64_t blocked_leases() const;

 private:
  struct Pool {
    std::uint32_t slots = 0;
    std::uint32_t used = 0;
    std::uint32_t leaving = 0;         // told to close, not yet closed
    std::uint32_t idle = 0;            // parked connections
    std::uint32_t starved = 0;         // queues that want a connection and have none idle
    std::uint32_t newcomers = 0;       // of these, without any connection
    std::list<Queue*> wanting;         // that need connections, in turn
    std::list<Queue*> serving;         // with parked connections and mail
    std::uint32_t served = 0;          // queues with connections
    std::vector<std::uint32_t> crowd;  // how many of them have so many
    std::uint32_t most = 0;            // connections of the queue that has most
    std::vector<DelivererId> deliverers;
    std::size_t next = 0;
    [[nodiscard]] bool full() const { return used >= slots; }
    // Do more queues wait for a slot than are about to get one?
    [[nodiscard]] bool crowded() const { return full() && starved > leaving; }
    // Connections for each queue, while they have to share.
    [[nodiscard]] std::uint32_t share() const;
    // A queue had `before` connections and has `after` now.
    void recount(std::uint32_t before, std::uint32_t after);
  };
  struct Grant {
    DelivererId deliverer;
    Queue* queue = nullptr;
    bool opened = false;  // asked at least once
    bool parked = false;
    bool leaving = false;
    std::uint32_t hop = 0;  // of the queue's destination; none: of an earlier destination
    std::uint32_t served = 0;
  };
  using Key = Backlog::Key;
  using Entry = Backlog::Entry;

  [[nodiscard]] Pool& pool(const Queue& queue) { return pools_[queue.destination_->local ? 1 : 0]; }
  Queue& make(const std::string& name, const Destination& destination);
  std::shared_ptr<const Destination> shared(const Destination& destination);
  Queue* look(std::string_view name);
  void drop_if_empty(Queue& queue);
  void set_wait(Queue& queue, QueueTime until);

  // `other`: one of the same message that is there.
  void insert(Queue& queue, Entry entry, const std::optional<Entry>& other, QueueTime due);
  [[nodiscard]] std::optional<Entry> any_of(const Queue& queue, base::MessageId message) const;
  // Both give the place in line that is left to another recipient of the same message; it.
  std::optional<Entry> move(Queue& queue, Entry entry, Stage stage, QueueTime due);
  std::optional<Entry> remove(Queue& queue, const Entry& entry);
  std::optional<Entry> pass_on(Queue& queue, const Entry& left);
  [[nodiscard]] std::uint64_t rank_for(Queue& queue, const Key& key, Stage stage, QueueTime due,
                                       bool alone);
  [[nodiscard]] static std::uint32_t& count_of(Queue& queue, Stage stage);
  // All of the message's recipients in the queue.
  [[nodiscard]] std::vector<Entry> entries(const Queue& queue, base::MessageId message) const;

  void wake(QueueTime now);
  [[nodiscard]] bool may_run(const Queue& queue) const;
  void review(Queue& queue);
  void enlist(Queue& queue, bool serve, bool want);
  [[nodiscard]] std::uint32_t wanted_grants(const Queue& queue) const;
  void serve(Pool& pool);
  void open_grants(Pool& pool);
  void open_grant(Pool& pool, Queue& queue);
  void free_idle(Pool& pool);
  [[nodiscard]] bool must_leave(const Pool& pool, const Queue& queue, const Grant& grant) const;
  void hand_out(Queue& queue);
  void lease_next(Queue& queue, const Parked& to);
  void send_away(const Parked& parked);
  void close_grants(Queue& queue);
  void end_grant(base::GrantId id);
  std::optional<Parked> unpark(Queue& queue, base::GrantId grant);

  struct ByName {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const {
      return std::hash<std::string_view>()(name);
    }
    std::size_t operator()(const Queue* queue) const { return (*this)(queue->name()); }
    bool operator()(const Queue* a, const Queue* b) const { return a == b; }
    bool operator()(std::string_view a, const Queue* b) const { return a == b->name(); }
    bool operator()(const Queue* a, std::string_view b) const { return a->name() == b; }
  };
  struct ByValue {
    using is_transparent = void;
    std::size_t operator()(const Destination& destination) const;
    std::size_t operator()(const std::shared_ptr<const Destination>& d) const {
      return (*this)(*d);
    }
    bool operator()(const auto& a, const auto& b) const { return value(a) == value(b); }
    static const Destination& value(const Destination& d) { return d; }
    static const Destination& value(const std::shared_ptr<const Destination>& d) { return *d; }
  };

  Limits limits_;
  base::Epoch epoch_;
  BlockRule blocked_;
  std::map<std::string, Queue, std::less<>> queues_;    // in order, for listings
  std::unordered_set<Queue*, ByName, ByName> by_name_;  // the same, found at once
  std::vector<Queue*> by_number_;
  std::vector<std::uint32_t> free_numbers_;
  std::unordered_set<std::shared_ptr<const Destination>, ByValue, ByValue> destinations_;
  // The recipients; and as message 0 the wait of each queue that waits.
  Backlog backlog_;
  std::uint64_t last_turn_ = 0;
  Pool pools_[2];  // relay, local
  std::unordered_map<base::GrantId, Grant> grants_;
  std::map<LeaseKey, LeaseInfo> leases_;
  std::set<std::pair<base::MessageId, std::uint32_t>> leased_;
  std::vector<Action> actions_;
  std::uint64_t last_grant_;
  std::uint64_t last_lease_ = 0;
  QueueTime now_{0};
  bool open_ = false;
};

}  // namespace postern::queued
