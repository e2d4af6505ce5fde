// The notice that tells a sender what became of recipients: multipart/report of RFC 6522 with words
// for people, a delivery status of RFC 3464, and the original or its header. Pure text building; who
// gets a notice, and when, is decided by the caller (never in answer to a null reverse-path).
//
// Addresses beyond ASCII are of the type utf-8 (RFC 6533). To a sender whose own address is one the notice itself
// needs SMTPUTF8: then its status is message/global-delivery-status, and the original message/global or
// message/global-headers, each only where there is something in it that is not ASCII. To all others it goes
// everywhere: addresses in utf-8-addr-xtext, and what was UTF-8 in the original encoded.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/mail/address.h"
#include "common/mail/dsn.h"
#include "common/mail/reply.h"

namespace postern::mail {

// RFC 3464 2.3.3; the gravest first, in the order in which a notice speaks of them.
enum class ReportAction : std::uint8_t { kFailed, kDelayed, kRelayed, kExpanded, kDelivered };

struct ReportedRecipient {
  Address address;
  OriginalRecipient original;  // whom the sender had named, if anybody said so
  ReportAction action = ReportAction::kFailed;
  Reply reason;             // a next hop's last reply, or our own words with code 0
  std::string remote;       // the host that said it, "mx.example.org"; empty: nobody but us
  base::WallTime last_try;  // 0: none was made
  EnhancedCode status;      // 0.0.0: taken from the reply, else x.0.0
  base::WallTime until;     // delayed: when we give up; 0: never
  bool expired = false;     // failed: it was tried as long as may be, and `reason` is the last answer
};

struct Notice {
  static constexpr std::size_t kMaxHeader = 64 * 1024;  // of the original, the rest is left out

  std::string_view hostname;      // the reporting MTA
  std::string_view from_display;  // "Mail Delivery System"
  Address from;                   // MAILER-DAEMON@hostname
  Address to;                     // the sender of the original
  base::MessageId id;             // of the original
  EnvelopeId envid;               // the sender's name for it
  base::WallTime arrived;         // the original
  base::WallTime now;
  std::vector<ReportedRecipient> recipients;  // at least one
  // The original from its first byte on, our own trace field included, lines ended by CR LF, nothing
  // stuffed. Only its header goes back unless it is `whole`, and may be sent as it is: a part of this
  // kind cannot be encoded (RFC 2046 5.2.1), so there must be no NUL, no CR or LF that stands alone and no
  // line over 998 characters.
  std::string_view original;
  bool whole = false;
  bool smtputf8 = false;  // said with the original: its header is UTF-8
};

struct NoticeText {
  // The whole message in the form in which bodies are stored: CR LF, dots stuffed, no line over 998
  // characters, whatever the original and the next hops said.
  std::string text;
  bool eight_bit = false;  // it is not ASCII, because the original is not, or `utf8`
  bool utf8 = false;       // it needs SMTPUTF8
};

[[nodiscard]] NoticeText build_notice(const Notice& notice);

// The text of a notice that build_notice() made and that returns a message with eight bits: the same in ASCII, with the
// header of that message alone (RFC 6522 3). nullopt: it is not one of these, or was made by an earlier version.
[[nodiscard]] std::optional<std::string> with_header_alone(std::string_view text);

}  // namespace postern::mail
