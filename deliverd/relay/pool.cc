#include "deliverd/relay/pool.h"

#include <utility>

#include "common/base/check.h"
#include "common/log/log.h"

namespace postern::relay {
namespace {

using deliverd::SlotId;

// How long queued may take a queue's hosts for known. A connection always goes to what the DNS says then;
// this only decides with whom it is counted.
constexpr base::Millis kHopTtl{5 * 60'000};

Prober::Settings prober_settings(const Pool::Settings& settings) {
  return {settings.hostname, settings.port, settings.bounds, settings.idle, settings.sources};
}

Collector::Settings collector_settings(const Pool::Settings& settings) {
  return {settings.hostname, settings.logins, settings.sources};
}

Trouble in_order() {
  Trouble t;
  t.end = ipc::GrantEnd::kClosed;
  return t;
}

}  // namespace

Pool::Pool(event::Loop& loop, const Reach& reach, TlsDesk& tls, Settings settings,
           event::Callback lost)
    : loop_(loop),
      reach_(reach),
      tls_(tls),
      settings_(std::move(settings)),
      own_desk_(std::make_unique<deliverd::Desk>(loop, *this, std::move(lost))),
      desk_(*own_desk_),
      prober_(loop, reach, tls, prober_settings(settings_),
              [this](const ipc::Probed& probed) noexcept { desk_.probed(probed); }) {
  if (reach_.resolver == nullptr) return;
  namer_.emplace(*reach_.resolver, [this](const ipc::NameKnown& known) noexcept { desk_.named(known); });
  collector_.emplace(
      loop, reach, tls, collector_settings(settings_),
      [this](const ipc::TurnedRound& turned, base::UniqueFd fd) noexcept { desk_.turned(turned, std::move(fd)); },
      [this](const ipc::Collected& collected) noexcept { desk_.collected(collected); },
      [this]() noexcept { check_stopped(); });
}

Pool::Pool(event::Loop& loop, const Reach& reach, TlsDesk& tls, Settings settings,
           deliverd::Desk& desk)
    : loop_(loop),
      reach_(reach),
      tls_(tls),
      settings_(std::move(settings)),
      desk_(desk),
      prober_(loop, reach, tls, prober_settings(settings_),
              [this](const ipc::Probed& probed) noexcept { desk_.probed(probed); }) {}

void Pool::configure(Settings settings) {
  settings_ = std::move(settings);
  prober_.configure(prober_settings(settings_));
  if (collector_) collector_->configure(collector_settings(settings_));
}

Pool::~Pool() {
  *alive_ = false;
}

// --- Grants
// ---------------------------------------------------------------------------------------

Pool::Slot& Pool::add_slot(SlotId id) {
  return *slots_.emplace(id, std::make_unique<Slot>(*this, id)).first->second;
}

void Pool::granted(SlotId id, const ipc::Grant& grant) noexcept {
  auto& slot = add_slot(id);
  if (stopping_) return end_later(slot, in_order());
  slot.hop = grant.hop;
  slot.next_hop = grant.next_hop;
  look_up(slot, grant);
}

void Pool::called(SlotId id, const ipc::Grant& grant, base::UniqueFd fd) noexcept {
  auto& slot = add_slot(id);
  if (stopping_) return end_later(slot, in_order());
  slot.hop = grant.hop;
  slot.turned = true;
  const auto& turned = *grant.turned;
  log::info("relay.turned")
      .field("remote", turned.remote)
      .field("queue", grant.queue)
      .field("tls", turned.tls.empty() ? "none" : turned.tls);
  const auto idle = turned.wait.count() == 0 ? settings_.idle : turned.wait;
  slot.connection = std::make_unique<Connection>(
      loop_, settings_.hostname,
      Connection::Way{slot.hop, {{.host = turned.remote, .endpoint = {}, .named_for_sure = true}}, nullptr, nullptr,
                      settings_.sources, turned},
      tls_, slot, idle);
  slot.connection->start(std::move(fd));
}

void Pool::look_up(Slot& slot, const ipc::Grant& grant) {
  switch (grant.hop.kind) {
    case config::HopKind::kMx:
    case config::HopKind::kHost:
    case config::HopKind::kSocket:
      slot.query = relay::look_up(
          reach_, grant.queue, grant.hop, settings_.port, settings_.bounds,
          [this, &slot](Place place) noexcept { found(slot, std::move(place)); });
      return;
    case config::HopKind::kRefuse:
      return end_later(slot, refused(ipc::GrantEnd::kPermanent, ipc::FailureClass::kPolicy,
                                     {5, 7, 1}, "mail for this destination is refused here"));
    case config::HopKind::kDiscard:
      slot.discards = true;
      return ready(slot);
    case config::HopKind::kMailbox:  // of the other deliverer: only a mistake brings it here
      return end_later(slot, refused(ipc::GrantEnd::kTemporary, ipc::FailureClass::kLocal,
                                     {4, 3, 5}, "a mailbox was given to the relay process"));
    case config::HopKind::kTurn:  // likewise: who calls comes with his connection
      return end_later(slot, refused(ipc::GrantEnd::kClosed, ipc::FailureClass::kLocal, {4, 3, 5},
                                     "nobody has called"));
  }
}

// Other queues may lead to the same hosts: queued, which counts their connections, decides.
void Pool::found(Slot& slot, Place place) {
  if (!place.targets || place.next_hop.empty() || slot.next_hop == place.next_hop)
    return connect(slot, std::move(place.targets));
  slot.found = *std::move(place.targets);
  desk_.found(slot.id, std::move(place.next_hop), kHopTtl);
}

void Pool::go_ahead(SlotId id) noexcept {
  const auto at = slots_.find(id);
  if (at == slots_.end() || at->second->found.empty()) return;
  connect(*at->second, std::exchange(at->second->found, {}));
}

void Pool::connect(Slot& slot, Targets targets) {
  if (!targets) return end_later(slot, std::move(targets.error()));
  auto account = settings_.logins.find(slot.hop);
  if (!account) return end_later(slot, std::move(account.error()));
  slot.connection = std::make_unique<Connection>(loop_, settings_.hostname,
                                                 Connection::Way{slot.hop, *std::move(targets), reach_.sockets,
                                                                 *std::move(account), settings_.sources},
                                                 tls_, slot, settings_.idle);
  slot.connection->start();
}

// --- Messages
// -------------------------------------------------------------------------------------

void Pool::ready(Slot& slot) {
  const bool spent =
      (!slot.turned && slot.messages >= kMessagesPerConnection) || (slot.connection && slot.connection->spent());
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
    desk_.report(slot.id, slot.connection->remote(), slot.connection->tls(), std::move(results));
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
  desk_.report(slot.id, "discard", {}, std::move(results));
  if (slot.dismissed) return end_later(slot, in_order());
  desk_.ask(slot.id);
}

void Pool::probe(const ipc::Probe& probe) noexcept {
  if (!stopping_) prober_.probe(probe);
}

void Pool::ask_name(const ipc::AskName& ask) noexcept {
  if (namer_ && !stopping_) return namer_->ask(ask);
  desk_.named({ask.request, ipc::NameState::kUnclear, {}, {}});
}

// Without the DNS nobody can be called; while we stop, nobody is.
void Pool::collect(const ipc::Collect& collect) noexcept {
  if (collector_ && !stopping_) return collector_->collect(collect);
  ipc::Collected none;
  none.request = collect.request;
  none.reply.text = "the relay is about to stop";
  desk_.collected(none);
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

void Pool::broken_off(SlotId id) noexcept {
  auto& slot = *slots_.at(id);
  slot.dismissed = true;
  slot.connection->break_off();
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
  prober_.forget();
  if (collector_) collector_->forget();
  std::vector<SlotId> all;
  for (const auto& [id, slot] : slots_) all.push_back(id);
  for (const auto id : all) dismissed(id);
  check_stopped();
}

void Pool::check_stopped() {
  const bool collecting = collector_ && !collector_->idle();
  if (!stopping_ || !stopped_ || !slots_.empty() || collecting || !desk_.settled()) return;
  // Not inside a call of the desk's; its last frames leave with this turn.
  loop_.defer([done = std::exchange(stopped_, {})]() mutable noexcept { done(); });
}

}  // namespace postern::relay
