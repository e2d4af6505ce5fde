#include "deliverd/relay/lookup.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "common/config/hop.h"
#include "deliverd/relay/socks.h"

namespace postern::relay {
namespace {

static_assert(kMaxHosts <= ipc::kPolicyHosts && kMaxHosts < 32);
constexpr std::size_t kMaxName = 253;  // of the DNS (RFC 1035 2.3.4), in text
static_assert(mail::Domain::kMaxLength <= SocksClient::kMaxName);

// A name that no DNS knows how to ask for.
Trouble not_a_domain(const std::string& name) {
  return refused(ipc::GrantEnd::kPermanent, ipc::FailureClass::kDns, {5, 1, 2},
                 "not a domain: " + name);
}

struct MxSearch {
  mail::Domain domain;
  std::uint16_t port;
  Bounds bounds;
  std::string demand;
  PolicyLink* policies;
  std::vector<Host> hosts;
  Found found;
  dns::Query query;  // the one that is open
};

// Of a policy that is enforced: which of the hosts it does not let be used, a bit for each by their names. No hash of
// them: who forges the MX records of another domain could find a policy for a domain of his own with the same hash, and
// get the other's mail by its sessions.
std::string policy_demand(const ipc::PolicySaid& policy, const std::vector<Host>& hosts) {
  if (policy.mode != ipc::StsMode::kEnforce) return {};
  if (policy.strangers.empty()) return "/mta-sts";
  std::set<std::string> names;
  for (const auto& host : hosts) names.insert(host.name.text());
  std::uint32_t strangers = 0, bit = 1;
  for (const auto& name : names) {
    if (std::find(policy.strangers.begin(), policy.strangers.end(), name) != policy.strangers.end()) strangers |= bit;
    bit <<= 1;
  }
  return fmt::format("/mta-sts-{:x}", strangers);
}

void conclude(MxSearch& search, const ipc::PolicySaid& policy) {
  auto targets = targets_of(search.domain, search.hosts, search.port, search.bounds);
  const auto& strangers = policy.strangers;
  if (targets && policy.mode != ipc::StsMode::kNone)
    for (auto& target : *targets)
      target.policy = PolicyWord{policy.mode == ipc::StsMode::kEnforce,
                                 std::find(strangers.begin(), strangers.end(), target.host) == strangers.end(),
                                 policy.id};
  search.found({hop_name_of(search.hosts, search.port, search.demand + policy_demand(policy, search.hosts)),
                std::move(targets)});
}

void ask_policy(const std::shared_ptr<MxSearch>& search) {
  if (search->policies == nullptr) return conclude(*search, {});
  std::vector<std::string> names;
  for (const auto& host : search->hosts) names.push_back(host.name.text());
  search->query = search->policies->ask(
      search->domain.text(), std::move(names),
      [weak = std::weak_ptr(search)](std::optional<ipc::PolicySaid> policy) noexcept {
        const auto self = weak.lock();
        if (!self) return;
        if (policy) return conclude(*self, *policy);
        self->found({{}, std::unexpected(refused(ipc::GrantEnd::kTemporary, ipc::FailureClass::kTls, {4, 3, 0},
                                                 "nobody says which MTA-STS policy " + self->domain.text() +
                                                     " has: the process fetch does not answer"))});
      });
}

dns::Query look_up_mx(const Reach& reach, const std::string& queue, const config::HopSpec& hop,
                      std::uint16_t port, const Bounds& bounds, Found found) {
  const auto demand = config::demand_text(hop);
  const auto domain = mail::Domain::parse(queue);
  if (!domain || domain->text().size() > kMaxName) {
    found({{}, std::unexpected(not_a_domain(queue))});
    return {};
  }
  if (const auto address = literal_address(*domain)) {
    found({base::to_string(base::Endpoint{*address, port}) + demand,
           target_of_address(*address, port, bounds)});
    return {};
  }
  auto* const policies = config::heeds_policies(hop) ? reach.policies : nullptr;
  auto search = std::make_shared<MxSearch>(*domain, port, bounds, demand, policies,
                                           std::vector<Host>(), std::move(found), dns::Query());
  search->query = reach.directory->mail_hosts(
      *domain, [weak = std::weak_ptr(search)](Directory::Result hosts) noexcept {
        const auto self = weak.lock();
        if (!self) return;
        if (!hosts) return self->found({{}, std::unexpected(std::move(hosts.error()))});
        self->hosts = *std::move(hosts);
        ask_policy(self);
      });
  return dns::Query(std::move(search));
}

dns::Query look_up_host(Directory& directory, const config::HopSpec& hop, Found found) {
  if (const auto address = base::parse_ip(hop.host)) {
    found({{}, target_of_address(*address, hop.port, {})});
    return {};
  }
  const auto name = mail::Domain::parse(hop.host);
  if (!name || name->is_literal()) {
    found({{}, std::unexpected(not_a_domain(hop.host))});
    return {};
  }
  if (hop.socks) {
    found({{}, target_of_name(*name, hop.port)});
    return {};
  }
  return directory.host(*name, [port = hop.port, found = std::move(found)](
                                   Directory::Result&& hosts) mutable noexcept {
    if (!hosts) return found({{}, std::unexpected(std::move(hosts.error()))});
    found({{}, targets_of_route(hosts->front(), port)});
  });
}

}  // namespace

dns::Query look_up(const Reach& reach, const std::string& queue, const config::HopSpec& hop,
                   std::uint16_t port, const Bounds& bounds, Found found) {
  switch (hop.kind) {
    case config::HopKind::kMx:
      if (reach.directory == nullptr) break;
      return look_up_mx(reach, queue, hop, port, bounds, std::move(found));
    case config::HopKind::kHost:
      if (reach.directory == nullptr) break;
      return look_up_host(*reach.directory, hop, std::move(found));
    case config::HopKind::kSocket:
      if (reach.sockets == nullptr) break;
      found({{}, std::vector<Target>{{"unix:" + hop.host, {}}}});
      return {};
    case config::HopKind::kRefuse:
    case config::HopKind::kDiscard:
    case config::HopKind::kMailbox:
    case config::HopKind::kTurn:
      break;
  }
  found({{}, std::unexpected(refused(ipc::GrantEnd::kTemporary, ipc::FailureClass::kLocal, {4, 3, 5},
                                     "this process cannot connect there"))});
  return {};
}

Trouble refused(ipc::GrantEnd end, ipc::FailureClass failure, mail::EnhancedCode code,
                std::string text) {
  Trouble t{end, failure, {}, {}};
  t.reply.enhanced = code;
  t.reply.lines.push_back(std::move(text));
  return t;
}

}  // namespace postern::relay
