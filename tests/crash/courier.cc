#include "tests/crash/courier.h"

#include <algorithm>
#include <ranges>
#include <utility>

namespace postern::crash {

void Courier::forget_channel() {
  relay_.reset();
  local_.reset();
  asked_.clear();
  arriving_.clear();
  grants_.clear();
  looking_.clear();
  calls_.clear();
  dismissed_.clear();
  collects_.clear();
}

void Courier::connect(base::UniqueFd fd) {
  forget_channel();
  if (role_ == ipc::Role::kRelay)
    relay_ = std::make_unique<Relay>(loop_, std::move(fd), *this);
  else
    local_ = std::make_unique<Local>(loop_, std::move(fd), *this);
  ipc::HeldLeases held;
  for (const auto& delivery : in_hand_) {
    auto& lease = held.leases.emplace_back();
    lease = {delivery.lease.lease, delivery.lease.epoch, delivery.lease.message, {}};
    for (const auto& recipient : delivery.lease.recipients)
      lease.recipients.push_back(recipient.number);
  }
  for (const auto& [request, report] : std::views::reverse(reports_)) {
    auto& lease = held.leases.emplace_back();
    lease = {report.outcome.lease, report.outcome.epoch, report.outcome.message, {}};
    for (const auto& result : report.outcome.results)
      if (result.result != ipc::Result::kReturned) lease.recipients.push_back(result.number);
  }
  constexpr std::size_t kInFrame = 100;
  for (auto& all = held.leases; all.size() > kInFrame; all.erase(all.begin(), all.begin() + kInFrame))
    send(ipc::HeldLeases{{all.begin(), all.begin() + kInFrame}, false});
  send(held);
}

void Courier::die() {
  forget_channel();
  in_hand_.clear();
  reports_.clear();
}

void Courier::ask(base::GrantId grant) {
  const base::RequestId request(++last_request_);
  asked_[request] = grant;
  send(ipc::AskWork{request, grant});
}

void Courier::end(base::GrantId grant) {
  calls_.erase(grant);
  dismissed_.erase(grant);
  ipc::GrantEnded ended;
  ended.grant = grant;
  send(ended);
}

void Courier::on(const ipc::Grant& grant, ipc::Descriptors) {
  const auto host = grant.queue + ":25";
  if (grant.turned) calls_.insert(grant.grant);
  if (grant.hop.kind != config::HopKind::kMx || grant.next_hop == host) return ask(grant.grant);
  looking_.insert(grant.grant);
  if (relay_) relay_->send(ipc::HopFound{grant.grant, host, base::Millis(60'000)});
}

void Courier::on(const ipc::GoAhead& go) {
  if (looking_.erase(go.grant) > 0) ask(go.grant);
}

void Courier::on(const ipc::CancelGrant& cancel) {  // a parked one is sent away as well
  if (looking_.erase(cancel.grant) > 0) end(cancel.grant);
  if (calls_.contains(cancel.grant)) dismissed_.insert(cancel.grant);
}

void Courier::on(const ipc::NoWork& none) {
  const auto at = asked_.find(none.request);
  if (at == asked_.end()) return;
  end(at->second);
  asked_.erase(at);
}

void Courier::on(const ipc::Lease& lease, ipc::Descriptors descriptors) {
  deliverd::Delivery delivery;
  delivery.lease = lease;
  if (!descriptors.empty()) delivery.file = std::move(descriptors.front());
  // It may have been on its way while its grant ended.
  if (const auto asked = asked_.extract(lease.request)) grants_[lease.lease] = asked.mapped();
  if (lease.large || lease.body_size == 0)
    in_hand_.push_back(std::move(delivery));
  else
    arriving_[lease.lease] = std::move(delivery);
}

void Courier::on(const ipc::LeaseBody& part) {
  const auto at = arriving_.find(part.lease);
  if (at == arriving_.end()) return;
  at->second.body += part.bytes.bytes;
  if (at->second.body.size() < at->second.lease.body_size) return;
  in_hand_.push_back(std::move(at->second));
  arriving_.erase(at);
}

void Courier::report(ipc::Outcome outcome, std::vector<std::uint32_t> entries) {
  outcome.request = base::RequestId(++last_request_);
  send(outcome);
  const auto grant = grants_.find(outcome.lease);
  if (grant != grants_.end()) {
    ask(grant->second);
    grants_.erase(grant);
  }
  const auto request = outcome.request;
  reports_[request] = {std::move(outcome), std::move(entries)};
}

bool Courier::fail_a_grant(ipc::FailureClass failure) {
  const auto at = std::ranges::find_if(asked_, [this](const auto& one) { return !calls_.contains(one.second); });
  if (at == asked_.end()) return false;
  ipc::GrantEnded ended;
  ended.grant = at->second;
  ended.end = ipc::GrantEnd::kTemporary;
  ended.failure = failure;
  ended.reply.text = "nobody there";
  asked_.erase(at);
  send(ended);
  return true;
}

bool Courier::hang_up(base::GrantId call) {
  if (!calls_.contains(call)) return false;
  std::erase_if(asked_, [&](const auto& one) { return one.second == call; });
  std::erase_if(grants_, [&](const auto& one) { return one.second == call; });
  end(call);
  return true;
}

void Courier::turn_round(base::RequestId collect, base::UniqueFd fd) {
  ipc::Descriptors descriptors;
  descriptors.push_back(std::move(fd));
  if (relay_) relay_->send(ipc::TurnedRound{collect, {}, "outer"}, std::move(descriptors));
}

void Courier::end_collect(base::RequestId collect, ipc::CollectEnd end, std::uint16_t code) {
  if (collects_.erase(collect) == 0) return;
  ipc::Collected collected;
  collected.request = collect;
  collected.end = end;
  collected.reply.code = code;
  if (relay_) relay_->send(collected);
}

void Courier::on(const ipc::OutcomeSaved& saved) {
  const auto at = reports_.find(saved.request);
  if (at == reports_.end()) return;
  const auto report = std::move(at->second);
  reports_.erase(at);
  saved_(report);
}

}  // namespace postern::crash
