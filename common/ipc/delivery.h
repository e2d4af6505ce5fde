// Between the deliverers and queued: grants of connections, leases of messages, and what became of
// them.
#pragma once

#include "common/ipc/types.h"

namespace postern::ipc {

struct HeldLease {
  base::LeaseId lease;
  base::Epoch epoch;
  base::MessageId message;
  std::vector<std::uint32_t> recipients;  // their numbers in the message
  static constexpr auto fields() {
    return fields_of(field("lease", &HeldLease::lease), field("epoch", &HeldLease::epoch),
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
    return fields_of(field("leases", &HeldLeases::leases, 100), field("last", &HeldLeases::last));
  }
};

// A host has called for its mail: the session that it opened stands, turned round.
struct Turned {
  std::string remote;    // who it is, for people: "inner@example.org[192.0.2.9]"
  std::string tls;       // by which smtpd keeps its connection from others; empty: it is in clear text
  base::Millis wait{0};  // so long it waits for mail where there is none; 0: it does not
  static constexpr auto fields() {
    return fields_of(field("remote", &Turned::remote, kMaxRemote), field("tls", &Turned::tls, TlsNote::kMost),
                      field("wait", &Turned::wait));
  }
};

// Permission to open one connection on a queue's behalf (a worker's slot in local delivery). It carries
// mail of any queue that leads to the same next hop. Where `hop` goes by MX, the deliverer compares the
// hosts that it finds with `next_hop`; unless they are the same, it says HopFound and waits. Where a host has called,
// the connection is there already (descriptor: it), and carries mail of the queues that this host has called for.
struct Grant {
  static constexpr Type kType = Type::kGrant;
  static constexpr Route kRoute{roles(Role::kQueued), kDeliverers};
  static constexpr std::size_t kDescriptors = 1;
  base::GrantId grant;
  std::string queue;
  config::HopSpec hop;
  std::string next_hop;  // its name, as HopFound gave it; empty: not known
  std::optional<Turned> turned;
  static constexpr auto fields() {
    return fields_of(field("grant", &Grant::grant), field("queue", &Grant::queue, kMaxQueueName),
                      field("hop", &Grant::hop),
                      field("next_hop", &Grant::next_hop, kMaxHopName), field("turned", &Grant::turned));
  }
};

// Where the grant's queue leads by the DNS: the name of its set of MX hosts, for `ttl`. Answered by GoAhead
// or CancelGrant, for other queues may lead there too, and it may bear no more, or be dead.
struct HopFound {
  static constexpr Type kType = Type::kHopFound;
  static constexpr Route kRoute{roles(Role::kRelay), roles(Role::kQueued)};
  base::GrantId grant;
  std::string next_hop;
  base::Millis ttl{0};
  static constexpr auto fields() {
    return fields_of(field("grant", &HopFound::grant),
                      field("next_hop", &HopFound::next_hop, kMaxHopName),
                      field("ttl", &HopFound::ttl));
  }
};

// The hosts that were reported may be connected to.
struct GoAhead {
  static constexpr Type kType = Type::kGoAhead;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kRelay)};
  base::GrantId grant;
  static constexpr auto fields() { return fields_of(field("grant", &GoAhead::grant)); }
};

// Close the connection as soon as nothing is in flight on it; answered by GrantEnded.
struct CancelGrant {
  static constexpr Type kType = Type::kCancelGrant;
  static constexpr Route kRoute{roles(Role::kQueued), kDeliverers};
  base::GrantId grant;
  static constexpr auto fields() { return fields_of(field("grant", &CancelGrant::grant)); }
};

using config::FailureClass;
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
    return fields_of(field("grant", &GrantEnded::grant), field("end", &GrantEnded::end),
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
    return fields_of(field("request", &AskWork::request), field("grant", &AskWork::grant));
  }
};

struct LeaseRecipient {
  std::uint32_t number = 0;  // its place in the message
  mail::Address address;
  // Local delivery: whose mailbox (config::Decision); empty otherwise.
  std::string user;
  std::string mailbox_domain;
  // Relaying: what the next hop is told of reports.
  mail::Notify notify;
  mail::OriginalRecipient orcpt;
  static constexpr auto fields() {
    return fields_of(field("number", &LeaseRecipient::number),
                      field("address", &LeaseRecipient::address),
                      field("user", &LeaseRecipient::user, 255),
                      field("mailbox_domain", &LeaseRecipient::mailbox_domain, 255),
                      field("notify", &LeaseRecipient::notify),
                      field("orcpt", &LeaseRecipient::orcpt));
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
  bool smtputf8 = false;
  mail::Return ret = mail::Return::kUnsaid;
  mail::EnvelopeId envid;
  mail::TlsWish tls_wish = mail::TlsWish::kUnsaid;
  std::optional<FirstClient> client;  // for a hop that is told of it; none: nobody but this host
  BodyForm form = BodyForm::kStuffed;
  std::string prefix;  // headers to put in front, CRLF lines, nothing stuffed in them
  std::uint64_t body_size = 0;
  bool large = false;
  static constexpr auto fields() {
    return fields_of(field("request", &Lease::request), field("lease", &Lease::lease),
                      field("epoch", &Lease::epoch), field("message", &Lease::message),
                      field("arrived", &Lease::arrived), field("from", &Lease::from),
                      field("recipients", &Lease::recipients, kLeaseRecipients),
                      field("eight_bit", &Lease::eight_bit),
                      field("smtputf8", &Lease::smtputf8), field("ret", &Lease::ret),
                      field("envid", &Lease::envid), field("tls_wish", &Lease::tls_wish),
                      field("client", &Lease::client), field("form", &Lease::form),
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
    return fields_of(field("lease", &LeaseBody::lease),
                      field("bytes", &LeaseBody::bytes, kBodySlice));
  }
};

// Close the connection, and answer GrantEnded.
struct NoWork {
  static constexpr Type kType = Type::kNoWork;
  static constexpr Route kRoute{roles(Role::kQueued), kDeliverers};
  using ReplyTo = Replies<AskWork>;
  base::RequestId request;
  static constexpr auto fields() { return fields_of(field("request", &NoWork::request)); }
};

enum class Result : std::uint8_t {
  kDelivered,
  kDeferred,
  kFailed,
  kUnknown,   // the final dot was sent and no answer came: it may have arrived
  kReturned,  // nothing was tried: the lease goes back as it was
};

// What a success means, for those who want to hear of it.
enum class Arrival : std::uint8_t {
  kFinal,       // it lies in its mailbox
  kRelayed,     // a next hop has it that knows nothing of reports
  kAnswerable,  // a next hop has it that was told which reports are wanted, and makes them
};

struct RecipientResult {
  std::uint32_t number = 0;
  Result result = Result::kDeferred;
  FailureClass failure = FailureClass::kConnect;  // deferred, failed
  ReplyText reply;
  Arrival arrival = Arrival::kFinal;  // delivered
  static constexpr auto fields() {
    return fields_of(field("number", &RecipientResult::number),
                      field("result", &RecipientResult::result),
                      field("failure", &RecipientResult::failure),
                      field("reply", &RecipientResult::reply),
                      field("arrival", &RecipientResult::arrival));
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
  TlsNote tls;
  std::vector<RecipientResult> results;
  static constexpr auto fields() {
    return fields_of(field("request", &Outcome::request), field("lease", &Outcome::lease),
                      field("epoch", &Outcome::epoch), field("message", &Outcome::message),
                      field("remote", &Outcome::remote, kMaxRemote),
                      field("tls", &Outcome::tls),
                      field("results", &Outcome::results, kLeaseRecipients));
  }
};

// The outcome is in the journal; the deliverer forgets it.
struct OutcomeSaved {
  static constexpr Type kType = Type::kOutcomeSaved;
  static constexpr Route kRoute{roles(Role::kQueued), kDeliverers};
  using ReplyTo = Replies<Outcome>;
  base::RequestId request;
  static constexpr auto fields() { return fields_of(field("request", &OutcomeSaved::request)); }
};

// Give this lease up at once, and its connection: `unknown` where the final dot may have been sent,
// `returned` otherwise. One whose outcome is on the way already stays as it is.
struct BreakOff {
  static constexpr Type kType = Type::kBreakOff;
  static constexpr Route kRoute{roles(Role::kQueued), kDeliverers};
  base::LeaseId lease;
  base::Epoch epoch;
  static constexpr auto fields() {
    return fields_of(field("lease", &BreakOff::lease), field("epoch", &BreakOff::epoch));
  }
};

// Does the next hop take mail for this address? Asked as MAIL and RCPT ask, without a message.
struct Probe {
  static constexpr Type kType = Type::kProbe;
  static constexpr Route kRoute{roles(Role::kQueued), kDeliverers};
  static constexpr Window kWindow{.requests = 1024};
  base::RequestId request;
  std::string queue;
  config::HopSpec hop;
  mail::Address address;
  static constexpr auto fields() {
    return fields_of(field("request", &Probe::request),
                      field("queue", &Probe::queue, kMaxQueueName), field("hop", &Probe::hop),
                      field("address", &Probe::address));
  }
};

struct Probed {
  static constexpr Type kType = Type::kProbed;
  static constexpr Route kRoute{kDeliverers, roles(Role::kQueued)};
  using ReplyTo = Replies<Probe>;
  base::RequestId request;
  Result result = Result::kDeferred;  // delivered: it does; failed: it does not; else nobody can say
  ReplyText reply;
  std::string remote;
  static constexpr auto fields() {
    return fields_of(field("request", &Probed::request), field("result", &Probed::result),
                      field("reply", &Probed::reply),
                      field("remote", &Probed::remote, kMaxRemote));
  }
};

template <>
inline constexpr GrantEnd kLastEnumerator<GrantEnd> = GrantEnd::kPermanent;
template <>
inline constexpr Arrival kLastEnumerator<Arrival> = Arrival::kAnswerable;
template <>
inline constexpr Result kLastEnumerator<Result> = Result::kReturned;

}  // namespace postern::ipc
