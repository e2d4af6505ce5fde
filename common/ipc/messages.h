// Every message between Postern's processes, each declared once: route, window, reply, fields with
// their limits. One page is the whole conversation. A channel delivers only what its route allows.
#pragma once

#include "common/config/roles.h"
#include "common/ipc/message.h"
#include "common/mail/reply.h"

namespace postern::ipc {

enum class Type : std::uint16_t {
  kHello,
  // parent and its children
  kBoot, kConfigure, kConfigured, kPeer, kPeerLost, kListen, kReady, kStop, kProcesses,
  // smtpd and queued
  kSubmit, kSubmitRecipients, kSubmitBody, kSubmitted, kAskToken, kTokenResult, kOpenLarge,
  kLargeOpened, kAbandonLarge, kIntake,
  // deliverers and queued
  kHeldLeases, kGrant, kCancelGrant, kGrantEnded, kAskWork, kLease, kLeaseBody, kNoWork, kOutcome,
  kOutcomeSaved,
  // control tool and queued
  kAskStatus, kStatus, kListQueues, kQueueRows, kListMessages, kMessageRows, kShow, kShown,
  kAskBody, kBodyPart, kListBlocks, kBlockRows, kListHistory, kHistoryRows, kFreeze, kUnfreeze, kSwitchOutbound, kRetry,
  kReload, kStopServer, kDone,
};
inline constexpr std::size_t kTypeCount = static_cast<std::size_t>(Type::kDone) + 1;

inline constexpr RoleSet kChildren = roles(Role::kSmtpd, Role::kQueued, Role::kRelay, Role::kLocal);
inline constexpr RoleSet kDeliverers = roles(Role::kRelay, Role::kLocal);
inline constexpr RoleSet kEverybody = kChildren | roles(Role::kParent, Role::kControl);

inline constexpr std::size_t kMaxText = 2048;      // a sentence for people
inline constexpr std::size_t kMaxReason = 500;     // an operator's reason
inline constexpr std::size_t kMaxQueueName = 255;  // a domain, a literal, or "local"
inline constexpr std::size_t kMaxRemote = 320;     // "mx.example.org[192.0.2.1]:25"
inline constexpr std::size_t kHistoryReply = 200;  // of a final reply, in the history
inline constexpr std::size_t kRecipientsInFrame = 100;
inline constexpr std::size_t kLeaseRecipients = 40;
inline constexpr std::size_t kMaxPrefix = 8 * 1024;

// First frame in each direction; another hash means another build, and the channel is closed.
struct Hello {
  static constexpr Type kType = Type::kHello;
  static constexpr Route kRoute{kEverybody, kEverybody};
  Role role = Role::kParent;
  std::uint64_t shapes = 0;
  static constexpr auto fields() {
    return std::tuple(field("role", &Hello::role), field("shapes", &Hello::shapes));
  }
};

// --- parent and its children ----------------------------------------------------------------------

// All that a child needs before its sandbox. Descriptors: configuration (memfd), log, root directory.
struct Boot {
  static constexpr Type kType = Type::kBoot;
  static constexpr Route kRoute{roles(Role::kParent), kChildren};
  static constexpr std::size_t kDescriptors = 3;
  Role role = Role::kParent;
  std::uint32_t index = 0;   // among the processes of this role
  bool drop_rights = false;  // root: chroot into the root directory and become uid, gid
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  base::Generation generation;
  static constexpr auto fields() {
    return std::tuple(field("role", &Boot::role), field("index", &Boot::index),
                      field("drop_rights", &Boot::drop_rights), field("uid", &Boot::uid),
                      field("gid", &Boot::gid), field("generation", &Boot::generation));
  }
};

// A new generation of the configuration. Descriptor: memfd.
struct Configure {
  static constexpr Type kType = Type::kConfigure;
  static constexpr Route kRoute{roles(Role::kParent), kChildren};
  static constexpr Window kWindow{1};
  static constexpr std::size_t kDescriptors = 1;
  base::RequestId request;
  base::Generation generation;
  static constexpr auto fields() {
    return std::tuple(field("request", &Configure::request),
                      field("generation", &Configure::generation));
  }
};

struct Configured {
  static constexpr Type kType = Type::kConfigured;
  static constexpr Route kRoute{kChildren, roles(Role::kParent)};
  using ReplyTo = Replies<Configure>;
  base::RequestId request;
  bool accepted = false;
  std::string error;  // why not
  static constexpr auto fields() {
    return std::tuple(field("request", &Configured::request), field("accepted", &Configured::accepted),
                      field("error", &Configured::error, kMaxText));
  }
};

// A fresh channel to a sibling. Descriptor: its end; none (to queued, of an smtpd): the channel stays, its
// listeners have changed.
struct Peer {
  static constexpr Type kType = Type::kPeer;
  static constexpr Route kRoute{roles(Role::kParent), kChildren};
  static constexpr std::size_t kDescriptors = 1;
  Role role = Role::kParent;
  std::uint32_t index = 0;
  std::vector<base::ListenerIndex> listeners;  // to queued, of an smtpd: those that it serves
  static constexpr auto fields() {
    return std::tuple(field("role", &Peer::role), field("index", &Peer::index),
                      field("listeners", &Peer::listeners, 1000));
  }
};

// The channel to a sibling broke, and no other has come for a second: the sibling lives, and both need a
// fresh one.
struct PeerLost {
  static constexpr Type kType = Type::kPeerLost;
  static constexpr Route kRoute{roles(Role::kSmtpd, Role::kRelay, Role::kLocal), roles(Role::kParent)};
  Role role = Role::kParent;
  static constexpr auto fields() { return std::tuple(field("role", &PeerLost::role)); }
};

// A listening socket: of SMTP for smtpd, the control socket for queued. Descriptor: the socket; none:
// smtpd no longer serves this listener.
struct Listen {
  static constexpr Type kType = Type::kListen;
  static constexpr Route kRoute{roles(Role::kParent), roles(Role::kSmtpd, Role::kQueued)};
  static constexpr std::size_t kDescriptors = 1;
  base::ListenerIndex listener;
  static constexpr auto fields() { return std::tuple(field("listener", &Listen::listener)); }
};

// The child stands in its sandbox and serves.
struct Ready {
  static constexpr Type kType = Type::kReady;
  static constexpr Route kRoute{kChildren, roles(Role::kParent)};
  std::uint32_t pid = 0;
  static constexpr auto fields() { return std::tuple(field("pid", &Ready::pid)); }
};

// Finish what has begun, then exit.
struct Stop {
  static constexpr Type kType = Type::kStop;
  static constexpr Route kRoute{roles(Role::kParent), kChildren};
  std::uint32_t seconds = 5;  // at most
  static constexpr auto fields() { return std::tuple(field("seconds", &Stop::seconds)); }
};

struct ProcessRow {
  Role role = Role::kParent;
  std::uint32_t running = 0;
  std::uint32_t wanted = 0;
  std::uint32_t deaths = 0;  // since the parent's start
  static constexpr auto fields() {
    return std::tuple(field("role", &ProcessRow::role), field("running", &ProcessRow::running),
                      field("wanted", &ProcessRow::wanted), field("deaths", &ProcessRow::deaths));
  }
};

// What the parent knows of its children, whenever it changes.
struct Processes {
  static constexpr Type kType = Type::kProcesses;
  static constexpr Route kRoute{roles(Role::kParent), roles(Role::kQueued)};
  std::vector<ProcessRow> rows;
  static constexpr auto fields() { return std::tuple(field("rows", &Processes::rows, 16)); }
};

// --- smtpd and queued -----------------------------------------------------------------------------

// How a body is stored: as it came on the wire with its dots stuffed, the end mark left out.
enum class BodyForm : std::uint8_t { kStuffed };

// A whole transaction after its final dot. Its recipients follow in SubmitRecipients until
// `recipient_count`, then its body in SubmitBody until `body_size`, contiguously; or the body is the
// large file `large`. Rights are decided again by queued.
struct Submit {
  static constexpr Type kType = Type::kSubmit;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  static constexpr Window kWindow{.requests = 512, .bytes = 16ULL << 20};
  base::RequestId request;
  base::Token token;
  base::ListenerIndex listener;
  base::IpAddress client;
  std::string hello;  // what the client called itself; printable ASCII
  bool esmtp = false;
  mail::ReversePath from;
  std::uint32_t recipient_count = 0;
  BodyForm form = BodyForm::kStuffed;
  bool eight_bit = false;      // BODY=8BITMIME was said
  std::uint64_t body_size = 0;  // bytes as stored
  base::MessageId large;        // the file's name from LargeOpened; 0: the body follows
  [[nodiscard]] std::uint64_t announced() const { return large.value == 0 ? body_size : 0; }
  static constexpr auto fields() {
    return std::tuple(field("request", &Submit::request), field("token", &Submit::token),
                      field("listener", &Submit::listener), field("client", &Submit::client),
                      field("hello", &Submit::hello, 255), field("esmtp", &Submit::esmtp),
                      field("from", &Submit::from),
                      field("recipient_count", &Submit::recipient_count),
                      field("form", &Submit::form), field("eight_bit", &Submit::eight_bit),
                      field("body_size", &Submit::body_size), field("large", &Submit::large));
  }
};
inline constexpr std::size_t kMaxInlineBody = 256 * 1024;  // larger bodies go into a file

struct SubmitRecipients {
  static constexpr Type kType = Type::kSubmitRecipients;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  base::RequestId request;
  std::vector<mail::Address> recipients;
  static constexpr auto fields() {
    return std::tuple(field("request", &SubmitRecipients::request),
                      field("recipients", &SubmitRecipients::recipients, kRecipientsInFrame));
  }
};

struct SubmitBody {
  static constexpr Type kType = Type::kSubmitBody;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  base::RequestId request;
  Slice bytes;
  static constexpr auto fields() {
    return std::tuple(field("request", &SubmitBody::request),
                      field("bytes", &SubmitBody::bytes, kBodySlice));
  }
};

struct ReplyText {  // a mail::Reply of one line
  std::uint16_t code = 0;
  std::uint8_t status = 0;
  std::uint16_t subject = 0;
  std::uint16_t detail = 0;
  std::string text;
  static constexpr auto fields() {
    return std::tuple(field("code", &ReplyText::code), field("status", &ReplyText::status),
                      field("subject", &ReplyText::subject), field("detail", &ReplyText::detail),
                      field("text", &ReplyText::text, mail::Reply::kMaxText));
  }
};
[[nodiscard]] ReplyText to_ipc(const mail::Reply& reply);   // lines joined, cleaned, cut
[[nodiscard]] mail::Reply from_ipc(const ReplyText& reply);

// queued's word on a transaction. Accepted: the record is flushed. Refused: the message is not, and
// never will be, in the journal.
struct Submitted {
  static constexpr Type kType = Type::kSubmitted;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kSmtpd)};
  using ReplyTo = Replies<Submit>;
  base::RequestId request;
  base::MessageId id;  // 0: refused, with `refusal`
  ReplyText refusal;
  static constexpr auto fields() {
    return std::tuple(field("request", &Submitted::request), field("id", &Submitted::id),
                      field("refusal", &Submitted::refusal));
  }
};

// What became of a transaction whose answer was lost with an earlier channel?
struct AskToken {
  static constexpr Type kType = Type::kAskToken;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  static constexpr Window kWindow{.requests = 4096};
  base::RequestId request;
  base::Token token;
  static constexpr auto fields() {
    return std::tuple(field("request", &AskToken::request), field("token", &AskToken::token));
  }
};

struct TokenResult {
  static constexpr Type kType = Type::kTokenResult;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kSmtpd)};
  using ReplyTo = Replies<AskToken>;
  base::RequestId request;
  base::MessageId id;  // 0: it is not, and never will be, in the journal
  static constexpr auto fields() {
    return std::tuple(field("request", &TokenResult::request), field("id", &TokenResult::id));
  }
};

// A body outgrows memory: smtpd asks for a file to write it to.
struct OpenLarge {
  static constexpr Type kType = Type::kOpenLarge;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  static constexpr Window kWindow{.requests = 512};
  base::RequestId request;
  static constexpr auto fields() { return std::tuple(field("request", &OpenLarge::request)); }
};

// Descriptor: the file, write-only, empty; none where it could not be made.
struct LargeOpened {
  static constexpr Type kType = Type::kLargeOpened;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kSmtpd)};
  using ReplyTo = Replies<OpenLarge>;
  static constexpr std::size_t kDescriptors = 1;
  base::RequestId request;
  base::MessageId large;  // the file's name and the later message's id
  static constexpr auto fields() {
    return std::tuple(field("request", &LargeOpened::request), field("large", &LargeOpened::large));
  }
};

// The transaction ended without being submitted: the file may go.
struct AbandonLarge {
  static constexpr Type kType = Type::kAbandonLarge;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  base::MessageId large;
  static constexpr auto fields() { return std::tuple(field("large", &AbandonLarge::large)); }
};

// Whether MAIL may be accepted, on connecting and whenever it changes.
struct Intake {
  static constexpr Type kType = Type::kIntake;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kSmtpd)};
  bool open = false;
  ReplyText refusal;  // what MAIL gets while closed
  static constexpr auto fields() {
    return std::tuple(field("open", &Intake::open), field("refusal", &Intake::refusal));
  }
};

// --- deliverers and queued ------------------------------------------------------------------------

struct HeldLease {
  base::LeaseId lease;
  base::Epoch epoch;
  base::MessageId message;
  std::vector<std::uint32_t> recipients;  // their numbers in the message
  static constexpr auto fields() {
    return std::tuple(field("lease", &HeldLease::lease), field("epoch", &HeldLease::epoch),
                      field("message", &HeldLease::message),
                      field("recipients", &HeldLease::recipients, kLeaseRecipients));
  }
};

// First on a fresh channel: what this deliverer still holds from an earlier queued. Nothing is handed
// out before every deliverer said `last`, or two seconds have passed.
struct HeldLeases {
  static constexpr Type kType = Type::kHeldLeases;
  static constexpr Route kRoute{kDeliverers, roles(Role::kQueued)};
  std::vector<HeldLease> leases;
  bool last = true;
  static constexpr auto fields() {
    return std::tuple(field("leases", &HeldLeases::leases, 100), field("last", &HeldLeases::last));
  }
};

// Permission to open one connection for a queue (a worker's slot in local delivery).
struct Grant {
  static constexpr Type kType = Type::kGrant;
  static constexpr Route kRoute{roles(Role::kQueued), kDeliverers};
  base::GrantId grant;
  std::string queue;
  config::HopSpec hop;
  static constexpr auto fields() {
    return std::tuple(field("grant", &Grant::grant), field("queue", &Grant::queue, kMaxQueueName),
                      field("hop", &Grant::hop));
  }
};

// Close the connection as soon as nothing is in flight on it; answered by GrantEnded.
struct CancelGrant {
  static constexpr Type kType = Type::kCancelGrant;
  static constexpr Route kRoute{roles(Role::kQueued), kDeliverers};
  base::GrantId grant;
  static constexpr auto fields() { return std::tuple(field("grant", &CancelGrant::grant)); }
};

// The classes of failure that retry tables speak of.
enum class FailureClass : std::uint8_t {
  kDns, kConnect, kGreeting, kTls, kPolicy, kMailbox, kData, kLocal,
};
[[nodiscard]] std::string_view name(FailureClass c);  // "dns", "connect", ...

enum class GrantEnd : std::uint8_t {
  kClosed,     // idle, cancelled, or the peer's own limit: nothing is wrong
  kTemporary,  // the next hop cannot be reached now: the queue waits as a whole
  kPermanent,  // it never can (no such domain, null MX): the queue's messages fail
};

// The connection is gone, and with it the grant. Leases on it were answered by Outcome before.
struct GrantEnded {
  static constexpr Type kType = Type::kGrantEnded;
  static constexpr Route kRoute{kDeliverers, roles(Role::kQueued)};
  base::GrantId grant;
  GrantEnd end = GrantEnd::kClosed;
  FailureClass failure = FailureClass::kConnect;
  ReplyText reply;     // what was said, or what we say of it (code 0: none, text only)
  std::string remote;  // whom we talked to, if anybody
  static constexpr auto fields() {
    return std::tuple(field("grant", &GrantEnded::grant), field("end", &GrantEnded::end),
                      field("failure", &GrantEnded::failure), field("reply", &GrantEnded::reply),
                      field("remote", &GrantEnded::remote, kMaxRemote));
  }
};

// The connection is open and wants a message. Parked until there is one; answered by Lease or NoWork.
struct AskWork {
  static constexpr Type kType = Type::kAskWork;
  static constexpr Route kRoute{kDeliverers, roles(Role::kQueued)};
  static constexpr Window kWindow{.requests = 4096};
  base::RequestId request;
  base::GrantId grant;
  static constexpr auto fields() {
    return std::tuple(field("request", &AskWork::request), field("grant", &AskWork::grant));
  }
};

struct LeaseRecipient {
  std::uint32_t number = 0;  // its place in the message
  mail::Address address;
  // Local delivery: whose mailbox (config::Decision); empty otherwise.
  std::string user;
  std::string mailbox_domain;
  static constexpr auto fields() {
    return std::tuple(field("number", &LeaseRecipient::number),
                      field("address", &LeaseRecipient::address),
                      field("user", &LeaseRecipient::user, 255),
                      field("mailbox_domain", &LeaseRecipient::mailbox_domain, 255));
  }
};

// One message to deliver. The body follows in LeaseBody until `body_size`, contiguously; or it is the
// file that comes with this frame (descriptor: read-only).
struct Lease {
  static constexpr Type kType = Type::kLease;
  static constexpr Route kRoute{roles(Role::kQueued), kDeliverers};
  using ReplyTo = Replies<AskWork>;
  static constexpr std::size_t kDescriptors = 1;
  base::RequestId request;
  base::LeaseId lease;
  base::Epoch epoch;
  base::MessageId message;
  base::WallTime arrived;
  mail::ReversePath from;
  std::vector<LeaseRecipient> recipients;
  bool eight_bit = false;
  BodyForm form = BodyForm::kStuffed;
  std::string prefix;  // headers to put in front, CRLF lines, nothing stuffed in them
  std::uint64_t body_size = 0;
  bool large = false;
  static constexpr auto fields() {
    return std::tuple(field("request", &Lease::request), field("lease", &Lease::lease),
                      field("epoch", &Lease::epoch), field("message", &Lease::message),
                      field("arrived", &Lease::arrived), field("from", &Lease::from),
                      field("recipients", &Lease::recipients, kLeaseRecipients),
                      field("eight_bit", &Lease::eight_bit), field("form", &Lease::form),
                      field("prefix", &Lease::prefix, kMaxPrefix),
                      field("body_size", &Lease::body_size), field("large", &Lease::large));
  }
};

struct LeaseBody {
  static constexpr Type kType = Type::kLeaseBody;
  static constexpr Route kRoute{roles(Role::kQueued), kDeliverers};
  base::LeaseId lease;
  Slice bytes;
  static constexpr auto fields() {
    return std::tuple(field("lease", &LeaseBody::lease),
                      field("bytes", &LeaseBody::bytes, kBodySlice));
  }
};

// Close the connection, and answer GrantEnded.
struct NoWork {
  static constexpr Type kType = Type::kNoWork;
  static constexpr Route kRoute{roles(Role::kQueued), kDeliverers};
  using ReplyTo = Replies<AskWork>;
  base::RequestId request;
  static constexpr auto fields() { return std::tuple(field("request", &NoWork::request)); }
};

enum class Result : std::uint8_t {
  kDelivered,
  kDeferred,
  kFailed,
  kUnknown,   // the final dot was sent and no answer came: it may have arrived
  kReturned,  // nothing was tried: the lease goes back as it was
};

struct RecipientResult {
  std::uint32_t number = 0;
  Result result = Result::kDeferred;
  FailureClass failure = FailureClass::kConnect;  // deferred, failed
  ReplyText reply;
  static constexpr auto fields() {
    return std::tuple(field("number", &RecipientResult::number),
                      field("result", &RecipientResult::result),
                      field("failure", &RecipientResult::failure),
                      field("reply", &RecipientResult::reply));
  }
};

struct Outcome {
  static constexpr Type kType = Type::kOutcome;
  static constexpr Route kRoute{kDeliverers, roles(Role::kQueued)};
  static constexpr Window kWindow{.requests = 4096};
  base::RequestId request;
  base::LeaseId lease;
  base::Epoch epoch;
  base::MessageId message;
  std::string remote;
  std::vector<RecipientResult> results;
  static constexpr auto fields() {
    return std::tuple(field("request", &Outcome::request), field("lease", &Outcome::lease),
                      field("epoch", &Outcome::epoch), field("message", &Outcome::message),
                      field("remote", &Outcome::remote, kMaxRemote),
                      field("results", &Outcome::results, kLeaseRecipients));
  }
};

// The outcome is in the journal; the deliverer forgets it.
struct OutcomeSaved {
  static constexpr Type kType = Type::kOutcomeSaved;
  static constexpr Route kRoute{roles(Role::kQueued), kDeliverers};
  using ReplyTo = Replies<Outcome>;
  base::RequestId request;
  static constexpr auto fields() { return std::tuple(field("request", &OutcomeSaved::request)); }
};

// --- control tool and queued ----------------------------------------------------------------------
// Listings are paged: each answer names the cursor to ask the next page with, so queued keeps nothing
// for a reader between its questions.

inline constexpr Route kAsk{roles(Role::kControl), roles(Role::kQueued)};
inline constexpr Route kAnswer{roles(Role::kQueued), roles(Role::kControl)};

struct AskStatus {
  static constexpr Type kType = Type::kAskStatus;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  static constexpr auto fields() { return std::tuple(field("request", &AskStatus::request)); }
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
  bool intake_open = true;
  std::string intake_reason;
  std::uint64_t messages = 0, bytes = 0;
  base::WallTime oldest;           // arrival of the oldest message; 0: none
  std::uint64_t ready = 0, retry = 0, off = 0, frozen = 0, delivering = 0;  // recipients
  std::uint64_t in_flight = 0;     // outbound leases
  // Since the start of queued:
  std::uint64_t accepted = 0, refused = 0, delivered = 0, deferred = 0, failed = 0, bounces = 0;
  // In the last whole minute:
  std::uint64_t accepted_minute = 0, refused_minute = 0, delivered_minute = 0, deferred_minute = 0,
                failed_minute = 0, bounces_minute = 0;
  std::uint64_t disk_free = 0, journal_bytes = 0, large_bytes = 0, stop_intake = 0;
  std::uint64_t flushes = 0, records = 0;  // of the journal, since the start of queued
  base::Millis flush_p99{0};
  std::vector<ProcessRow> processes;
  static constexpr auto fields() {
    return std::tuple(
        field("request", &Status::request), field("version", &Status::version, 64),
        field("hostname", &Status::hostname, 255), field("now", &Status::now),
        field("uptime", &Status::uptime), field("generation", &Status::generation),
        field("attention", &Status::attention, 32, 200),
        field("outbound_enabled", &Status::outbound_enabled),
        field("outbound_all", &Status::outbound_all),
        field("outbound_reason", &Status::outbound_reason, kMaxReason),
        field("outbound_who", &Status::outbound_who, 64),
        field("outbound_since", &Status::outbound_since),
        field("intake_open", &Status::intake_open),
        field("intake_reason", &Status::intake_reason, kMaxReason),
        field("messages", &Status::messages), field("bytes", &Status::bytes),
        field("oldest", &Status::oldest), field("ready", &Status::ready),
        field("retry", &Status::retry), field("off", &Status::off), field("frozen", &Status::frozen),
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
        field("processes", &Status::processes, 16));
  }
};

// Why something does not move now.
enum class State : std::uint8_t { kReady, kRetry, kFrozen, kOff, kDelivering };
[[nodiscard]] std::string_view name(State s);  // "ready", "retry", "frozen", "off", "delivering"

struct ListQueues {
  static constexpr Type kType = Type::kListQueues;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  std::string pattern;  // "" and "*": all; "*.example.org"; an exact name
  std::string after;    // cursor: names behind this one; "" at first
  static constexpr auto fields() {
    return std::tuple(field("request", &ListQueues::request),
                      field("pattern", &ListQueues::pattern, kMaxQueueName),
                      field("after", &ListQueues::after, kMaxQueueName));
  }
};

struct QueueRow {
  std::string queue;
  State state = State::kReady;
  std::string why;  // reason of a freeze, or the failure that the queue waits for
  std::uint64_t messages = 0, bytes = 0;
  base::WallTime oldest;
  base::WallTime next_try;  // 0: now, or not by itself
  std::uint32_t connections = 0;
  std::string last_reply;
  static constexpr auto fields() {
    return std::tuple(field("queue", &QueueRow::queue, kMaxQueueName),
                      field("state", &QueueRow::state), field("why", &QueueRow::why, kMaxReason),
                      field("messages", &QueueRow::messages), field("bytes", &QueueRow::bytes),
                      field("oldest", &QueueRow::oldest), field("next_try", &QueueRow::next_try),
                      field("connections", &QueueRow::connections),
                      field("last_reply", &QueueRow::last_reply, mail::Reply::kMaxText + 32));
  }
};

struct QueueRows {
  static constexpr Type kType = Type::kQueueRows;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<ListQueues>;
  base::RequestId request;
  std::vector<QueueRow> rows;
  bool more = false;  // ask again behind the last row's name
  static constexpr auto fields() {
    return std::tuple(field("request", &QueueRows::request), field("rows", &QueueRows::rows, 40),
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
  std::optional<base::Millis> older;  // than this age
  std::optional<base::Millis> newer;
  std::optional<std::uint64_t> larger;  // than this many bytes
  std::optional<std::uint64_t> smaller;
  std::optional<State> state;
  [[nodiscard]] bool empty() const {
    return ids.empty() && !all && queue.empty() && from.empty() && to.empty() && error.empty() &&
           !older && !newer && !larger && !smaller && !state;
  }
  static constexpr auto fields() {
    return std::tuple(field("ids", &Selector::ids, 1000), field("all", &Selector::all),
                      field("queue", &Selector::queue, kMaxQueueName),
                      field("from", &Selector::from, 512), field("to", &Selector::to, 512),
                      field("error", &Selector::error, 512), field("older", &Selector::older),
                      field("newer", &Selector::newer), field("larger", &Selector::larger),
                      field("smaller", &Selector::smaller), field("state", &Selector::state));
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
    return std::tuple(field("request", &ListMessages::request),
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
  std::uint32_t recipients = 0;  // that are left
  std::string why;               // last reply or reason
  static constexpr auto fields() {
    return std::tuple(field("id", &MessageRow::id), field("state", &MessageRow::state),
                      field("arrived", &MessageRow::arrived), field("next_try", &MessageRow::next_try),
                      field("size", &MessageRow::size), field("from", &MessageRow::from),
                      field("to", &MessageRow::to, 512), field("recipients", &MessageRow::recipients),
                      field("why", &MessageRow::why, mail::Reply::kMaxText + 32));
  }
};

struct MessageRows {
  static constexpr Type kType = Type::kMessageRows;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<ListMessages>;
  base::RequestId request;
  std::vector<MessageRow> rows;
  bool more = false;           // there may be more: ask again
  base::MessageId next_after;  // with this cursor
  static constexpr auto fields() {
    return std::tuple(field("request", &MessageRows::request), field("rows", &MessageRows::rows, 30),
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
    return std::tuple(field("request", &Show::request), field("id", &Show::id),
                      field("after", &Show::after));
  }
};

enum class RecipientEnd : std::uint8_t { kOpen, kDelivered, kBounced, kRemoved };

struct RecipientRow {
  mail::Address address;
  std::string queue;
  RecipientEnd end = RecipientEnd::kOpen;
  State state = State::kReady;  // while open
  std::string why;
  std::uint32_t tries = 0;
  base::WallTime last_try;  // 0: none yet
  base::WallTime next_try;
  std::string last_reply;
  std::string remote;
  static constexpr auto fields() {
    return std::tuple(field("address", &RecipientRow::address),
                      field("queue", &RecipientRow::queue, kMaxQueueName),
                      field("end", &RecipientRow::end), field("state", &RecipientRow::state),
                      field("why", &RecipientRow::why, kMaxReason),
                      field("tries", &RecipientRow::tries), field("last_try", &RecipientRow::last_try),
                      field("next_try", &RecipientRow::next_try),
                      field("last_reply", &RecipientRow::last_reply, mail::Reply::kMaxText + 32),
                      field("remote", &RecipientRow::remote, kMaxRemote));
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
  std::vector<RecipientRow> recipients;
  bool more = false;
  static constexpr auto fields() {
    return std::tuple(field("request", &Shown::request), field("found", &Shown::found),
                      field("from", &Shown::from), field("hello", &Shown::hello, 255),
                      field("client", &Shown::client), field("arrived", &Shown::arrived),
                      field("expires", &Shown::expires), field("size", &Shown::size),
                      field("bounce", &Shown::bounce),
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
    return std::tuple(field("request", &AskBody::request), field("id", &AskBody::id),
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
    return std::tuple(field("request", &BodyPart::request), field("found", &BodyPart::found),
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
    return std::tuple(field("request", &ListBlocks::request), field("after", &ListBlocks::after));
  }
};

enum class BlockKind : std::uint8_t { kFreeze, kOutbound };

struct BlockRow {
  BlockKind kind = BlockKind::kFreeze;
  std::string name;  // queue or pattern; "" for outbound
  std::string reason;
  std::string who;
  base::WallTime since;
  bool all = false;  // outbound: internal routes too
  static constexpr auto fields() {
    return std::tuple(field("kind", &BlockRow::kind), field("name", &BlockRow::name, kMaxQueueName),
                      field("reason", &BlockRow::reason, kMaxReason), field("who", &BlockRow::who, 64),
                      field("since", &BlockRow::since), field("all", &BlockRow::all));
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
    return std::tuple(field("request", &BlockRows::request), field("rows", &BlockRows::rows, 60),
                      field("more", &BlockRows::more));
  }
};

// How a recipient ended, as the history says it.
enum class HistoryEnd : std::uint8_t {
  kDelivered,
  kBounced,    // it failed, and the sender was told
  kFailed,     // it failed, and there was nobody to tell
  kDiscarded,  // by a route
  kRemoved,    // by the operator
};
[[nodiscard]] std::string_view name(HistoryEnd end);  // "delivered", "bounced", ...

// Where a reader of the history stands; empty: at its beginning.
struct HistoryPlace {
  std::string file;
  std::uint64_t offset = 0;
  std::uint32_t recipients = 0;
  static constexpr auto fields() {
    return std::tuple(field("file", &HistoryPlace::file, 64),
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
    return std::tuple(field("request", &ListHistory::request),
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
  static constexpr auto fields() {
    return std::tuple(field("id", &HistoryRow::id), field("ended", &HistoryRow::ended),
                      field("arrived", &HistoryRow::arrived), field("size", &HistoryRow::size),
                      field("client", &HistoryRow::client), field("from", &HistoryRow::from),
                      field("to", &HistoryRow::to, 512),
                      field("queue", &HistoryRow::queue, kMaxQueueName),
                      field("end", &HistoryRow::end), field("tries", &HistoryRow::tries),
                      field("remote", &HistoryRow::remote, kMaxRemote),
                      field("reply", &HistoryRow::reply, kHistoryReply));
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
    return std::tuple(field("request", &HistoryRows::request),
                      field("error", &HistoryRows::error, kMaxText),
                      field("rows", &HistoryRows::rows, 30), field("more", &HistoryRows::more),
                      field("next_after", &HistoryRows::next_after));
  }
};

struct Freeze {
  static constexpr Type kType = Type::kFreeze;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  std::string queue;
  std::string reason;
  bool future = false;  // also a queue that does not exist yet
  static constexpr auto fields() {
    return std::tuple(field("request", &Freeze::request),
                      field("queue", &Freeze::queue, kMaxQueueName),
                      field("reason", &Freeze::reason, kMaxReason), field("future", &Freeze::future));
  }
};

struct Unfreeze {
  static constexpr Type kType = Type::kUnfreeze;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  std::string queue;
  static constexpr auto fields() {
    return std::tuple(field("request", &Unfreeze::request),
                      field("queue", &Unfreeze::queue, kMaxQueueName));
  }
};

struct SwitchOutbound {
  static constexpr Type kType = Type::kSwitchOutbound;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  bool enable = false;
  bool all = false;  // disable: internal routes too
  std::string reason;
  static constexpr auto fields() {
    return std::tuple(field("request", &SwitchOutbound::request),
                      field("enable", &SwitchOutbound::enable), field("all", &SwitchOutbound::all),
                      field("reason", &SwitchOutbound::reason, kMaxReason));
  }
};

struct Retry {
  static constexpr Type kType = Type::kRetry;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  Selector selector;
  bool dry_run = false;
  static constexpr auto fields() {
    return std::tuple(field("request", &Retry::request), field("selector", &Retry::selector),
                      field("dry_run", &Retry::dry_run));
  }
};

// queued hands these two on to the parent and its answer back.
struct Reload {
  static constexpr Type kType = Type::kReload;
  static constexpr Route kRoute{roles(Role::kControl, Role::kQueued),
                                roles(Role::kQueued, Role::kParent)};
  static constexpr Window kWindow{.requests = 64};
  base::RequestId request;
  static constexpr auto fields() { return std::tuple(field("request", &Reload::request)); }
};

struct StopServer {
  static constexpr Type kType = Type::kStopServer;
  static constexpr Route kRoute{roles(Role::kControl, Role::kQueued),
                                roles(Role::kQueued, Role::kParent)};
  static constexpr Window kWindow{.requests = 64};
  base::RequestId request;
  static constexpr auto fields() { return std::tuple(field("request", &StopServer::request)); }
};

// The answer to a command: an exit status of sysexits(3) and what to print.
struct Done {
  static constexpr Type kType = Type::kDone;
  static constexpr Route kRoute{roles(Role::kQueued, Role::kParent),
                                roles(Role::kControl, Role::kQueued)};
  using ReplyTo = Replies<Freeze, Unfreeze, SwitchOutbound, Retry, Reload, StopServer>;
  base::RequestId request;
  std::uint8_t exit = 0;
  std::string text;
  static constexpr auto fields() {
    return std::tuple(field("request", &Done::request), field("exit", &Done::exit),
                      field("text", &Done::text, 16 * 1024));
  }
};

// Every message, in the order of Type.
using AllMessages =
    std::tuple<Hello, Boot, Configure, Configured, Peer, PeerLost, Listen, Ready, Stop, Processes, Submit,
               SubmitRecipients, SubmitBody, Submitted, AskToken, TokenResult, OpenLarge, LargeOpened,
               AbandonLarge, Intake, HeldLeases, Grant, CancelGrant, GrantEnded, AskWork, Lease,
               LeaseBody, NoWork, Outcome, OutcomeSaved, AskStatus, Status, ListQueues, QueueRows,
               ListMessages, MessageRows, Show, Shown, AskBody, BodyPart, ListBlocks, BlockRows,
               ListHistory, HistoryRows, Freeze, Unfreeze, SwitchOutbound, Retry, Reload, StopServer,
               Done>;

// The log name of a message type: "submit", "lease_body".
[[nodiscard]] std::string_view name(Type type);
// A hash of all names, routes and field lists: two processes understand each other only if it is equal.
[[nodiscard]] std::uint64_t shapes_hash();

}  // namespace postern::ipc

namespace postern::ipc {
template <>
inline constexpr BodyForm kLastEnumerator<BodyForm> = BodyForm::kStuffed;
template <>
inline constexpr FailureClass kLastEnumerator<FailureClass> = FailureClass::kLocal;
template <>
inline constexpr GrantEnd kLastEnumerator<GrantEnd> = GrantEnd::kPermanent;
template <>
inline constexpr Result kLastEnumerator<Result> = Result::kReturned;
template <>
inline constexpr State kLastEnumerator<State> = State::kDelivering;
template <>
inline constexpr RecipientEnd kLastEnumerator<RecipientEnd> = RecipientEnd::kRemoved;
template <>
inline constexpr HistoryEnd kLastEnumerator<HistoryEnd> = HistoryEnd::kRemoved;
template <>
inline constexpr BlockKind kLastEnumerator<BlockKind> = BlockKind::kOutbound;
}  // namespace postern::ipc
