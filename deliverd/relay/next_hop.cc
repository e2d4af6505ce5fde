#include "deliverd/relay/next_hop.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/tls/digest.h"

namespace postern::relay {
namespace {

Trouble trouble(ipc::GrantEnd end, mail::EnhancedCode code, std::string text) {
  Trouble t;
  t.end = end;
  t.reply.enhanced = code;
  t.reply.lines.push_back(std::move(text));
  return t;
}

// 4.4.3: the directory server failed us (RFC 3463 3.5).
Trouble dns_trouble(const mail::Domain& name, std::string_view why) {
  return trouble(ipc::GrantEnd::kTemporary, {4, 4, 3},
                 fmt::format("looking up {}: {}", name.text(), why));
}

Trouble permanent(mail::EnhancedCode code, std::string text) {
  return trouble(ipc::GrantEnd::kPermanent, code, std::move(text));
}

// 4.4.6: routing loop.
Trouble ourselves_trouble() {
  return trouble(ipc::GrantEnd::kTemporary, {4, 4, 6},
                 "its mail host is this one, which does not take mail for it");
}

Trouble forbidden_trouble(std::string_view name) {
  return permanent({5, 4, 4},
                   fmt::format("{} is at addresses to which this server sends nothing", name));
}

// What can never be a host: nothing, everybody, a group.
bool is_host_address(const base::IpAddress& a) noexcept {
  if (a.is_unspecified()) return false;
  if (a.family == base::IpFamily::kV6) return a.bytes[0] != 0xff;
  return a.bytes[0] != 0 && a.bytes[0] < 224;  // 224/4 multicast, 240/4 reserved and broadcast
}

bool is_ours(const base::IpAddress& a, std::uint16_t port, const Ourselves& us) {
  return std::find(us.ports.begin(), us.ports.end(), port) != us.ports.end() &&
         std::find(us.addresses.begin(), us.addresses.end(), a) != us.addresses.end();
}

bool is_forbidden(const base::IpAddress& a, const Bounds& bounds) {
  return std::any_of(bounds.forbidden.begin(), bounds.forbidden.end(),
                     [&](const base::Network& network) { return network.contains(a); });
}

bool names_forbidden(const Host& host, const Bounds& bounds) {
  const auto forbidden = [&](const base::IpAddress& a) { return is_forbidden(a, bounds); };
  return std::any_of(host.v4.addresses.begin(), host.v4.addresses.end(), forbidden) ||
         std::any_of(host.v6.addresses.begin(), host.v6.addresses.end(), forbidden);
}

// By its name, or by an address that mail may go to: anybody can say that his host is at 127.0.0.1.
bool is_ours(const Host& host, std::uint16_t port, const Bounds& bounds) {
  const auto& us = bounds.ourselves;
  if (host.name.text() == us.name) return true;
  const auto ours = [&](const base::IpAddress& a) {
    return is_ours(a, port, us) && !is_forbidden(a, bounds);
  };
  return std::any_of(host.v4.addresses.begin(), host.v4.addresses.end(), ours) ||
         std::any_of(host.v6.addresses.begin(), host.v6.addresses.end(), ours);
}

// Each family that has addresses must be vouched for, or the host could be had elsewhere.
std::vector<std::string> vouched_names(const Host& host) {
  if (!host.named_securely) return {};
  const auto insecure = [](const dns::AddressAnswer& answer) {
    return !answer.addresses.empty() && !answer.secure;
  };
  if (insecure(host.v4) || insecure(host.v6)) return {};
  const auto& alias = host.v4.addresses.empty() ? host.v6.alias_of : host.v4.alias_of;
  if (alias.empty()) return {host.name.text()};
  return {alias, host.name.text()};  // RFC 7672 2.2.2
}

void append_targets(const Host& host, const std::string& domain, std::uint16_t port,
                    const Bounds& bounds, std::vector<Target>& out) {
  const auto vouched = vouched_names(host);
  const auto& v4 = host.v4.addresses;
  const auto& v6 = host.v6.addresses;
  const auto add = [&](const std::vector<base::IpAddress>& from, std::size_t i) {
    if (i >= from.size() || !is_host_address(from[i]) || is_forbidden(from[i], bounds)) return;
    const auto same = [&](const Target& t) { return t.endpoint.address == from[i]; };
    if (out.size() < kMaxTargets && std::none_of(out.begin(), out.end(), same))
      out.push_back({host.name.text(), {from[i], port}, domain, vouched, {}, domain.empty() || host.named_securely});
  };
  for (std::size_t i = 0; i < std::max(v4.size(), v6.size()); ++i) {
    add(v6, i);
    add(v4, i);
  }
}

const dns::AddressAnswer* temporary_answer(const Host& host) {
  for (const auto* answer : {&host.v4, &host.v6})
    if (answer->status == dns::Status::kTemporary) return answer;
  return nullptr;
}

bool exists(const Host& host) {
  return host.v4.status != dns::Status::kNoDomain || host.v6.status != dns::Status::kNoDomain;
}

// What tells apart names that are too long to be told whole. Anybody may choose them, but nobody can find two for one
// mark.
std::string mark_of(std::string_view name) {
  constexpr std::size_t kBytes = 12;
  std::string mark = "...";
  for (const char byte : tls::sha256(name).substr(0, kBytes))
    mark += fmt::format("{:02x}", static_cast<std::uint8_t>(byte));
  return mark;
}

template <class T>
void shuffle(T begin, T end, const Chance& chance) {
  for (auto n = end - begin; n > 1; --n) {
    const auto pick = static_cast<decltype(n)>(chance() % static_cast<std::uint64_t>(n));
    std::swap(begin[n - 1], begin[pick]);
  }
}

}  // namespace

void shuffle_equals(std::vector<Host>& hosts, const Chance& chance) {
  for (auto begin = hosts.begin(); begin != hosts.end();) {
    const auto end = std::find_if(begin, hosts.end(),
                                  [&](const Host& h) { return h.preference != begin->preference; });
    shuffle(begin, end, chance);
    begin = end;
  }
}

std::string hop_name_of(std::vector<Host> hosts, std::uint16_t port, std::string_view demand) {
  const bool vouched =
      std::all_of(hosts.begin(), hosts.end(), [](const Host& host) { return host.named_securely; });
  std::sort(hosts.begin(), hosts.end(), [](const Host& a, const Host& b) {
    return std::pair(a.preference, std::string_view(a.name.text())) <
           std::pair(b.preference, std::string_view(b.name.text()));
  });
  std::string name;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (i > 0) name += hosts[i].preference == hosts[i - 1].preference ? ',' : '>';
    name += hosts[i].name.text();
  }
  const auto end = fmt::format(":{}{}{}", port, demand, vouched ? "/dnssec" : "");
  if (name.size() + end.size() > ipc::kMaxHopName) {
    const auto mark = mark_of(name);
    name.resize(ipc::kMaxHopName - end.size() - mark.size());
    name += mark;
  }
  return name + end;
}

std::string remote_name(const Target& target) {
  if (target.endpoint.port == 0) return target.host;
  if (target.endpoint.address.is_unspecified()) return fmt::format("{}:{}", target.host, target.endpoint.port);
  const auto address = base::to_string(target.endpoint.address);
  if (target.host == address) return fmt::format("[{}]:{}", address, target.endpoint.port);
  return fmt::format("{}[{}]:{}", target.host, address, target.endpoint.port);
}

std::expected<std::vector<Host>, Trouble> hosts_of(const mail::Domain& domain,
                                                   const dns::MxAnswer& mx, const Chance& chance) {
  switch (mx.status) {
    case dns::Status::kTemporary:
      return std::unexpected(dns_trouble(domain, mx.trouble));
    case dns::Status::kNoDomain:
      return std::unexpected(
          permanent({5, 1, 2}, fmt::format("no such domain: {}", domain.text())));
    case dns::Status::kNoData:
      return std::vector<Host>{{0, domain, {}, {}, mx.secure}};
    case dns::Status::kRecords:
      break;
  }
  std::vector<Host> hosts;
  bool null_mx = false;
  for (const auto& record : mx.records) {
    if (record.host.empty())
      null_mx = true;
    else if (!base::parse_ip(record.host.text()))  // an address is no host name (RFC 5321 5.1)
      hosts.push_back({record.preference, record.host, {}, {}, mx.secure});
  }
  // Beside other records a null MX is a mistake to be passed over (RFC 7505 3).
  if (hosts.empty() && null_mx)
    return std::unexpected(
        permanent({5, 1, 10}, fmt::format("{} does not accept mail", domain.text())));
  if (hosts.empty())
    return std::unexpected(permanent(
        {5, 4, 4}, fmt::format("the MX records of {} name no usable host", domain.text())));
  shuffle_equals(hosts, chance);
  if (hosts.size() > kMaxHosts) hosts.resize(kMaxHosts);
  return hosts;
}

std::expected<std::vector<Target>, Trouble> targets_of(const mail::Domain& domain,
                                                       const std::vector<Host>& hosts,
                                                       std::uint16_t port, const Bounds& bounds) {
  std::uint32_t worst = std::uint32_t{0xffff} + 1;  // preferences below this one are tried
  for (const auto& host : hosts)
    if (is_ours(host, port, bounds)) worst = std::min<std::uint32_t>(worst, host.preference);
  std::vector<Target> targets;
  const dns::AddressAnswer* temporary = nullptr;
  const Host* unknown = nullptr;
  bool any_exists = false;
  bool any_left = false;
  for (const auto& host : hosts) {
    if (host.preference >= worst) continue;
    any_left = true;
    append_targets(host, domain.text(), port, bounds, targets);
    any_exists = any_exists || exists(host);
    if (const auto* answer = temporary_answer(host); answer != nullptr && temporary == nullptr) {
      temporary = answer;
      unknown = &host;
    }
  }
  if (!targets.empty()) return targets;
  if (!any_left) return std::unexpected(ourselves_trouble());
  if (temporary != nullptr) return std::unexpected(dns_trouble(unknown->name, temporary->trouble));
  // Left without a better host than ourselves: that may be our mistake, not the sender's.
  if (worst <= 0xffff) return std::unexpected(ourselves_trouble());
  if (std::any_of(hosts.begin(), hosts.end(),
                  [&](const Host& h) { return names_forbidden(h, bounds); }))
    return std::unexpected(forbidden_trouble(domain.text()));
  if (hosts.size() == 1 && hosts.front().name == domain)
    return std::unexpected(
        any_exists
            ? permanent({5, 4, 4}, fmt::format("{} has neither MX nor address", domain.text()))
            : permanent({5, 1, 2}, fmt::format("no such domain: {}", domain.text())));
  return std::unexpected(
      permanent({5, 4, 4}, fmt::format("no MX host of {} has a usable address", domain.text())));
}

std::expected<std::vector<Target>, Trouble> targets_of_route(const Host& host, std::uint16_t port) {
  std::vector<Target> targets;
  append_targets(host, {}, port, {}, targets);
  if (!targets.empty()) return targets;
  if (const auto* answer = temporary_answer(host))
    return std::unexpected(dns_trouble(host.name, answer->trouble));
  return std::unexpected(
      dns_trouble(host.name, exists(host) ? "the host has no usable address" : "no such host"));
}

std::vector<Target> target_of_name(const mail::Domain& name, std::uint16_t port) {
  return std::vector<Target>{{name.text(), {{}, port}, {}, {}, {}, true}};
}

std::expected<std::vector<Target>, Trouble> target_of_address(const base::IpAddress& address,
                                                              std::uint16_t port,
                                                              const Bounds& bounds) {
  auto text = base::to_string(address);
  if (!is_host_address(address))
    return std::unexpected(permanent({5, 4, 4}, fmt::format("{} is no host's address", text)));
  if (is_forbidden(address, bounds)) return std::unexpected(forbidden_trouble(text));
  if (is_ours(address, port, bounds.ourselves)) return std::unexpected(ourselves_trouble());
  return std::vector<Target>{{std::move(text), {address, port}, {}, {}, {}, true}};
}

std::optional<base::IpAddress> literal_address(const mail::Domain& domain) {
  if (!domain.is_literal()) return std::nullopt;
  std::string_view inside = domain.text();
  inside = inside.substr(1, inside.size() - 2);
  constexpr std::string_view kTag = "IPv6:";
  if (inside.starts_with(kTag)) inside.remove_prefix(kTag.size());
  return base::parse_ip(inside);
}

}  // namespace postern::relay
