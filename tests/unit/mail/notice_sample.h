// A notice full of hostile text, shared by the test of its bytes and the one that parses it as
// MIME.
#pragma once

#include <string>

#include "common/mail/notice.h"

namespace postern::mail::test {

inline const std::string kOriginal =
    "Received: from client ([192.0.2.1])\r\n\tby mx.example.org with ESMTP id 0000000000007;\r\n"
    "\tMon, 23 Nov 2026 03:21:45 +0000\r\n"
    "Subject: gr\xc3\xbc\xc3\x9f\r\n"
    "X-Long: " +
    std::string(3000, 'l') +
    "\r\n"
    ".dotted: yes\r\n"
    "X-Last: here\r\n\r\nthe body is not wanted\r\n";

inline Notice sample_notice() {
  Notice notice;
  notice.hostname = "mx.example.org";
  notice.from_display = "Mail \"Delivery\" System";
  notice.from = Address::parse("MAILER-DAEMON@mx.example.org").value();
  notice.to = Address::parse("ann@a.example").value();
  notice.id = base::MessageId(7);
  notice.arrived = {1'795'404'105'000};
  notice.now = {1'795'404'165'000};
  notice.failed.push_back(
      {.address = Address::parse("carol@far.example").value(),
       .reason = {550, {5, 1, 1}, {"no such user", "evil\r\n\r\nStatus: 2.0.0 \xff"}},
       .remote = "mx.far.example\r\nX: y",
       .last_try = {1'795'404'160'000},
       .status = {}});
  notice.failed.push_back({.address = Address::parse("\"d d\"@far.example").value(),
                           .reason = {0, {}, {std::string(400, 'w') + " not delivered for 5 days"}},
                           .remote = "",
                           .last_try = {},
                           .status = {4, 4, 7}});
  notice.original = kOriginal;
  return notice;
}

}  // namespace postern::mail::test
