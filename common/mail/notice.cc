#include "common/mail/notice.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/base/utf8.h"
#include "common/mail/trace.h"
#include "common/mail/unstuffer.h"
#include "common/mail/utf8_scan.h"

namespace postern::mail {
namespace {

constexpr std::size_t kMaxLine = 998;  // RFC 5322 2.1.1
constexpr std::size_t kWrap = 76;

template <class... Args>
void add(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

// Foreign text as one line of printable ASCII.
std::string clean(std::string_view text, std::size_t limit) {
  std::string out(text.substr(0, limit));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

// Appends `text`, broken at spaces so that lines stay within kWrap; `indent` starts each further
// line.
void add_wrapped(std::string& out, std::string_view text, std::string_view indent) {
  const auto last_break = out.rfind('\n');
  std::size_t column = last_break == std::string::npos ? out.size() : out.size() - last_break - 1;
  while (!text.empty()) {
    const auto word = text.substr(0, text.find(' '));
    const bool room = column + 1 + word.size() <= kWrap || column <= indent.size();
    if (!room) {
      out += "\r\n";
      out += indent;
      column = indent.size();
    } else if (column > indent.size()) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  out += "\r\n";
}

// The display name as a phrase of RFC 5322.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : clean(text, 200)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// The class of RFC 3463 that goes with an action.
std::uint8_t class_of(ReportAction action) {
  switch (action) {
    case ReportAction::kFailed:
      return 5;
    case ReportAction::kDelayed:
      return 4;
    case ReportAction::kRelayed:
    case ReportAction::kExpanded:
    case ReportAction::kDelivered:
      break;
  }
  return 2;
}

std::string_view name(ReportAction action) {
  constexpr std::string_view kNames[] = {"failed", "delayed", "relayed", "expanded", "delivered"};
  return kNames[static_cast<std::size_t>(action)];
}

std::string_view subject_of(ReportAction gravest) {
  constexpr std::string_view kSubjects[] = {
      "Undelivered mail returned to sender", "Delayed mail (still being tried)",
      "Mail relayed (no further report will come)", "Mail handed on to several recipients", "Mail delivered"};
  return kSubjects[static_cast<std::size_t>(gravest)];
}

EnhancedCode status_of(const ReportedRecipient& recipient) {
  if (recipient.status.status != 0) return recipient.status;
  const auto wanted = class_of(recipient.action);
  if (recipient.reason.enhanced.status == wanted) return recipient.reason.enhanced;
  return {wanted, 0, 0};
}

// --- The original -------------------------------------------------------------------------------

// A part of the message: its MIME header and its lines.
struct Part {
  std::string_view type;
  std::string_view encoding;  // "7bit" is not said
  std::string text;
};
constexpr std::string_view kSevenBit = "7bit", kEightBit = "8bit", kQuoted = "quoted-printable";
constexpr std::string_view kEightBitField = "Content-Transfer-Encoding: 8bit\r\n";
constexpr std::string_view kMessageAttached = "\r\nYour message is attached.\r\n";
constexpr std::string_view kHeaderAttached = "\r\nThe header of your message is attached.\r\n";

// May it stand in a message as it is, but for its eight bits?
bool is_sendable(std::string_view text) {
  if (text.find('\0') != std::string_view::npos || !text.ends_with("\r\n")) return false;
  while (!text.empty()) {  // bounded by the original
    const auto end = text.find("\r\n");
    if (end > kMaxLine || text.substr(0, end).find_first_of("\r\n") != std::string_view::npos)
      return false;
    text.remove_prefix(end + 2);
  }
  return true;
}

// Quoted-printable of RFC 2045 6.7; lines end with CR LF.
std::string quoted_printable(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  std::size_t column = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool line_ends = text.substr(i + 1).starts_with("\r\n");
    if (text.substr(i).starts_with("\r\n")) {
      out += "\r\n";
      column = 0;
      ++i;
      continue;
    }
    const bool plain = (c > ' ' && c <= '~' && c != '=') || ((c == ' ' || c == '\t') && !line_ends);
    if (column + (plain ? 1 : 3) > kWrap - 1) {
      out += "=\r\n";
      column = 0;
    }
    if (plain) {
      out += c;
      ++column;
    } else {
      out += '=';
      out += kDigits[static_cast<unsigned char>(c) >> 4];
      out += kDigits[static_cast<unsigned char>(c) & 15];
      column += 3;
    }
  }
  return out;
}

// Its whole lines up to the first empty one.
std::string_view header_of(std::string_view original) {
  const auto kept = original.substr(0, Notice::kMaxHeader);
  std::size_t end = 0;
  while (true) {  // bounded by kMaxHeader
    const auto next = kept.find("\r\n", end);
    if (next == std::string_view::npos || next == end) break;
    end = next + 2;
  }
  return kept.substr(0, end);
}

// The sender's own address is beyond ASCII, so the notice goes only where SMTPUTF8 is spoken.
bool speaks_utf8(const Notice& notice) {
  return notice.to.needs_utf8();
}

// UTF-8 as it is where that may be said, else encoded: all parts of this kind may be (RFC 6532 3.7, RFC 6533 6).
Part global_part(const Notice& notice, std::string_view type, std::string_view text) {
  if (speaks_utf8(notice) && is_sendable(text)) return {type, kEightBit, std::string(text)};
  return {type, kQuoted, quoted_printable(text)};
}

// Some header is beyond ASCII, and was said to be: that of a part of it, too.
bool has_global_header(const Notice& notice, std::string_view text) {
  Utf8Scan scan;
  if (notice.smtputf8) scan.feed(text);
  return scan.found();
}

Part header_part(std::string_view header) {
  if (base::is_ascii(header) && (header.empty() || is_sendable(header)))
    return {"text/rfc822-headers", kSevenBit, std::string(header)};
  return {"text/rfc822-headers", kQuoted, quoted_printable(header)};  // RFC 6522 4
}

Part original_part(const Notice& notice) {
  const auto header = header_of(notice.original);
  if (notice.whole && is_sendable(notice.original)) {
    if (!has_global_header(notice, notice.original))
      return {"message/rfc822", base::is_ascii(notice.original) ? kSevenBit : kEightBit,
              std::string(notice.original)};
    if (base::is_utf8(header)) return global_part(notice, "message/global", notice.original);
  }
  if (has_global_header(notice, header) && base::is_utf8(header))
    return global_part(notice, "message/global-headers", header);
  return header_part(header);
}

// --- Words for people ---------------------------------------------------------------------------

void add_introduction(std::string& text, ReportAction action, std::size_t count) {
  const bool one = count == 1;
  switch (action) {
    case ReportAction::kFailed:
      add(text, "was not delivered to {}.\r\nNo further attempt will be made.\r\n",
          one ? "this recipient" : "these recipients");
      break;
    case ReportAction::kDelayed:
      add(text,
          "has not been delivered yet to {}.\r\nYou need do nothing: it is tried again. This is the "
          "only\r\nnotice of its delay.\r\n",
          one ? "this recipient" : "these recipients");
      break;
    case ReportAction::kRelayed:
      add(text,
          "was handed on for {} to a system that\r\nsends no reports: you will hear of it again only "
          "if it fails.\r\n",
          one ? "this recipient" : "these recipients");
      break;
    case ReportAction::kExpanded:
      add(text,
          "has arrived at {}, which stands for several.\r\nIt is handed on to them: you will hear of it "
          "again only if it fails.\r\n",
          one ? "this address" : "these addresses");
      break;
    case ReportAction::kDelivered:
      add(text, "was delivered to {}.\r\n", one ? "this recipient" : "these recipients");
      break;
  }
}

// What the sender can do about a failure (RFC 3463); empty: nobody can tell by its code.
std::string_view advice(const ReportedRecipient& recipient) {
  const auto status = status_of(recipient);
  constexpr auto code = [](unsigned subject, unsigned detail) { return subject << 16 | detail; };
  switch (code(status.subject, status.detail)) {
    case code(1, 1):
    case code(1, 3):
    case code(1, 6):
      return "Please check how the address is spelt, or ask for the new one.";
    case code(1, 2):
      return "Please check how the part behind the @ is spelt.";
    case code(1, 10):
      return "That domain takes no mail at all.";
    case code(2, 2):
      return "The mailbox is full: try again some days later, or write to another address.";
    case code(2, 3):
    case code(3, 4):
      return "The message is too large for them: please send less, or in parts.";
    case code(4, 7):
      return "Please try again later, or write to another address.";
    default:
      break;
  }
  if (recipient.expired) return "Please try again later, or write to another address.";
  if (status.subject == 7 && !recipient.remote.empty())
    return "A rule of theirs forbids it: only they can say why, or allow it.";
  return {};
}

void add_recipient(std::string& text, const ReportedRecipient& recipient) {
  add(text, "\r\n<{}>\r\n    ", recipient.address.unicode());
  const auto remote = clean(recipient.remote, 255);
  const auto said = recipient.reason.text();
  if (recipient.expired) text += "The time for its delivery is over. The last attempt:\r\n    ";
  const auto* const whose = recipient.reason.code != 0 ? " said: " : ": ";  // its words, or ours
  add_wrapped(text, remote.empty() ? said : remote + whose + said, "    ");
  if (const auto hint = advice(recipient);
      recipient.action == ReportAction::kFailed && !hint.empty()) {
    text += "    ";
    add_wrapped(text, hint, "    ");
  }
  if (recipient.action == ReportAction::kDelayed && recipient.until.ms != 0)
    add(text, "    It is given up on {}.\r\n", base::rfc5322_date(recipient.until));
}

Part for_people(const Notice& notice, const Part& original) {
  std::string text;
  add(text, "This is the mail system at {}.\r\n", notice.hostname);
  for (const auto action : {ReportAction::kFailed, ReportAction::kDelayed, ReportAction::kRelayed,
                            ReportAction::kExpanded, ReportAction::kDelivered}) {
    const auto count = static_cast<std::size_t>(
        std::count_if(notice.recipients.begin(), notice.recipients.end(),
                      [&](const auto& recipient) { return recipient.action == action; }));
    if (count == 0) continue;
    add(text, "\r\nYour message of {}\r\n(number {} here) ", base::rfc5322_date(notice.arrived),
        base::to_string(notice.id));
    add_introduction(text, action, count);
    for (const auto& recipient : notice.recipients)
      if (recipient.action == action) add_recipient(text, recipient);
  }
  const bool whole = original.type == "message/rfc822" || original.type == "message/global";
  text += whole ? kMessageAttached : kHeaderAttached;
  if (base::is_ascii(text)) return {"text/plain; charset=us-ascii", kSevenBit, std::move(text)};
  return global_part(notice, "text/plain; charset=utf-8", text);
}

// --- Words for programs -------------------------------------------------------------------------

// The host's name alone, or its address as a literal, out of "mx.example.org[192.0.2.1]:25".
std::string host_of(std::string_view remote) {
  const auto bracket = remote.find('[');
  if (bracket == 0) return clean(remote.substr(0, remote.find(']') + 1), 255);
  return clean(remote.substr(0, bracket), 255);
}

// With its type (RFC 3464 2.3.2, RFC 6533 3).
std::string final_recipient(const Address& address, bool utf8) {
  if (!address.needs_utf8()) return "rfc822; " + address.text();
  return "utf-8; " + (utf8 ? address.text() : to_utf8_xtext(address.text()));
}

void add_status(std::string& text, const ReportedRecipient& recipient, bool utf8) {
  const auto status = status_of(recipient);
  text += "\r\n";
  if (const auto field = "Original-Recipient: " + recipient.original.field(utf8);
      !recipient.original.empty() && field.size() <= kMaxLine)  // it cannot be folded
    text += field + "\r\n";
  add(text, "Final-Recipient: {}\r\n", final_recipient(recipient.address, utf8));
  add(text, "Action: {}\r\n", name(recipient.action));
  add(text, "Status: {}.{}.{}\r\n", status.status, status.subject, status.detail);
  if (!recipient.remote.empty()) add(text, "Remote-MTA: dns; {}\r\n", host_of(recipient.remote));
  text += recipient.reason.code != 0 ? "Diagnostic-Code: smtp;" : "Diagnostic-Code: x-postern;";
  add_wrapped(text, recipient.reason.text(), "    ");
  if (recipient.last_try.ms != 0)
    add(text, "Last-Attempt-Date: {}\r\n", base::rfc5322_date(recipient.last_try));
  if (recipient.action == ReportAction::kDelayed && recipient.until.ms != 0)
    add(text, "Will-Retry-Until: {}\r\n", base::rfc5322_date(recipient.until));
}

Part delivery_status(const Notice& notice) {
  std::string text;
  if (!notice.envid.empty()) add(text, "Original-Envelope-Id: {}\r\n", notice.envid.text());
  // RFC 3461 6.3 (b): a name without a domain is none of the DNS.
  const bool in_dns = notice.hostname.find('.') != std::string_view::npos;
  add(text, "Reporting-MTA: {}; {}\r\n", in_dns ? "dns" : "x-local-hostname", notice.hostname);
  add(text, "Arrival-Date: {}\r\n", base::rfc5322_date(notice.arrived));
  add(text, "X-Postern-Message-ID: {}\r\n", base::to_string(notice.id));  // extensions are last
  for (const auto& recipient : notice.recipients)
    add_status(text, recipient, speaks_utf8(notice));
  if (base::is_ascii(text)) return {"message/delivery-status", kSevenBit, std::move(text)};
  return {"message/global-delivery-status", kEightBit, std::move(text)};
}

// A boundary that none of the parts contains.
std::string find_boundary(const Notice& notice, const Part& first, const Part& second,
                          const Part& third) {
  for (unsigned attempt = 0;;
       ++attempt) {  // ends: three finite texts hold finitely many candidates
    auto boundary = fmt::format("{}.{}.{}", base::to_string(notice.id), notice.now.ms, attempt);
    const auto absent = [&](const Part& part) {
      return part.text.find(boundary) == std::string::npos;
    };
    if (absent(first) && absent(second) && absent(third)) return boundary;
  }
}

void add_part(std::string& text, std::string_view boundary, const Part& part) {
  add(text, "\r\n--{}\r\nContent-Type: {}\r\n", boundary, part.type);
  if (part.encoding != kSevenBit) add(text, "Content-Transfer-Encoding: {}\r\n", part.encoding);
  text += "\r\n";
  text += part.text;
}

std::string stuffed(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  bool line_start = true;
  while (!text.empty()) {
    if (line_start && text.front() == '.') out += '.';
    const auto lf = text.find('\n');
    const auto line = text.substr(0, lf == std::string_view::npos ? lf : lf + 1);
    out += line;
    line_start = line.back() == '\n';
    text.remove_prefix(line.size());
  }
  return out;
}

}  // namespace

NoticeText build_notice(const Notice& notice) {
  CHECK(!notice.recipients.empty());
  const auto gravest =
      std::min_element(notice.recipients.begin(), notice.recipients.end(),
                       [](const auto& a, const auto& b) { return a.action < b.action; })
          ->action;
  const auto original = original_part(notice);
  const auto people = for_people(notice, original);
  const auto status = delivery_status(notice);
  const auto boundary = find_boundary(notice, people, status, original);
  const std::array parts{&people, &status, &original};
  const bool eight_bit =
      speaks_utf8(notice) || std::any_of(parts.begin(), parts.end(), [](const Part* part) {
        return part->encoding == kEightBit;
      });

  std::string text;
  text.reserve(people.text.size() + status.text.size() + original.text.size() + 2048);
  text += date_field(notice.now);
  add(text, "From: {}\r\n <{}>\r\n", quoted(notice.from_display), notice.from.text());
  add(text, "To: <{}>\r\n", notice.to.text());
  add(text, "Subject: {}\r\n", subject_of(gravest));
  add(text, "Message-ID: <{}.{}.notice@{}>\r\n", base::to_string(notice.id), notice.now.ms,
      notice.hostname);
  text += "Auto-Submitted: auto-replied\r\n";  // RFC 3834 5
  text += "MIME-Version: 1.0\r\n";
  const auto report = status.type.substr(status.type.find('/') + 1);  // RFC 6522 3
  add(text, "Content-Type: multipart/report; report-type={};\r\n boundary=\"{}\"\r\n", report, boundary);
  if (eight_bit) text += kEightBitField;
  text += "\r\nThis is a delivery report in MIME form.\r\n";
  for (const Part* part : parts) add_part(text, boundary, *part);
  add(text, "\r\n--{}--\r\n", boundary);
  return {stuffed(text), eight_bit, speaks_utf8(notice)};
}

// What stands in front of the message is ours, and nothing foreign in it begins a line: the first match is the one.
std::optional<std::string> with_header_alone(std::string_view text) {
  constexpr std::string_view kBoundary = "\r\n boundary=\"", kPart = "\r\nContent-Type: message/rfc822\r\n";
  std::string plain;
  Unstuffer unstuffer(LineEnd::kCrLf);
  unstuffer.feed(text, plain);
  unstuffer.finish(plain);
  const auto begin = plain.find(kBoundary);
  const auto end = begin == std::string::npos ? begin : plain.find('"', begin + kBoundary.size());
  if (end == std::string::npos) return std::nullopt;
  const auto boundary = plain.substr(begin + kBoundary.size(), end - begin - kBoundary.size());
  const auto part = plain.find("\r\n--" + boundary + std::string(kPart));
  const auto eight_bit = plain.find(kEightBitField);
  const auto words = plain.substr(0, part).rfind(kMessageAttached);
  if (part == std::string::npos || eight_bit > part || words == std::string::npos) return std::nullopt;
  const auto header = plain.find("\r\n\r\n", part + kPart.size());
  if (header == std::string::npos) return std::nullopt;

  auto out = plain.substr(0, part);
  out.replace(words, kMessageAttached.size(), kHeaderAttached);
  out.erase(eight_bit, kEightBitField.size());  // in front of the words
  add_part(out, boundary, header_part(header_of(std::string_view(plain).substr(header + 4))));
  add(out, "\r\n--{}--\r\n", boundary);
  if (!base::is_ascii(out)) return std::nullopt;
  return stuffed(out);
}

}  // namespace postern::mail
