// Between the control tool and queued: what it shows and what it does.
#pragma once

#include "common/ipc/family.h"
#include "common/ipc/page.h"
#include "common/ipc/types.h"

namespace postern::ipc {

// Listings are paged: each answer names the cursor to ask the next page with, so queued keeps nothing
// for a reader between its questions.

inline constexpr Route kAsk{roles(Role::kControl), roles(Role::kQueued)};
inline constexpr std::size_t kMaxMessageIdField = 998;  // a line's
inline constexpr std::size_t kMaxConditions = 1600;  // a selector's, as they are typed

inline constexpr Route kAnswer{roles(Role::kQueued), roles(Role::kControl)};

enum class BlockKind : std::uint8_t { kFreeze, kOutbound, kHold, kIntake, kException, kLock };

struct BlockRow {
  BlockKind kind = BlockKind::kFreeze;
  std::string name;  // queue, next hop, or pattern; conditions of a hold; account; "" for a switch
  std::string reason;
  std::string who;
  base::WallTime since;
  base::WallTime until;     // a freeze that ends by itself; 0: none
  bool all = false;         // outbound: internal routes too
  bool hop = false;         // a freeze, or an exception, of next hops
  bool keep_clock = false;  // a freeze: mail expires all the same
  static constexpr auto fields() {
    return fields_of(field("kind", &BlockRow::kind),
                      field("name", &BlockRow::name, kMaxConditions),
                      field("reason", &BlockRow::reason, kMaxReason),
                      field("who", &BlockRow::who, 64), field("since", &BlockRow::since),
                      field("until", &BlockRow::until), field("all", &BlockRow::all),
                      field("hop", &BlockRow::hop), field("keep_clock", &BlockRow::keep_clock));
  }
};

struct AskStatus {
  static constexpr Type kType = Type::kAskStatus;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  static constexpr auto fields() { return fields_of(field("request", &AskStatus::request)); }
};

// A [[collect]].
struct CollectRow {
  std::string from;      // "odmr.example.net:366"
  bool calling = false;  // now,
  bool serving = false;  // and the session was turned round
  base::WallTime last;   // end of the last call since the start of queued; 0: there was none
  base::WallTime next;   // while not calling; 0: nobody is called while no mail is taken
  std::string result;    // of the last one, a phrase
  static constexpr auto fields() {
    return fields_of(field("from", &CollectRow::from, 300), field("calling", &CollectRow::calling),
                      field("serving", &CollectRow::serving), field("last", &CollectRow::last),
                      field("next", &CollectRow::next), field("result", &CollectRow::result, 300));
  }
};

struct Status {
  static constexpr Type kType = Type::kStatus;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<AskStatus>;
  base::RequestId request;
  std::string version;
  std::string hostname;
  base::WallTime now;
  base::Millis uptime{0};
  base::Generation generation;
  std::vector<std::string> attention;  // a phrase each; empty: all is well
  bool outbound_enabled = true;
  bool outbound_all = false;       // internal routes are stopped too
  std::string outbound_reason;     // while disabled: why,
  std::string outbound_who;        // by whom,
  base::WallTime outbound_since;   // since when
  std::vector<std::string> outbound_spared;  // while disabled: some of the internal routes
  bool intake_open = true;
  std::string intake_reason;       // while it is not: what is lacking, or why it was disabled
  bool intake_disabled = false;    // by
  std::string intake_who;          // this one,
  base::WallTime intake_since;     // since when
  std::vector<BlockRow> freezes;   // some of them,
  std::uint32_t freeze_count = 0;  // of so many
  std::uint32_t standing_holds = 0;
  std::uint64_t messages = 0, bytes = 0;
  base::WallTime oldest;           // arrival of the oldest message; 0: none
  std::optional<std::uint64_t> expiring;  // messages given up within a day unless they arrive; nullopt: not known yet
  base::WallTime expiring_when;           // as of then
  // Recipients:
  std::uint64_t ready = 0, uncalled = 0, retry = 0, off = 0, frozen = 0, held = 0, delivering = 0;
  std::uint64_t in_flight = 0;     // outbound leases; while disabled, of what is not spared
  // Since the start of queued:
  std::uint64_t accepted = 0, refused = 0, delivered = 0, deferred = 0, failed = 0, bounces = 0;
  // In the last whole minute:
  std::uint64_t accepted_minute = 0, refused_minute = 0, delivered_minute = 0, deferred_minute = 0,
                failed_minute = 0, bounces_minute = 0;
  std::uint64_t disk_free = 0, journal_bytes = 0, large_bytes = 0, stop_intake = 0;
  std::uint64_t flushes = 0, records = 0;  // of the journal, since the start of queued
  base::Millis flush_p99{0};
  std::vector<ProcessRow> processes;
  std::vector<CollectRow> collects;  // some of them
  static constexpr auto fields() {
    return fields_of(
        field("request", &Status::request), field("version", &Status::version, 64),
        field("hostname", &Status::hostname, 255), field("now", &Status::now),
        field("uptime", &Status::uptime), field("generation", &Status::generation),
        field("attention", &Status::attention, 32, 200),
        field("outbound_enabled", &Status::outbound_enabled),
        field("outbound_all", &Status::outbound_all),
        field("outbound_reason", &Status::outbound_reason, kMaxReason),
        field("outbound_who", &Status::outbound_who, 64),
        field("outbound_since", &Status::outbound_since),
        field("outbound_spared", &Status::outbound_spared, 8, kMaxQueueName),
        field("intake_open", &Status::intake_open),
        field("intake_reason", &Status::intake_reason, kMaxReason),
        field("intake_disabled", &Status::intake_disabled),
        field("intake_who", &Status::intake_who, 64), field("intake_since", &Status::intake_since),
        field("freezes", &Status::freezes, 5), field("freeze_count", &Status::freeze_count),
        field("standing_holds", &Status::standing_holds), field("messages", &Status::messages),
        field("bytes", &Status::bytes), field("oldest", &Status::oldest),
        field("expiring", &Status::expiring), field("expiring_when", &Status::expiring_when),
        field("ready", &Status::ready), field("uncalled", &Status::uncalled),
        field("retry", &Status::retry), field("off", &Status::off),
        field("frozen", &Status::frozen), field("held", &Status::held),
        field("delivering", &Status::delivering), field("in_flight", &Status::in_flight),
        field("accepted", &Status::accepted), field("refused", &Status::refused),
        field("delivered", &Status::delivered), field("deferred", &Status::deferred),
        field("failed", &Status::failed), field("bounces", &Status::bounces),
        field("accepted_minute", &Status::accepted_minute),
        field("refused_minute", &Status::refused_minute),
        field("delivered_minute", &Status::delivered_minute),
        field("deferred_minute", &Status::deferred_minute),
        field("failed_minute", &Status::failed_minute),
        field("bounces_minute", &Status::bounces_minute), field("disk_free", &Status::disk_free),
        field("journal_bytes", &Status::journal_bytes), field("large_bytes", &Status::large_bytes),
        field("stop_intake", &Status::stop_intake), field("flushes", &Status::flushes),
        field("records", &Status::records), field("flush_p99", &Status::flush_p99),
        field("processes", &Status::processes, 16), field("collects", &Status::collects, 8));
  }
};

// Why something does not move now.
enum class State : std::uint8_t { kReady, kRetry, kFrozen, kOff, kDelivering, kHeld, kUncalled };
[[nodiscard]] std::string_view name(State s);  // "ready", "retry", "frozen", "off", "delivering", "held", "uncalled"

struct ListQueues {
  static constexpr Type kType = Type::kListQueues;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  std::string pattern;  // "" and "*": all; "*.example.org"; an exact name
  bool hops = false;    // next hops instead, whose hosts are known
  std::string after;    // cursor: names behind this one; "" at first
  static constexpr auto fields() {
    return fields_of(field("request", &ListQueues::request),
                      field("pattern", &ListQueues::pattern, kMaxQueueName),
                      field("hops", &ListQueues::hops),
                      field("after", &ListQueues::after, kMaxQueueName));
  }
};

struct QueueRow {
  std::string queue;          // or next hop
  bool hop = false;
  std::uint32_t queues = 0;   // that lead to this next hop
  State state = State::kReady;
  std::string why;  // reason of a freeze, or the failure that the queue waits for
  base::WallTime until;  // frozen: when that ends by itself; 0: it does not
  std::uint64_t messages = 0;  // of a next hop: those that may go now
  std::uint64_t bytes = 0;
  base::WallTime oldest;
  base::WallTime next_try;  // 0: now, or not by itself
  std::uint32_t connections = 0;
  std::string last_reply;
  static constexpr auto fields() {
    return fields_of(field("queue", &QueueRow::queue, kMaxQueueName),
                      field("hop", &QueueRow::hop), field("queues", &QueueRow::queues),
                      field("state", &QueueRow::state), field("why", &QueueRow::why, kMaxReason),
                      field("until", &QueueRow::until), field("messages", &QueueRow::messages),
                      field("bytes", &QueueRow::bytes), field("oldest", &QueueRow::oldest),
                      field("next_try", &QueueRow::next_try),
                      field("connections", &QueueRow::connections),
                      field("last_reply", &QueueRow::last_reply, mail::Reply::kMaxText + 32));
  }
};

struct QueueRows {
  static constexpr Type kType = Type::kQueueRows;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<ListQueues>;
  base::RequestId request;
  Page<QueueRow> rows;
  bool more = false;  // ask again behind the last row's name
  static constexpr auto fields() {
    return fields_of(field("request", &QueueRows::request), field("rows", &QueueRows::rows),
                      field("more", &QueueRows::more));
  }
};

// Conditions that must all hold; `all` or at least one of them is set.
struct Selector {
  std::vector<base::MessageId> ids;
  bool all = false;
  std::string queue;  // pattern
  std::string from;   // part of the reverse-path, any case; "<>": the null path
  std::string to;     // part of a recipient's address, any case
  std::string error;  // part of a recipient's last reply, any case
  std::optional<base::Network> client;  // that it came from
  std::optional<base::Millis> older;  // than this age
  std::optional<base::Millis> newer;
  std::optional<std::uint64_t> larger;  // than this many bytes
  std::optional<std::uint64_t> smaller;
  std::optional<State> state;
  std::string hop;       // that a recipient may go to: as in a freeze, or as listings have it
  bool bounces = false;  // notices of our own
  std::string message_id;  // of the header, without angle brackets; not of the history
  [[nodiscard]] bool empty() const {
    return ids.empty() && !all && queue.empty() && from.empty() && to.empty() && error.empty() &&
           !client && !older && !newer && !larger && !smaller && !state && hop.empty() && !bounces &&
           message_id.empty();
  }
  friend bool operator==(const Selector&, const Selector&) = default;
  static constexpr auto fields() {
    return fields_of(field("ids", &Selector::ids, 1000), field("all", &Selector::all),
                      field("queue", &Selector::queue, kMaxQueueName),
                      field("from", &Selector::from, 512), field("to", &Selector::to, 512),
                      field("error", &Selector::error, 512), field("client", &Selector::client),
                      field("older", &Selector::older),
                      field("newer", &Selector::newer), field("larger", &Selector::larger),
                      field("smaller", &Selector::smaller), field("state", &Selector::state),
                      field("hop", &Selector::hop, kMaxHopName), field("bounces", &Selector::bounces),
                      field("message_id", &Selector::message_id, kMaxMessageIdField));
  }
};

struct ListMessages {
  static constexpr Type kType = Type::kListMessages;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  Selector selector;
  base::MessageId after;  // cursor: ids above this one
  static constexpr auto fields() {
    return fields_of(field("request", &ListMessages::request),
                      field("selector", &ListMessages::selector),
                      field("after", &ListMessages::after));
  }
};

struct MessageRow {
  base::MessageId id;
  State state = State::kReady;
  base::WallTime arrived;
  base::WallTime next_try;  // 0: now, or not by itself
  std::uint64_t size = 0;
  mail::ReversePath from;
  std::string to;  // the first recipient that is left
  std::string alias;  // by which that one came; empty: none
  std::uint32_t recipients = 0;  // that are left
  std::string why;               // last reply or reason
  base::WallTime until;          // frozen: when that ends by itself; 0: it does not
  static constexpr auto fields() {
    return fields_of(field("id", &MessageRow::id), field("state", &MessageRow::state),
                      field("arrived", &MessageRow::arrived),
                      field("next_try", &MessageRow::next_try), field("size", &MessageRow::size),
                      field("from", &MessageRow::from), field("to", &MessageRow::to, 512),
                      field("alias", &MessageRow::alias, kMaxAlias),
                      field("recipients", &MessageRow::recipients),
                      field("why", &MessageRow::why, mail::Reply::kMaxText + 32),
                      field("until", &MessageRow::until));
  }
};

struct MessageRows {
  static constexpr Type kType = Type::kMessageRows;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<ListMessages>;
  base::RequestId request;
  Page<MessageRow> rows;
  bool more = false;           // there may be more: ask again
  base::MessageId next_after;  // with this cursor
  static constexpr auto fields() {
    return fields_of(field("request", &MessageRows::request), field("rows", &MessageRows::rows),
                      field("more", &MessageRows::more),
                      field("next_after", &MessageRows::next_after));
  }
};

struct Show {
  static constexpr Type kType = Type::kShow;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  base::MessageId id;
  std::uint32_t after = 0;  // cursor: how many recipients to leave out
  static constexpr auto fields() {
    return fields_of(field("request", &Show::request), field("id", &Show::id),
                      field("after", &Show::after));
  }
};

enum class RecipientEnd : std::uint8_t { kOpen, kDelivered, kBounced, kRemoved };

struct RecipientRow {
  mail::Address address;
  std::string alias;   // by which it came; empty: it was named itself
  std::string sender;  // its list's owner, who is told of it; empty: the message's sender
  std::string queue;
  RecipientEnd end = RecipientEnd::kOpen;
  State state = State::kReady;  // while open
  std::string why;
  base::WallTime until;  // frozen: when that ends by itself; 0: it does not
  std::uint32_t tries = 0;
  base::WallTime last_try;  // 0: none yet
  base::WallTime next_try;
  std::string last_reply;
  std::string remote;
  std::string tls;  // of the last try: text_of(TlsNote)
  static constexpr auto fields() {
    return fields_of(
        field("address", &RecipientRow::address), field("alias", &RecipientRow::alias, kMaxAlias),
        field("sender", &RecipientRow::sender, kMaxAlias),
        field("queue", &RecipientRow::queue, kMaxQueueName), field("end", &RecipientRow::end),
        field("state", &RecipientRow::state), field("why", &RecipientRow::why, kMaxReason),
        field("until", &RecipientRow::until), field("tries", &RecipientRow::tries),
        field("last_try", &RecipientRow::last_try), field("next_try", &RecipientRow::next_try),
        field("last_reply", &RecipientRow::last_reply, mail::Reply::kMaxText + 32),
        field("remote", &RecipientRow::remote, kMaxRemote), field("tls", &RecipientRow::tls, kMaxTls));
  }
};

struct Shown {
  static constexpr Type kType = Type::kShown;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<Show>;
  base::RequestId request;
  bool found = false;
  mail::ReversePath from;
  std::string hello;
  base::IpAddress client;
  base::WallTime arrived;
  base::WallTime expires;
  std::uint64_t size = 0;
  bool bounce = false;
  bool requires_tls = false;  // REQUIRETLS was said with it, or with what it is a notice of
  base::MessageId origin;  // what it was in the queue that it was imported from; 0: none
  std::vector<RecipientRow> recipients;
  bool more = false;
  static constexpr auto fields() {
    return fields_of(field("request", &Shown::request), field("found", &Shown::found),
                      field("from", &Shown::from), field("hello", &Shown::hello, 255),
                      field("client", &Shown::client), field("arrived", &Shown::arrived),
                      field("expires", &Shown::expires), field("size", &Shown::size),
                      field("bounce", &Shown::bounce),
                      field("requires_tls", &Shown::requires_tls), field("origin", &Shown::origin),
                      field("recipients", &Shown::recipients, 20), field("more", &Shown::more));
  }
};

// The message as it would be sent, dots unstuffed, CRLF lines; one page from `offset`.
struct AskBody {
  static constexpr Type kType = Type::kAskBody;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  base::MessageId id;
  std::uint64_t offset = 0;
  static constexpr auto fields() {
    return fields_of(field("request", &AskBody::request), field("id", &AskBody::id),
                      field("offset", &AskBody::offset));
  }
};

// Offsets are those of the stored form: prefix, then the stuffed body. The reader unstuffs.
struct BodyPart {
  static constexpr Type kType = Type::kBodyPart;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<AskBody>;
  base::RequestId request;
  bool found = false;
  std::uint64_t total = 0;
  std::uint64_t prefix_size = 0;
  Slice bytes;
  static constexpr auto fields() {
    return fields_of(field("request", &BodyPart::request), field("found", &BodyPart::found),
                      field("total", &BodyPart::total),
                      field("prefix_size", &BodyPart::prefix_size),
                      field("bytes", &BodyPart::bytes, kBodySlice));
  }
};

struct ListBlocks {
  static constexpr Type kType = Type::kListBlocks;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  std::uint32_t after = 0;  // cursor: how many to leave out
  static constexpr auto fields() {
    return fields_of(field("request", &ListBlocks::request), field("after", &ListBlocks::after));
  }
};

struct BlockRows {
  static constexpr Type kType = Type::kBlockRows;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<ListBlocks>;
  base::RequestId request;
  std::vector<BlockRow> rows;
  bool more = false;
  static constexpr auto fields() {
    return fields_of(field("request", &BlockRows::request), field("rows", &BlockRows::rows, 24),
                      field("more", &BlockRows::more));
  }
};

// How a recipient ended, as the history says it.
enum class HistoryEnd : std::uint8_t {
  kDelivered,
  kBounced,    // it failed, and the sender was told
  kFailed,     // it failed, and the sender did not want to hear of it
  kDiscarded,  // by a route
  kRemoved,    // by the operator
  kBadmail,    // it failed, nobody could be told, and it was put into badmail
};
[[nodiscard]] std::string_view name(HistoryEnd end);  // "delivered", "bounced", ...

// Where a reader of the history stands; empty: at its beginning.
struct HistoryPlace {
  std::string file;
  std::uint64_t offset = 0;
  std::uint32_t recipients = 0;
  static constexpr auto fields() {
    return fields_of(field("file", &HistoryPlace::file, 64),
                      field("offset", &HistoryPlace::offset),
                      field("recipients", &HistoryPlace::recipients));
  }
};

// What the selector says of age means arrival; a state selects nothing.
struct ListHistory {
  static constexpr Type kType = Type::kListHistory;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  Selector selector;
  HistoryPlace after;  // cursor
  static constexpr auto fields() {
    return fields_of(field("request", &ListHistory::request),
                      field("selector", &ListHistory::selector),
                      field("after", &ListHistory::after));
  }
};

// One recipient that ended.
struct HistoryRow {
  base::MessageId id;
  base::WallTime ended;
  base::WallTime arrived;
  std::uint64_t size = 0;
  base::IpAddress client;
  mail::ReversePath from;
  std::string to;
  std::string queue;
  HistoryEnd end = HistoryEnd::kDelivered;
  std::uint32_t tries = 0;
  std::string remote;
  std::string reply;  // the last one, cut
  std::string tls;    // as in RecipientRow
  static constexpr auto fields() {
    return fields_of(field("id", &HistoryRow::id), field("ended", &HistoryRow::ended),
                      field("arrived", &HistoryRow::arrived), field("size", &HistoryRow::size),
                      field("client", &HistoryRow::client), field("from", &HistoryRow::from),
                      field("to", &HistoryRow::to, 512),
                      field("queue", &HistoryRow::queue, kMaxQueueName),
                      field("end", &HistoryRow::end), field("tries", &HistoryRow::tries),
                      field("remote", &HistoryRow::remote, kMaxRemote),
                      field("reply", &HistoryRow::reply, kHistoryReply),
                      field("tls", &HistoryRow::tls, kMaxTls));
  }
};

struct HistoryRows {
  static constexpr Type kType = Type::kHistoryRows;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<ListHistory>;
  base::RequestId request;
  std::string error;  // why nothing could be read
  std::vector<HistoryRow> rows;
  bool more = false;      // there may be more: ask again
  HistoryPlace next_after;  // with this cursor
  static constexpr auto fields() {
    return fields_of(field("request", &HistoryRows::request),
                      field("error", &HistoryRows::error, kMaxText),
                      field("rows", &HistoryRows::rows, 25), field("more", &HistoryRows::more),
                      field("next_after", &HistoryRows::next_after));
  }
};

struct Freeze {
  static constexpr Type kType = Type::kFreeze;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  std::string queue;  // or a next hop, or a pattern
  bool hop = false;
  std::string reason;
  base::WallTime until;     // it ends by itself then; 0: it does not
  bool keep_clock = false;  // mail expires all the same
  bool future = false;      // also what does not exist yet
  static constexpr auto fields() {
    return fields_of(field("request", &Freeze::request),
                      field("queue", &Freeze::queue, kMaxQueueName), field("hop", &Freeze::hop),
                      field("reason", &Freeze::reason, kMaxReason), field("until", &Freeze::until),
                      field("keep_clock", &Freeze::keep_clock), field("future", &Freeze::future));
  }
};

struct Unfreeze {
  static constexpr Type kType = Type::kUnfreeze;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  std::string queue;
  bool hop = false;
  static constexpr auto fields() {
    return fields_of(field("request", &Unfreeze::request),
                      field("queue", &Unfreeze::queue, kMaxQueueName),
                      field("hop", &Unfreeze::hop));
  }
};

struct SwitchOutbound {
  static constexpr Type kType = Type::kSwitchOutbound;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  bool enable = false;
  bool all = false;  // disable: internal routes too
  bool now = false;  // disable: what is in flight is broken off
  std::string reason;
  static constexpr auto fields() {
    return fields_of(field("request", &SwitchOutbound::request),
                      field("enable", &SwitchOutbound::enable), field("all", &SwitchOutbound::all),
                      field("now", &SwitchOutbound::now),
                      field("reason", &SwitchOutbound::reason, kMaxReason));
  }
};

struct SwitchIntake {
  static constexpr Type kType = Type::kSwitchIntake;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  bool enable = false;
  std::string reason;
  static constexpr auto fields() {
    return fields_of(field("request", &SwitchIntake::request),
                      field("enable", &SwitchIntake::enable),
                      field("reason", &SwitchIntake::reason, kMaxReason));
  }
};

// What this session stopped last: is anything of it still in flight? Answered as soon as nothing
// is, or after a few seconds.
struct AwaitQuiet {
  static constexpr Type kType = Type::kAwaitQuiet;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  static constexpr auto fields() { return fields_of(field("request", &AwaitQuiet::request)); }
};

struct Quiet {
  static constexpr Type kType = Type::kQuiet;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<AwaitQuiet>;
  base::RequestId request;
  std::uint64_t in_flight = 0;
  // Where deliveries were broken off: some of the messages that may have arrived, and are tried again,
  std::vector<base::MessageId> may_repeat;
  std::uint64_t may_repeat_count = 0;  // of so many
  static constexpr auto fields() {
    return fields_of(field("request", &Quiet::request), field("in_flight", &Quiet::in_flight),
                      field("may_repeat", &Quiet::may_repeat, 1000),
                      field("may_repeat_count", &Quiet::may_repeat_count));
  }
};

// Holds messages, or releases them. A standing hold is for mail that comes from now on: with `also_new`
// one begins; a release with the same selector ends it.
struct Hold {
  static constexpr Type kType = Type::kHold;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  Selector selector;
  bool release = false;
  bool also_new = false;  // hold
  bool dry_run = false;
  std::string reason;  // hold
  static constexpr auto fields() {
    return fields_of(field("request", &Hold::request), field("selector", &Hold::selector),
                      field("release", &Hold::release), field("also_new", &Hold::also_new),
                      field("dry_run", &Hold::dry_run), field("reason", &Hold::reason, kMaxReason));
  }
};

// Locks an account, which ends its sessions, or unlocks it.
struct LockAccount {
  static constexpr Type kType = Type::kLockAccount;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  std::string account;
  bool unlock = false;
  std::string reason;  // not of unlock
  static constexpr auto fields() {
    return fields_of(field("request", &LockAccount::request),
                      field("account", &LockAccount::account, sasl::kMaxAccount),
                      field("unlock", &LockAccount::unlock),
                      field("reason", &LockAccount::reason, kMaxReason));
  }
};

struct Retry {
  static constexpr Type kType = Type::kRetry;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  Selector selector;
  bool dry_run = false;
  std::string reason;  // for the log; may be empty
  static constexpr auto fields() {
    return fields_of(field("request", &Retry::request), field("selector", &Retry::selector),
                      field("dry_run", &Retry::dry_run), field("reason", &Retry::reason, kMaxReason));
  }
};

// queued hands these two on to the parent and its answer back.
struct Reload {
  static constexpr Type kType = Type::kReload;
  static constexpr Route kRoute{roles(Role::kControl, Role::kQueued),
                                roles(Role::kQueued, Role::kParent)};
  static constexpr Window kWindow{.requests = 64};
  base::RequestId request;
  static constexpr auto fields() { return fields_of(field("request", &Reload::request)); }
};

struct StopServer {
  static constexpr Type kType = Type::kStopServer;
  static constexpr Route kRoute{roles(Role::kControl, Role::kQueued),
                                roles(Role::kQueued, Role::kParent)};
  static constexpr Window kWindow{.requests = 64};
  base::RequestId request;
  static constexpr auto fields() { return fields_of(field("request", &StopServer::request)); }
};

// The answer to a command: an exit status of sysexits(3) and what to print. What stops something is
// in force.
struct Done {
  static constexpr Type kType = Type::kDone;
  static constexpr Route kRoute{roles(Role::kQueued, Role::kParent),
                                roles(Role::kControl, Role::kQueued)};
  using ReplyTo =
      Replies<Freeze, Unfreeze, SwitchOutbound, SwitchIntake, Hold, LockAccount, Retry, Reload, StopServer>;
  base::RequestId request;
  std::uint8_t exit = 0;
  std::string text;
  std::optional<std::uint64_t>
      in_flight;  // of what was stopped, now: AwaitQuiet tells when it is over
  static constexpr auto fields() {
    return fields_of(field("request", &Done::request), field("exit", &Done::exit),
                      field("text", &Done::text, 16 * 1024), field("in_flight", &Done::in_flight));
  }
};

template <>
inline constexpr State kLastEnumerator<State> = State::kUncalled;
template <>
inline constexpr RecipientEnd kLastEnumerator<RecipientEnd> = RecipientEnd::kRemoved;
template <>
inline constexpr HistoryEnd kLastEnumerator<HistoryEnd> = HistoryEnd::kBadmail;
template <>
inline constexpr BlockKind kLastEnumerator<BlockKind> = BlockKind::kLock;

}  // namespace postern::ipc
