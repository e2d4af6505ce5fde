#include "deliverd/relay/prober.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/config/hop.h"

namespace postern::relay {
namespace {

std::string name_of(const config::HopSpec& hop) {
  const auto demand = config::demand_text(hop);
  return hop.kind == config::HopKind::kMx ? "mx" + demand
                                          : fmt::format("{}:{}{}", hop.host, hop.port, demand);
}

ipc::Probed answer(const ipc::Probe& probe, ipc::Result result, const mail::Reply& reply,
                   const std::string& remote) {
  return {probe.request, result, ipc::to_ipc(reply), remote.substr(0, ipc::kMaxRemote)};
}

}  // namespace

Prober::Prober(event::Loop& loop, const Reach& reach, TlsDesk& tls, Settings settings,
               Answered answered)
    : loop_(loop),
      reach_(reach),
      tls_(tls),
      settings_(std::move(settings)),
      answered_(std::move(answered)) {}

void Prober::probe(const ipc::Probe& probe) {
  auto& hop = hops_[{probe.queue, name_of(probe.hop)}];
  const bool fresh = !hop;
  if (fresh) hop = std::make_unique<Hop>(*this);
  hop->waiting.push_back(probe);
  if (fresh) return start(*hop);
  if (hop->connection && hop->connection->ready()) ready(*hop);
}

void Prober::start(Hop& hop) {
  hop.transactions = 0;
  const auto& first = hop.waiting.front();
  hop.hop = first.hop;
  hop.query = look_up(reach_, first.queue, first.hop, settings_.port, settings_.bounds,
                      [this, &hop](Place place) noexcept { connect(hop, std::move(place.targets)); });
}

void Prober::connect(Hop& hop, Targets targets) {
  if (!targets) return gone_later(hop, std::move(targets.error()));
  hop.connection = std::make_unique<Connection>(loop_, settings_.hostname,
                                                Connection::Way{hop.hop, *std::move(targets), reach_.sockets,
                                                                nullptr, settings_.sources},
                                                tls_, hop, settings_.idle);
  hop.connection->start();
}

// The connection ends by itself when it was idle for long.
void Prober::ready(Hop& hop) {
  if (hop.waiting.empty()) return;
  if (hop.connection->at_limit() || ++hop.transactions > kTransactions) return hop.connection->quit();
  deliverd::Delivery delivery;
  delivery.probe = true;
  while (!hop.waiting.empty() && hop.in_hand.size() < kRecipients) {
    ipc::LeaseRecipient recipient;
    recipient.address = hop.waiting.front().address;
    delivery.lease.recipients.push_back(std::move(recipient));
    hop.in_hand.push_back(std::move(hop.waiting.front()));
    hop.waiting.pop_front();
  }
  hop.connection->deliver(std::move(delivery));
}

void Prober::done(Hop& hop, const std::vector<Verdict>& verdicts) {
  auto asked = std::exchange(hop.in_hand, {});
  CHECK(verdicts.empty() || verdicts.size() == asked.size());
  const auto untried = [&](std::size_t i) {
    return verdicts.empty() || verdicts[i].result == ipc::Result::kReturned;
  };
  for (std::size_t i = 0; i < asked.size(); ++i)
    if (!untried(i)) answered_(answer(asked[i], verdicts[i].result, verdicts[i].reply, hop.connection->remote()));
  for (auto i = asked.size(); i-- > 0;)
    if (untried(i)) hop.waiting.push_front(std::move(asked[i]));
  if (!verdicts.empty() && hop.connection->ready()) ready(hop);
}

// A connection that served may have ended with questions still waiting; one that did not leaves no hope.
void Prober::gone(Hop& hop, Trouble why) {
  const bool served = hop.transactions > 0 && why.end == ipc::GrantEnd::kClosed;
  const auto at = std::find_if(hops_.begin(), hops_.end(),
                               [&](const auto& entry) { return entry.second.get() == &hop; });
  CHECK(at != hops_.end());
  if (served && !hop.waiting.empty()) {
    hop.connection.reset();
    return start(hop);
  }
  const auto ended = std::move(at->second);
  hops_.erase(at);
  for (const auto& probe : ended->waiting)
    answered_(answer(probe, ipc::Result::kDeferred, why.reply, why.remote));
}

// Not inside a call of the one who asks.
void Prober::gone_later(Hop& hop, Trouble why) {
  loop_.defer([this, alive = alive_, &hop, why = std::move(why)]() mutable noexcept {
    if (!*alive) return;
    const bool there = std::any_of(hops_.begin(), hops_.end(),
                                   [&](const auto& entry) { return entry.second.get() == &hop; });
    if (there) gone(hop, std::move(why));
  });
}

void Prober::forget() {
  hops_.clear();
}

}  // namespace postern::relay
