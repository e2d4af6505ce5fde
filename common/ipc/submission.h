// Between smtpd and queued: a message on its way into the queue.
#pragma once

#include "common/ipc/types.h"
#include "common/mail/trace.h"

namespace postern::ipc {

// A whole transaction after its final dot. Its recipients follow in SubmitRecipients until
// `recipient_count`, then its body in SubmitBody until `body_size`, contiguously; or the body is the
// large file `large`. Rights are decided again by queued.
struct Submit {
  static constexpr Type kType = Type::kSubmit;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  static constexpr Window kWindow{.requests = 512, .bytes = 16ULL << 20};
  base::RequestId request;
  base::RequestId heard;  // the answers to all that was submitted before this one are known
  base::Token token;
  base::ListenerIndex listener;
  config::Origin origin;
  std::string client_name;  // as who named the client says; empty: unknown
  std::string forwarded;    // what XFORWARD said of the message's first client, for people
  std::optional<FirstClient> first;  // the same, for the next hop
  std::string hello;  // what the client called itself; printable ASCII
  bool esmtp = false;
  std::string tls;       // version and cipher, "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty: clear text
  std::string tls_peer;  // the name in the client's certificate, if that counts
  base::Token session;   // of a client that has logged in, for which auth gave a ticket; else zero
  mail::ReversePath from;
  std::uint32_t recipient_count = 0;
  BodyForm form = BodyForm::kStuffed;
  bool eight_bit = false;      // BODY=8BITMIME was said
  bool smtputf8 = false;       // SMTPUTF8 was said
  bool has_date = false;       // as a field of the header
  bool has_message_id = false;
  mail::Return ret = mail::Return::kUnsaid;
  mail::EnvelopeId envid;
  mail::TlsWish tls_wish = mail::TlsWish::kUnsaid;
  std::uint64_t body_size = 0;  // bytes as stored
  base::MessageId large;        // the file's name from LargeOpened; 0: the body follows
  [[nodiscard]] std::uint64_t announced() const { return large.value == 0 ? body_size : 0; }
  static constexpr auto fields() {
    return fields_of(field("request", &Submit::request), field("heard", &Submit::heard),
                      field("token", &Submit::token),
                      field("listener", &Submit::listener), field("origin", &Submit::origin),
                      field("client_name", &Submit::client_name, 255),
                      field("forwarded", &Submit::forwarded, mail::kMaxForwarded),
                      field("first", &Submit::first),
                      field("hello", &Submit::hello, 255), field("esmtp", &Submit::esmtp),
                      field("tls", &Submit::tls, mail::kMaxTlsText),
                      field("tls_peer", &Submit::tls_peer, mail::kMaxTlsPeer),
                      field("session", &Submit::session), field("from", &Submit::from),
                      field("recipient_count", &Submit::recipient_count),
                      field("form", &Submit::form), field("eight_bit", &Submit::eight_bit),
                      field("smtputf8", &Submit::smtputf8), field("has_date", &Submit::has_date),
                      field("has_message_id", &Submit::has_message_id),
                      field("ret", &Submit::ret), field("envid", &Submit::envid),
                      field("tls_wish", &Submit::tls_wish),
                      field("body_size", &Submit::body_size), field("large", &Submit::large));
  }
};
inline constexpr std::size_t kMaxInlineBody = 256 * 1024;  // larger bodies go into a file

struct SubmitRecipient {
  mail::Address address;
  mail::Notify notify;
  mail::OriginalRecipient orcpt;
  static constexpr auto fields() {
    return fields_of(field("address", &SubmitRecipient::address),
                      field("notify", &SubmitRecipient::notify),
                      field("orcpt", &SubmitRecipient::orcpt));
  }
};

struct SubmitRecipients {
  static constexpr Type kType = Type::kSubmitRecipients;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  base::RequestId request;
  std::vector<SubmitRecipient> recipients;
  static constexpr auto fields() {
    return fields_of(field("request", &SubmitRecipients::request),
                      field("recipients", &SubmitRecipients::recipients, kRecipientsInFrame));
  }
};

struct SubmitBody {
  static constexpr Type kType = Type::kSubmitBody;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  base::RequestId request;
  Slice bytes;
  static constexpr auto fields() {
    return fields_of(field("request", &SubmitBody::request),
                      field("bytes", &SubmitBody::bytes, kBodySlice));
  }
};

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
    return fields_of(field("request", &Submitted::request), field("id", &Submitted::id),
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
    return fields_of(field("request", &AskToken::request), field("token", &AskToken::token));
  }
};

struct TokenResult {
  static constexpr Type kType = Type::kTokenResult;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kSmtpd)};
  using ReplyTo = Replies<AskToken>;
  base::RequestId request;
  base::MessageId id;  // 0: it is not, and never will be, in the journal
  static constexpr auto fields() {
    return fields_of(field("request", &TokenResult::request), field("id", &TokenResult::id));
  }
};

// A body outgrows memory: smtpd asks for a file to write it to.
struct OpenLarge {
  static constexpr Type kType = Type::kOpenLarge;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  static constexpr Window kWindow{.requests = 512};
  base::RequestId request;
  static constexpr auto fields() { return fields_of(field("request", &OpenLarge::request)); }
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
    return fields_of(field("request", &LargeOpened::request), field("large", &LargeOpened::large));
  }
};

// The transaction ended without being submitted: the file may go.
struct AbandonLarge {
  static constexpr Type kType = Type::kAbandonLarge;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  base::MessageId large;
  static constexpr auto fields() { return fields_of(field("large", &AbandonLarge::large)); }
};

// Does the next hop of this recipient's domain know it? Of domains with `recipients = "ask"` alone.
struct AskRecipient {
  static constexpr Type kType = Type::kAskRecipient;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  static constexpr Window kWindow{.requests = 1024};
  base::RequestId request;
  mail::Address address;
  static constexpr auto fields() {
    return fields_of(field("request", &AskRecipient::request),
                      field("address", &AskRecipient::address));
  }
};

struct RecipientKnown {
  static constexpr Type kType = Type::kRecipientKnown;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kSmtpd)};
  using ReplyTo = Replies<AskRecipient>;
  base::RequestId request;
  ReplyText refusal;  // what RCPT gets; code 0: it is known
  static constexpr auto fields() {
    return fields_of(field("request", &RecipientKnown::request),
                      field("refusal", &RecipientKnown::refusal));
  }
};

// Which host is at this address? smtpd asks queued, which hands the question to a relay: it alone has the DNS.
struct AskName {
  static constexpr Type kType = Type::kAskName;
  static constexpr Route kRoute{roles(Role::kSmtpd, Role::kQueued), roles(Role::kQueued, Role::kRelay)};
  static constexpr Window kWindow{.requests = 1024};
  base::RequestId request;
  base::IpAddress client;
  static constexpr auto fields() {
    return fields_of(field("request", &AskName::request), field("client", &AskName::client));
  }
};

enum class NameState : std::uint8_t {
  kConfirmed,  // it has this name, which leads back to it
  kNone,       // it has no name, or none that leads back
  kUnclear,    // nobody can say now
};

struct NameKnown {
  static constexpr Type kType = Type::kNameKnown;
  static constexpr Route kRoute{roles(Role::kQueued, Role::kRelay), roles(Role::kSmtpd, Role::kQueued)};
  using ReplyTo = Replies<AskName>;
  base::RequestId request;
  NameState state = NameState::kUnclear;
  std::string name;     // kConfirmed
  base::Millis ttl{0};  // so long it is true
  static constexpr auto fields() {
    return fields_of(field("request", &NameKnown::request), field("state", &NameKnown::state),
                      field("name", &NameKnown::name, mail::kMaxClientName),
                      field("ttl", &NameKnown::ttl));
  }
};
template <>
inline constexpr NameState kLastEnumerator<NameState> = NameState::kUnclear;

// ETRN (RFC 1985): try what waits in this queue now. Rights are decided by queued.
struct StartQueue {
  static constexpr Type kType = Type::kStartQueue;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  static constexpr Window kWindow{.requests = 256};
  base::RequestId request;
  base::ListenerIndex listener;
  config::Origin origin;
  base::Token session;  // as in Submit
  std::string queue;    // a domain
  static constexpr auto fields() {
    return fields_of(field("request", &StartQueue::request), field("listener", &StartQueue::listener),
                      field("origin", &StartQueue::origin), field("session", &StartQueue::session),
                      field("queue", &StartQueue::queue, kMaxQueueName));
  }
};

struct QueueStarted {
  static constexpr Type kType = Type::kQueueStarted;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kSmtpd)};
  using ReplyTo = Replies<StartQueue>;
  base::RequestId request;
  ReplyText reply;  // what ETRN gets
  static constexpr auto fields() {
    return fields_of(field("request", &QueueStarted::request), field("reply", &QueueStarted::reply));
  }
};

// ATRN (RFC 2645): the client, who has logged in, takes the mail of these queues over its own connection, as the server
// of the session from the reply on. Rights are decided by queued, which knows the account from auth.
struct TurnSession {
  static constexpr Type kType = Type::kTurnSession;
  static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
  static constexpr Window kWindow{.requests = 256};
  base::RequestId request;
  base::ListenerIndex listener;
  config::Origin origin;
  base::Token session;              // as in Submit
  std::string tls;                  // likewise
  std::vector<std::string> queues;  // domains; empty: all that the account may take
  static constexpr auto fields() {
    return fields_of(field("request", &TurnSession::request), field("listener", &TurnSession::listener),
                      field("origin", &TurnSession::origin), field("session", &TurnSession::session),
                      field("tls", &TurnSession::tls, mail::kMaxTlsText),
                      field("queues", &TurnSession::queues, config::AccountLimits::kMaxQueues, kMaxQueueName));
  }
};

// Descriptor, where the reply is positive: behind it a relay speaks, as the client. Whatever comes there goes to smtpd's
// client and back, until one of the two ends.
struct SessionTurned {
  static constexpr Type kType = Type::kSessionTurned;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kSmtpd)};
  using ReplyTo = Replies<TurnSession>;
  static constexpr std::size_t kDescriptors = 1;
  base::RequestId request;
  ReplyText reply;  // what ATRN gets
  static constexpr auto fields() {
    return fields_of(field("request", &SessionTurned::request), field("reply", &SessionTurned::reply));
  }
};

// Whether MAIL may be accepted, on connecting and whenever it changes.
struct Intake {
  static constexpr Type kType = Type::kIntake;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kSmtpd)};
  bool open = false;
  ReplyText refusal;  // what MAIL gets while closed
  static constexpr auto fields() {
    return fields_of(field("open", &Intake::open), field("refusal", &Intake::refusal));
  }
};

}  // namespace postern::ipc
