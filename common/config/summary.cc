#include "common/config/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "common/base/text.h"
#include "common/config/cut.h"
#include "common/config/senders.h"
#include "common/config/hop.h"
#include "common/config/units.h"
#include "common/config/way.h"

namespace postern::config {
namespace {

constexpr std::size_t kListed = 10;  // of a long list; the rest is counted

// Not reached from the internet: RFC 1918, 3927, 4193, 4291, 6598 and loopback.
constexpr std::array<std::string_view, 9> kPrivate{
    "127.0.0.0/8",   "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
    "100.64.0.0/10", "::1/128",    "fc00::/7",      "fe80::/10"};
constexpr unsigned kWidest = 8;  // bits of prefix

bool is_public(const base::Network& network) {
  return std::none_of(kPrivate.begin(), kPrivate.end(), [&](std::string_view text) {
    const auto range = base::parse_network(text);
    return range->contains(network.address) && network.prefix >= range->prefix;
  });
}

template <class List, class Text>
std::string listed(const List& list, Text text) {
  std::string shown;
  std::size_t count = 0;
  for (const auto& element : list) {
    if (!shown.empty()) shown += ", ";
    if (count++ == kListed) return shown + fmt::format("and {} more", list.size() - kListed);
    shown += text(element);
  }
  return shown;
}

std::string networks_text(const std::vector<base::Network>& networks) {
  return listed(networks, [](const base::Network& network) {
    return network.prefix == network.address.bits() ? base::to_string(network.address)
                                                    : base::to_string(network);
  });
}

std::string names_text(const std::vector<mail::Domain>& names) {
  return listed(names, [](const mail::Domain& name) { return name.text(); });
}

std::string mailbox_text(const Mailbox& mailbox) {
  if (mailbox.kind == MailboxKind::kDrop) return "drop:" + mailbox.root;
  const bool own = mailbox.owner == Mailbox::kUsers;
  return fmt::format("maildir:{}/{}{}", mailbox.root, mailbox.path, own ? ", filed into as its user" : "");
}

std::string recipients_text(const DomainSection& domain) {
  if (domain.recipients == RecipientsKind::kAny) return "any recipient";
  if (domain.recipients == RecipientsKind::kAsk) return "whom the next hop knows";
  const auto count = domain.users.size() + domain.addresses.size();
  return fmt::format("{} recipient{} of {}", count, count == 1 ? "" : "s", domain.users_file);
}

std::string aliases_text(const DomainSection& domain) {
  if (domain.aliases_file.empty()) return "";
  const auto count = domain.aliases.size();
  return fmt::format(", {} alias{} of {}", count, count == 1 ? "" : "es", domain.aliases_file);
}

std::string_view tls_text(TlsMode mode) {
  switch (mode) {
    case TlsMode::kOff:
      return "";
    case TlsMode::kOptional:
      return ", TLS optional";
    case TlsMode::kRequired:
      return ", TLS required";
    case TlsMode::kImplicit:
      return ", TLS from the first byte";
  }
  return "";
}

std::string_view service_text(Service service) {
  switch (service) {
    case Service::kMx:
      return "mx";
    case Service::kRelay:
      return "relay";
    case Service::kSubmission:
      return "submission";
  }
  return "";
}

bool takes_passwords(const Config& config, const Listener& listener) {
  return knows_passwords(config) && !listener.address.is_socket() && RightsIndex::takes_logins(listener.service) &&
         (listener.tls != TlsMode::kOff || config.auth.allow_plaintext);
}

std::string logins_text(const Config& config) {
  const auto& auth = config.auth;
  auto text = listed(auth.mechanisms, [](sasl::Mechanism one) { return std::string(sasl::name(one)); });
  if (auth.allow_plaintext) text += ", without TLS too";
  if (!auth.dovecot.empty()) return text + ", accounts of Dovecot";
  const auto count = auth.accounts.size();
  return text + fmt::format(", {} account{} of {}", count, count == 1 ? "" : "s", auth.accounts_file);
}

std::string date(base::WallTime time) {
  return base::iso8601(time).substr(0, 10);
}

void certificates_text(const Config& config, std::string& out) {
  if (config.certificates.empty()) return;
  out += fmt::format("CERTIFICATES  TLS {} and later\n",
                     config.tls.minimum == tls::Version::k13 ? "1.3" : "1.2");
  for (std::size_t i = 0; i < config.certificates.size() && i < kListed; ++i) {
    const auto& certificate = config.certificates[i];
    out += fmt::format("  {}: {}, until {}, {}\n",
                       listed(certificate.names, [](const std::string& name) { return name; }),
                       certificate.kind, date(certificate.not_after), certificate.chain_file);
  }
  if (config.certificates.size() > kListed)
    out += fmt::format("  and {} more\n", config.certificates.size() - kListed);
  if (!config.tls.client_ca.empty())
    out += fmt::format("  clients are asked for certificates of {}\n", config.tls.client_ca_file);
}

void listeners_text(const Config& config, std::string& out) {
  out += "LISTENERS  who may send where\n";
  for (const auto& listener : config.listeners) {
    const bool mx = listener.service == Service::kMx;
    out += fmt::format("  {}  {}{}\n", to_string(listener.address), service_text(listener.service),
                       tls_text(listener.tls));
    if (mx)
      out +=
          fmt::format("    everybody: {}\n", config.domains.empty() ? "postmaster" : "our domains");
    if (!listener.relay_from.empty())
      out += fmt::format("    {}: anywhere\n", networks_text(listener.relay_from));
    if (takes_passwords(config, listener))
      out += fmt::format("    who logs in ({}): anywhere\n", logins_text(config));
    if (listener.address.is_socket()) out += "    users of this host, as whom they are: anywhere\n";
    if (listener.service == Service::kRelay) out += "    everybody else: postmaster\n";
    if (!listener.proxy_from.empty())
      out += fmt::format("    {}: must name the client (PROXY), and have its rights\n",
                         networks_text(listener.proxy_from));
    if (!listener.xclient_from.empty())
      out += fmt::format("    {}: may name another client (XCLIENT), and then have its rights\n",
                         networks_text(listener.xclient_from));
    if (!listener.xforward_from.empty())
      out += fmt::format("    {}: may tell of another client (XFORWARD), for the log\n",
                         networks_text(listener.xforward_from));
    if (!listener.etrn_from.empty())
      out += fmt::format("    {}: may have queues started (ETRN)\n", networks_text(listener.etrn_from));
  }
}

std::string rates_text(const std::vector<Rate>& rates, std::string_view what) {
  return listed(rates, [what](const Rate& rate) {
    return fmt::format("{} {} in {}", rate.count, what, duration_text(base::Millis(rate.seconds * 1000LL)));
  });
}

void accounts_text(const Config& config, std::string& out) {
  if (config.accounts.empty()) return;
  out += "ACCOUNTS  what who logs in may send\n";
  for (std::size_t i = 0; i < config.accounts.size() && i < kListed; ++i) {
    const auto& account = config.accounts[i];
    auto text = rates_text(account.messages, "messages");
    if (!account.messages.empty() && !account.recipients.empty()) text += ", ";
    text += rates_text(account.recipients, "recipients");
    if (text.empty()) text = "without a limit";
    if (!account.senders.empty())
      text += "; only as " + listed(account.senders, [](const std::string& sender) { return sender; });
    if (account.etrn) text += "; may have queues started (ETRN)";
    if (!account.atrn.empty())
      text += fmt::format("; may take the mail of {} (ATRN){}",
                          listed(account.atrn, [](const std::string& queue) { return queue; }),
                          account.atrn_wait.count() == 0
                              ? ""
                              : fmt::format(", and waits {} for more", duration_text(account.atrn_wait)));
    out += fmt::format("  {}: {}\n", account.name, text);
  }
  if (config.accounts.size() > kListed)
    out += fmt::format("  and {} more sections\n", config.accounts.size() - kListed);
}

std::string rules_text(std::size_t count, std::string_view what, const std::string& file) {
  return fmt::format("  {} rule{} of what is {}, in {}\n", count, count == 1 ? "" : "s", what, file);
}

void policy_text(const Config& config, std::string& out) {
  const auto& policy = config.policy;
  std::string text;
  if (!policy.clients.empty())
    text += fmt::format("  only clients in {}\n", networks_text(policy.clients));
  if (!policy.not_clients.empty())
    text += fmt::format("  no clients in {}\n", networks_text(policy.not_clients));
  if (!config.deny_file.empty()) text += rules_text(policy.deny.size(), "denied", config.deny_file);
  if (!config.allow_file.empty())
    text += rules_text(policy.allow.size(), "not denied", config.allow_file);
  if (policy.rate.count != 0)
    text += fmt::format("  {} messages of one client in {}\n", policy.rate.count,
                        duration_text(base::Millis(policy.rate.seconds * 1000LL)));
  if (policy.reverse == Reverse::kRequire)
    text += "  clients whose address has no name that leads back to it\n";
  if (!text.empty()) out += "POLICY  whose mail is refused\n" + text;
}

std::string demanded_text(HopTls tls) {
  return tls == HopTls::kOptional ? "" : fmt::format(", TLS {}", tls_text(tls));
}

std::string passing_text(PassClient pass) {
  switch (pass) {
    case PassClient::kNone:
      return "";
    case PassClient::kXforward:
      return ", told who the client is (XFORWARD)";
    case PassClient::kXclient:
      return ", as the client itself (XCLIENT)";
    case PassClient::kProxy:
      return ", as the client itself (PROXY)";
  }
  return "";
}

void domains_text(const Config& config, std::string& out) {
  out += "DOMAINS  mail that is ours\n";
  for (std::size_t i = 0; i < config.domains.size() && i < kListed; ++i) {
    const auto& domain = config.domains[i];
    const bool mailbox = domain.deliver.kind == HopKind::kMailbox;
    out += fmt::format("  {}: {}{}, to {}{}{}\n", names_text(domain.names), recipients_text(domain),
                       aliases_text(domain), mailbox ? mailbox_text(config.mailbox) : hop_text(domain.deliver),
                       demanded_text(domain.deliver.tls), passing_text(domain.deliver.pass_client));
  }
  if (config.domains.size() > kListed)
    out += fmt::format("  and {} more sections\n", config.domains.size() - kListed);
  if (config.domains.empty()) out += "  none\n";
  for (std::size_t i = 0; i < config.alias_domains.size() && i < kListed; ++i)
    out += fmt::format("  {}: stands for {}\n", config.alias_domains[i].name.text(),
                       config.alias_domains[i].target.text());
  if (config.alias_domains.size() > kListed)
    out += fmt::format("  and {} more that stand for others\n", config.alias_domains.size() - kListed);
  out += fmt::format("  postmaster of each: to {}\n", config.postmaster.text());
}

std::string sources_text(const std::vector<SourceAddress>& sources) {
  return listed(sources, [](const SourceAddress& source) {
    const auto address = base::to_string(source.address);
    return source.weight == 1 ? address : fmt::format("{} (weight {})", address, source.weight);
  });
}

// What each of them is told by itself stands behind it.
std::string ways_text(const std::vector<HopSpec>& via, bool with_tls) {
  return listed(via, [&](const HopSpec& hop) {
    std::string more = with_tls && is_remote(hop) ? fmt::format("TLS {}", tls_text(hop.tls)) : "";
    if (hop.weight > 0) more += fmt::format("{}weight {}", more.empty() ? "" : ", ", hop.weight);
    return more.empty() ? hop_text(hop) : fmt::format("{} ({})", hop_text(hop), more);
  });
}

std::string route_text(const Route& route) {
  std::vector<HopSpec> remote;
  std::ranges::copy_if(route.via, std::back_inserter(remote), is_remote);
  const bool alike = std::ranges::all_of(remote, [&](const HopSpec& hop) { return hop.tls == remote.front().tls; });
  auto text = ways_text(route.via, !alike);
  if (route.second_path) text += ", a second path for whom one refuses by its policy (X.7.N)";
  if (remote.empty()) return route.via.empty() ? text : text + demanded_text(route.via.front().tls);
  const auto& any = remote.front();
  if (alike) text += demanded_text(any.tls);
  for (const auto& hop : remote)
    if (!hop.login.empty()) {
      text += fmt::format(", logged in as {}", hop.login);
      break;
    }
  const auto told = std::ranges::find_if(remote, [](const HopSpec& hop) { return hop.pass_client != PassClient::kNone; });
  if (told != remote.end()) text += passing_text(told->pass_client);
  if (!any.sources.empty()) text += ", from " + sources_text(any.sources);
  if (any.socks) text += fmt::format(", through the SOCKS server {}", base::to_string(*any.socks));
  if (!route.masquerade.empty()) text += fmt::format(", our senders at {}", route.masquerade.text());
  return text;
}

void routes_text(const Config& config, std::string& out) {
  out += "ROUTES  mail for everybody else\n";
  bool everything = false;
  for (std::size_t i = 0; i < config.routes.size(); ++i) {
    const auto& route = config.routes[i];
    everything = everything || std::find(route.to.begin(), route.to.end(), "*") != route.to.end();
    if (i >= kListed) continue;
    out += fmt::format("  {}: to {}{}\n", listed(route.to, [](const std::string& to) { return to; }),
                       route_text(route), route.internal ? " (internal)" : "");
  }
  if (config.routes.size() > kListed)
    out += fmt::format("  and {} more\n", config.routes.size() - kListed);
  if (!everything) out += fmt::format("  *: to mx, port {}\n", config.delivery.port);
  if (!config.delivery.sources.empty())
    out += fmt::format("  sent from {}, where a route says nothing else\n", sources_text(config.delivery.sources));
  if (config.delivery.tls_minimum == tls::Version::k13)
    out += "  TLS 1.3 and later; where it need not be, in clear to hosts that speak none of these\n";
  if (config.delivery.start_disabled) out += "  outbound is off after each start\n";
}

void collects_text(const Config& config, std::string& out) {
  if (config.collects.empty()) return;
  out += "COLLECT  mail that other hosts keep for us until we call\n";
  for (std::size_t i = 0; i < config.collects.size() && i < kListed; ++i) {
    const auto& [hop, domains, every, wait, file, password, where] = config.collects[i];
    out += fmt::format("  {} as {}: {}, every {}{}\n", hop_text(hop), hop.login,
                       domains.empty() ? "all that it has" : names_text(domains), duration_text(every),
                       wait ? ", and at once behind each session" : "");
  }
  if (config.collects.size() > kListed) out += fmt::format("  and {} more\n", config.collects.size() - kListed);
}

std::string place_text(const Where& where) {
  return fmt::format("{}:{}:{}", where.file, where.line, where.column);
}

void warn_of_networks(const Listener& listener, std::string_view key,
                      const std::vector<base::Network>& networks, std::string_view consequence,
                      std::vector<std::string>& out) {
  for (const auto& network : networks) {
    const bool wide = network.prefix < kWidest;
    if (!wide && !is_public(network)) continue;
    out.push_back(fmt::format("{}: {}: {} holds {}, which is {}{}: {}", place_text(listener.where),
                              to_string(listener.address), key, base::to_string(network),
                              wide ? fmt::format("wider than /{}", kWidest) : "",
                              !is_public(network) ? ""
                              : wide              ? " and public"
                                                  : "a public network",
                              consequence));
  }
}

void warn_of_listener(const Listener& listener, std::vector<std::string>& out) {
  static constexpr std::string_view kAsAnybody = "these hosts may speak as any client, with its rights";
  warn_of_networks(listener, "relay_from", listener.relay_from,
                   "these clients may send anywhere", out);
  warn_of_networks(listener, "proxy_from", listener.proxy_from, kAsAnybody, out);
  warn_of_networks(listener, "xclient_from", listener.xclient_from, kAsAnybody, out);
  warn_of_networks(listener, "etrn_from", listener.etrn_from,
                   "these clients may have queues started", out);
  if (listener.service == Service::kMx && !listener.relay_from.empty())
    out.push_back(fmt::format("{}: {}: an mx listener gives relay rights ({})",
                              place_text(listener.where), to_string(listener.address),
                              networks_text(listener.relay_from)));
}

bool is_scram(sasl::Mechanism mechanism) {
  return mechanism == sasl::Mechanism::kScramSha256 ||
         mechanism == sasl::Mechanism::kScramSha256Plus;
}

void warn_of_logins(const Config& config, std::vector<std::string>& out) {
  if (!knows_passwords(config)) return;
  const auto& auth = config.auth;
  const auto place = place_text(auth.where);
  if (auth.allow_plaintext)
    out.push_back(
        fmt::format("{}: auth.allow_plaintext: passwords cross the network in clear text", place));
  if (std::none_of(auth.mechanisms.begin(), auth.mechanisms.end(), is_scram)) return;
  const auto without = std::count_if(auth.accounts.begin(), auth.accounts.end(),
                                     [](const AccountEntry& one) { return one.verifier.empty(); });
  if (without > 0)
    out.push_back(fmt::format("{}: {} of {} accounts have no SCRAM verifier: clients that choose SCRAM "
                              "cannot log in to them (posternctl user passwd makes one)",
                              place, without, auth.accounts.size()));
}

// A limit that nobody has is a name gone wrong, or an account that was removed.
void warn_of_accounts(const Config& config, std::vector<std::string>& out) {
  if (config.default_domain.empty())
    for (const auto& account : config.accounts)
      if (std::ranges::find(account.senders, kOwnSender) != account.senders.end())
        out.push_back(fmt::format("{}: [[account]] {}: an account without a domain in its name has no address, for "
                                  "[domains] default is missing", config.file, account.name));
  // Users of this host are in no file of ours.
  if (config.auth.accounts_file.empty() || has_local_users(config)) return;
  std::set<std::string_view> names;
  for (const auto& entry : config.auth.accounts) names.insert(entry.name);
  for (const auto& account : config.accounts)
    if (account.name != "*" && !names.contains(account.name))
      out.push_back(fmt::format("{}: [[account]] {}: {} has no such account", config.file, account.name,
                                config.auth.accounts_file));
}

// Mail that waits for a call which nobody may make.
void warn_of_calls(const Config& config, std::vector<std::string>& out) {
  std::set<std::string_view> taken;
  for (const auto& account : config.accounts) taken.insert(account.atrn.begin(), account.atrn.end());
  const auto warn = [&](const Where& where, const std::string& name) {
    if (!taken.contains(name))
      out.push_back(fmt::format("{}: mail for {} waits until its host calls, and no [[account]] may take it (atrn)",
                                place_text(where), name));
  };
  for (const auto& domain : config.domains)
    if (domain.deliver.kind == HopKind::kTurn)
      for (const auto& name : domain.names) warn(domain.where, name.text());
  for (const auto& route : config.routes)
    if (!route.via.empty() && route.via.front().kind == HopKind::kTurn)
      for (const auto& to : route.to)
        if (!to.starts_with('*')) warn(route.where, to);
}

// One holds the other, or they are the same directory.
bool overlap(const std::string& a, const std::string& b) {
  const auto& shorter = a.size() < b.size() ? a : b;
  const auto& longer = a.size() < b.size() ? b : a;
  return longer.starts_with(shorter) && (longer.size() == shorter.size() ||
                                         shorter.ends_with('/') || longer[shorter.size()] == '/');
}

void warn_of_mailboxes(const Config& config, std::vector<std::string>& out) {
  if (!needs_mailboxes(config)) return;
  const auto& mailbox = config.mailbox;
  if (overlap(mailbox.root, config.spool))
    out.push_back(
        fmt::format("{}: the mailbox root {} and the spool {} overlap: the local deliverer "
                    "could reach the queue",
                    config.file, mailbox.root, config.spool));
  const auto sections = std::count_if(
      config.domains.begin(), config.domains.end(),
      [](const DomainSection& domain) { return domain.deliver.kind == HopKind::kMailbox; });
  if (sections > 1 && mailbox.kind == MailboxKind::kMaildir &&
      mailbox.path.find("{domain}") == std::string::npos)
    out.push_back(
        fmt::format("{}: {} [[domain]] sections share mailboxes, for the mailbox path {} has "
                    "no {{domain}}",
                    config.file, sections, mailbox_text(mailbox)));
}

void warn_of_certificate(const Certificate& certificate, base::WallTime now,
                         std::vector<std::string>& out) {
  static constexpr base::Millis kSoon{14LL * 24 * 3600 * 1000};
  const auto warn = [&](std::string_view what, base::WallTime when) {
    out.push_back(fmt::format("{}: the certificate in {} {} {}", place_text(certificate.where),
                              certificate.chain_file, what, date(when)));
  };
  if (now > certificate.not_after)
    warn("has expired, on", certificate.not_after);
  else if (now + kSoon > certificate.not_after)
    warn("expires soon, on", certificate.not_after);
  if (now < certificate.not_before) warn("does not count before", certificate.not_before);
}

void warn_of_sources(const std::vector<SourceAddress>& sources, const std::string& place, std::string_view key,
                     const std::vector<base::IpAddress>& own, std::vector<std::string>& out) {
  for (const auto& source : sources) {
    const bool local = source.address.family == base::IpFamily::kV4 && source.address.is_loopback();
    if (!local && std::ranges::find(own, source.address) == own.end())
      out.push_back(fmt::format("{}: {}: no interface of this host has {}: nothing can be sent from it", place, key,
                                base::to_string(source.address)));
  }
}

// All of 127.0.0.0/8 is this host's. Where nobody knows which addresses are, nothing is said.
void warn_of_sources(const Config& config, const std::vector<base::IpAddress>& own, std::vector<std::string>& out) {
  if (own.empty()) return;
  warn_of_sources(config.delivery.sources, config.file, "delivery.source", own, out);
  for (const auto& route : config.routes)
    if (const auto hop = std::ranges::find_if(route.via, is_remote); hop != route.via.end())
      warn_of_sources(hop->sources, place_text(route.where), "route.source", own, out);
}

}  // namespace

std::vector<std::string> warnings(const Config& config, const std::vector<base::IpAddress>& own) {
  std::vector<std::string> out;
  for (const auto& certificate : config.certificates)
    warn_of_certificate(certificate, base::system_clock().wall(), out);
  for (const auto& listener : config.listeners) warn_of_listener(listener, out);
  for (const auto& domain : config.domains)
    if (domain.recipients == RecipientsKind::kAny)
      out.push_back(
          fmt::format("{}: {}: recipients = \"any\" accepts mail for addresses that nobody reads",
                      place_text(domain.where), names_text(domain.names)));
  warn_of_logins(config, out);
  warn_of_accounts(config, out);
  warn_of_calls(config, out);
  warn_of_mailboxes(config, out);
  warn_of_sources(config, own, out);
  out.insert(out.end(), config.alias_warnings.begin(), config.alias_warnings.end());
  return out;
}

std::string rights_summary(const Config& config, const std::vector<base::IpAddress>& own) {
  auto out = fmt::format("{}: {}, spool {}\n", config.file, config.hostname, config.spool);
  listeners_text(config, out);
  accounts_text(config, out);
  policy_text(config, out);
  certificates_text(config, out);
  domains_text(config, out);
  routes_text(config, out);
  collects_text(config, out);
  for (const auto& warning : warnings(config, own)) out += fmt::format("WARNING {}\n", warning);
  return out;
}

}  // namespace postern::config
