#include "queued/asking.h"

#include <fmt/format.h>

#include <utility>

#include "common/base/text.h"
#include "common/log/log.h"
#include "queued/retry.h"

namespace postern::queued {
namespace {

constexpr std::size_t kWords = 200;  // of the next hop's, in our reply

mail::Reply later(const mail::Address& address, mail::EnhancedCode code, std::string_view why) {
  return {451, code, {fmt::format("<{}>: {}", address.text(), why)}};
}

mail::Reply too_many(const mail::Address& address) {
  return later(address, {4, 3, 2}, "too many recipients are being asked for, try again later");
}

}  // namespace

std::optional<mail::Reply> answer_to_rcpt(const mail::Address& address,
                                          const ipc::Probed& probed) {
  const auto& reply = probed.reply;
  const auto words = base::printable(text_of(reply)).substr(0, kWords);
  switch (probed.result) {
    case ipc::Result::kDelivered:
      return std::nullopt;
    case ipc::Result::kFailed: {
      mail::EnhancedCode code{5, 1, 1};
      if (reply.status == 5) code = {reply.status, reply.subject, reply.detail};
      return mail::Reply{
          550, code, {fmt::format("<{}>: not accepted by the next hop: {}", address.text(), words)}};
    }
    case ipc::Result::kDeferred:
    case ipc::Result::kUnknown:
    case ipc::Result::kReturned:
      break;
  }
  if (reply.code == 0) return later(address, {4, 4, 1}, "the next hop cannot be asked, try again later");
  return later(address, {4, 3, 0}, "the next hop says: " + words);
}

void Asking::ask(const mail::Address& address, const Route& route, bool blocked,
                 Answered answered) {
  const auto name = address.text();
  if (const auto said = cache_.find(name, clock_.steady())) return answered(said->refusal);
  if (blocked)
    return answered(later(address, {4, 3, 2}, "mail for this domain is stopped, try again later"));
  if (const auto at = by_address_.find(name); at != by_address_.end()) {
    auto& waiting = open_.at(at->second).waiting;
    if (waiting.size() >= kMostWaiting) return answered(too_many(address));
    return waiting.push_back(std::move(answered));
  }
  auto& of_queue = of_queue_[route.queue];
  if (open_.size() >= kMost || of_queue >= kMostOfQueue) return answered(too_many(address));
  const ipc::Probe probe{last_request_ = last_request_.next(), route.queue,
                         route.destination.via.front(), address};
  if (!probe_ || !probe_(probe))
    return answered(later(address, {4, 3, 2}, "nobody can ask the next hop now, try again later"));
  ++of_queue;
  by_address_.emplace(name, probe.request);
  auto& open = open_[probe.request];
  open = {address, route.queue, {}};
  open.waiting.push_back(std::move(answered));
}

void Asking::probed(const ipc::Probed& probed) {
  const auto at = open_.find(probed.request);
  if (at == open_.end()) return;
  auto open = std::move(at->second);
  open_.erase(at);
  by_address_.erase(open.address.text());
  if (const auto count = of_queue_.find(open.queue); --count->second == 0) of_queue_.erase(count);
  const auto answer = answer_to_rcpt(open.address, probed);
  if (!answer || answer->permanent()) cache_.keep(open.address.text(), {answer}, clock_.steady());
  log::info("recipient.asked")
      .field("to", open.address.text())
      .field("queue", open.queue)
      .field("remote", probed.remote)
      .field("reply", text_of(probed.reply))
      .field("known", !answer ? "yes" : answer->permanent() ? "no" : "unclear");
  for (auto& answered : open.waiting) answered(answer);
}

}  // namespace postern::queued
