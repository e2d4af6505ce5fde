// What the journal says: the record types, each with its one list of fields, and the frame around them.
// A frame is valid only in the place and the life it was written in: its CRC32C covers the segment's
// number and the offset too, and it carries epoch and sequence number. Pure.
//
//   u32 size of the whole frame | u16 type | u16 version of the fields | u32 size of the fields
//   | u64 epoch | u64 sequence number | u64 last sequence number known to be flushed
//   | u32 numbers before this one that were never used | fields | body | u32 CRC32C
//
// Records and what is made of them (rows of the index, its mark) have one version number together; all
// from kOldestVersion on are read. A struct gains fields as common/ipc/codec.h says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/delivery.h"
#include "queued/standstill.h"

namespace postern::queued {

inline constexpr std::uint16_t kFormatVersion = 9;
inline constexpr std::uint16_t kOldestVersion = 4;

enum class RecordType : std::uint8_t {
  kAccepted,  // MessageRecord and body: a message begins
  kState,     // MessageRecord and body: all that is left of a message; replaces, never adds
  kOutcome,   // OutcomeRecord; the notice that it causes, with the notice's body, is part of it
  kQueue,     // QueueRecord
  kRetry,   // RetryRecord
  kHold,      // HoldRecord
  kClock,     // ClockRecord
};
inline constexpr RecordType kLastRecordType = RecordType::kClock;

inline constexpr std::size_t kMaxRecipients = 20'000;  // of one message
inline constexpr std::size_t kMaxRetried = 1'000;     // messages in one RetryRecord
inline constexpr std::size_t kMaxFormerHolds = 16;    // of one message
inline constexpr std::size_t kMaxReplaced = 32;       // notices by another

// An alias itself among its recipients: its sender wants to hear that it was replaced.
enum class Expanded : std::uint8_t {
  kNo,
  kAlias,  // of several recipients
  kList,   // it has an owner, so this is its final delivery (RFC 3461 5.2.7.1)
};

// One recipient that is still open, with what was tried.
struct RecipientRecord {
  std::uint32_t number = 0;
  mail::Address address;
  std::uint32_t tries = 0;
  base::WallTime last_try;
  QueueTime next_try{0};
  ipc::FailureClass failure = ipc::FailureClass::kConnect;
  ipc::ReplyText reply;
  std::string remote;
  mail::Notify notify;
  bool delay_told = false;  // the sender knows that it is late
  mail::OriginalRecipient orcpt;
  QueueTime tried{-1};  // last_try by the queue clock, which no one sets; -1: not known
  std::string alias;    // by which it came: "team@example.org"; empty: it was named itself
  std::optional<mail::Address> sender;  // of what goes to it, in the message's sender's place
  Expanded expanded = Expanded::kNo;
  std::string tls;  // of the last try: how it was kept from others, or why not
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("number", &RecipientRecord::number),
                      ipc::field("address", &RecipientRecord::address),
                      ipc::field("tries", &RecipientRecord::tries),
                      ipc::field("last_try", &RecipientRecord::last_try),
                      ipc::field("next_try", &RecipientRecord::next_try),
                      ipc::field("failure", &RecipientRecord::failure),
                      ipc::field("reply", &RecipientRecord::reply),
                      ipc::field("remote", &RecipientRecord::remote, ipc::kMaxRemote),
                      ipc::field("notify", &RecipientRecord::notify),
                      ipc::field("delay_told", &RecipientRecord::delay_told),
                      ipc::field("orcpt", &RecipientRecord::orcpt),
                      ipc::field("tried", &RecipientRecord::tried).since(5),
                      ipc::field("alias", &RecipientRecord::alias, ipc::kMaxAlias).since(7),
                      ipc::field("sender", &RecipientRecord::sender).since(7),
                      ipc::field("expanded", &RecipientRecord::expanded).since(7),
                      ipc::field("tls", &RecipientRecord::tls, ipc::kMaxTls).since(9));
  }
};

struct MessageRecord {
  base::MessageId id;
  base::Token token;
  base::WallTime arrived;
  QueueTime born{0};
  base::IpAddress client;
  std::string hello;
  mail::ReversePath from;
  ipc::BodyForm form = ipc::BodyForm::kStuffed;
  bool eight_bit = false;
  mail::Return ret = mail::Return::kUnsaid;
  mail::EnvelopeId envid;
  bool notice = false;   // made here
  bool damaged = false;  // its body is lost; it stays held
  bool large = false;    // the body is the file large/<id>
  std::uint64_t body_size = 0;
  std::uint32_t body_crc = 0;  // of a large body
  std::string prefix;
  std::string held;  // why; empty: not held
  QueueTime held_since{0};
  std::vector<Span> former_holds;  // in which it did not age
  base::MessageId origin;  // its id in the queue that it was imported from; 0: it came by itself
  bool smtputf8 = false;   // SMTPUTF8 was said; whether it is needed, its envelope and header tell
  mail::TlsWish tls_wish = mail::TlsWish::kUnsaid;
  std::optional<ipc::FirstClient> first;  // of a route that passes it on, what `client` and `hello` do not say of it
  std::vector<RecipientRecord> recipients;
  static constexpr auto fields() {
    return ipc::fields_of(
        ipc::field("id", &MessageRecord::id), ipc::field("token", &MessageRecord::token),
        ipc::field("arrived", &MessageRecord::arrived), ipc::field("born", &MessageRecord::born),
        ipc::field("client", &MessageRecord::client),
        ipc::field("hello", &MessageRecord::hello, 255), ipc::field("from", &MessageRecord::from),
        ipc::field("form", &MessageRecord::form),
        ipc::field("eight_bit", &MessageRecord::eight_bit),
        ipc::field("ret", &MessageRecord::ret), ipc::field("envid", &MessageRecord::envid),
        ipc::field("notice", &MessageRecord::notice),
        ipc::field("damaged", &MessageRecord::damaged), ipc::field("large", &MessageRecord::large),
        ipc::field("body_size", &MessageRecord::body_size),
        ipc::field("body_crc", &MessageRecord::body_crc),
        ipc::field("prefix", &MessageRecord::prefix, ipc::kMaxPrefix),
        ipc::field("held", &MessageRecord::held, ipc::kMaxReason),
        ipc::field("held_since", &MessageRecord::held_since),
        ipc::field("former_holds", &MessageRecord::former_holds, kMaxFormerHolds),
        ipc::field("origin", &MessageRecord::origin),
        ipc::field("smtputf8", &MessageRecord::smtputf8).since(6),
        ipc::field("tls_wish", &MessageRecord::tls_wish).since(8),
        ipc::field("first", &MessageRecord::first).since(8),
        ipc::field("recipients", &MessageRecord::recipients, kMaxRecipients));
  }
};

enum class Fate : std::uint8_t { kDelivered, kDeferred, kFailed, kRemoved };

struct RecipientFate {
  std::uint32_t number = 0;
  Fate fate = Fate::kDeferred;
  QueueTime next_try{0};  // deferred
  ipc::FailureClass failure = ipc::FailureClass::kConnect;
  ipc::ReplyText reply;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("number", &RecipientFate::number),
                      ipc::field("fate", &RecipientFate::fate),
                      ipc::field("next_try", &RecipientFate::next_try),
                      ipc::field("failure", &RecipientFate::failure),
                      ipc::field("reply", &RecipientFate::reply));
  }
};

// What became of some recipients of one message, and the notice to its sender that follows from it.
// Without fates: only that notice, of a delay.
struct OutcomeRecord {
  base::MessageId message;
  base::WallTime when;
  QueueTime clock{0};
  std::string remote;
  std::vector<RecipientFate> fates;
  std::vector<std::uint32_t> delayed;  // recipients that the notice calls late
  std::optional<MessageRecord> notice;
  std::vector<base::MessageId> replaces;  // earlier notices, which end here: this one says what they did
  std::string tls;                        // as in RecipientRecord
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("message", &OutcomeRecord::message),
                      ipc::field("when", &OutcomeRecord::when),
                      ipc::field("clock", &OutcomeRecord::clock),
                      ipc::field("remote", &OutcomeRecord::remote, ipc::kMaxRemote),
                      ipc::field("fates", &OutcomeRecord::fates, kMaxRecipients),
                      ipc::field("delayed", &OutcomeRecord::delayed, kMaxRecipients),
                      ipc::field("notice", &OutcomeRecord::notice),
                      ipc::field("replaces", &OutcomeRecord::replaces, kMaxReplaced).since(8),
                      ipc::field("tls", &OutcomeRecord::tls, ipc::kMaxTls).since(9));
  }
};

// A next hop, or a queue whose hosts cannot be found, waits as a whole until `until`, after `failures` failed connections in a row; 0: it works.
struct QueueRecord {
  std::string queue;
  base::WallTime when;
  QueueTime clock{0};
  QueueTime until{0};
  std::uint32_t failures = 0;
  ipc::FailureClass failure = ipc::FailureClass::kConnect;
  ipc::ReplyText reply;
  std::string remote;
  std::string behalf;  // of a next hop: the queue whose mail was to go there
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("queue", &QueueRecord::queue, ipc::kMaxQueueName),
                      ipc::field("when", &QueueRecord::when),
                      ipc::field("clock", &QueueRecord::clock),
                      ipc::field("until", &QueueRecord::until),
                      ipc::field("failures", &QueueRecord::failures),
                      ipc::field("failure", &QueueRecord::failure),
                      ipc::field("reply", &QueueRecord::reply),
                      ipc::field("remote", &QueueRecord::remote, ipc::kMaxRemote),
                      ipc::field("behalf", &QueueRecord::behalf, ipc::kMaxQueueName));
  }
};

// The operator's retry: these messages and queues are due now; what is held stays held.
struct RetryRecord {
  QueueTime clock{0};
  std::vector<base::MessageId> messages;
  std::vector<std::string> queues;
  static constexpr auto fields() {
    return ipc::fields_of(
        ipc::field("clock", &RetryRecord::clock),
        ipc::field("messages", &RetryRecord::messages, kMaxRetried),
        ipc::field("queues", &RetryRecord::queues, kMaxRetried, ipc::kMaxQueueName));
  }
};

// A message is held; with an empty `why` nothing holds it any more, and it is due when it was due.
struct HoldRecord {
  base::MessageId message;
  std::string why;
  QueueTime clock{0};
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("message", &HoldRecord::message),
                      ipc::field("why", &HoldRecord::why, ipc::kMaxReason),
                      ipc::field("clock", &HoldRecord::clock));
  }
};

// Where the queue clock stands, so that a restart knows.
struct ClockRecord {
  base::WallTime wall;
  QueueTime queue{0};
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("wall", &ClockRecord::wall),
                      ipc::field("queue", &ClockRecord::queue));
  }
};

// --- Frames -----------------------------------------------------------------------------------------

inline constexpr std::size_t kFrameHeader = 4 + 2 + 2 + 4 + 8 + 8 + 8 + 4;
inline constexpr std::size_t kEpochInFrame = 12;
inline constexpr std::size_t kSequenceInFrame = 20;
inline constexpr std::size_t kFrameOverhead = kFrameHeader + 4;

// A place in the journal.
struct Place {
  std::uint64_t segment = 0;  // its number
  std::uint64_t offset = 0;
  std::uint32_t size = 0;  // of the frame
};

// What identifies one frame.
struct FrameName {
  base::Epoch epoch;
  base::SequenceNumber sequence;
  base::SequenceNumber flushed;
  std::uint32_t skipped = 0;  // the numbers before it belong to entries that were refused
};

[[nodiscard]] constexpr std::size_t frame_size(std::size_t fields, std::size_t body) {
  return kFrameOverhead + fields + body;
}

// Appends a frame that will stand at `offset` of segment `segment`.
void append_frame(std::string& out, std::uint64_t segment, std::uint64_t offset, RecordType type,
                  const FrameName& name, std::string_view fields, std::string_view body);

struct Frame {  // views into the bytes that were read
  RecordType type = RecordType::kClock;
  std::uint16_t version = kFormatVersion;
  FrameName name;
  std::string_view fields;
  std::string_view body;
  std::size_t size = 0;
};

// The frame at the beginning of `bytes`, which stand at `offset` of segment `segment`; nullopt unless
// whole and undamaged.
[[nodiscard]] std::optional<Frame> read_frame(std::string_view bytes, std::uint64_t segment,
                                              std::uint64_t offset);

}  // namespace postern::queued

template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::queued::Expanded> =
    postern::queued::Expanded::kList;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::queued::Fate> =
    postern::queued::Fate::kRemoved;
