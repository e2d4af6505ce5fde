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

// What the account may take, by the configuration of the moment.
std::expected<std::vector<Route>, Callers::Refusal> Callers::routes_of(const Known& caller) const {
  if (engine_.blocks().locked(caller.account) != nullptr) return std::unexpected(refused("the account is locked"));
  const auto* const limits = config::limits_of(engine_.config().accounts, caller.account);
  std::vector<Route> routes;
  std::string stopped;
  for (const auto& queue : caller.queues) {
    const bool may = limits != nullptr && std::ranges::find(limits->atrn, queue.text()) != limits->atrn.end();
    auto route = may ? engine_.router().called_for(queue) : std::nullopt;
    if (!route) return std::unexpected(refused(fmt::format("{} may not take mail of {}", caller.account, queue.text())));
    if (demands_tls(*route) && caller.tls.empty()) return std::unexpected(needs_tls());
    switch (engine_.blocks().blocked(route->queue, route->destination)) {
      case Blocked::kNo:
        routes.push_back(*std::move(route));
        break;
      case Blocked::kFrozen:
        stopped = "queue is frozen: " + route->queue;
        break;
      case Blocked::kOff:
        stopped = "outbound is disabled";
        break;
    }
  }
  if (routes.empty()) return std::unexpected(refused(std::move(stopped)));
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
  if (wait.count() == 0 && !has_mail(*routes)) return std::unexpected(no_mail());
  auto pair = os::socket_pair();
  if (!pair) return std::unexpected(not_now(pair.error().text()));
  Schedule::Call connection{{}, wait.count() != 0};
  for (const auto& route : *routes) connection.queues.push_back({route.queue, route.destination});
  auto remote = fmt::format("{}[{}]", call.account, base::to_string(call.client));
  remote.resize(std::min(remote.size(), ipc::kMaxRemote));
  const auto grant = connect_(connection, {std::move(remote), call.tls, wait}, std::move(pair->second));
  if (!grant) return std::unexpected(not_now("no further connection can be had"));
  start(*routes);
  std::erase_if(callers_, [this](const auto& one) { return !engine_.schedule().knows(one.first); });
  callers_.emplace(*grant, std::move(known));
  return std::move(pair->first);
}

// What is blocked does not go; while others of its queues may, it stays for these. A right that is gone ends it.
void Callers::review() {
  for (auto at = callers_.begin(); at != callers_.end();) {
    const auto& [grant, known] = *at;
    const auto routes = engine_.schedule().knows(grant) ? routes_of(known) : std::vector<Route>();
    if (!routes) {
      log::info("queue.recalled").field("account", known.account).field("reason", routes.error().why);
      engine_.schedule().hang_up(grant);
    }
    if (routes && !routes->empty())
      ++at;
    else
      at = callers_.erase(at);
  }
  engine_.poke();
}

}  // namespace postern::queued
