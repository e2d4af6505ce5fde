// Retry: what one attempt's result means for a recipient: done, again later, or failed. Pure.
#pragma once

#include "common/config/roles.h"
#include "queued/message.h"

namespace postern::queued {

// What a deliverer, or we, say of one recipient. kReturned does not come here: nothing was tried.
struct Attempt {
  ipc::Result result = ipc::Result::kDeferred;
  ipc::FailureClass failure = ipc::FailureClass::kConnect;
  ipc::ReplyText reply;
  ipc::Arrival arrival = ipc::Arrival::kFinal;  // delivered
};

// How long to wait after this many failures in a row (from 1 on).
[[nodiscard]] base::Millis retry_delay(const config::RetryConfig& retry, std::uint32_t failures);

// Is a message of this age, its blocked time taken off, to be given up after a failed attempt?
[[nodiscard]] inline bool is_expired(const config::RetryConfig& retry, base::Millis age) {
  return retry.expire.count() != 0 && age > retry.expire;
}

// Is it so old that its sender should hear of the delay?
[[nodiscard]] inline bool is_late(const config::RetryConfig& retry, base::Millis age) {
  return retry.notify.count() != 0 && age >= retry.notify;
}

// `age`: of the message on the queue clock, without the time that it was blocked.
[[nodiscard]] RecipientFate judge(const config::RetryConfig& retry, const Recipient& recipient,
                                  const Attempt& attempt, base::Millis age, QueueTime now);

// The words for a recipient that is given up; `last` is what the last attempt said.
[[nodiscard]] ipc::ReplyText expired_reply(const ipc::ReplyText& last);
// "451 4.3.0 try later" of a reply; its text alone where nobody said it.
[[nodiscard]] std::string text_of(const ipc::ReplyText& reply);
// Words of our own, with an enhanced code.
[[nodiscard]] ipc::ReplyText our_reply(std::uint8_t status, std::uint16_t subject,
                                       std::uint16_t detail, std::string text);

}  // namespace postern::queued
