// Retry: what one attempt's result means for a recipient: done, again later, or failed; and the tables
// that say when. Pure.
//
// For a failure in a queue the rule with the most specific `to` holds, of several of these the one that
// names the class of failure before one for any; what it does not say, and what no rule is for, [retry]
// itself says. A wait is never shorter than written down, and up to `spread` per cent longer, so that
// mail that failed together does not come back as a herd. By how much is decided by a lot that follows
// from the message's id alone: its recipients stay together, and tables that did not change give the
// same times.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

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

// What holds for one class of failure in one queue. Valid as long as its tables.
struct RetryTerms {
  std::span<const base::Millis> after;  // never empty; the last one repeats
  base::Millis expire{0};               // 0: never
  base::Millis notify{0};               // age at which the sender is told of the delay; 0: never
  std::uint32_t spread = 0;             // per cent
  const config::RetryRule* rule = nullptr;  // that says so; null: [retry] does
};

class RetryTables {
 public:
  explicit RetryTables(const config::RetryConfig& config);

  [[nodiscard]] RetryTerms terms(std::string_view queue, ipc::FailureClass failure) const;
  // Below this age no message expires or is late, whatever its queue and its failure.
  [[nodiscard]] base::Millis youngest() const { return std::min(shortest_life_, soonest_late_); }
  // Below this one none expires.
  [[nodiscard]] base::Millis shortest_life() const { return shortest_life_; }

 private:
  // Indexes into the rules, by class of failure; the last one: any.
  using Rules = std::array<std::uint32_t, config::kFailureClasses + 1>;
  [[nodiscard]] const config::RetryRule* find(std::string_view queue,
                                              ipc::FailureClass failure) const;
  [[nodiscard]] const config::RetryRule* pick(const Rules& rules, ipc::FailureClass failure) const;

  config::RetryConfig config_;
  std::unordered_map<std::string, Rules> exact_;
  std::unordered_map<std::string, Rules> below_;  // by "slow.example" for "*.slow.example"
  Rules all_{};
  base::Millis shortest_life_ = base::Millis::max();
  base::Millis soonest_late_ = base::Millis::max();
};

// What decides by how much a wait is longer than written down.
[[nodiscard]] std::uint64_t lot_of(base::MessageId id, std::uint32_t failures);
[[nodiscard]] std::uint64_t lot_of(std::string_view queue, std::uint32_t failures);

// How long to wait after this many failures in a row (from 1 on).
[[nodiscard]] base::Millis retry_delay(const RetryTerms& terms, std::uint32_t failures,
                                       std::uint64_t lot);

// Is a message of this age, its blocked time taken off, to be given up after a failed attempt?
[[nodiscard]] inline bool is_expired(const RetryTerms& terms, base::Millis age) {
  return terms.expire.count() != 0 && age > terms.expire;
}

// Is it so old that its sender should hear of the delay?
[[nodiscard]] inline bool is_late(const RetryTerms& terms, base::Millis age) {
  return terms.notify.count() != 0 && age >= terms.notify;
}

// What was answered to an attempt: our own words where nobody said anything.
[[nodiscard]] ipc::ReplyText answer_to(const Attempt& attempt);
// It failed because its time was over, not by this answer: the fate's reply is in our own words, for people.
[[nodiscard]] bool has_expired(const RecipientFate& fate, const Attempt& attempt);

// Did a host refuse it for reasons of security or policy (RFC 3463 3.8), for now or for good? Another may not.
[[nodiscard]] bool is_policy_refusal(const Attempt& attempt);
// What a try came to by its second path, with what its first one was told.
[[nodiscard]] ipc::ReplyText after_refusal(ipc::ReplyText reply, const Trouble& refusal);

// The fate of a recipient of message `id`. `terms`: of its queue and this failure. `age`: of the
// message on the queue clock, without the time that it was blocked.
[[nodiscard]] RecipientFate judge(const RetryTerms& terms, base::MessageId id,
                                  const Recipient& recipient, const Attempt& attempt,
                                  base::Millis age, QueueTime now);

// When a recipient that waits is due by the tables of now: never later than it was foreseen by those of
// its last attempt. Of one whose attempt's time on the queue clock is not known (it was imported, or
// format 4 kept it), what was foreseen stands.
[[nodiscard]] QueueTime due_by(const RetryTables& tables, std::string_view queue,
                               base::MessageId id, const Recipient& recipient);
// Likewise of a queue that waits as a whole.
[[nodiscard]] QueueTime due_by(const RetryTables& tables, const QueueRecord& wait);

// The words for a recipient that is given up; `last` is what the last attempt said.
[[nodiscard]] ipc::ReplyText expired_reply(const ipc::ReplyText& last);
// "451 4.3.0 try later" of a reply; its text alone where nobody said it.
[[nodiscard]] std::string text_of(const ipc::ReplyText& reply);
// Words of our own, with an enhanced code.
[[nodiscard]] ipc::ReplyText our_reply(std::uint8_t status, std::uint16_t subject,
                                       std::uint16_t detail, std::string text);

}  // namespace postern::queued
