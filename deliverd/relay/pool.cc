#include "deliverd/relay/pool.h"

#include <utility>

#include "common/base/check.h"

namespace postern::relay {
namespace {

using deliverd::SlotId;

constexpr std::size_t kMaxName = 253;  // of the DNS (RFC 1035 2.3.4), in text

Trouble in_order() {
  Trouble t;
  t.end = ipc::GrantEnd::kClosed;
  return t;
}

Trouble refused(ipc::GrantEnd end, ipc::FailureClass failure, mail::EnhancedCode code,
                std::string text) {
  Trouble t{end, failure, {}, {}};
  t.reply.enhanced = code;
  t.reply.lines.push_back(std::move(text));
  return t;
}

// A name that no DNS knows how to ask for.
Trouble not_a_domain(const std::string& name) {
  return refused(ipc::GrantEnd::kPermanent, ipc::FailureClass::kDns, {5, 1, 2},
                 "not a domain: " + name);
}

}  // namespace

Pool::Pool(event::Loop& loop, Directory& directory, Settings settings, event::Callback lost)
    : loop_(loop),
      directory_(directory),
      settings_(std::move(settings)),
      desk_(loop, *this, std::move(lost)) {}

Pool::~Pool() {
  *alive_ = false;
}

// --- Grants
// ---------------------------------------------------------------------------------------

void Pool::granted(SlotId id, const ipc::Grant& grant) noexcept {
  auto& slot = *slots_.emplace(id, std::make_unique<Slot>(*this, id)).first->second;
  if (stopping_) return end_later(slot, in_order());
  look_up(slot, grant);
}

void Pool::look_up(Slot& slot, const ipc::Grant& grant) {
  switch (grant.hop.kind) {
    case config::HopKind::kMx:
      return look_up_mx(slot, grant.queue);
    case config::HopKind::kHost:
      return look_up_host(slot, grant.hop);
    case config::HopKind::kRefuse:
      return end_later(slot, refused(ipc::GrantEnd::kPermanent, ipc::FailureClass::kPolicy,
                                     {5, 7, 1}, "mail for this destination is refused here"));
    case config::HopKind::kDiscard:
      slot.discards = true;
      return ready(slot);
    case config::HopKind::kMailbox:  // of the other deliverer: only a mistake brings it here
      return end_later(slot, refused(ipc::GrantEnd::kTemporary, ipc::FailureClass::kLocal,
                                     {4, 3, 5}, "a mailbox was given to the relay process"));
  }
}

void Pool::look_up_mx(Slot& slot, const std::string& queue) {
  const auto domain = mail::Domain::parse(queue);
  if (!domain || domain->text().size() > kMaxName) return end_later(slot, not_a_domain(queue));
  if (const auto address = literal_address(*domain))
    return connect(slot, target_of_address(*address, settings_.port, settings_.bounds));
  slot.query = directory_.mail_hosts(
      *domain, [this, &slot, domain = *domain](Directory::Result hosts) noexcept {
        if (!hosts) return end(slot, std::move(hosts.error()));
        connect(slot, targets_of(domain, *hosts, settings_.port, settings_.bounds));
      });
}

void Pool::look_up_host(Slot& slot, const config::HopSpec& hop) {
  if (const auto address = base::parse_ip(hop.host))
    return connect(slot, target_of_address(*address, hop.port, {}));
  const auto name = mail::Domain::parse(hop.host);
  if (!name || name->is_literal()) return end_later(slot, not_a_domain(hop.host));
  slot.query =
      directory_.host(*name, [this, &slot, port = hop.port](Directory::Result hosts) noexcept {
        if (!hosts) return end(slot, std::move(hosts.error()));
        connect(slot, targets_of_route(hosts->front(), port));
      });
}

void Pool::connect(Slot& slot, std::expected<std::vector<Target>, Trouble> targets) {
  if (!targets) return end_later(slot, std::move(targets.error()));
  slot.connection = std::make_unique<Connection>(loop_, settings_.hostname, *std::move(targets),
                                                 slot, settings_.idle);
  slot.connection->start();
}

// --- Messages
// -------------------------------------------------------------------------------------

void Pool::ready(Slot& slot) {
  const bool spent =
      slot.messages >= kMessagesPerConnection || (slot.connection && slot.connection->spent());
  if (!slot.dismissed && !spent) return desk_.ask(slot.id);
  if (slot.connection) return slot.connection->quit();
  end_later(slot, in_order());
}

void Pool::deliver(SlotId id, deliverd::Delivery delivery) noexcept {
  auto& slot = *slots_.at(id);
  if (slot.discards) return discard(slot, delivery);
  // The session may have ended while the message was on its way here.
  if (!slot.connection || !slot.connection->ready()) return desk_.give_back(id);
  slot.recipients.clear();
  for (const auto& recipient : delivery.lease.recipients)
    slot.recipients.push_back(recipient.number);
  slot.connection->deliver(std::move(delivery));
}

void Pool::done(Slot& slot, std::vector<Verdict> verdicts) {
  ++slot.messages;
  if (verdicts.empty()) {
    desk_.give_back(slot.id);
  } else {
    CHECK(verdicts.size() == slot.recipients.size());
    std::vector<ipc::RecipientResult> results;
    results.reserve(verdicts.size());
    for (std::size_t i = 0; i < verdicts.size(); ++i)
      results.push_back({slot.recipients[i], verdicts[i].result, verdicts[i].failure,
                         ipc::to_ipc(verdicts[i].reply), verdicts[i].arrival});
    desk_.report(slot.id, slot.connection->remote(), std::move(results));
  }
  if (slot.connection->ready()) ready(slot);
}

void Pool::discard(Slot& slot, const deliverd::Delivery& delivery) {
  mail::Reply reply;
  reply.code = 250;
  reply.enhanced = {2, 0, 0};
  reply.lines.emplace_back("discarded");
  std::vector<ipc::RecipientResult> results;
  for (const auto& recipient : delivery.lease.recipients)
    results.push_back({recipient.number, ipc::Result::kDelivered, {}, ipc::to_ipc(reply),
                       ipc::Arrival::kAnswerable});  // nobody is told that it arrived
  desk_.report(slot.id, "discard", std::move(results));
  if (slot.dismissed) return end_later(slot, in_order());
  desk_.ask(slot.id);
}

// --- Ends
// -----------------------------------------------------------------------------------------

void Pool::dismissed(SlotId id) noexcept {
  const auto at = slots_.find(id);
  if (at == slots_.end()) return;
  auto& slot = *at->second;
  if (std::exchange(slot.dismissed, true)) return;
  if (slot.connection) return slot.connection->quit();
  slot.query = {};
  end_later(slot, in_order());
}

// Not inside a call of the desk's or the connection's.
void Pool::end_later(Slot& slot, Trouble why) {
  loop_.defer([this, alive = alive_, id = slot.id, why = std::move(why)]() mutable noexcept {
    if (!*alive) return;
    if (const auto at = slots_.find(id); at != slots_.end()) end(*at->second, std::move(why));
  });
}

void Pool::end(Slot& slot, Trouble why) {
  const auto id = slot.id;
  ipc::GrantEnded ended;
  ended.end = why.end;
  ended.failure = why.failure;
  ended.reply = ipc::to_ipc(why.reply);
  ended.remote = std::move(why.remote);
  desk_.end(id, std::move(ended));
  slots_.erase(id);
  check_stopped();
}

void Pool::stop(event::Callback done) {
  stopping_ = true;
  stopped_ = std::move(done);
  std::vector<SlotId> all;
  for (const auto& [id, slot] : slots_) all.push_back(id);
  for (const auto id : all) dismissed(id);
  check_stopped();
}

void Pool::check_stopped() {
  if (!stopping_ || !stopped_ || !slots_.empty() || !desk_.settled()) return;
  // Not inside a call of the desk's; its last frames leave with this turn.
  loop_.defer([done = std::exchange(stopped_, {})]() mutable noexcept { done(); });
}

}  // namespace postern::relay
