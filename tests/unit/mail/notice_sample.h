// Notices full of hostile text, shared by the test of their bytes and the one that parses them as
// MIME.
#pragma once

#include <string>
#include <string_view>

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
    "X-Space: at the end \r\n"
    "X-Last: here\r\n\r\nthe body is not wanted\r\n";

inline const std::string kEightBits =
    "Subject: plain\r\n\r\n.a dot\r\ngr\xc3\xbc\xc3\x9f \xff\xfe\r\n--\r\n" + std::string(998, 'x') +
    "\r\n";

inline Address address(const char* text) { return Address::parse(text).value(); }

inline Notice bare_notice(std::string_view original) {
  Notice notice;
  notice.hostname = "mx.example.org";
  notice.from_display = "Mail \"Delivery\" System";
  notice.from = address("MAILER-DAEMON@mx.example.org");
  notice.to = address("ann@a.example");
  notice.id = base::MessageId(7);
  notice.arrived = {1'795'404'105'000};
  notice.now = {1'795'404'165'000};
  notice.original = original;
  return notice;
}

inline Notice sample_notice() {
  auto notice = bare_notice(kOriginal);
  notice.recipients.push_back(
      {.address = address("carol@far.example"),
       .original = {},
       .reason = {550, {5, 1, 1}, {"no such user", "evil\r\n\r\nStatus: 2.0.0 \xff"}},
       .remote = "mx.far.example\r\nX: y",
       .last_try = {1'795'404'160'000},
       .status = {},
       .until = {}});
  notice.recipients.push_back(
      {.address = address("\"d d\"@far.example"),
       .original = {},
       .reason = {0, {}, {std::string(400, 'w') + " not delivered for 5 days"}},
       .remote = "",
       .last_try = {},
       .status = {4, 4, 7},
       .until = {}});
  return notice;
}

// RET=FULL of a message with eight bits.
inline Notice whole_notice() {
  auto notice = bare_notice(kEightBits);
  notice.whole = true;
  notice.recipients.push_back({.address = address("carol@far.example"),
                               .original = {},
                               .reason = {550, {5, 1, 1}, {"no such user"}},
                               .remote = "[192.0.2.9]:25",
                               .last_try = {},
                               .status = {},
                               .until = {}});
  return notice;
}

// One of each kind, for a sender who said all that RFC 3461 lets him say.
inline Notice mixed_notice() {
  auto notice = bare_notice("Subject: plain\r\n\r\nbody\r\n");
  notice.envid = EnvelopeId::parse("QQ+2B314").value();
  const auto add = [&](const char* to, const char* orcpt, ReportAction action, Reply reason) {
    notice.recipients.push_back({.address = address(to),
                                 .original = OriginalRecipient::parse(orcpt).value_or(OriginalRecipient()),
                                 .action = action,
                                 .reason = std::move(reason),
                                 .remote = "mx.far.example[192.0.2.9]:25",
                                 .last_try = {1'795'404'160'000},
                                 .status = {},
                                 .until = {}});
  };
  add("in@far.example", "rfc822;old+2Bin@example.org", ReportAction::kDelivered,
      {250, {2, 1, 5}, {"stored"}});
  add("on@far.example", "utf-8;b\\x{F6}b@far.example", ReportAction::kRelayed,
      {250, {}, {"queued"}});
  add("late@far.example", "", ReportAction::kDelayed, {451, {4, 7, 1}, {"greylisted"}});
  notice.recipients.back().until = {1'795'836'105'000};
  add("no@far.example", "", ReportAction::kFailed, {550, {5, 7, 1}, {"never"}});
  return notice;
}

inline const std::string kUtf8Header =
    "From: b\xc3\xb6" "b@b\xc3\xbc" "cher.example\r\nSubject: gr\xc3\xbc\xc3\x9f\r\n\r\nbody\r\n";

// Of a message whose sender has said SMTPUTF8: RFC 6533.
inline Notice utf8_notice(const char* to) {
  auto notice = bare_notice(kUtf8Header);
  notice.smtputf8 = true;
  notice.to = address(to);
  notice.recipients.push_back(
      {.address = address("j\xc3\xb6rg+x@b\xc3\xbc" "cher.example"),
       .original = OriginalRecipient::parse("utf-8;J\xc3\xb6rg\\x{2B}x@b\xc3\xbc" "cher.example").value(),
       .reason = {550, {5, 1, 1}, {"no such user"}},
       .remote = "mx.far.example",
       .last_try = {},
       .status = {},
       .until = {}});
  notice.recipients.push_back({.address = address("ann@far.example"),
                               .original = {},
                               .reason = {550, {5, 1, 1}, {"no such user"}},
                               .remote = "mx.far.example",
                               .last_try = {},
                               .status = {},
                               .until = {}});
  return notice;
}

inline Notice notice_named(std::string_view name) {
  if (name.starts_with("utf8")) {
    auto notice = utf8_notice(name.ends_with("ascii") ? "ann@a.example" : "b\xc3\xb6" "b@a.example");
    notice.whole = name.starts_with("utf8-whole");
    return notice;
  }
  if (name == "whole") return whole_notice();
  return name == "mixed" ? mixed_notice() : sample_notice();
}

}  // namespace postern::mail::test
