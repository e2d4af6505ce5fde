// Between the control tool and queued: why mail does not move.
#pragma once

#include "common/ipc/control.h"
#include "common/ipc/delivery.h"

namespace postern::ipc {

// What keeps mail from going now. Where several do, the first one here is the one that binds: as
// long as it is there, none of those behind it matters. The two that end by a time (kRetry,
// kHopDead) bind by which of them ends later.
enum class Blocker : std::uint8_t {
  kDelivering,   // a lease names it
  kConcluding,   // its outcome waits for the original, or for badmail
  kDamaged,      // its body is lost
  kHeld,         // its message is held
  kFrozen,       // its queue
  kHopFrozen,    // its next hop
  kOff,          // outbound is disabled
  kRetry,        // its own time has not come
  kHopDead,      // its next hop cannot be reached, or its hosts cannot be found
  kLoading,      // queued still reads its mail after a start
  kStarting,     // deliverers still tell what they hold from before
  kNoDeliverer,  // there is none for it
  kLookup,       // its hosts are looked up
  kUncalled,     // its host has to call for it, and has not (ATRN)
  kRate,         // its next hop had its share
  kConnections,  // all that its next hop may have are busy
  kSlots,        // all that there may be at all are busy
  kConnecting,   // a connection is being opened
  kTurn,         // other messages of its queue come before
};
[[nodiscard]] std::string_view name(Blocker blocker);  // "delivering", ..., "hop frozen", ...

inline constexpr std::size_t kBlockers = 19;
inline constexpr std::size_t kReplyShown = mail::Reply::kMaxText + 32;
inline constexpr std::size_t kMaxPlaceText = 280;  // "conf.d/routes.toml:46"
inline constexpr std::size_t kMaxExplained = 50;   // recipients in one answer
inline constexpr std::size_t kMaxPassed = 12;

struct Obstacle {
  Blocker blocker = Blocker::kDelivering;
  std::string name;         // what it is about: a freeze's queue or pattern, a next hop
  std::string who;          // for what a person did
  std::string reason;       // in that person's words; or what a host said last
  std::string remote;       // that host
  std::string place;        // of the configuration, if that says so: "postern.toml:46"
  std::string freeze;       // of a next hop that is frozen: the name by which it is
  base::WallTime since;     // 0: that is not known
  base::WallTime until;     // 0: it does not end at a time
  std::uint32_t count = 0;  // connections in use, messages before it, failures in a row
  std::uint32_t of = 0;     // of so many connections; 0: no limit
  friend bool operator==(const Obstacle&, const Obstacle&) = default;
  static constexpr auto fields() {
    return fields_of(field("blocker", &Obstacle::blocker),
                      field("name", &Obstacle::name, kMaxHopName), field("who", &Obstacle::who, 64),
                      field("reason", &Obstacle::reason, kReplyShown),
                      field("remote", &Obstacle::remote, kMaxRemote),
                      field("place", &Obstacle::place, kMaxPlaceText),
                      field("freeze", &Obstacle::freeze, kMaxQueueName),
                      field("since", &Obstacle::since), field("until", &Obstacle::until),
                      field("count", &Obstacle::count), field("of", &Obstacle::of));
  }
};

// What decides where mail goes.
enum class RoutedBy : std::uint8_t { kNothing, kRoute, kDomain };

struct Way {
  RoutedBy by = RoutedBy::kNothing;
  std::string place;         // of that section
  std::string via;           // "mx", "mailbox", or a host and its port
  std::uint32_t number = 1;  // of the ways of its route, from 1 on
  std::uint32_t of = 1;
  std::string hop;  // the next hop that this leads to; empty: not known
  friend bool operator==(const Way&, const Way&) = default;
  static constexpr auto fields() {
    return fields_of(field("by", &Way::by), field("place", &Way::place, kMaxPlaceText),
                      field("via", &Way::via, kMaxHopName), field("number", &Way::number),
                      field("of", &Way::of), field("hop", &Way::hop, kMaxHopName));
  }
};

// What a failure from now on leads to.
struct RetryPlan {
  std::string place;                    // of what says so; empty: nothing is written down
  std::optional<FailureClass> failure;  // of the last one
  base::Millis wait{0};                 // behind the next failure
  bool repeats = false;                 // and behind each one that follows
  friend bool operator==(const RetryPlan&, const RetryPlan&) = default;
  static constexpr auto fields() {
    return fields_of(field("place", &RetryPlan::place, kMaxPlaceText),
                      field("failure", &RetryPlan::failure), field("wait", &RetryPlan::wait),
                      field("repeats", &RetryPlan::repeats));
  }
};

// Of recipients of a message with which everything is the same.
struct Explanation {
  std::vector<mail::Address> recipients;
  std::string alias;  // by which they came; empty: they were named themselves
  std::string queue;
  State state = State::kReady;
  std::vector<Obstacle> obstacles;  // the binding one first
  base::WallTime next;  // when it is tried, if nothing else comes between; 0: nobody can tell
  std::vector<std::string> passed;  // what does not block it
  Way way;
  RetryPlan retry;
  std::uint32_t tries = 0;
  base::WallTime last_try;  // 0: none yet
  std::string last_reply;
  std::string remote;
  std::string tls;            // of the last try: text_of(TlsNote)
  base::WallTime notice;      // of the delay, at the first failure from then on; 0: none
  base::WallTime expires;     // given up at the first failure from then on; 0: never
  bool clock_stands = false;  // both move on with the time
  friend bool operator==(const Explanation&, const Explanation&) = default;
  static constexpr auto fields() {
    return fields_of(
        field("recipients", &Explanation::recipients, kMaxExplained),
        field("alias", &Explanation::alias, kMaxAlias),
        field("queue", &Explanation::queue, kMaxQueueName), field("state", &Explanation::state),
        field("obstacles", &Explanation::obstacles, kBlockers), field("next", &Explanation::next),
        field("passed", &Explanation::passed, kMaxPassed, 100), field("way", &Explanation::way),
        field("retry", &Explanation::retry), field("tries", &Explanation::tries),
        field("last_try", &Explanation::last_try),
        field("last_reply", &Explanation::last_reply, kReplyShown),
        field("remote", &Explanation::remote, kMaxRemote), field("tls", &Explanation::tls, kMaxTls),
        field("notice", &Explanation::notice),
        field("expires", &Explanation::expires), field("clock_stands", &Explanation::clock_stands));
  }
};

// Why a message is still here. Of those that ended the history tells.
struct Explain {
  static constexpr Type kType = Type::kExplain;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  base::MessageId id;
  std::uint32_t after = 0;  // cursor: how many recipients to leave out
  static constexpr auto fields() {
    return fields_of(field("request", &Explain::request), field("id", &Explain::id),
                      field("after", &Explain::after));
  }
};

struct Explained {
  static constexpr Type kType = Type::kExplained;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<Explain>;
  base::RequestId request;
  bool found = false;
  mail::ReversePath from;
  std::string hello;
  base::IpAddress client;
  base::WallTime arrived;
  std::uint64_t size = 0;
  bool bounce = false;
  base::MessageId origin;   // what it was in the queue that it was imported from; 0: none
  std::uint32_t ended = 0;  // recipients that are known to have ended
  std::vector<Explanation> explanations;  // one, or none behind the last
  bool more = false;
  std::uint32_t next_after = 0;
  static constexpr auto fields() {
    return fields_of(field("request", &Explained::request), field("found", &Explained::found),
                      field("from", &Explained::from), field("hello", &Explained::hello, 255),
                      field("client", &Explained::client), field("arrived", &Explained::arrived),
                      field("size", &Explained::size), field("bounce", &Explained::bounce),
                      field("origin", &Explained::origin), field("ended", &Explained::ended),
                      field("explanations", &Explained::explanations, 1),
                      field("more", &Explained::more), field("next_after", &Explained::next_after));
  }
};

// A queue, or a next hop by its name (which has a colon, so it is no queue's).
struct ExplainQueue {
  static constexpr Type kType = Type::kExplainQueue;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  std::string name;
  static constexpr auto fields() {
    return fields_of(field("request", &ExplainQueue::request),
                      field("name", &ExplainQueue::name, kMaxHopName));
  }
};

struct HopFacts {
  std::string name;               // of a queue whose hosts are not known: the queue's
  bool current = false;           // the queue's mail goes there now
  std::uint32_t connections = 0;  // granted
  std::uint32_t opening = 0;      // of these, not open yet
  std::uint32_t idle = 0;         // of these, without a message
  std::uint32_t limit = 0;        // 0: none
  std::uint64_t interval = 0;     // microseconds between two messages; 0: no limit
  std::uint32_t queues = 0;       // that lead there now
  std::uint32_t failures = 0;     // in a row
  base::WallTime failed;          // the last of them; 0: none
  base::WallTime dead_until;      // 0: it is not dead
  std::string last_reply;         // of that failure
  std::string remote;
  static constexpr auto fields() {
    return fields_of(
        field("name", &HopFacts::name, kMaxHopName), field("current", &HopFacts::current),
        field("connections", &HopFacts::connections), field("opening", &HopFacts::opening),
        field("idle", &HopFacts::idle), field("limit", &HopFacts::limit),
        field("interval", &HopFacts::interval), field("queues", &HopFacts::queues),
        field("failures", &HopFacts::failures), field("failed", &HopFacts::failed),
        field("dead_until", &HopFacts::dead_until),
        field("last_reply", &HopFacts::last_reply, kReplyShown),
        field("remote", &HopFacts::remote, kMaxRemote));
  }
};

struct QueueExplained {
  static constexpr Type kType = Type::kQueueExplained;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<ExplainQueue>;
  base::RequestId request;
  bool found = false;
  std::vector<std::string> near;  // not found: names that look like it
  std::string name;
  bool is_hop = false;
  State state = State::kReady;
  std::vector<Obstacle> obstacles;
  base::WallTime next;  // as in Explanation
  std::vector<std::string> passed;
  Way way;  // of a queue
  RetryPlan retry;
  std::uint64_t messages = 0, bytes = 0;
  base::WallTime oldest;
  std::uint64_t ready = 0, waiting = 0, held = 0, delivering = 0;  // recipients
  std::vector<HopFacts> hops;       // where its ways lead; of a next hop: itself
  std::vector<std::string> queues;  // of a next hop: some of those that lead there
  static constexpr auto fields() {
    return fields_of(
        field("request", &QueueExplained::request), field("found", &QueueExplained::found),
        field("near", &QueueExplained::near, 5, kMaxQueueName),
        field("name", &QueueExplained::name, kMaxHopName), field("is_hop", &QueueExplained::is_hop),
        field("state", &QueueExplained::state),
        field("obstacles", &QueueExplained::obstacles, kBlockers),
        field("next", &QueueExplained::next),
        field("passed", &QueueExplained::passed, kMaxPassed, 100),
        field("way", &QueueExplained::way), field("retry", &QueueExplained::retry),
        field("messages", &QueueExplained::messages), field("bytes", &QueueExplained::bytes),
        field("oldest", &QueueExplained::oldest), field("ready", &QueueExplained::ready),
        field("waiting", &QueueExplained::waiting), field("held", &QueueExplained::held),
        field("delivering", &QueueExplained::delivering), field("hops", &QueueExplained::hops, 16),
        field("queues", &QueueExplained::queues, 10, kMaxQueueName));
  }
};

template <>
inline constexpr Blocker kLastEnumerator<Blocker> = Blocker::kTurn;
template <>
inline constexpr RoutedBy kLastEnumerator<RoutedBy> = RoutedBy::kDomain;

}  // namespace postern::ipc
