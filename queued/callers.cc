#include "queued/callers.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/config/account_limits.h"
#include "common/log/log.h"
#include "common/os/socket.h"

namespace postern::queued {
namespace {

// RFC 2645 5.1.2 and 5.2: the replies to ATRN.
Callers::Refusal refused(std::string why) {
  return {{450, {4, 7, 1}, {"ATRN request refused"}}, std::move(why)};
}
Callers::Refusal not_now(std::string why) {
  return {{451, {4, 3, 2}, {"Unable to process the ATRN request now"}}, std::move(why)};
}
Callers::Refusal no_mail() { return {{453, {4, 0, 0}, {"You have no mail"}}, {}}; }
Callers::Refusal needs_tls() { return {{530, {5, 7, 0}, {"Must issue a STARTTLS command first"}}, {}}; }

bool demands_tls(const Route& route) { return route.destination.via.front().tls == config::HopTls::kRequired; }

}  // namespace

// A freeze of all next hops is one of these, too.
std::string Callers::stopped_by(const Route& route) const {
  const auto& blocks = engine_.blocks();
  const auto hop = hop_name(route.destination.via.front(), route.queue);
  switch (blocks.blocked(route.queue, route.destination)) {
    case Blocked::kFrozen:
      return "queue is frozen: " + route.queue;
    case Blocked::kOff:
      return "outbound is disabled";
    case Blocked::kNo:
      break;
  }
  return blocks.hop_frozen(hop) == nullptr ? "" : "next hop is frozen: " + hop;
}

std::vector<Schedule::Call::For> Callers::Routes::all() const {
  std::vector<Schedule::Call::For> queues;
  for (const auto* some : {&free, &stopped})
    for (const auto& route : *some) queues.push_back({route.queue, route.destination});
  return queues;
}

// What the account may take, by the configuration of the moment.
std::expected<Callers::Routes, Callers::Refusal> Callers::routes_of(const Known& caller) const {
  if (engine_.blocks().locked(caller.account) != nullptr) return std::unexpected(refused("the account is locked"));
  const auto* const limits = config::limits_of(engine_.config().accounts, caller.account);
  Routes routes;
  std::string stopped;
  for (const auto& queue : caller.queues) {
    const bool may = limits != nullptr && std::ranges::find(limits->atrn, queue.text()) != limits->atrn.end();
    auto route = may ? engine_.router().called_for(queue) : std::nullopt;
    if (!route) return std::unexpected(refused(fmt::format("{} may not take mail of {}", caller.account, queue.text())));
    if (demands_tls(*route) && caller.tls.empty()) return std::unexpected(needs_tls());
    const auto why = stopped_by(*route);
    if (!why.empty()) stopped = why;
    (why.empty() ? routes.free : routes.stopped).push_back(*std::move(route));
  }
  if (routes.free.empty()) return std::unexpected(refused(std::move(stopped)));
  return routes;
}

std::expected<std::vector<mail::Domain>, Callers::Refusal> Callers::named_by(const Call& call) const {
  const auto* const limits = config::limits_of(engine_.config().accounts, call.account);
  if (limits == nullptr || limits->atrn.empty())
    return std::unexpected(refused(call.account + " may take no mail"));
  std::vector<mail::Domain> queues;
  for (const auto& name : call.queues.empty() ? limits->atrn : call.queues) {
    auto domain = mail::Domain::parse(name);
    if (!domain) return std::unexpected(refused("what was named is no domain"));
    if (std::ranges::find(queues, *domain) == queues.end()) queues.push_back(*std::move(domain));
  }
  return queues;
}

// That could go, now or at its own time, were it not in somebody's hands already.
bool Callers::has_mail(const std::vector<Route>& routes) const {
  return std::ranges::any_of(routes, [&](const Route& route) {
    const auto* const queue = engine_.schedule().find(route.queue);
    return queue != nullptr && queue->counts.ready + queue->counts.waiting > 0;
  });
}

// The host is there: what it could not take at an earlier call need not wait for its time.
void Callers::start(const std::vector<Route>& routes) {
  for (const auto& route : routes) {
    const auto* const queue = engine_.schedule().find(route.queue);
    if (queue != nullptr && queue->counts.waiting > 0) start_(route.queue);
  }
}

std::expected<base::UniqueFd, Callers::Refusal> Callers::take(const Call& call) {
  auto queues = named_by(call);
  if (!queues) return std::unexpected(std::move(queues.error()));
  Known known{call.account, call.tls, *std::move(queues)};
  const auto routes = routes_of(known);
  if (!routes) return std::unexpected(routes.error());
  const auto wait = config::limits_of(engine_.config().accounts, call.account)->atrn_wait;
  if (wait.count() == 0 && !has_mail(routes->free)) return std::unexpected(no_mail());
  auto pair = os::socket_pair();
  if (!pair) return std::unexpected(not_now(pair.error().text()));
  const Schedule::Call connection{routes->all(), wait.count() != 0};
  auto remote = fmt::format("{}[{}]", call.account, base::to_string(call.client));
  remote.resize(std::min(remote.size(), ipc::kMaxRemote));
  const auto grant = connect_(connection, {std::move(remote), call.tls, wait}, std::move(pair->second));
  if (!grant) return std::unexpected(not_now("no further connection can be had"));
  start(routes->free);
  std::erase_if(callers_, [this](const auto& one) { return !engine_.schedule().knows(one.first); });
  callers_.emplace(*grant, std::move(known));
  return std::move(pair->first);
}

// What is blocked does not go; while others of its queues may, it stays for these, and gets that when it is let go. A right
// that is gone ends it.
void Callers::review() {
  std::erase_if(callers_, [this](const auto& one) {
    const auto& [grant, known] = one;
    if (!engine_.schedule().knows(grant)) return true;
    const auto routes = routes_of(known);
    if (routes) {
      engine_.schedule().serve_call_by(grant, routes->all());
      return false;
    }
    log::info("queue.recalled").field("account", known.account).field("reason", routes.error().why);
    engine_.schedule().hang_up(grant);
    return true;
  });
  engine_.poke();
}

}  // namespace postern::queued
