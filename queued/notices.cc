#include "queued/notices.h"

#include "common/mail/notice.h"
#include "queued/messages.h"

namespace postern::queued {
namespace {

// MAILER-DAEMON at our name; at nobody's where that is no mail domain (a bare host name is one).
mail::Address daemon_address(const std::string& hostname) {
  if (auto address = mail::Address::parse("MAILER-DAEMON@" + hostname)) return *std::move(address);
  return mail::Address::parse("MAILER-DAEMON@localhost").value();
}

}  // namespace

BuiltNotice make_notice(const Message& message, const std::vector<RecipientFate>& failed,
                        const std::string& remote, std::string_view head, base::MessageId id,
                        const config::QueuedConfig& config, base::WallTime now, QueueTime clock) {
  mail::Notice notice;
  notice.hostname = config.hostname;
  notice.from_display = config.bounce_from;
  notice.from = daemon_address(config.hostname);
  notice.to = message.from.address();
  notice.id = message.id;
  notice.arrived = message.arrived;
  notice.now = now;
  notice.original = head;
  for (const auto& fate : failed) {
    const Recipient* recipient = find_recipient(message, fate.number);
    if (recipient == nullptr) continue;
    mail::FailedRecipient entry;
    entry.address = recipient->address;
    entry.reason = ipc::from_ipc(fate.reply);
    entry.remote = remote;
    entry.last_try = now;
    if (fate.reply.status == 5)
      entry.status = {fate.reply.status, fate.reply.subject, fate.reply.detail};
    notice.failed.push_back(std::move(entry));
  }

  BuiltNotice built;
  built.body = mail::build_notice(notice);
  auto& record = built.record;
  record.id = id;
  record.arrived = now;
  record.born = clock;
  record.client = {};
  record.hello = "";
  record.notice = true;
  record.body_size = built.body.size();
  record.recipients.push_back({.number = 0, .address = message.from.address()});
  return built;
}

}  // namespace postern::queued
