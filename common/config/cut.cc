#include "common/config/cut.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/config/hop.h"
#include "common/config/hop_login.h"
#include "common/config/segment_room.h"
#include "common/config/toml_file.h"

namespace postern::config {
namespace {

constexpr std::size_t kMaxResolvers = 16;  // as in RelayConfig
constexpr std::size_t kMaxOwnAddresses = 1'000;
constexpr std::size_t kMaxResolvConf = 1U << 20;  // bytes
constexpr std::uint16_t kDnsPort = 53;

std::uint32_t processes(std::uint32_t wanted, std::uint32_t cores) {
  return std::max(wanted == 0 ? cores : wanted, 1U);
}

std::vector<base::Endpoint> resolvers_of(const Config& config, const Facts& facts) {
  auto resolvers = config.delivery.dns.empty() ? facts.resolvers : config.delivery.dns;
  if (resolvers.empty()) resolvers.push_back({*base::parse_ip("127.0.0.1"), kDnsPort});
  if (resolvers.size() > kMaxResolvers) resolvers.resize(kMaxResolvers);
  return resolvers;
}

// As people know it who know where the main file is. It is to be shown, not to be opened.
std::string short_name(std::string_view file, std::string_view main) {
  const auto folder = main.substr(0, main.rfind('/') + 1);
  if (file.starts_with(folder)) file.remove_prefix(folder.size());
  return std::string(file.substr(file.size() - std::min(file.size(), kMaxPlace)));
}

// Of the ways to MX hosts that policies bind, for of other domains nobody asks. None where no SOCKS server is on any.
std::vector<PolicyWay> policy_ways(const Config& config) {
  std::vector<PolicyWay> ways;
  for (const auto& route : config.routes)
    if (const auto hop = std::ranges::find_if(route.via, heeds_policies); hop != route.via.end())
      ways.push_back({route.to, hop->socks});
  for (const auto& domain : config.domains) {
    if (!heeds_policies(domain.deliver)) continue;
    auto& way = ways.emplace_back();
    for (const auto& name : domain.names) way.to.push_back(name.text());
  }
  if (std::ranges::none_of(ways, [](const PolicyWay& way) { return way.socks.has_value(); })) ways.clear();
  return ways;
}

}  // namespace

std::vector<base::Endpoint> system_resolvers(const std::string& path) {
  static constexpr std::string_view kKeyword = "nameserver";
  std::vector<base::Endpoint> resolvers;
  const auto content = read_file(path, kMaxResolvConf);
  std::string_view rest = content ? std::string_view(*content) : std::string_view();
  while (!rest.empty() && resolvers.size() < kMaxResolvers) {
    auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (!line.starts_with(kKeyword)) continue;
    line.remove_prefix(kKeyword.size());
    const auto value = base::trim(line);
    if (value.size() == line.size()) continue;  // another word that begins so
    // Addresses with a scope (fe80::1%eth0) cannot be held, and are passed over.
    if (const auto address = base::parse_ip(value.substr(0, value.find_first_of(" \t"))))
      resolvers.push_back({*address, kDnsPort});
  }
  if (resolvers.empty()) resolvers.push_back({*base::parse_ip("127.0.0.1"), kDnsPort});
  return resolvers;
}

std::uint32_t smtpd_processes(const Config& config, std::uint32_t cores) {
  return processes(config.processes.smtpd, cores);
}

std::uint32_t relay_processes(const Config& config, std::uint32_t cores) {
  return processes(config.processes.relay, cores);
}

bool needs_mailboxes(const Config& config) {
  return std::any_of(config.domains.begin(), config.domains.end(), [](const DomainSection& domain) {
    return domain.deliver.kind == HopKind::kMailbox;
  });
}

bool files_as_users(const Config& config) {
  return needs_mailboxes(config) && config.mailbox.owner == Mailbox::kUsers;
}

std::vector<std::string> lmtp_sockets(const Config& config) {
  std::vector<std::string> sockets;
  const auto add = [&](const HopSpec& hop) {
    if (hop.kind == HopKind::kSocket) sockets.push_back(hop.host);
  };
  for (const auto& domain : config.domains) add(domain.deliver);
  for (const auto& route : config.routes)
    for (const auto& hop : route.via) add(hop);
  std::sort(sockets.begin(), sockets.end());
  sockets.erase(std::unique(sockets.begin(), sockets.end()), sockets.end());
  return sockets;
}

bool needs_local(const Config& config) {
  return needs_mailboxes(config) || !lmtp_sockets(config).empty();
}

bool needs_key(const Config& config) {
  return !config.certificates.empty();
}

bool knows_passwords(const Config& config) {
  return !config.auth.accounts_file.empty() || !config.auth.dovecot.empty();
}

bool has_local_users(const Config& config) {
  return std::any_of(config.listeners.begin(), config.listeners.end(),
                     [](const Listener& listener) { return listener.address.is_socket(); });
}

bool needs_auth(const Config& config) {
  return knows_passwords(config) || has_local_users(config);
}

bool needs_fetch(const Config& config) {
  if (!config.delivery.mta_sts || config.delivery.authorities.pem.empty()) return false;
  bool everything = false;  // has a route
  for (const auto& route : config.routes) {
    everything |= std::find(route.to.begin(), route.to.end(), "*") != route.to.end();
    if (std::any_of(route.via.begin(), route.via.end(), heeds_policies)) return true;
  }
  return !everything || std::any_of(config.domains.begin(), config.domains.end(), [](const auto& domain) {
    return heeds_policies(domain.deliver);
  });
}

std::string control_socket(const Config& config) {
  return config.runtime + "/control.sock";
}

// Without a limit, as many as a segment of the journal has room for.
std::uint32_t recipients_of(const Config& config) {
  const auto& limits = config.limits;
  return limits.recipients != 0 ? limits.recipients
                                : most_recipients(config.space.segment, inline_body(limits.message_size));
}

std::uint32_t expanded_of(const Config& config) {
  return most_recipients(config.space.segment, inline_body(config.limits.message_size));
}

Rights rights_of(const Config& config) {
  Rights rights;
  for (const auto& listener : config.listeners)
    rights.listeners.push_back(
        {listener.service, listener.relay_from, listener.proxy_from, listener.xclient_from,
         listener.etrn_from, listener.address.is_socket()});
  for (const auto& domain : config.domains) {
    const bool sent_on = domain.deliver.kind == HopKind::kHost || domain.deliver.kind == HopKind::kMx ||
                         domain.deliver.kind == HopKind::kTurn;
    const bool merges = domain.deliver.kind == HopKind::kMailbox && config.mailbox.kind == MailboxKind::kMaildir;
    rights.domains.push_back({domain.names, domain.recipients, domain.users, domain.addresses,
                              domain.extension, domain.aliases, sent_on, merges});
  }
  rights.alias_domains = config.alias_domains;
  rights.postmaster = config.postmaster;
  rights.hostname = mail::Domain::parse(config.hostname).value_or(mail::Domain());
  return rights;
}

SmtpdConfig cut_smtpd(const Config& config) {
  SmtpdConfig cut;
  cut.log = config.log.role;
  cut.hostname = config.hostname;
  for (const auto& listener : config.listeners)
    cut.listeners.push_back(
        {to_string(listener.address), listener.require_hello, listener.tls, listener.xforward_from});
  cut.default_domain = config.default_domain;
  for (const auto& certificate : config.certificates)
    cut.tls.certificates.push_back({certificate.names, certificate.chain});
  cut.tls.minimum = config.tls.minimum;
  cut.tls.client_ca = config.tls.client_ca;
  if (knows_passwords(config)) cut.auth = {config.auth.mechanisms, config.auth.allow_plaintext};
  cut.auth.atrn = std::ranges::any_of(config.accounts, [](const AccountLimits& one) { return !one.atrn.empty(); });
  cut.rights = rights_of(config);
  for (auto& domain : cut.rights.domains)
    for (auto& alias : domain.aliases) alias.targets.clear();
  cut.expanded = expanded_of(config);
  cut.policy = config.policy;
  cut.limits = config.limits;
  cut.limits.recipients = recipients_of(config);
  return cut;
}

QueuedConfig cut_queued(const Config& config, const Facts& facts) {
  QueuedConfig cut;
  cut.log = config.log.role;
  cut.hostname = config.hostname;
  cut.rights = rights_of(config);
  for (const auto& domain : config.domains) {
    cut.domain_hops.push_back(domain.deliver);
    cut.domain_places.push_back({domain.where.line, short_name(domain.where.file, config.file)});
  }
  for (const auto& route : config.routes)
    cut.routes.push_back({route.to, route.via, route.connections, route.interval, route.internal,
                          route.second_path, route.masquerade, route.where.line, short_name(route.where.file, config.file)});
  for (const auto& collect : config.collects)
    cut.collects.push_back({collect.hop, collect.domains, collect.every, collect.wait});
  cut.retry = config.retry;
  cut.retry.file = short_name(cut.retry.file, config.file);
  for (auto& rule : cut.retry.rules) rule.file = short_name(rule.file, config.file);
  cut.control = facts.groups;
  cut.bounce_from = config.bounce.from;
  cut.bounce_copy_to = config.bounce.copy_to;
  cut.badmail_elsewhere = !config.bounce.badmail.empty();
  cut.message_size = config.limits.message_size;
  cut.recipients = recipients_of(config);
  cut.stop_intake = config.space.stop_intake;
  cut.reserve = config.space.reserve;
  cut.segment_size = config.space.segment;
  cut.history_keep = config.history.keep;
  cut.history_size = config.history.size;
  cut.start_disabled = config.delivery.start_disabled;
  const auto& start = config.delivery.start_where;
  cut.start_place = {start.line, short_name(start.file, config.file)};
  cut.accounts = config.accounts;
  cut.default_domain = config.default_domain;
  return cut;
}

RelayConfig cut_relay(const Config& config, const Facts& facts) {
  RelayConfig cut;
  cut.log = config.log.role;
  cut.hostname = config.hostname;
  cut.dns = resolvers_of(config, facts);
  cut.port = config.delivery.port;
  cut.forbid = config.delivery.forbid;
  // A word on DNSSEC is worth what the way is worth that it came (RFC 7672 2.2).
  cut.trust_ad = config.delivery.trust_ad ||
                 std::all_of(cut.dns.begin(), cut.dns.end(), [](const base::Endpoint& resolver) {
                   return resolver.address.is_loopback();
                 });
  cut.ca = config.delivery.authorities.pem;
  cut.tls_minimum = config.delivery.tls_minimum;
  cut.logins = hop_logins(config);
  cut.policies = needs_fetch(config);
  cut.sources = config.delivery.sources;
  cut.own_addresses = facts.own_addresses;
  // An interface may answer for more than its own address (127.0.0.0/8), so listeners count too.
  for (const auto& listener : config.listeners) {
    const auto& address = listener.address.endpoint.address;
    if (listener.address.is_socket() || address.is_unspecified()) continue;
    if (std::find(cut.own_addresses.begin(), cut.own_addresses.end(), address) ==
        cut.own_addresses.end())
      cut.own_addresses.push_back(address);
  }
  if (cut.own_addresses.size() > kMaxOwnAddresses) cut.own_addresses.resize(kMaxOwnAddresses);
  for (const auto& listener : config.listeners)
    if (!listener.address.is_socket()) cut.own_ports.push_back(listener.address.endpoint.port);
  std::sort(cut.own_ports.begin(), cut.own_ports.end());
  cut.own_ports.erase(std::unique(cut.own_ports.begin(), cut.own_ports.end()), cut.own_ports.end());
  return cut;
}

KeyConfig cut_key(const Config& config) {
  KeyConfig cut;
  cut.log = config.log.role;
  for (const auto& certificate : config.certificates) cut.keys.push_back(certificate.key);
  return cut;
}

AuthConfig cut_auth(const Config& config) {
  AuthConfig cut;
  cut.log = config.log.role;
  cut.dovecot = !config.auth.dovecot.empty();
  cut.accounts = config.auth.accounts;
  return cut;
}

FetchConfig cut_fetch(const Config& config, const Facts& facts) {
  FetchConfig cut;
  cut.log = config.log.role;
  cut.dns = resolvers_of(config, facts);
  cut.port = config.delivery.mta_sts_port;
  cut.forbid = config.delivery.forbid;
  cut.ca = config.delivery.authorities.pem;
  cut.ways = policy_ways(config);
  return cut;
}

LocalConfig cut_local(const Config& config) {
  LocalConfig cut;
  cut.log = config.log.role;
  cut.hostname = config.hostname;
  cut.kind = config.mailbox.kind;
  cut.path = config.mailbox.path;
  cut.quota = config.mailbox.quota;
  cut.folders = config.mailbox.folders;
  cut.sockets = lmtp_sockets(config);
  cut.as_users = files_as_users(config);
  return cut;
}

MailboxConfig cut_mailbox(const Config& config, const std::string& user, const std::string& domain) {
  MailboxConfig cut{cut_local(config), config.mailbox.root, user, domain};
  cut.local.sockets.clear();
  return cut;
}

}  // namespace postern::config
