#include "queued/notices.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "common/base/text.h"
#include "common/mail/unstuffer.h"
#include "queued/messages.h"
#include "queued/retry.h"

namespace postern::queued {
namespace {

using mail::ReportAction;

// The deliverer of mailboxes is no other host.
constexpr std::string_view kLocalRemote = "local";
constexpr std::string_view kSocketRemote = "unix:/";

// MAILER-DAEMON at our name; at nobody's where that is no mail domain (a bare host name is one).
mail::Address daemon_address(const std::string& hostname) {
  if (auto address = mail::Address::parse("MAILER-DAEMON@" + hostname)) return *std::move(address);
  return mail::Address::parse("MAILER-DAEMON@localhost").value();
}

bool any_failed(const std::vector<Report>& reports) {
  return std::any_of(reports.begin(), reports.end(), [](const Report& report) {
    return report.action == ReportAction::kFailed;
  });
}

// To a list's owner, to whom the words of the message's first sender mean nothing (RFC 3461 5.2.7.1 b).
bool goes_to_owner(const Message& message, const std::vector<Report>& reports) {
  const Recipient* const first = find_recipient(message, reports.front().number);
  return first != nullptr && first->sender;
}

// RFC 3461 4.3: only failures bring the message back. A binary one stays here, lest the notice be binary too. So does
// one that was sent with REQUIRETLS, whatever RET says (RFC 8689 5): the way back may be a worse one.
bool goes_back_whole(const Message& message, const std::vector<Report>& reports) {
  return !goes_to_owner(message, reports) && message.form != ipc::BodyForm::kBinary &&
         message.tls_wish != mail::TlsWish::kRequired && message.ret == mail::Return::kFull &&
         message.size() <= kNoticeWhole && any_failed(reports);
}

mail::ReportedRecipient reported(const Recipient& recipient, const Report& report,
                                 base::WallTime now) {
  mail::ReportedRecipient entry;
  entry.address = recipient.address;
  entry.original = recipient.orcpt;
  entry.action = report.action;
  entry.reason = ipc::from_ipc(report.reply);
  // What is on this host is nobody else's affair.
  if (report.remote != kLocalRemote && !report.remote.starts_with(kSocketRemote))
    entry.remote = report.remote;
  entry.last_try = now;
  entry.expired = report.expired;
  if (report.action == ReportAction::kFailed && report.reply.status == (report.expired ? 4 : 5))
    entry.status = {report.reply.status, report.reply.subject, report.reply.detail};
  else if (report.expired)
    entry.status = {4, 4, 7};  // delivery time expired
  entry.until = report.until;
  return entry;
}

}  // namespace

std::optional<ReportAction> report_on(mail::Notify notify, Fate fate, ipc::Arrival arrival,
                                      bool late) {
  switch (fate) {
    case Fate::kFailed:
      return notify.failure() ? std::optional(ReportAction::kFailed) : std::nullopt;
    case Fate::kDeferred:
      return late && notify.delay() ? std::optional(ReportAction::kDelayed) : std::nullopt;
    case Fate::kRemoved:
      return std::nullopt;
    case Fate::kDelivered:
      break;
  }
  if (!notify.success()) return std::nullopt;
  switch (arrival) {
    case ipc::Arrival::kFinal:
      return ReportAction::kDelivered;
    case ipc::Arrival::kRelayed:
      return ReportAction::kRelayed;
    case ipc::Arrival::kAnswerable:
      break;
  }
  return std::nullopt;
}

std::size_t wanted_of_original(const Message& message, const std::vector<Report>& reports) {
  return goes_back_whole(message, reports) ? kNoticeWhole : kNoticeHeader;
}

BuiltNotice make_notice(const Message& message, const std::vector<Report>& reports,
                        std::string_view head, base::MessageId id,
                        const config::QueuedConfig& config, base::WallTime now, QueueTime clock) {
  std::string original;
  mail::Unstuffer unstuffer(mail::LineEnd::kCrLf);
  unstuffer.feed(head, original);
  unstuffer.finish(original);
  mail::Notice notice;
  notice.hostname = config.hostname;
  notice.from_display = config.bounce_from;
  notice.from = daemon_address(config.hostname);
  const bool to_owner = goes_to_owner(message, reports);
  const auto& to = to_owner ? *find_recipient(message, reports.front().number)->sender : message.from.address();
  notice.to = to;
  notice.id = message.id;
  if (!to_owner) notice.envid = message.envid;
  notice.arrived = message.arrived;
  notice.now = now;
  notice.original = original;
  notice.smtputf8 = message.smtputf8;
  notice.whole = goes_back_whole(message, reports) && head.size() == message.size();
  for (const auto& report : reports)
    if (const Recipient* recipient = find_recipient(message, report.number))
      notice.recipients.push_back(reported(*recipient, report, now));

  BuiltNotice built;
  auto text = mail::build_notice(notice);
  built.body = std::move(text.text);
  auto& record = built.record;
  record.id = id;
  record.arrived = now;
  record.born = clock;
  record.client = {};
  record.hello = "";
  record.eight_bit = text.eight_bit;
  record.smtputf8 = text.utf8;
  record.tls_wish = message.tls_wish;  // it holds the message's header (RFC 8689 5)
  record.notice = true;
  record.body_size = built.body.size();
  record.recipients.emplace_back().address = to;
  if (const auto& copy = config.bounce_copy_to; copy && any_failed(reports) && *copy != to) {
    auto& second = record.recipients.emplace_back();
    second.number = 1;
    second.address = *copy;
  }
  return built;
}

bool goes_anew(const Message& message, const std::vector<RecipientFate>& fates) {
  return message.notice && message.eight_bit && !message.smtputf8 &&
         std::all_of(fates.begin(), fates.end(), [](const RecipientFate& fate) {
           const auto& reply = fate.reply;  // conversion required but not supported
           return fate.fate == Fate::kFailed && reply.status == 5 && reply.subject == 6 && reply.detail == 3;
         });
}

BadmailReason badmail_reason(const Message& message, const std::vector<RecipientFate>& fates,
                             const std::string& remote) {
  BadmailReason reason;
  reason.envelope = fmt::format(
      "Message: {}\nArrived: {}\nFrom: <>\nClient: {}\nWhy: its recipients failed, and a message "
      "with a null sender cannot be returned\n",
      base::to_string(message.id), base::rfc5322_date(message.arrived),
      message.notice ? "none, it is a notice of our own" : base::to_string(message.client));
  auto out = std::back_inserter(reason.failures);
  for (const auto& fate : fates) {
    const Recipient* recipient = find_recipient(message, fate.number);
    if (fate.fate != Fate::kFailed || recipient == nullptr) continue;
    fmt::format_to(out, "\nTo: <{}>\n", recipient->address.text());
    if (!remote.empty()) fmt::format_to(out, "Remote: {}\n", base::printable(remote, 320));
    fmt::format_to(out, "Reply: {}\n", base::printable(text_of(fate.reply)));
  }
  return reason;
}

}  // namespace postern::queued
