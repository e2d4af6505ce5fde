#include "common/config/routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "common/config/hop.h"
#include "common/config/hop_login.h"
#include "common/config/names.h"
#include "common/config/sources.h"
#include "common/config/units.h"
#include "common/config/way.h"

namespace postern::config {
namespace {

constexpr std::size_t kMaxElements = 10'000;
constexpr std::size_t kMaxWays = 16;           // of a route, as in RouteConfig
constexpr std::uint32_t kMaxWeights = 255;     // of neighbours together
constexpr std::int64_t kNoMore = std::numeric_limits<std::uint32_t>::max();
constexpr std::string_view kExpectedHop =
    R"(expected "mx", smtp[s]://host[:port], lmtp://host[:port], lmtp:unix:PATH, "turn:", "refuse" or "discard")";

std::string stands_at(const Where& where) {
  return fmt::format("this stands already at {}:{}:{}", where.file, where.line, where.column);
}

std::expected<std::uint64_t, std::string> parse_interval(std::string_view text) {
  if (const auto interval = parse_rate(text)) return *interval;
  return std::unexpected(R"(expected messages in a time, like "600/min", "20/s", "200/h", or "0")");
}

std::expected<mail::Domain, std::string> parse_masquerade(std::string_view text) {
  if (text.empty()) return mail::Domain();
  auto domain = parse_domain(text);
  if (domain && domain->is_literal()) return std::unexpected("expected a name, not an address");
  return domain;
}

class RouteReader {
 public:
  RouteReader(const std::map<std::string, Where>& own, Report& report) : own_(own), report_(report) {}

  void read(const Section& section, Route& route) {
    route.where = section.where();
    patterns(section, route);
    hops(section, route);
    connecting(section, route);
    protection(section, route);
    read_hop_login(section, route);
    read_pass_client(section, route.via);
    masquerade(section, route);
    second_path(section, route);
    section.integer("connections", route.connections, 0, kNoMore);
    section.string("rate", route.interval, parse_interval);
    section.boolean("internal", route.internal);
  }

 private:
  struct Entry {  // of `via`
    Way way;
    const Value* value;
  };

  void patterns(const Section& section, Route& route) {
    section.require("to", "an array of domains, like [\"corp.example\", \"*.corp.example\"]");
    for (const auto* value : section.elements("to", kMaxElements)) {
      auto pattern = parse_pattern(value->text);
      if (!pattern) {
        section.refuse(*value, "to", std::move(pattern.error()));
        continue;
      }
      if (const auto own = own_.find(*pattern); own != own_.end()) {
        section.refuse(*value, "to",
                       fmt::format("this is a [[domain]] of ours ({}:{}:{}), and no route leads there",
                                   own->second.file, own->second.line, own->second.column));
        continue;
      }
      const auto [other, fresh] = patterns_.emplace(*pattern, report_.where(value->place));
      if (fresh)
        route.to.push_back(*std::move(pattern));
      else
        section.refuse(*value, "to", stands_at(other->second));
    }
    if (const auto* const array = section.get("to"); array != nullptr && array->children.empty())
      section.refuse(*array, "to", "expected at least one domain");
  }

  void hops(const Section& section, Route& route) {
    section.require("via", "an array with a next hop, like [\"smtp://relay.example\"]");
    const auto* const array = section.get("via");
    if (array == nullptr) return;
    if (array->children.empty()) return section.refuse(*array, "via", std::string(kExpectedHop));
    entries_.clear();
    for (const auto* value : section.elements("via", kMaxWays)) {
      auto way = read_way(*value, kExpectedHop, report_);
      if (!way)
        section.refuse(*value, "via", std::move(way.error()));
      else if (auto wrong = wrong_with(*way, array->children.size() > 1); !wrong.empty())
        section.refuse(*value, "via", std::move(wrong));
      else
        entries_.push_back({*std::move(way), value});
    }
    for (const auto& entry : entries_) route.via.push_back(entry.way.hop);
  }

  // Beside those before it.
  [[nodiscard]] std::string wrong_with(const Way& way, bool several) const {
    if (way.hop.kind == HopKind::kMailbox) return fmt::format("{}; mailboxes are for a [[domain]]", kExpectedHop);
    if (std::ranges::any_of(entries_, [&](const Entry& other) { return is_same(other.way.hop, way.hop); }))
      return "this next hop is named before";
    if (several && (way.hop.kind == HopKind::kRefuse || way.hop.kind == HopKind::kDiscard))
      return "this stands alone: mail would end where it could wait";
    if (several && way.hop.kind == HopKind::kTurn)
      return "this stands alone: its mail waits until its host calls, and no way leads on from there";
    std::uint32_t weights = way.hop.weight;
    for (auto at = entries_.rbegin(); at != entries_.rend() && weights > 0 && at->way.hop.weight > 0; ++at)
      weights += at->way.hop.weight;
    if (weights > kMaxWeights)
      return fmt::format("the weights of these neighbours are {} together: expected at most {}", weights, kMaxWeights);
    return {};
  }

  // Whatever is said of them.
  static bool is_same(HopSpec a, const HopSpec& b) {
    a.weight = b.weight;
    return a == b;
  }

  // What is demanded of each next hop: by its own entry, or else by the route. After the SOCKS server.
  void protection(const Section& section, Route& route) const {
    HopTls tls = HopTls::kOptional;
    section.choice("tls", tls,
                   {{"off", HopTls::kOff},
                    {"optional", HopTls::kOptional},
                    {"required", HopTls::kRequired},
                    {"verified", HopTls::kVerified},
                    {"dane", HopTls::kDane}});
    for (std::size_t i = 0; i < route.via.size(); ++i) {
      auto& hop = route.via[i];
      const auto own = entries_[i].way.tls;
      const auto demanded = own.value_or(tls);
      if (auto wrong = config::wrong_with(hop, demanded); !wrong.empty())
        section.refuse(own ? *entries_[i].value : *section.get("tls"), own ? "via" : "tls", std::move(wrong));
      else if (hop.kind != HopKind::kSocket)
        hop.tls = demanded;
    }
  }

  // From where, and through whom.
  static void connecting(const Section& section, Route& route) {
    std::vector<SourceAddress> sources;
    read_sources(section, sources);
    std::optional<base::Endpoint> socks;
    read_socks(section, socks);
    if (route.via.empty()) return;
    const bool nowhere = std::ranges::none_of(route.via, is_remote);
    for (const auto& [key, given] : {std::pair("source", !sources.empty()), std::pair("socks", socks.has_value())})
      if (nowhere && given)
        section.refuse(*section.get(key), key, "no next hop of this route is connected to over the network");
    for (auto& hop : route.via) {
      if (!is_remote(hop)) continue;
      hop.sources = sources;
      hop.socks = socks;
    }
  }

  static bool leaves_this_host(const HopSpec& hop) { return is_remote(hop) || hop.kind == HopKind::kTurn; }

  static void masquerade(const Section& section, Route& route) {
    section.string("masquerade", route.masquerade, parse_masquerade);
    if (!route.masquerade.empty() && !route.via.empty() && std::ranges::none_of(route.via, leaves_this_host))
      section.refuse(*section.get("masquerade"), "masquerade", "no mail of this route goes to another host");
  }

  static void second_path(const Section& section, Route& route) {
    section.boolean("second_path", route.second_path);
    const auto* const via = section.get("via");
    if (route.second_path && via != nullptr && via->children.size() == 1)
      section.refuse(*section.get("second_path"), "second_path", "this route has one next hop, and no other path");
  }

  const std::map<std::string, Where>& own_;
  Report& report_;
  std::map<std::string, Where> patterns_;  // `to` of all routes
  std::vector<Entry> entries_;             // of the route that is read
};

}  // namespace

void read_routes(std::span<const Section> sections, const std::map<std::string, Where>& own, Config& config,
                 Report& report) {
  RouteReader reader(own, report);
  for (const auto& section : sections) reader.read(section, config.routes.emplace_back());
}

}  // namespace postern::config
