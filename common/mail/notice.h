// The notice that tells a sender which of the recipients failed: multipart/report of RFC 6522 with
// a delivery status of RFC 3464 and the original header. Pure text building; who gets a notice, and
// when, is decided by the caller (never in answer to a null reverse-path).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/mail/address.h"
#include "common/mail/reply.h"

namespace postern::mail {

struct FailedRecipient {
  Address address;
  Reply reason;             // a next hop's last reply, or our own words with code 0
  std::string remote;       // the host that said it, "mx.example.org"; empty: nobody but us
  base::WallTime last_try;  // 0: none was made
  EnhancedCode status;      // 0.0.0: taken from the reply, else 5.0.0
};

struct Notice {
  static constexpr std::size_t kMaxHeader = 64 * 1024;  // of the original, the rest is left out

  std::string_view hostname;      // the reporting MTA
  std::string_view from_display;  // "Mail Delivery System"
  Address from;                   // MAILER-DAEMON@hostname
  Address to;                     // the sender of the original
  base::MessageId id;             // of the original
  base::WallTime arrived;         // the original
  base::WallTime now;
  std::vector<FailedRecipient> failed;
  // The original from its first byte on, our own trace field included, lines ended by CR LF; all
  // behind its first empty line is ignored.
  std::string_view original;
};

// The whole message in the form in which bodies are stored: CR LF, dots stuffed, ASCII, no line
// over 998 characters, whatever the original and the next hops said.
[[nodiscard]] std::string build_notice(const Notice& notice);

}  // namespace postern::mail
