#include "deliverd/relay/lookup.h"

#include <utility>

#include "common/config/hop.h"
#include "deliverd/relay/tls_plan.h"

namespace postern::relay {
namespace {

constexpr std::size_t kMaxName = 253;  // of the DNS (RFC 1035 2.3.4), in text

// A name that no DNS knows how to ask for.
Trouble not_a_domain(const std::string& name) {
  return refused(ipc::GrantEnd::kPermanent, ipc::FailureClass::kDns, {5, 1, 2},
                 "not a domain: " + name);
}

dns::Query look_up_mx(Directory& directory, const std::string& queue, const config::HopSpec& hop,
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
  return directory.mail_hosts(*domain, [domain = *domain, port, bounds, demand,
                                        dane = heeds_tlsa(hop), found = std::move(found)](
                                           Directory::Result hosts) mutable noexcept {
    if (!hosts) return found({{}, std::unexpected(std::move(hosts.error()))});
    found({hop_name_of(*hosts, port, demand, dane), targets_of(domain, *hosts, port, bounds)});
  });
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
  return directory.host(*name, [port = hop.port, found = std::move(found)](
                                   Directory::Result hosts) mutable noexcept {
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
      return look_up_mx(*reach.directory, queue, hop, port, bounds, std::move(found));
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
