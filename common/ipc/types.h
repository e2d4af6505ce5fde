// The types of message between Postern's processes, who may speak, and limits that several share.
#pragma once

#include "common/config/roles.h"
#include "common/ipc/message.h"
#include "common/mail/reply.h"

namespace postern::ipc {

enum class Type : std::uint16_t {
  kHello,
  // parent and its children
  kBoot, kConfigure, kConfigured, kPeer, kPeerLost, kListen, kTally, kReady, kStop, kProcesses, kAskSocket, kSocket,
  kAskMailbox, kMailboxReady, kDropMailbox, kUnable,
  // smtpd and queued
  kSubmit, kSubmitRecipients, kSubmitBody, kSubmitted, kAskToken, kTokenResult, kOpenLarge,
  kLargeOpened, kAbandonLarge, kIntake, kAskRecipient, kRecipientKnown, kAskName, kNameKnown, kStartQueue, kQueueStarted,
  kTurnSession, kSessionTurned,
  // smtpd and key
  kSign, kSigned, kTicketKeys,
  // smtpd, auth and queued
  kLogin, kLoginResponse, kUserLogin, kLoginAnswer, kEndLogin, kTicket, kTicketTaken, kDropTicket, kEndAccount,
  // deliverers and queued
  kHeldLeases, kGrant, kHopFound, kGoAhead, kCancelGrant, kGrantEnded, kAskWork, kLease, kLeaseBody, kNoWork, kOutcome,
  kOutcomeSaved, kBreakOff, kProbe, kProbed,
  // relay, queued and smtpd: mail that is called for
  kCollect, kEndCollect, kTurnedRound, kCollected, kServeTurned,
  // local and the processes of mailboxes
  kFileMail, kFileBody, kMailFiled,
  // relay and fetch
  kAskPolicy, kPolicySaid,
  // control tool and queued
  kAskStatus, kStatus, kListQueues, kQueueRows, kListMessages, kMessageRows, kShow, kShown,
  kAskBody, kBodyPart, kListBlocks, kBlockRows, kListHistory, kHistoryRows, kFreeze, kUnfreeze, kSwitchOutbound,
  kSwitchIntake, kAwaitQuiet, kQuiet, kHold, kLockAccount, kRetry, kReload, kStopServer,
  kExplain, kExplained, kExplainQueue, kQueueExplained,
  // control tool and queued: the spool as a whole
  kCheckSpool, kSpoolFindings, kExportSpool, kExportPart, kRemoveExported, kImportSpool, kSpoolDone,
  kDone,
};
inline constexpr std::size_t kTypeCount = static_cast<std::size_t>(Type::kDone) + 1;

inline constexpr RoleSet kChildren =
    roles(Role::kSmtpd, Role::kQueued, Role::kRelay, Role::kLocal, Role::kKey, Role::kAuth,
          Role::kFetch, Role::kMailbox);
inline constexpr RoleSet kDeliverers = roles(Role::kRelay, Role::kLocal);
inline constexpr RoleSet kEverybody = kChildren | roles(Role::kParent, Role::kControl);

inline constexpr std::size_t kMaxText = 2048;      // a sentence for people
inline constexpr std::size_t kMaxReason = 500;     // an operator's reason
inline constexpr std::size_t kMaxQueueName = 255;  // a domain, a literal, or "local"
inline constexpr std::size_t kMaxHopName = 255;    // of a next hop
inline constexpr std::size_t kMaxRemote = 320;     // "mx.example.org[192.0.2.1]:25"
inline constexpr std::size_t kMaxAlias = mail::Address::kMaxLength;  // "team@example.org"
inline constexpr std::size_t kHistoryReply = 200;  // of a final reply, in the history
inline constexpr std::size_t kMaxTls = 300;        // of a TlsNote in one text
inline constexpr std::size_t kRecipientsInFrame = 60;
inline constexpr std::size_t kLeaseRecipients = 36;
inline constexpr std::size_t kMaxPrefix = 8 * 1024;

// First frame in each direction; another hash means another build, and the channel is closed.
struct Hello {
  static constexpr Type kType = Type::kHello;
  static constexpr Route kRoute{kEverybody, kEverybody};
  Role role = Role::kParent;
  std::uint64_t shapes = 0;
  static constexpr auto fields() {
    return fields_of(field("role", &Hello::role), field("shapes", &Hello::shapes));
  }
};

// How a body is stored: always with its dots stuffed and without an end mark, so that one that came by BDAT is
// sent by DATA as a plain copy.
enum class BodyForm : std::uint8_t {
  kStuffed,  // as it came by DATA, or would have
  kBinary,   // likewise, but of any bytes: it leaves by BDAT and as BINARYMIME, or not at all
};
template <>
inline constexpr BodyForm kLastEnumerator<BodyForm> = BodyForm::kBinary;

template <>
inline constexpr mail::Return kLastEnumerator<mail::Return> = mail::Return::kFull;
template <>
inline constexpr mail::TlsWish kLastEnumerator<mail::TlsWish> = mail::TlsWish::kRequired;

// The client that a message came from, or that it had first when it came by others who said so: as a next hop is
// told of it. What is not known is empty.
struct FirstClient {
  static constexpr std::size_t kMost = 255;  // bytes of a value, printable ASCII
  std::optional<base::IpAddress> address;    // none: not known, or nobody outside this host
  std::string port, name, hello, protocol;
  friend bool operator==(const FirstClient&, const FirstClient&) noexcept = default;
  static constexpr auto fields() {
    return fields_of(field("address", &FirstClient::address), field("port", &FirstClient::port, kMost),
                      field("name", &FirstClient::name, kMost), field("hello", &FirstClient::hello, kMost),
                      field("protocol", &FirstClient::protocol, kMost));
  }
};

// How a session was kept from others, for people; empty: there was none.
struct TlsNote {
  static constexpr std::size_t kMost = 200;
  std::string tls;       // "TLSv1.3 TLS_AES_256_GCM_SHA384", "none: not offered"
  std::string verified;  // "dane: mx.example.org", "yes: mx.example.org", "no: certificate has expired"
  std::string policy;    // what was demanded of it, and by whom: "opportunistic: no policy"
  static constexpr auto fields() {
    return fields_of(field("tls", &TlsNote::tls, kMost),
                      field("verified", &TlsNote::verified, kMost),
                      field("policy", &TlsNote::policy, kMost));
  }
};
// "TLSv1.3 TLS_AES_256_GCM_SHA384; yes: mx.example.org; opportunistic: no policy", cut.
[[nodiscard]] std::string text_of(const TlsNote& note);

struct ReplyText {  // a mail::Reply of one line
  std::uint16_t code = 0;
  std::uint8_t status = 0;
  std::uint16_t subject = 0;
  std::uint16_t detail = 0;
  std::string text;
  static constexpr auto fields() {
    return fields_of(field("code", &ReplyText::code), field("status", &ReplyText::status),
                      field("subject", &ReplyText::subject), field("detail", &ReplyText::detail),
                      field("text", &ReplyText::text, mail::Reply::kMaxText));
  }
};
[[nodiscard]] ReplyText to_ipc(const mail::Reply& reply);   // lines joined, cleaned, cut
[[nodiscard]] mail::Reply from_ipc(const ReplyText& reply);

}  // namespace postern::ipc
