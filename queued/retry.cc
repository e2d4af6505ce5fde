#include "queued/retry.h"

#include <algorithm>

#include "common/base/check.h"

namespace postern::queued {

base::Millis retry_delay(const config::RetryConfig& retry, std::uint32_t failures) {
  if (retry.after.empty()) return base::Millis(15 * 60 * 1000);
  const auto step = std::min<std::size_t>(std::max(failures, 1U) - 1, retry.after.size() - 1);
  return retry.after[step];
}

RecipientFate judge(const config::RetryConfig& retry, const Recipient& recipient,
                    const Attempt& attempt, base::Millis age, QueueTime now) {
  RecipientFate fate;
  fate.number = recipient.number;
  fate.failure = attempt.failure;
  fate.reply = attempt.reply;
  switch (attempt.result) {
    case ipc::Result::kDelivered:
      fate.fate = Fate::kDelivered;
      return fate;
    case ipc::Result::kFailed:
      fate.fate = Fate::kFailed;
      return fate;
    case ipc::Result::kUnknown:
      if (fate.reply.text.empty())
        fate.reply = our_reply(4, 4, 2, "no answer after the final dot; it may have arrived");
      break;
    case ipc::Result::kDeferred:
      break;
    case ipc::Result::kReturned:
      CHECK(false);
  }
  if (is_expired(retry, age)) {
    fate.fate = Fate::kFailed;
    fate.reply = expired_reply(fate.reply);
    return fate;
  }
  fate.fate = Fate::kDeferred;
  fate.next_try = now + retry_delay(retry, recipient.tries + 1);
  return fate;
}

ipc::ReplyText expired_reply(const ipc::ReplyText& last) {
  auto text = "delivery time expired; last: " + text_of(last);
  return our_reply(5, 4, 7, text.substr(0, mail::Reply::kMaxText));
}

std::string text_of(const ipc::ReplyText& reply) {
  std::string text;
  if (reply.code != 0) text += std::to_string(reply.code) + ' ';
  if (reply.status != 0)
    text += std::to_string(reply.status) + '.' + std::to_string(reply.subject) + '.' +
            std::to_string(reply.detail) + ' ';
  return text + reply.text;
}

ipc::ReplyText our_reply(std::uint8_t status, std::uint16_t subject, std::uint16_t detail,
                         std::string text) {
  return {0, status, subject, detail, std::move(text)};
}

}  // namespace postern::queued
