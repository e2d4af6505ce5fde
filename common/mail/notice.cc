#include "common/mail/notice.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "common/base/text.h"

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

EnhancedCode status_of(const FailedRecipient& recipient) {
  if (recipient.status.status != 0) return recipient.status;
  if (recipient.reason.enhanced.status == 5) return recipient.reason.enhanced;
  return {5, 0, 0};
}

std::string original_header(std::string_view original) {
  std::string header;
  original = original.substr(0, Notice::kMaxHeader);
  while (!original.empty()) {  // bounded by kMaxHeader
    const auto end = original.find("\r\n");
    if (end == std::string_view::npos || end == 0) break;  // cut within a line, or the header's end
    auto line = original.substr(0, end);
    for (const char c : line.substr(0, kMaxLine))
      header += (c >= ' ' && c <= '~') || c == '\t' ? c : '?';
    header += "\r\n";
    original.remove_prefix(end + 2);
  }
  return header;
}

std::string for_people(const Notice& notice) {
  std::string text;
  add(text, "This is the mail system at {}.\r\n\r\n", notice.hostname);
  add(text, "Your message of {}\r\n", base::rfc5322_date(notice.arrived));
  add(text, "(number {} here) was not delivered to {}.\r\n", base::to_string(notice.id),
      notice.failed.size() == 1 ? "this recipient" : "these recipients");
  text += "No further attempt will be made.\r\n";
  for (const auto& recipient : notice.failed) {
    add(text, "\r\n<{}>\r\n    ", recipient.address.text());
    const auto remote = clean(recipient.remote, 255);
    const auto said = recipient.reason.text();
    add_wrapped(text, remote.empty() ? said : remote + " said: " + said, "    ");
  }
  text += "\r\nThe header of your message is attached.\r\n";
  return text;
}

std::string delivery_status(const Notice& notice) {
  std::string text;
  add(text, "Reporting-MTA: dns; {}\r\n", notice.hostname);
  add(text, "X-Postern-Message-ID: {}\r\n", base::to_string(notice.id));
  add(text, "Arrival-Date: {}\r\n", base::rfc5322_date(notice.arrived));
  for (const auto& recipient : notice.failed) {
    const auto status = status_of(recipient);
    add(text, "\r\nFinal-Recipient: rfc822; {}\r\n", recipient.address.text());
    text += "Action: failed\r\n";
    add(text, "Status: {}.{}.{}\r\n", status.status, status.subject, status.detail);
    if (!recipient.remote.empty())
      add(text, "Remote-MTA: dns; {}\r\n", clean(recipient.remote, 255));
    text += recipient.reason.code != 0 ? "Diagnostic-Code: smtp;" : "Diagnostic-Code: x-postern;";
    add_wrapped(text, recipient.reason.text(), "    ");
    if (recipient.last_try.ms != 0)
      add(text, "Last-Attempt-Date: {}\r\n", base::rfc5322_date(recipient.last_try));
  }
  return text;
}

// A boundary that none of the parts contains.
std::string find_boundary(const Notice& notice, std::string_view first, std::string_view second,
                          std::string_view third) {
  for (unsigned attempt = 0;;
       ++attempt) {  // ends: three finite texts hold finitely many candidates
    auto boundary = fmt::format("{}.{}.{}", base::to_string(notice.id), notice.now.ms, attempt);
    const auto absent = [&](std::string_view part) {
      return part.find(boundary) == std::string_view::npos;
    };
    if (absent(first) && absent(second) && absent(third)) return boundary;
  }
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

std::string build_notice(const Notice& notice) {
  const auto people = for_people(notice);
  const auto status = delivery_status(notice);
  const auto header = original_header(notice.original);
  const auto boundary = find_boundary(notice, people, status, header);

  std::string text;
  text.reserve(people.size() + status.size() + header.size() + 2048);
  add(text, "Date: {}\r\n", base::rfc5322_date(notice.now));
  add(text, "From: {}\r\n <{}>\r\n", quoted(notice.from_display), notice.from.text());
  add(text, "To: <{}>\r\n", notice.to.text());
  text += "Subject: Undelivered mail returned to sender\r\n";
  add(text, "Message-ID: <{}.{}.notice@{}>\r\n", base::to_string(notice.id), notice.now.ms,
      notice.hostname);
  text += "Auto-Submitted: auto-replied\r\n";  // RFC 3834 5
  text += "MIME-Version: 1.0\r\n";
  add(text,
      "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{}\"\r\n\r\n",
      boundary);
  text += "This is a delivery report in MIME form.\r\n";
  add(text, "\r\n--{}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n", boundary);
  text += people;
  add(text, "\r\n--{}\r\nContent-Type: message/delivery-status\r\n\r\n", boundary);
  text += status;
  add(text, "\r\n--{}\r\nContent-Type: text/rfc822-headers\r\n\r\n", boundary);
  text += header;
  add(text, "\r\n--{}--\r\n", boundary);
  return stuffed(text);
}

}  // namespace postern::mail
