// Notices: what a sender is told of its message's recipients, as the message that the outcome's
// record carries. One for each occasion with all its recipients, never for a null reverse-path. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/config/roles.h"
#include "common/mail/notice.h"
#include "queued/message.h"

namespace postern::queued {

// Of one recipient, on one occasion.
struct Report {
  std::uint32_t number = 0;
  mail::ReportAction action = mail::ReportAction::kFailed;
  ipc::ReplyText reply;
  base::WallTime until;  // delayed: when it is given up; 0: never
  std::string remote;    // who said the reply, if anybody but us
  bool expired = false;  // failed: its time was over, the reply is the last one, and says "not yet"
};

struct BuiltNotice {
  MessageRecord record;  // from <> to the sender, without id
  std::string body;
};

// How much of the original's header a notice may hold, and how large the prefix and body of one may be
// that goes back whole to who asked for it.
inline constexpr std::size_t kNoticeHeader = 16 * 1024;
inline constexpr std::size_t kNoticeWhole = 64 * 1024;

// To how many a notice goes where its sender is an alias; the first ones. So it has room in the record of an outcome:
// they take that of the trace which a notice has not.
inline constexpr std::size_t kMostTold = 8;

// Is there anybody who could be told?
[[nodiscard]] inline bool has_sender(const Message& message) { return !message.from.is_null(); }

// The report that a recipient's fate causes, by what its sender asked for (RFC 3461 4.1, 5.2).
// `arrival`: of a delivered one. `late`: a deferred one is so old that its delay is worth a notice, and
// none was sent.
[[nodiscard]] std::optional<mail::ReportAction> report_on(mail::Notify notify, Fate fate,
                                                          ipc::Arrival arrival, bool late);

// Bytes of the original that a notice with these reports wants; at least its header.
[[nodiscard]] std::size_t wanted_of_original(const Message& message,
                                             const std::vector<Report>& reports);

// All reports are of recipients of one sender (sender_of), who gets it. `head`: the original's beginning, at least as much as is wanted of it, or nothing. `id`: the notice's.
[[nodiscard]] BuiltNotice make_notice(const Message& message, const std::vector<Report>& reports,
                                      std::string_view head, base::MessageId id,
                                      const config::QueuedConfig& config, base::WallTime now,
                                      QueueTime clock);

// A notice of ours that brings a message with eight bits to where only seven are taken, and can go there with less.
[[nodiscard]] bool goes_anew(const Message& message, const std::vector<RecipientFate>& fates);

// Of an occasion whose failures nobody can be told of.
[[nodiscard]] BadmailReason badmail_reason(const Message& message,
                                           const std::vector<RecipientFate>& fates,
                                           const std::string& remote);

}  // namespace postern::queued
