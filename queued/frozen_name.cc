#include "queued/frozen_name.h"

#include <algorithm>
#include <optional>

#include "common/base/text.h"

namespace postern::queued {
namespace {

constexpr std::size_t kExact = 1U << 20;  // above every length
constexpr std::string_view kSocket = "unix:/";
constexpr std::string_view kCalledFor = "turn:";  // as in destination.h

// Does nobody look for its host, so that it is no host with a port?
bool is_whole(std::string_view hop) { return hop.starts_with(kSocket) || hop.starts_with(kCalledFor); }

struct HostAndPort {
  std::string_view host;  // without brackets
  std::string_view port;  // empty: none
};

// Of several colons without brackets none begins a port: that is an IPv6 address.
HostAndPort split(std::string_view text) {
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return {text, {}};
    const auto rest = text.substr(end + 1);
    return {text.substr(1, end - 1), rest.starts_with(':') ? rest.substr(1) : std::string_view()};
  }
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || text.find(':', colon + 1) != std::string_view::npos)
    return {text, {}};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

// Of one host of a set, which has this port.
std::size_t fit_host(const HostAndPort& name, std::string_view host, std::string_view port) {
  if (!name.port.empty() && name.port != port) return 0;
  const auto fits = fit(name.host, split(host).host);
  return fits == 0 ? 0 : 2 * fits + (name.port.empty() ? 0 : 1);
}

bool is_port(std::string_view text) {
  const auto port = base::parse_number(text);
  return port && *port >= 1 && *port <= 65535;
}

// Printable ASCII without blanks, in lower case; a star stands for whole labels, and only in front.
bool is_name(std::string_view text) {
  if (text.empty() || text.find('*', 1) != std::string_view::npos) return false;
  if (is_pattern(text) && text != "*" && (!text.starts_with("*.") || text.size() == 2))
    return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c > ' ' && c <= '~' && (c < 'A' || c > 'Z'); });
}

}  // namespace

bool is_pattern(std::string_view name) {
  return name.starts_with('*');
}

bool matches(std::string_view pattern, std::string_view queue) {
  if (pattern == "*") return true;
  if (!is_pattern(pattern)) return pattern == queue;
  const auto suffix = pattern.substr(1);
  return queue.size() > suffix.size() && queue.ends_with(suffix);
}

std::size_t fit(std::string_view name, std::string_view queue) {
  if (name == queue) return kExact;
  return is_pattern(name) && matches(name, queue) ? name.size() : 0;
}

std::size_t fit_hop(std::string_view name, std::string_view hop) {
  // Names of freezes are in lower case.
  if (is_whole(hop)) return base::equals_ignoring_case(name, hop) ? kExact : name == "*" ? 1 : 0;
  const auto wanted = split(name);
  hop = hop.substr(0, hop.find('/'));  // whatever is demanded of it
  const auto port = split(hop.substr(hop.find_last_of(",>") + 1)).port;
  std::size_t best = 0;
  while (!hop.empty()) {
    const auto end = hop.find_first_of(",>");
    best = std::max(best, fit_host(wanted, hop.substr(0, end), port));
    hop.remove_prefix(end == std::string_view::npos ? hop.size() : end + 1);
  }
  return best;
}

std::vector<std::string> hosts_of(std::string_view hop) {
  if (is_whole(hop)) return {std::string(hop)};
  hop = hop.substr(0, hop.find('/'));
  const auto last = hop.substr(hop.find_last_of(",>") + 1);
  const auto port = split(last).port;
  std::vector<std::string> hosts;
  while (!hop.empty()) {
    const auto end = hop.find_first_of(",>");
    auto& host = hosts.emplace_back(hop.substr(0, end));
    if (end == std::string_view::npos) break;
    if (!port.empty()) host.append(":").append(port);
    hop.remove_prefix(end + 1);
  }
  return hosts;
}

// Through a proxy its address is not known; one that is an address itself has no name in front of that.
std::string hop_of_remote(std::string_view remote) {
  const auto address = remote.find('[');
  const auto port = remote.find(':', address == std::string_view::npos ? 0 : remote.find(']', address));
  if (port == std::string_view::npos) return {};
  if (address == std::string_view::npos || address == 0) return std::string(remote);
  return std::string(remote.substr(0, address)).append(remote.substr(port));
}

bool names_queues(std::string_view name) {
  return is_name(name);
}

bool names_hops(std::string_view name) {
  if (name.starts_with(kSocket))
    return std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (name.starts_with(kCalledFor)) {
    const auto queue = name.substr(kCalledFor.size());
    return is_name(queue) && !is_pattern(queue);
  }
  const auto [host, port] = split(name);
  const bool bracketed = name.starts_with('[');
  if (bracketed && name.find(']') == std::string_view::npos) return false;
  const auto spare = name.size() - host.size() - (bracketed ? 2 : 0);
  if (port.empty() ? spare != 0 : !is_port(port)) return false;
  return is_name(host) && host.find_first_of(",>/") == std::string_view::npos;
}

}  // namespace postern::queued
