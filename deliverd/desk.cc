#include "deliverd/desk.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "common/base/check.h"
#include "common/log/log.h"

namespace postern::deliverd {
namespace {

constexpr std::size_t kLeasesInFrame = 100;  // of HeldLeases
// In frames. What comes in has at most kMaxInlineBody; a notice of 20,000 recipients may need 3.5 KB for
// each (mail/notice.cc).
constexpr std::uint64_t kMaxBody = 80ULL << 20;

ipc::HeldLease held(const ipc::Lease& lease) {
  ipc::HeldLease h{lease.lease, lease.epoch, lease.message, {}};
  for (const auto& recipient : lease.recipients) h.recipients.push_back(recipient.number);
  return h;
}

bool tried(const ipc::RecipientResult& result) {
  return result.result != ipc::Result::kReturned;
}

std::vector<ipc::RecipientResult> returned(const ipc::HeldLease& lease) {
  std::vector<ipc::RecipientResult> results;
  for (const auto number : lease.recipients) {
    auto& result = results.emplace_back();
    result.number = number;
    result.result = ipc::Result::kReturned;
  }
  return results;
}

}  // namespace

ipc::Channel* Desk::channel() noexcept {
  if (auto* relay = std::get_if<1>(&connection_)) return &relay->channel();
  if (auto* local = std::get_if<2>(&connection_)) return &local->channel();
  return nullptr;
}

void Desk::connect(ipc::Role self, base::UniqueFd fd) {
  if (channel() != nullptr) drop_channel();
  CHECK(self == ipc::Role::kRelay || self == ipc::Role::kLocal);
  if (self == ipc::Role::kRelay)
    connection_.emplace<1>(loop_, std::move(fd), *this);
  else
    connection_.emplace<2>(loop_, std::move(fd), *this);
  channel()->on_credit([this]() noexcept { send_waiting(); });
  // What was only given back needs no word: what queued does not hear of is nobody's.
  const auto settled = std::erase_if(reports_, [](const auto& entry) {
    return std::ranges::none_of(entry.second.results, tried);
  });
  unsent_.clear();
  for (const auto& [request, outcome] : reports_) unsent_.push_back(request);
  send_held_leases();
  send_waiting();
  if (settled > 0) deliverer_.saved();
}

// Before anything else on a fresh channel. queued may have handed a recipient out again before it had
// the whole outcome in its journal: the later lease counts, so it comes first, and what was given back
// is not named.
void Desk::send_held_leases() {
  std::vector<ipc::HeldLease> all;
  for (const auto& [id, slot] : slots_)
    if (slot.in_hand) all.push_back(*slot.in_hand);
  for (const auto& [request, outcome] : std::views::reverse(reports_)) {
    auto& lease = all.emplace_back(outcome.lease, outcome.epoch, outcome.message,
                                   std::vector<std::uint32_t>{});
    for (const auto& result : outcome.results)
      if (tried(result)) lease.recipients.push_back(result.number);
  }
  std::size_t at = 0;
  do {
    ipc::HeldLeases frame;
    const auto count = std::min(all.size() - at, kLeasesInFrame);
    for (std::size_t i = 0; i < count; ++i) frame.leases.push_back(std::move(all[at + i]));
    at += count;
    frame.last = at == all.size();
    channel()->send(frame);
  } while (at < all.size());
}

void Desk::closed() noexcept {
  drop_channel();
  lost_();
}

void Desk::drop_channel() noexcept {
  connection_.emplace<0>();
  deliverer_.channel_lost();
  arriving_.clear();
  asking_.clear();
  by_grant_.clear();
  std::vector<SlotId> orphans;
  for (auto& [id, slot] : slots_) {
    slot.grant.reset();
    slot.asked.reset();
    slot.wants = false;
    orphans.push_back(id);
  }
  for (const auto id : orphans) deliverer_.dismissed(id);
}

// queued spoke nonsense: the channel is of no more use, and the parent gives us another when it
// can.
void Desk::break_off(const char* why) {
  log::warning("channel.malformed").field("peer", "queued").field("error", why);
  channel()->close();
  // Not here: the channel is on the stack.
  loop_.defer([this]() noexcept {
    if (auto* c = channel(); c != nullptr && !c->open()) closed();
  });
}

void Desk::on(const ipc::Grant& grant, ipc::Descriptors descriptors) {
  if (by_grant_.contains(grant.grant)) return break_off("a grant was given twice");
  if (grant.turned.has_value() != !descriptors.empty()) return break_off("a call without its connection");
  last_slot_ = last_slot_.next();
  slots_[last_slot_].grant = grant.grant;
  by_grant_[grant.grant] = last_slot_;
  if (grant.turned) return deliverer_.called(last_slot_, grant, std::move(descriptors.front()));
  deliverer_.granted(last_slot_, grant);
}

void Desk::found(SlotId id, std::string next_hop, base::Millis ttl) {
  const auto& slot = slots_.at(id);
  if (slot.grant) channel()->send(ipc::HopFound{*slot.grant, std::move(next_hop), ttl});
}

void Desk::on(const ipc::GoAhead& go) {
  if (const auto at = by_grant_.find(go.grant); at != by_grant_.end())
    deliverer_.go_ahead(at->second);
}

void Desk::on(const ipc::CancelGrant& cancel) {
  // It may have ended meanwhile, by itself.
  if (const auto at = by_grant_.find(cancel.grant); at != by_grant_.end())
    deliverer_.dismissed(at->second);
}

void Desk::on(const ipc::BreakOff& off) {
  const auto at = std::find_if(slots_.begin(), slots_.end(), [&](const auto& entry) {
    const auto& lease = entry.second.in_hand;
    return lease && lease->lease == off.lease && lease->epoch == off.epoch;
  });
  if (at != slots_.end()) deliverer_.broken_off(at->first);
}

void Desk::ask(SlotId id) {
  auto& slot = slots_.at(id);
  if (!slot.grant || slot.asked) return;
  slot.wants = !channel()->has_credit<ipc::AskWork>();
  if (slot.wants) return;
  last_request_ = last_request_.next();
  slot.asked = last_request_;
  asking_[last_request_] = id;
  channel()->send(ipc::AskWork{last_request_, *slot.grant});
}

void Desk::on(const ipc::NoWork& none) {
  const auto at = asking_.find(none.request);
  if (at == asking_.end()) return;  // the slot ended meanwhile
  const auto id = at->second;
  asking_.erase(at);
  slots_.at(id).asked.reset();
  deliverer_.dismissed(id);
}

void Desk::on(ipc::Lease lease, ipc::Descriptors descriptors) {
  // A lease may cross the end of its slot; it is then given back when it is complete.
  std::optional<SlotId> id;
  if (const auto at = asking_.find(lease.request); at != asking_.end()) {
    id = at->second;
    asking_.erase(at);
    slots_.at(*id).asked.reset();
  }
  Delivery delivery{std::move(lease), {}, {}};
  if (delivery.lease.large) {
    if (descriptors.size() != 1) return break_off("a large message without its file");
    delivery.file = std::move(descriptors.front());
  } else if (delivery.lease.body_size > kMaxBody) {
    return break_off("a body too large for frames");
  } else if (delivery.lease.body_size > 0) {
    delivery.body.reserve(delivery.lease.body_size);
    const auto number = delivery.lease.lease;
    arriving_.insert_or_assign(number, Arriving{id, std::move(delivery)});
    return;
  }
  hand_over(id, std::move(delivery));
}

void Desk::on(const ipc::LeaseBody& part) {
  const auto at = arriving_.find(part.lease);
  if (at == arriving_.end()) return break_off("a body without a lease");
  auto& delivery = at->second.delivery;
  if (part.bytes.bytes.size() > delivery.lease.body_size - delivery.body.size())
    return break_off("a body larger than announced");
  delivery.body += part.bytes.bytes;
  if (delivery.body.size() < delivery.lease.body_size) return;
  auto complete = std::move(at->second);
  arriving_.erase(at);
  hand_over(complete.slot, std::move(complete.delivery));
}

void Desk::hand_over(std::optional<SlotId> id, Delivery delivery) {
  auto lease = held(delivery.lease);
  const auto at = id ? slots_.find(*id) : slots_.end();
  if (at == slots_.end()) return store(lease, {}, {}, returned(lease));
  if (lease.recipients.empty()) {  // all of them ended meanwhile
    store(lease, {}, {}, {});
    return ask(*id);
  }
  at->second.in_hand = std::move(lease);
  deliverer_.deliver(*id, std::move(delivery));
}

void Desk::report(SlotId id, const std::string& remote, ipc::TlsNote tls,
                  std::vector<ipc::RecipientResult> results) {
  auto& slot = slots_.at(id);
  CHECK(slot.in_hand.has_value() && results.size() == slot.in_hand->recipients.size());
  const auto lease = std::move(*slot.in_hand);
  slot.in_hand.reset();
  store(lease, remote, std::move(tls), std::move(results));
}

void Desk::give_back(SlotId id) {
  auto& slot = slots_.at(id);
  CHECK(slot.in_hand.has_value());
  report(id, {}, {}, returned(*slot.in_hand));
}

void Desk::store(const ipc::HeldLease& lease, std::string remote, ipc::TlsNote tls,
                 std::vector<ipc::RecipientResult> results) {
  if (remote.size() > ipc::kMaxRemote) remote.resize(ipc::kMaxRemote);
  last_request_ = last_request_.next();
  ipc::Outcome outcome{last_request_, lease.lease, lease.epoch, lease.message, std::move(remote),
                       std::move(tls), std::move(results)};
  if (auto* c = channel(); c != nullptr && unsent_.empty() && c->has_credit<ipc::Outcome>())
    c->send(outcome);
  else
    unsent_.push_back(last_request_);
  reports_.emplace_hint(reports_.end(), last_request_, std::move(outcome));
}

void Desk::on(const ipc::OutcomeSaved& saved) {
  if (reports_.erase(saved.request) > 0) deliverer_.saved();
}

// What waited for credit, or for a channel.
void Desk::send_waiting() {
  for (; !unsent_.empty() && channel()->has_credit<ipc::Outcome>(); unsent_.pop_front())
    channel()->send(reports_.at(unsent_.front()));
  for (auto& [id, slot] : slots_)
    if (slot.wants) ask(id);
}

void Desk::end(SlotId id, ipc::GrantEnded ended) {
  const auto at = slots_.find(id);
  CHECK(at != slots_.end() && !at->second.in_hand);
  auto& slot = at->second;
  if (slot.asked) asking_.erase(*slot.asked);
  if (slot.grant) {
    ended.grant = *slot.grant;
    if (ended.remote.size() > ipc::kMaxRemote) ended.remote.resize(ipc::kMaxRemote);
    by_grant_.erase(*slot.grant);
    channel()->send(ended);
  }
  slots_.erase(at);
}

void Desk::probed(const ipc::Probed& probed) {
  if (auto* c = channel()) c->send(probed);
}

void Desk::named(const ipc::NameKnown& known) {
  if (auto* c = channel()) c->send(known);
}

void Desk::turned(const ipc::TurnedRound& turned, base::UniqueFd fd) {
  ipc::Descriptors descriptors;
  descriptors.push_back(std::move(fd));
  if (auto* c = channel()) c->send(turned, std::move(descriptors));
}

void Desk::collected(const ipc::Collected& collected) {
  if (auto* c = channel()) c->send(collected);
}

bool Desk::settled() const noexcept {
  return reports_.empty() && std::none_of(slots_.begin(), slots_.end(), [](const auto& s) {
           return s.second.in_hand.has_value();
         });
}

}  // namespace postern::deliverd
