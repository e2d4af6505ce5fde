#include "queued/retry.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/crc32c.h"

namespace postern::queued {
namespace {

constexpr base::Millis kUnsaid{15 * 60'000};
constexpr std::uint32_t kNoRule = ~0U;
constexpr std::size_t kAny = config::kFailureClasses;

// Neighbours get lots far from each other (the finalizer of splitmix64).
constexpr std::uint64_t mixed(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

}  // namespace


// --- Tables -----------------------------------------------------------------------------------------

RetryTables::RetryTables(const config::RetryConfig& config) : config_(config) {
  if (config_.after.empty()) config_.after = {kUnsaid};
  Rules none;
  none.fill(kNoRule);
  all_ = none;
  const auto note = [](base::Millis& least, base::Millis age) {
    if (age.count() != 0) least = std::min(least, age);
  };
  note(shortest_life_, config_.expire);
  note(soonest_late_, config_.notify);
  for (std::uint32_t i = 0; i < config_.rules.size(); ++i) {
    const auto& rule = config_.rules[i];
    note(shortest_life_, rule.expire.value_or(base::Millis(0)));
    note(soonest_late_, rule.notify.value_or(base::Millis(0)));
    const auto on = rule.on ? static_cast<std::size_t>(*rule.on) : kAny;
    for (const auto& to : rule.to) {
      if (to == "*")
        all_[on] = i;
      else if (to.starts_with("*."))
        below_.try_emplace(to.substr(2), none).first->second[on] = i;
      else
        exact_.try_emplace(to, none).first->second[on] = i;
    }
  }
}

const config::RetryRule* RetryTables::pick(const Rules& rules, ipc::FailureClass failure) const {
  for (const auto on : {static_cast<std::size_t>(failure), kAny})
    if (rules[on] != kNoRule) return &config_.rules[rules[on]];
  return nullptr;
}

const config::RetryRule* RetryTables::find(std::string_view queue,
                                           ipc::FailureClass failure) const {
  if (config_.rules.empty()) return nullptr;  // the usual case
  const std::string name(queue);
  if (const auto at = exact_.find(name); at != exact_.end())
    if (const auto* rule = pick(at->second, failure)) return rule;
  // The longest pattern wins.
  for (auto dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
    if (const auto at = below_.find(name.substr(dot + 1)); at != below_.end())
      if (const auto* rule = pick(at->second, failure)) return rule;
  return pick(all_, failure);
}

RetryTerms RetryTables::terms(std::string_view queue, ipc::FailureClass failure) const {
  const auto* rule = find(queue, failure);
  RetryTerms terms{config_.after, config_.expire, config_.notify, config_.spread, rule};
  if (rule == nullptr) return terms;
  if (!rule->after.empty()) terms.after = rule->after;
  terms.expire = rule->expire.value_or(terms.expire);
  terms.notify = rule->notify.value_or(terms.notify);
  return terms;
}

std::uint64_t lot_of(base::MessageId id, std::uint32_t failures) {
  return mixed(id.value + failures);
}

std::uint64_t lot_of(std::string_view queue, std::uint32_t failures) {
  return mixed(base::crc32c(queue) + failures);
}

base::Millis retry_delay(const RetryTerms& terms, std::uint32_t failures, std::uint64_t lot) {
  const auto step = std::min<std::size_t>(std::max(failures, 1U) - 1, terms.after.size() - 1);
  const auto wait = terms.after[step];
  const auto most = static_cast<std::uint64_t>(wait.count()) * terms.spread / 100;
  return wait + base::Millis(static_cast<std::int64_t>(lot % (most + 1)));
}

QueueTime due_by(const RetryTables& tables, std::string_view queue, base::MessageId id,
                 const Recipient& recipient) {
  if (recipient.tries == 0 || !recipient.trouble || recipient.tried.count() < 0)
    return recipient.next_try;
  const auto terms = tables.terms(queue, recipient.trouble->failure);
  return std::min(recipient.next_try,
                  recipient.tried + retry_delay(terms, recipient.tries, lot_of(id, recipient.tries)));
}

QueueTime due_by(const RetryTables& tables, const QueueRecord& wait) {
  const auto terms = tables.terms(wait.behalf.empty() ? wait.queue : wait.behalf, wait.failure);
  return std::min(wait.until, wait.clock + retry_delay(terms, wait.failures,
                                                       lot_of(wait.queue, wait.failures)));
}

// --- Fates ------------------------------------------------------------------------------------------

ipc::ReplyText answer_to(const Attempt& attempt) {
  if (attempt.result == ipc::Result::kUnknown && attempt.reply.text.empty())
    return our_reply(4, 4, 2, "no answer after the final dot; it may have arrived");
  return attempt.reply;
}

bool has_expired(const RecipientFate& fate, const Attempt& attempt) {
  return fate.fate == Fate::kFailed && attempt.result != ipc::Result::kFailed;
}

bool is_policy_refusal(const Attempt& attempt) {
  constexpr std::uint16_t kPolicyStatus = 7;
  const bool refused = attempt.result == ipc::Result::kDeferred || attempt.result == ipc::Result::kFailed;
  return refused && attempt.reply.code != 0 && attempt.reply.status >= 4 && attempt.reply.subject == kPolicyStatus;
}

ipc::ReplyText after_refusal(ipc::ReplyText reply, const Trouble& refusal) {
  constexpr std::size_t kMost = mail::Reply::kMaxText / 2;  // of the first one
  const auto said = " (second path; " + (refusal.remote.empty() ? "" : refusal.remote + " said ") +
                    text_of(refusal.reply);
  reply.text = reply.text.substr(0, mail::Reply::kMaxText - kMost) + said.substr(0, kMost - 1) + ')';
  return reply;
}

RecipientFate judge(const RetryTerms& terms, base::MessageId id, const Recipient& recipient,
                    const Attempt& attempt, base::Millis age, QueueTime now) {
  RecipientFate fate;
  fate.number = recipient.number;
  fate.failure = attempt.failure;
  fate.reply = answer_to(attempt);
  switch (attempt.result) {
    case ipc::Result::kDelivered:
      fate.fate = Fate::kDelivered;
      return fate;
    case ipc::Result::kFailed:
      fate.fate = Fate::kFailed;
      return fate;
    case ipc::Result::kUnknown:
    case ipc::Result::kDeferred:
      break;
    case ipc::Result::kReturned:
      CHECK(false);
  }
  if (is_expired(terms, age)) {
    fate.fate = Fate::kFailed;
    fate.reply = expired_reply(fate.reply);
    return fate;
  }
  fate.fate = Fate::kDeferred;
  const auto failures = recipient.tries_so_far();
  fate.next_try = now + retry_delay(terms, failures, lot_of(id, failures));
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
