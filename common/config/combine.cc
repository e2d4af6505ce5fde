#include "common/config/combine.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "common/config/cut.h"
#include "common/config/hop.h"
#include "common/config/hop_login.h"

namespace postern::config {
namespace {

std::string place_text(const Where& where) {
  return fmt::format("{}:{}", where.file, where.line);
}

// A listener on all addresses takes the port from every other one of its family.
bool collide(const base::Endpoint& a, const base::Endpoint& b) {
  if (a.port != b.port || a.address.family != b.address.family) return false;
  return a.address == b.address || a.address.is_unspecified() || b.address.is_unspecified();
}

bool collide(const ListenAddress& a, const ListenAddress& b) {
  return a.is_socket() || b.is_socket() ? a.path == b.path : collide(a.endpoint, b.endpoint);
}

// Whoever comes through a Unix socket is a user of this host, and so is logged in.
void check_socket(const Config& config, const Listener& listener, Report& report) {
  if (listener.address.path == control_socket(config))
    report.add(listener.where, "listen.address", "this is the socket of posternctl: name another");
  if (listener.service != Service::kSubmission)
    report.add(listener.where, "listen.service",
               R"(a Unix socket is for users of this host, each logged in as itself: say service = "submission")");
  if (listener.tls != TlsMode::kOff)
    report.add(listener.where, "listen.tls", R"(a Unix socket needs no TLS: say tls = "off")");
  for (const auto& [key, networks] : {std::pair("listen.proxy_from", &listener.proxy_from),
                                      std::pair("listen.xclient_from", &listener.xclient_from),
                                      std::pair("listen.xforward_from", &listener.xforward_from),
                                      std::pair("listen.etrn_from", &listener.etrn_from)})
    if (!networks->empty())
      report.add(listener.where, key, "nobody comes from a network through a Unix socket: take it out");
}

// A submission listener where nobody can log in would serve nobody.
void check_logins(const Config& config, const Listener& listener, Report& report) {
  if (listener.service != Service::kSubmission) return;
  if (!listener.address.is_socket() && !knows_passwords(config))
    report.add(listener.where, "listen.service",
               R"(service = "submission" is for users who log in: say who they are in [auth])");
  else if (!listener.address.is_socket() && listener.tls == TlsMode::kOff &&
           !config.auth.allow_plaintext)
    report.add(listener.where, "listen.tls",
               "nobody could log in: passwords are not taken without TLS (auth.allow_plaintext)");
  if (!listener.relay_from.empty())
    report.add(listener.where, "listen.relay_from",
               R"(service = "submission" is for users who log in, wherever they are: take it out)");
}

void check_listeners(const Config& config, Report& report) {
  std::multimap<std::uint16_t, const Listener*> by_port;  // 0: a socket
  for (const auto& listener : config.listeners) {
    const auto [first, last] = by_port.equal_range(listener.address.endpoint.port);
    for (auto other = first; other != last; ++other) {
      if (!collide(other->second->address, listener.address)) continue;
      report.add(
          listener.where, "listen.address",
          fmt::format("{} cannot be bound beside {} of {}", to_string(listener.address),
                      to_string(other->second->address), place_text(other->second->where)));
      break;
    }
    by_port.emplace(listener.address.endpoint.port, &listener);
    if (listener.address.is_socket()) check_socket(config, listener, report);
    if (listener.tls != TlsMode::kOff && config.certificates.empty() && !listener.address.is_socket())
      report.add(listener.where, "listen.tls",
                 R"(TLS needs a certificate: add a section [[certificate]], or say tls = "off")");
    check_logins(config, listener, report);
    if (!listener.relay_from.empty()) continue;
    if (listener.service == Service::kRelay)
      report.add(listener.where, "listen.relay_from",
                 R"(service = "relay" is for clients in relay_from: name at least one network)");
    else if (listener.service == Service::kMx && config.domains.empty())
      report.add(listener.where, "listen.service",
                 R"(service = "mx" takes mail for our domains: add a section [[domain]])");
  }
}

// Mail that is sent to ourselves would come back for ever.
void check_loop(const Config& config, const HopSpec& hop, const Where& where, std::string key,
                Report& report) {
  if (hop.kind != HopKind::kHost) return;
  const auto address = base::parse_ip(hop.host == "localhost" ? "127.0.0.1" : hop.host);
  if (!address) return;
  const base::Endpoint target{*address, hop.port};
  for (const auto& listener : config.listeners) {
    const auto& own = listener.address.endpoint;
    const bool everywhere = own.address.is_unspecified() && address->is_loopback();
    if (own == target || (everywhere && collide(own, target))) {
      report.add(
          where, std::move(key),
          fmt::format("{} is our own listener ({})", hop_text(hop), place_text(listener.where)));
      return;
    }
  }
}

// By its name it is known, frozen and remembered.
void check_name(const HopSpec& hop, const Where& where, std::string key, Report& report) {
  static constexpr std::size_t kMaxHopName = 255;  // as in ipc/types.h
  if (hop.kind != HopKind::kHost) return;
  if (const auto size = host_name(hop).size(); size > kMaxHopName)
    report.add(where, std::move(key),
               fmt::format("the name of {} and all that is demanded of it are too long together, by {} characters",
                           hop.host, size - kMaxHopName));
}

void check_socks(const Config& config, const Route& route, Report& report) {
  const auto hop = std::ranges::find_if(route.via, [](const HopSpec& one) { return one.socks.has_value(); });
  if (hop == route.via.end()) return;
  const auto& sources = hop->sources.empty() ? config.delivery.sources : hop->sources;
  const auto family = hop->socks->address.family;
  if (sources.empty() ||
      std::ranges::any_of(sources, [&](const SourceAddress& one) { return one.address.family == family; }))
    return;
  report.add(route.where, "route.socks",
             fmt::format("{} cannot be connected to: no address of {} is IPv{}", base::to_string(*hop->socks),
                         hop->sources.empty() ? "delivery.source" : "route.source",
                         family == base::IpFamily::kV4 ? 4 : 6));
}

// As whom mail is filed, the table of recipients says: it must be one, and its entries users of this host.
void check_owners(const Config& config, Report& report) {
  if (!files_as_users(config)) return;
  if (config.mailbox.kind != MailboxKind::kMaildir)
    report.add(config.mailbox.where, "mailbox.owner",
               R"(a drop is no user's own: name one user, or a path "maildir:..." with {user})");
  for (const auto& domain : config.domains)
    if (domain.deliver.kind == HopKind::kMailbox && domain.recipients != RecipientsKind::kFile)
      report.add(domain.where, "domain.recipients",
                 fmt::format(R"(mailboxes that are their users' own need a file of them ({}): say "file:" and its name)",
                             place_text(config.mailbox.where)));
}

void check_postmaster(const Config& config, Report& report) {
  const auto rights = rights_of(config);
  for (const auto& domain : config.domains) {
    if (std::find(domain.names.begin(), domain.names.end(), config.postmaster.domain()) ==
        domain.names.end())
      continue;
    if (!RightsIndex(rights).knows(config.postmaster))
      report.add(
          config.postmaster_where, "postmaster",
          fmt::format("{} is no recipient of its [[domain]] ({}): add it to {}",
                      config.postmaster.text(), place_text(domain.where), domain.users_file));
    return;
  }
}

}  // namespace

void check_combinations(const Config& config, Report& report) {
  check_listeners(config, report);
  for (const auto& domain : config.domains) {
    check_loop(config, domain.deliver, domain.where, "domain.deliver", report);
    check_name(domain.deliver, domain.where, "domain.deliver", report);
  }
  for (const auto& route : config.routes) {
    for (const auto& hop : route.via) {
      check_loop(config, hop, route.where, "route.via", report);
      check_name(hop, route.where, "route.via", report);
    }
    check_socks(config, route, report);
  }
  check_hop_logins(config, report);
  check_owners(config, report);
  check_postmaster(config, report);
}

}  // namespace postern::config
