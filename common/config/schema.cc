#include "common/config/schema.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace postern::config {
namespace {

using enum Shape;

constexpr auto kKeys = std::to_array<Key>({
    {"hostname", kString},
    {"postmaster", kString},
    {"spool", kString},
    {"runtime", kString},
    {"include", kStrings},

    {"control", kSection},
    {"control.view", kString},
    {"control.operate", kString},
    {"control.admin", kString},

    {"listen", kSections},
    {"listen.address", kString},
    {"listen.service", kString},
    {"listen.tls", kString},
    {"listen.relay_from", kStrings},
    {"listen.proxy_from", kStrings},
    {"listen.xclient_from", kStrings},
    {"listen.xforward_from", kStrings},
    {"listen.etrn_from", kStrings},
    {"listen.require_hello", kBoolean},

    {"certificate", kSections},
    {"certificate.names", kStrings},
    {"certificate.chain", kString},
    {"certificate.key", kString},
    {"tls", kSection},
    {"tls.minimum", kString},
    {"tls.client_ca", kString},

    {"domains", kSection},
    {"domains.default", kString},
    {"domains.alias", kTable},

    {"domain", kSections},
    {"domain.name", kStrings},
    {"domain.deliver", kString},
    {"domain.pass_client", kString},
    {"domain.recipients", kString},
    {"domain.aliases", kString},
    {"domain.extension", kString},

    {"mailbox", kSection},
    {"mailbox.path", kString},
    {"mailbox.owner", kString},
    {"mailbox.min_uid", kInteger},
    {"mailbox.quota", kSize},
    {"mailbox.folders", kBoolean},

    {"route", kSections},
    {"route.to", kStrings},
    {"route.via", kStrings},
    {"route.tls", kString},
    {"route.login", kString},
    {"route.password_file", kString},
    {"route.connections", kInteger},
    {"route.rate", kString},
    {"route.pass_client", kString},
    {"route.source", kStrings},
    {"route.socks", kString},
    {"route.masquerade", kString},
    {"route.second_path", kBoolean},
    {"route.internal", kBoolean},

    {"collect", kSections},
    {"collect.from", kString},
    {"collect.login", kString},
    {"collect.password_file", kString},
    {"collect.domains", kStrings},
    {"collect.every", kDuration},
    {"collect.wait", kBoolean},
    {"collect.source", kStrings},
    {"collect.socks", kString},

    {"delivery", kSection},
    {"delivery.dns", kStrings},
    {"delivery.port", kInteger},
    {"delivery.forbid", kStrings},
    {"delivery.source", kStrings},
    {"delivery.trust_ad", kBoolean},
    {"delivery.ca", kString},
    {"delivery.tls_minimum", kString},
    {"delivery.mta_sts", kBoolean},
    {"delivery.mta_sts_port", kInteger},
    {"delivery.start", kString},

    {"retry", kSection},
    {"retry.after", kDurations},
    {"retry.expire", kDuration},
    {"retry.notify", kDuration},
    {"retry.max_gap", kDuration},
    {"retry.spread", kInteger},
    {"retry.rule", kSections},
    {"retry.rule.to", kStrings},
    {"retry.rule.on", kString},
    {"retry.rule.after", kDurations},
    {"retry.rule.expire", kDuration},
    {"retry.rule.notify", kDuration},

    {"limits", kSection},
    {"limits.message_size", kSize},
    {"limits.recipients", kInteger},
    {"limits.session_size", kSize},
    {"limits.data_rate", kInteger},
    {"limits.connections", kInteger},
    {"limits.connections_per_client", kInteger},
    {"limits.messages_per_session", kInteger},
    {"limits.timeout", kSection},
    {"limits.timeout.command", kDuration},
    {"limits.timeout.data", kDuration},
    {"limits.timeout.idle", kDuration},

    {"auth", kSection},
    {"auth.accounts", kString},
    {"auth.dovecot", kString},
    {"auth.mechanisms", kStrings},
    {"auth.allow_plaintext", kBoolean},
    {"account", kSections},
    {"account.name", kString},
    {"account.senders", kStrings},
    {"account.messages", kStrings},
    {"account.recipients", kStrings},
    {"account.etrn", kBoolean},
    {"account.atrn", kStrings},
    {"account.atrn_wait", kDuration},

    {"policy", kSection},
    {"policy.clients", kStrings},
    {"policy.deny", kString},
    {"policy.allow", kString},
    {"policy.rate", kString},
    {"policy.reverse", kString},

    {"pickup", kSection},
    {"pickup.directory", kString, "the pickup directory comes", R"("")"},

    {"bounce", kSection},
    {"bounce.from", kString},
    {"bounce.copy_to", kString},
    {"bounce.badmail", kString},

    {"space", kSection},
    {"space.stop_intake", kSize},
    {"space.reserve", kSize},
    {"space.segment", kSize},
    {"space.trash", kDuration, "the trash comes", R"("0")"},
    {"history", kSection},
    {"history.keep", kDuration},
    {"history.size", kSize},

    {"log", kSection},
    {"log.to", kString},
    {"log.format", kString},
    {"log.level", kString},
    {"metrics", kSection},
    {"metrics.address", kString, "the metrics page comes", R"("")"},
    {"processes", kSection},
    {"processes.smtpd", kInteger},
    {"processes.relay", kInteger},
});

constexpr std::string_view kLogAdvice = R"(name "stderr" or a file)";

constexpr auto kLaterValues = std::to_array<LaterValue>({
    {"log.to", "journal", "the systemd journal comes", kLogAdvice},
    {"log.to", "syslog", "syslog comes", kLogAdvice},
});

std::pair<std::string_view, std::string_view> split(std::string_view path) {
  const auto dot = path.rfind('.');
  if (dot == std::string_view::npos) return {{}, path};
  return {path.substr(0, dot), path.substr(dot + 1)};
}

// Levenshtein; both are names of keys, so short.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, changed}));
    }
  }
  return row[b.size()];
}

}  // namespace

std::span<const Key> schema() {
  return kKeys;
}
std::span<const LaterValue> later_values() {
  return kLaterValues;
}

const Key* find_key(std::string_view path) {
  const auto found =
      std::find_if(kKeys.begin(), kKeys.end(), [&](const Key& key) { return key.path == path; });
  return found == kKeys.end() ? nullptr : &*found;
}

std::string_view nearest_key(std::string_view section, std::string_view name) {
  static constexpr std::size_t kLongest = 40;
  if (name.size() > kLongest) return {};
  std::string_view best;
  std::size_t best_distance = name.size() < 4 ? 2 : 3;  // one or two letters may differ
  for (const auto& key : kKeys) {
    const auto [home, own_name] = split(key.path);
    if (home != section) continue;
    if (const auto d = distance(name, own_name); d < best_distance) {
      best = key.path;
      best_distance = d;
    }
  }
  if (!best.empty()) return best;
  for (const auto& key : kKeys)
    if (split(key.path).second == name) return key.path;
  return {};
}

}  // namespace postern::config
