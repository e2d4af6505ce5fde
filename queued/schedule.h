// Schedule: which message goes out next, on which connection. Queues (destination domains, and
// `local`) hold recipients of messages. Next hops own the connections: each is a grant that a deliverer
// holds, and asks for work on; a lease hands a message's due recipients in a queue to one of them. Any
// connection of a next hop serves all queues that lead there. Of a queue that goes by MX only a deliverer
// can tell where that is: it reports the hosts before it connects, and waits for the word to go ahead.
//
// Where a host has to call for its mail nobody connects: it has called (calls.cc), and the connection that stands then is a
// grant as any, which serves the queues that it was made for, one after the other.
//
// Pure: it is told facts with the time, and says what to do as a list of actions. It knows no
// message but by its number, opens nothing, logs nothing. Everything it knows can be rebuilt from
// the store.
//
// Recipients whom a way of their queue's route refused, and who go by another one in the same try, are a part of the
// queue that leads its own way (second_paths.cc): a Queue like any other, but that it shares the name, and the search
// for MX hosts, with the queue that it is of. Nobody stays there for long.
//
// Fairness: slots for connections are given to next hops in turn. When none is free and another hop
// waits, the connection of the hop most above its share gets SendAway at its next question, and
// so does any connection that has had its turn (Limits::turn messages). The queues of a hop are served by
// deficit round robin (Shreedhar and Varghese, 1995), the senders within a queue by turns.h.
//
// One copy goes for many queues: a lease takes along recipients of its message that are ready in other queues
// of its next hop (one_copy.cc).
//
// A recipient takes 29 to 42 bytes (see backlog.h), a queue some 490, and some 505 while it is dead; a next hop of
// its own that is known some 120 more. Every step takes O(log n) for each recipient that it changes.
#pragma once

#include <algorithm>
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
#include "queued/backlog.h"
#include "queued/clock.h"
#include "queued/destination.h"
#include "queued/hop.h"
#include "queued/parking.h"
#include "queued/ring.h"
#include "queued/shares.h"
#include "queued/turns.h"

namespace postern::queued {

enum class Blocked : std::uint8_t { kNo, kFrozen, kOff };

// --- What to do -------------------------------------------------------------------------------------

struct OpenGrant {
  DelivererId deliverer;
  base::GrantId grant;
  std::string queue;      // on whose behalf
  config::HopSpec hop;
  std::string next_hop;   // its name, where it is known: other hosts are to be reported first
};
struct GoAhead {  // the hosts that were reported may be connected to
  DelivererId deliverer;
  base::GrantId grant;
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
  std::string queue;                      // whose turn it is
  std::vector<std::uint32_t> recipients;  // of it, and of others that go along
  bool looked = false;                    // for those of others; else the message was not in memory
};
struct SendAway {
  DelivererId deliverer;
  base::RequestId request;
};
using Action = std::variant<OpenGrant, GoAhead, CloseGrant, HandOut, SendAway>;

// --- What is known ----------------------------------------------------------------------------------

struct LeaseKey {
  base::Epoch epoch;
  base::LeaseId lease;
  friend auto operator<=>(const LeaseKey&, const LeaseKey&) = default;
};

// How recipients were handed out.
struct Passage {
  std::shared_ptr<const Destination> destination;  // null: nobody knows, for it was in an earlier life
  std::uint8_t way = 0;      // of destination->via
  std::uint8_t refused = 0;  // as in Mail: it was their second path
};

struct Placed {  // a recipient of some message, and where it stands
  std::string queue;
  std::uint32_t number = 0;
};

struct LeaseInfo {
  LeaseKey key;
  DelivererId deliverer;
  base::GrantId grant;  // 0: of an earlier life
  base::MessageId message;
  std::string queue;                      // whose turn it was
  std::vector<std::uint32_t> recipients;  // all, rising
  std::vector<Placed> along;              // those of them that stand in other queues, in the same order
  QueueTime since{0};  // when it was handed out, or adopted
  Passage by;
};

struct EndedGrant {
  std::string queue;  // on whose behalf it was opened
  std::string hop;    // whose it was; of hosts that were never found: the queue's name
  std::uint8_t refused = 0;  // as in Mail: for a second path of the queue
  bool outdated = false;     // opened before clear(): what became of it says nothing of the ways that there are now
};

struct QueueCounts {  // recipients
  std::uint32_t ready = 0;
  std::uint32_t waiting = 0;
  std::uint32_t leased = 0;
  std::uint32_t held = 0;
};

class Schedule {
 public:
  struct Limits {
    std::uint32_t relay_slots = 400;
    std::uint32_t local_slots = 64;
    std::uint32_t turn = 20;  // messages of one connection while another hop waits
    std::size_t lease_recipients = 36;
  };
  class Queue;
  class Hop : public HopState {
   public:
    // Of the next hop; or of the queue whose hosts are not known yet.
    [[nodiscard]] const std::string& name() const { return *name_; }
    [[nodiscard]] bool known() const { return seeker_ == nullptr; }
    [[nodiscard]] std::uint32_t queues() const { return queues_; }  // that lead here now
    [[nodiscard]] const Destination& destination() const { return *destination_; }
    [[nodiscard]] std::uint32_t lines() const { return lines_; }  // messages that may go here now
    [[nodiscard]] std::size_t idle() const { return parked_.size(); }  // connections that wait

   private:
    friend class Schedule;
    struct ByWake {
      bool operator()(const Hop* a, const Hop* b) const {
        return std::pair(a->wake_, a) < std::pair(b->wake_, b);
      }
    };
    bool serving_ : 1 = false;    // stands in its pool's list
    bool wanting_ : 1 = false;    // stands in its pool's list
    bool starved_ : 1 = false;    // counted in its pool
    bool newcomer_ : 1 = false;   // counted in its pool
    bool local_ : 1 = false;      // its pool is the local deliverer's
    bool called_for_ : 1 = false;  // nobody connects there: its host calls
    std::uint16_t round_ = 0;     // of the queues in its ring; after the last number the first comes again
    std::uint32_t queues_ = 0;
    std::uint32_t awaited_ = 0;   // queues that went on to their next way until it works
    std::uint32_t lines_ = 0;
    const std::string* name_ = nullptr;
    Queue* seeker_ = nullptr;     // whose hosts are not known
    std::shared_ptr<const Destination> destination_;  // of the queue that came last
    Ring<Queue> ring_;            // that have something to go and may
    Parking parked_;
    QueueTime wake_{0};           // where it stands in `wakes_`; 0: it does not
    std::list<Hop*>::iterator serves_;
    std::list<Hop*>::iterator wants_;
  };
  class Queue : public RingMember<Queue> {
   public:
    std::uint64_t bytes = 0;  // of its messages; one of 4 GiB and more counts as that
    QueueCounts counts;
    std::uint32_t leases = 0;
    Blocked blocked = Blocked::kNo;

    [[nodiscard]] const std::string& name() const { return *name_; }
    [[nodiscard]] const Destination& destination() const { return *destination_; }
    // Messages of which a recipient is here, in delivery or not.
    [[nodiscard]] std::size_t messages() const { return messages_; }
    // Likewise, or by a second path of it.
    [[nodiscard]] bool has_mail() const { return messages_ > 0 || seconds_ > 0; }
    // Where its mail goes now; null: nothing had to go since it is here.
    [[nodiscard]] const Hop* hop() const { return hop_; }
    // Which of destination().via that is.
    [[nodiscard]] std::size_t way() const { return way_; }
    // Of a second path: as in Mail; 0: it is the queue itself.
    [[nodiscard]] std::uint8_t refused() const { return refused_; }
    // A way that is dead, and is gone back to; null: there is none. It stands before that one, or shares with it.
    [[nodiscard]] const Hop* better() const { return better_; }
    [[nodiscard]] std::size_t better_way() const { return better_way_; }

   private:
    friend class Schedule;
    static constexpr std::int16_t kQuantum = 256;  // what it may send in a round: see cost_of()
    [[nodiscard]] bool empty() const {
      return messages_ == 0 && leases == 0 && seconds_ == 0 && (!seeking_ || seeking_->grants == 0);
    }
    [[nodiscard]] bool runs() const { return lines_ > 0 && blocked == Blocked::kNo; }
    bool urgent_ = false;            // the operator wants it tried, wherever it leads
    std::uint8_t way_ = 0;           // of destination().via
    std::uint8_t better_way_ = 0;    // that of better_
    std::uint32_t number_ = 0;       // in the backlog
    std::uint32_t messages_ = 0;
    std::uint32_t lines_ = 0;        // messages of which a recipient is ready
    std::uint32_t lines_there_ = 0;  // counted in its hop
    std::int16_t deficit_ = kQuantum;  // what it may still send in this round, or what it owes
    std::uint16_t round_ = 0;        // of its hop: the last one that it had its part of
    std::uint8_t place_ = 0;         // that it came to last, of the group of its way
    bool turn_over_ = true;          // a message went: the next one goes by the next of the group
    std::uint8_t refused_ = 0;
    std::uint8_t seconds_ = 0;       // second paths that there are of it
    Turns turns_;
    const std::string* name_ = nullptr;  // where `queues_` has it
    std::shared_ptr<const Destination> destination_;
    Hop* hop_ = nullptr;
    Hop* better_ = nullptr;              // dead, and to be gone back to
    std::unique_ptr<Hop> seeking_;       // while its hosts are not known
    QueueTime found_until_{0};           // what was told of its hosts holds
  };
  struct Due {
    QueueTime time{0};
    base::MessageId message;
  };
  struct Mail {  // a recipient of a message
    base::MessageId message;
    std::uint32_t number = 0;
    std::uint64_t size = 0;   // of the message
    std::uint8_t sender = 0;  // a hash of who sent it
    QueueTime due{0};
    bool held = false;
    std::uint8_t refused = 0;  // the number, from 1 on, of the way that refused it in this try; 0: none
  };
  // Hears of a recipient of a message, and says whether there is room for more.
  using Visit = std::function<bool(std::string_view queue, std::uint32_t number)>;
  // What others know and decide.
  struct Rules {
    std::function<Blocked(const std::string& queue, const Destination&)> blocked;
    std::function<bool(const std::string& hop)> hop_frozen;
    // What was remembered of a next hop, or of a queue whose hosts could not be found.
    std::function<HopWait(const std::string& name)> wait;
    // Tells of further recipients of the message that one transaction may name with this one. False: the message is
    // not in memory.
    std::function<bool(base::MessageId message, std::uint32_t number, const Visit& visit)> others;
  };

  Schedule(Limits limits, base::Epoch epoch, Rules rules);
  ~Schedule();
  Schedule(const Schedule&) = delete;
  Schedule& operator=(const Schedule&) = delete;

  // --- mail
  // One that is here already gets this time and this hold, whichever path it goes by; one in delivery is left alone.
  // `destination` is the queue's, for a second path too, of which there must be one.
  void add(const std::string& queue, const Destination& destination, const Mail& mail,
           QueueTime now);
  // Takes a message's recipients that are not in delivery off the queue; their numbers.
  std::vector<std::uint32_t> take(const std::string& queue, base::MessageId message);
  // Likewise, but who goes by a second path stays.
  std::vector<std::uint32_t> take_first(const std::string& queue, base::MessageId message);
  void hold(const std::string& queue, base::MessageId message, bool held, QueueTime now);
  // All its recipients here are due now.
  void expedite(const std::string& queue, base::MessageId message, QueueTime now);
  // Forgets all recipients that are not in delivery, to be added again by new routes.
  void clear();

  // --- deliverers
  void deliverer_up(DelivererId deliverer, bool local);
  // Its leases, which are gone with it.
  std::vector<LeaseInfo> deliverer_down(DelivererId deliverer);
  // The MX hosts of a grant's queue are those of this next hop, for as long as the DNS says; answered by
  // GoAhead or CloseGrant. The queue; nullopt: no such grant of this deliverer.
  std::optional<std::string> hop_found(DelivererId deliverer, base::GrantId grant,
                                       const std::string& hop, base::Millis ttl, QueueTime now);
  // A connection wants work; answered by HandOut or SendAway, perhaps later.
  void ask(DelivererId deliverer, base::RequestId request, base::GrantId grant);
  // nullopt: no such grant of this deliverer.
  std::optional<EndedGrant> grant_ended(DelivererId deliverer, base::GrantId grant);
  // A lease whose message was not in memory when it was handed out, and is now, before anything of it is sent: it
  // takes others along.
  void widen(LeaseKey key);
  // A lease from before our start, of those recipients that are here and not leased already: of two
  // leases the one that is adopted first has a recipient. False: none is left for it.
  bool adopt(DelivererId deliverer, LeaseKey key, base::MessageId message,
             std::span<const Placed> recipients);
  // Our own get higher numbers than one that an earlier life handed out, which a deliverer may hold still when the
  // next life begins.
  void number_behind(base::LeaseId earlier);
  // Ends a lease of this deliverer: its recipients leave the schedule until they are added again.
  std::optional<LeaseInfo> settle(DelivererId deliverer, LeaseKey key);

  // --- hosts that call for their mail
  struct Call {
    struct For {
      std::string queue;
      Destination destination;
    };
    std::vector<For> queues;  // never empty
    bool waits = false;       // its connection stays where there is no mail
  };
  // A host has called, and its connection stands; what it waits for now is a deliverer. nullopt: there can be no
  // more connections now.
  std::optional<OpenGrant> call(const Call& call, QueueTime now);
  // Routes are others: that is how those of its queues are served now.
  void serve_call_by(base::GrantId grant, const std::vector<Call::For>& queues);
  // Its connection ends as soon as nothing is in flight on it.
  void hang_up(base::GrantId grant);
  [[nodiscard]] bool knows(base::GrantId grant) const { return grants_.contains(grant); }
  // Has a host called for the mail of this next hop, whose connection stands and is not told to go? It may be at another
  // queue that it called for.
  [[nodiscard]] bool is_called(std::string_view hop) const;
  // Queues behind `after` with mail that may go, for which nobody calls now: at most `most` are looked at. The last
  // that was is `after` then; empty: there are no more.
  [[nodiscard]] std::vector<std::string> uncalled(std::string& after, std::size_t most) const;

  // --- next hops
  // A message went through, at this host. The hop that works; null: it is not known any more.
  const Hop* note_success(const LeaseInfo& lease, std::string_view remote);
  // The hop is dead until then, `failures` in a row. Queues that have another way take it.
  void defer(const std::string& hop, const HopWait& wait, QueueTime now);
  // One connection too many failed while others work: fewer are tried for a while.
  void trouble(const std::string& hop);
  // A way of a queue that can never work. kElsewhere: the queue went another way meanwhile.
  enum class Onward : std::uint8_t { kNextWay, kLastWay, kElsewhere };
  [[nodiscard]] Onward way_failed(const EndedGrant& grant);
  // What of a second path is neither in delivery nor held goes off it, `most` recipients at once.
  struct Taken {
    base::MessageId message;
    std::vector<std::uint32_t> recipients;
  };
  [[nodiscard]] std::vector<Taken> take_second(const std::string& queue, std::uint8_t refused, std::size_t most);
  // Second paths with something to go of which no way can be taken now: each is dead, frozen, or was left for good.
  struct Closed {
    std::string queue;
    std::uint8_t refused = 0;
    std::string hop;      // where it leads now
    bool frozen = false;  // that one; else it is dead
  };
  [[nodiscard]] std::vector<Closed> closed_paths() const;
  // The queue's next hops are tried now, dead or not. The names of those that it may lead to.
  std::vector<std::string> end_wait(const std::string& queue, QueueTime now);
  // Connections that carry this message end with it; where it was not begun it comes back.
  void recall(base::MessageId message);
  // Blocks changed: connections of what is blocked are closed.
  void review_blocks(QueueTime now);
  // Queues that stand still with a frozen set of hosts look for theirs anew where these may be others by now.
  void seek_anew(QueueTime now);

  // --- time and decisions
  void set_open(bool open) { open_ = open; }
  [[nodiscard]] std::optional<QueueTime> next_wake() const;
  // Everything that is to be done now.
  [[nodiscard]] std::vector<Action> decide(QueueTime now);

  // --- looking
  [[nodiscard]] const Queue* find(std::string_view queue) const;
  // The second path of the queue that the recipient goes by; null: it does not.
  [[nodiscard]] const Queue* second_of(std::string_view queue, base::MessageId message,
                                       std::uint32_t number) const;
  // The queue, and its second paths behind it.
  [[nodiscard]] std::vector<const Queue*> paths(const Queue& first) const;
  // The same for listings, which go through all queues: most have no second path.
  void each_path(const Queue& first, auto visit) const {
    visit(first);
    if (first.seconds_ == 0) return;
    for (const Queue* path : paths(first))
      if (path != &first) visit(*path);
  }
  [[nodiscard]] std::vector<const Queue*> paths(std::string_view name) const;  // none: no such queue
  // Of its messages, second paths included: each counts once, by whichever of them its recipients go.
  struct Volume {
    std::uint64_t messages = 0, bytes = 0;
  };
  [[nodiscard]] Volume volume(const Queue& first) const;
  [[nodiscard]] Volume volume(std::string_view name) const;  // 0: no such queue
  // All second paths, by queue and by the way that refused.
  using Seconds = std::map<std::pair<std::string, std::uint8_t>, Queue>;
  [[nodiscard]] const Seconds& seconds() const { return seconds_; }
  [[nodiscard]] const std::map<std::string, Queue, std::less<>>& queues() const { return queues_; }
  [[nodiscard]] const Hop* find_hop(std::string_view name) const;
  // Those whose hosts are known.
  [[nodiscard]] const std::map<std::string, Hop, std::less<>>& hops() const { return hops_; }
  // The first `limit` queues behind `after` that lead to this hop and may run, second paths left out; looks at no more
  // than `looks`. The last that was looked at is `after` then; empty: there are no more.
  [[nodiscard]] std::vector<std::string> queues_of(std::string_view hop, std::string& after,
                                                   std::size_t looks) const;
  // At most `limit` of the queue's messages behind `after`, in order, each once, in delivery or
  // not. These, the first and the last one: without what goes by a second path.
  [[nodiscard]] std::vector<base::MessageId> messages(std::string_view queue, base::MessageId after,
                                                      std::size_t limit) const;
  // Likewise, but with that.
  [[nodiscard]] std::vector<base::MessageId> all_messages(std::string_view queue, base::MessageId after,
                                                          std::size_t limit) const;
  [[nodiscard]] std::optional<base::MessageId> first_message(const Queue& queue) const;
  [[nodiscard]] std::optional<base::MessageId> last_message(std::string_view queue) const;
  // Is a recipient of it in delivery here, or about to be?
  [[nodiscard]] bool coming(std::string_view queue, base::MessageId message) const;
  // Which recipient of it is tried next here, of those that are not in delivery, and when, as far as that follows from
  // what is known now. nullopt: none is there, or what is there is stopped.
  struct NextTry {
    QueueTime time{0};
    std::uint32_t number = 0;
  };
  [[nodiscard]] std::optional<NextTry> next_try(std::string_view queue, base::MessageId message) const;
  // Where mail of the queue that is due at `when` is tried first, as far as that follows from what is known now: what has
  // nothing to go may stand with a next hop that it would leave.
  struct Prospect {
    std::size_t way = 0;       // of its destination
    const Hop* hop = nullptr;  // null: nobody leads there
    QueueTime opens{0};        // not before then; the last time that there is: never, for it is frozen
  };
  [[nodiscard]] Prospect prospect(const Queue& queue, QueueTime when) const;
  // Is a recipient of it held here?
  [[nodiscard]] bool held(std::string_view queue, base::MessageId message) const;
  // What of the queue is due next, of what is not due yet; its hop's own wait is not asked.
  [[nodiscard]] std::optional<Due> next_due(const Queue& queue) const;
  [[nodiscard]] bool leased(base::MessageId message, std::uint32_t number) const;
  // How a recipient stands, and when it is due; nullopt: it is not here.
  struct Standing {
    Stage stage = Stage::kReady;
    QueueTime due{0};
  };
  [[nodiscard]] std::optional<Standing> standing(std::string_view queue, base::MessageId message,
                                                 std::uint32_t number) const;
  // How many messages of the queue have their turn before this one, which is ready; `most`: or more.
  [[nodiscard]] std::uint32_t ahead(std::string_view queue, base::MessageId message,
                                    std::uint32_t most) const;
  // Whose connection it is; null: it is gone.
  [[nodiscard]] const Hop* hop_of(base::GrantId grant) const;
  // Is it told to go?
  [[nodiscard]] bool leaves(base::GrantId grant) const;
  // Connections of all next hops together.
  struct Room {
    std::uint32_t used = 0;
    std::uint32_t slots = 0;
    bool deliverers = false;  // there is somebody to open one
  };
  [[nodiscard]] Room room(bool local) const;
  [[nodiscard]] bool open() const { return open_; }
  [[nodiscard]] const std::map<LeaseKey, LeaseInfo>& leases() const { return leases_; }
  // Is this so of any queue that the lease has recipients of?
  [[nodiscard]] bool any_queue(const LeaseInfo& lease, const auto& is) const {
    const auto found = [&](const std::string& name) {
      const Queue* queue = find(name);
      return queue != nullptr && is(*queue);
    };
    return found(lease.queue) || std::ranges::any_of(lease.along, found, &Placed::queue);
  }
  // Leases of queues, or on next hops, that are blocked now.
  [[nodiscard]] std::uint64_t blocked_leases() const;

 private:
  struct Pool {
    std::uint32_t slots = 0;
    std::uint32_t used = 0;
    std::uint32_t leaving = 0;         // told to close, not yet closed
    std::uint32_t idle = 0;            // parked connections
    std::uint32_t starved = 0;         // hops that want a connection and have none idle
    std::uint32_t newcomers = 0;       // of these, without any connection
    std::list<Hop*> wanting;           // that need connections, in turn
    std::list<Hop*> serving;           // with parked connections and mail
    std::uint32_t served = 0;          // hops with connections
    std::vector<std::uint32_t> crowd;  // how many of them have so many
    std::uint32_t most = 0;            // connections of the hop that has most
    std::vector<DelivererId> deliverers;
    std::size_t next = 0;
    [[nodiscard]] bool full() const { return used >= slots; }
    // Do more hops wait for a slot than are about to get one?
    [[nodiscard]] bool crowded() const { return full() && starved > leaving; }
    // Connections for each hop, while they have to share.
    [[nodiscard]] std::uint32_t share() const;
    // A hop had `before` connections and has `after` now.
    void recount(std::uint32_t before, std::uint32_t after);
  };
  // A host that has called.
  struct Caller {
    struct Place {
      std::string queue;
      std::string hop;
      std::shared_ptr<const Destination> destination;
    };
    std::vector<Place> places;  // where it may be
    std::size_t at = 0;         // and is
    bool waits = false;
  };
  struct Grant {
    DelivererId deliverer;
    Hop* hop = nullptr;
    std::string queue;    // on whose behalf
    std::uint8_t refused = 0;  // likewise: for a second path of it
    bool opened = false;  // asked at least once
    bool parked = false;
    bool leaving = false;
    bool outdated = false;  // opened by rules that hold no more
    std::uint32_t served = 0;
    std::unique_ptr<Caller> caller = nullptr;  // null: we connect
    [[nodiscard]] bool busy() const { return opened && !parked; }
  };
  using Key = Backlog::Key;
  using Entry = Backlog::Entry;

  [[nodiscard]] Pool& pool(const Hop& hop) { return pools_[hop.local_ ? 1 : 0]; }
  Queue& make(const std::string& name, const Destination& destination);
  void set_destination(Queue& queue, const Destination& destination);
  std::shared_ptr<const Destination> shared(const Destination& destination);
  Queue* look(std::string_view name);
  void give_number(Queue& queue);
  void drop_if_empty(Queue& queue);
  void drop_if_empty(const std::string& name, std::uint8_t refused);

  // Paths of what was refused (second_paths.cc).
  Queue& make_second(Queue& first, const Destination& destination, std::uint8_t refused);
  Queue* look(std::string_view name, std::uint8_t refused);
  [[nodiscard]] const Queue* look(std::string_view name, std::uint8_t refused) const {
    return const_cast<Schedule*>(this)->look(name, refused);
  }
  void drop_second(Queue& queue);
  [[nodiscard]] bool is_closed(const Queue& queue) const;
  [[nodiscard]] std::vector<Queue*> paths(std::string_view name);
  [[nodiscard]] std::vector<Queue*> paths(Queue& first);
  // Where the recipient stands, or will.
  Queue& path_of(Queue& first, const Destination& destination, const Mail& mail);
  // A recipient of the message in another path of the queue.
  [[nodiscard]] std::optional<Entry> elsewhere(const Queue& queue, base::MessageId message) const;
  void note_twin(const Queue& queue, std::uint32_t size);
  void forget_twin(const Queue& queue, std::uint32_t size);
  [[nodiscard]] std::vector<base::MessageId> messages(const Queue& queue, base::MessageId after,
                                                      std::size_t limit) const;
  // All queues and second paths, until one is answered by false.
  void each_path(const auto& visit) {
    for (auto& [name, queue] : queues_)
      if (!visit(queue)) return;
    for (auto& [key, queue] : seconds_)
      if (!visit(queue)) return;
  }
  [[nodiscard]] Queue& seeker(Queue& queue) { return queue.refused_ == 0 ? queue : *look(queue.name()); }
  [[nodiscard]] const Queue& seeker(const Queue& queue) const {
    return queue.refused_ == 0 ? queue : *find(queue.name());
  }

  // Where queues lead (ways.cc).
  Hop& hop_at(Queue& queue, std::size_t way);
  Hop* hop_of(const LeaseInfo& lease, std::string_view remote);
  Hop& seek(Queue& queue);
  Hop& hop_named(const std::string& name, const std::shared_ptr<const Destination>& destination);
  void take_up(Hop& hop, const std::shared_ptr<const Destination>& destination);
  [[nodiscard]] bool is_frozen(const Hop& hop) const;
  void lead(Queue& queue, Hop& hop);
  void leave(Queue& queue);
  void forget_better(Queue& queue);
  [[nodiscard]] bool is_usable(const Queue& queue) const;
  [[nodiscard]] bool is_untried(const Hop& hop) const;
  [[nodiscard]] bool is_stale(const Queue& queue) const;
  void find_way(Queue& queue);
  void go_by(Queue& queue, std::size_t way);
  bool go_on(Queue& queue);
  bool go_behind(Queue& queue, const Group& group);
  bool give_up(Queue& queue);
  void wait_for(Queue& queue, const Group& group);
  void take_better(Queue& queue);
  void come_back(Queue& queue, bool to_try);
  void call_back(Hop& hop, bool all);
  void offer(Hop& hop);
  void send_on(Hop& hop);
  void drop_if_unused(Hop& hop);
  // Hosts that call (calls.cc).
  Hop& hop_at(const Caller::Place& place);
  [[nodiscard]] bool has_room(const Hop& hop) const;
  [[nodiscard]] std::optional<std::size_t> first_place(const Caller& caller) const;
  [[nodiscard]] std::optional<std::size_t> next_place(const Grant& grant) const;
  void answer_caller(base::GrantId id, Grant& grant, const Parked& parked);
  void go_to(base::GrantId id, Grant& grant, std::size_t place);
  void bring_callers();
  void forget_caller(base::GrantId id, const Caller& caller);
  // Where several ways share a queue's mail (groups.cc).
  void begin_turns(Queue& queue);
  void end_turn(Queue& queue);
  void pass_turn(Queue& queue);
  void take_turn(Queue& queue);
  void go_home(Queue& queue);
  void review_groups();
  [[nodiscard]] bool shares(const Queue& queue) const;
  std::optional<std::size_t> next_of(Queue& queue, const Group& group);
  [[nodiscard]] const Hop* known_hop(const Queue& queue, std::size_t way) const;
  [[nodiscard]] QueueTime opens(const Queue& queue, std::size_t way) const;
  [[nodiscard]] bool may_take(const Queue& queue, std::size_t way) const;
  [[nodiscard]] Hop* kept(const Queue& queue) const;
  void keep(Queue& queue, Hop& hop);
  void forget_kept(Queue& queue);

  // Leases of several queues (one_copy.cc).
  bool widen(LeaseInfo& lease, const Hop& hop);
  [[nodiscard]] bool goes_along(const Queue& queue, const Queue& with, const Hop& hop) const;
  void join(LeaseInfo& lease, Queue& queue, const Entry& entry);
  [[nodiscard]] std::vector<Queue*> queues_of(const LeaseInfo& lease);
  [[nodiscard]] std::vector<Key> keys_of(const LeaseInfo& lease);

  // `other`: one of the same message that is there.
  void insert(Queue& queue, Entry entry, const std::optional<Entry>& other, QueueTime due);
  [[nodiscard]] std::optional<Entry> any_of(const Queue& queue, base::MessageId message) const;
  // Both give the place in line that is left to another recipient of the same message; it.
  // `had_turn`: it goes because its turn came.
  std::optional<Entry> move(Queue& queue, Entry entry, Stage stage, QueueTime due, bool had_turn = false);
  std::optional<Entry> remove(Queue& queue, const Entry& entry);
  std::optional<Entry> pass_on(Queue& queue, const Entry& left, bool had_turn);
  void set_rank(Queue& queue, Entry& entry, QueueTime due, bool alone);
  [[nodiscard]] static std::uint32_t& count_of(Queue& queue, Stage stage);
  std::vector<std::uint32_t> take(Queue& queue, base::MessageId message);
  [[nodiscard]] std::optional<NextTry> next_try(const Queue& queue, base::MessageId message) const;
  // All of the message's recipients in the queue.
  [[nodiscard]] std::vector<Entry> entries(const Queue& queue, base::MessageId message) const;

  void wake(QueueTime now);
  void wake_mail();
  void review(Queue& queue);
  void review(Hop& hop);
  void stand_in_line(Queue& queue);
  void leave_line(Queue& queue);
  static void give_round(Hop& hop, Queue& queue);
  static void charge(Queue& queue, std::uint32_t cost);
  void enlist(Hop& hop, bool serve, bool want);
  void set_wake(Hop& hop, QueueTime wake);
  [[nodiscard]] bool may_run(const Hop& hop) const;
  [[nodiscard]] std::uint32_t wanted_grants(const Hop& hop) const;
  void serve(Pool& pool);
  void open_grants(Pool& pool);
  void open_grant(Pool& pool, Hop& hop);
  base::GrantId add_grant(Pool& pool, Hop& hop, const std::string& queue, std::uint8_t refused = 0);
  void park(Grant& grant, const Parked& parked);
  void free_idle(Pool& pool);
  [[nodiscard]] bool must_leave(const Pool& pool, const Hop& hop, const Grant& grant) const;
  void hand_out(Hop& hop);
  Queue* next_queue(Hop& hop);
  void lease_next(Queue& queue, const Parked& to);
  void send_away(const Parked& parked);
  bool mark_leaving(Grant& grant);
  void close(base::GrantId id, Grant& grant);
  // All connections, or those that carry nothing now.
  void close_grants(Hop& hop, bool busy_too);
  void close_blocked();
  void end_grant(base::GrantId id);
  void change_hop(Grant& grant, Hop& to);
  std::optional<Parked> unpark(Hop& hop, base::GrantId grant);

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
  Rules rules_;
  std::map<std::string, Hop, std::less<>> hops_;        // whose hosts are known
  std::map<std::string, Queue, std::less<>> queues_;    // in order, for listings
  Seconds seconds_;
  std::unordered_set<Queue*, ByName, ByName> by_name_;  // the same, found at once
  std::vector<Queue*> by_number_;
  std::vector<std::uint32_t> free_numbers_;
  std::unordered_set<std::shared_ptr<const Destination>, ByValue, ByValue> destinations_;
  Backlog backlog_;                             // the recipients
  std::set<Hop*, Hop::ByWake> wakes_;           // dead next hops, and those that went too fast
  Pool pools_[2];                               // relay, local
  // Of queues that share their mail between an MX and other ways: what was found where the MX is, while their turn
  // is another's.
  std::unordered_map<const Queue*, Hop*> kept_;
  // Of queues with messages in several of their paths: what the sum of these has too much.
  std::unordered_map<const Queue*, Volume> twins_;
  std::unordered_map<base::GrantId, Grant> grants_;
  std::multimap<std::string, base::GrantId, std::less<>> callers_;  // by the hops where they may be
  std::set<std::string> looked_for_;  // hops with mail for callers that may be elsewhere
  std::uint32_t calls_ = 0;           // connections of callers
  std::map<LeaseKey, LeaseInfo> leases_;
  std::set<std::pair<base::MessageId, std::uint32_t>> leased_;
  std::vector<Action> actions_;
  std::uint64_t last_grant_;
  std::uint64_t last_lease_ = 0;
  std::uint64_t begun_ = 0;  // queues that share their mail between ways, so far
  QueueTime now_{0};
  bool open_ = false;
};

}  // namespace postern::queued
