#include "common/config/way.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/config/hop.h"

namespace postern::config {
namespace {

constexpr HopTls kDemands[] = {HopTls::kOff, HopTls::kOptional, HopTls::kRequired, HopTls::kVerified, HopTls::kDane};
constexpr std::size_t kShown = 40;  // of a name that nobody knows

bool speaks_smtp(const HopSpec& hop) { return is_remote(hop) && !hop.lmtp; }

std::string socket_without_tls(const HopSpec& hop) {
  return fmt::format("{} is a socket of this host, and TLS is not spoken there", hop.host);
}

std::expected<HopSpec, std::string> read_hop(std::string_view text, const std::string& file) {
  auto hop = parse_hop(text);
  if (!hop || hop->kind != HopKind::kSocket) return hop;
  auto path = parse_path(hop->host, file);
  if (!path) return std::unexpected(std::move(path.error()));
  if (path->size() > kMaxSocketPath)
    return std::unexpected(fmt::format("{} is too long for the name of a socket ({} characters)",
                                       *path, kMaxSocketPath));
  hop->host = *std::move(path);
  return hop;
}

// These return what is wrong; empty: nothing.
std::string read_tls(std::string_view value, Way& way) {
  if (way.tls) return "tls is said twice";
  if (way.hop.kind == HopKind::kSocket) return socket_without_tls(way.hop);
  const auto* const tls = std::ranges::find(kDemands, value, &tls_text);
  if (tls == std::end(kDemands)) return "expected tls=off, optional, required, verified or dane behind the ?";
  way.tls = *tls;
  return wrong_with(way.hop, *tls);
}

std::string read_weight(std::string_view value, Way& way) {
  if (way.hop.kind == HopKind::kTurn) return "nobody shares this mail: leave out the weight";
  if (way.hop.weight > 0) return "weight is said twice";
  const auto weight = parse_weight(value);
  if (!weight) return "expected a weight between 1 and 255 behind the ?, like weight=3";
  way.hop.weight = *weight;
  return {};
}

std::string read_parameters(std::string_view text, Way& way) {
  if (!is_remote(way.hop) && way.hop.kind != HopKind::kSocket && way.hop.kind != HopKind::kTurn)
    return fmt::format("nothing more can be said of {}: leave out the ? and what follows", hop_text(way.hop));
  for (const auto& one : parameters_of(text)) {
    auto wrong = one.name == "tls"      ? read_tls(one.value, way)
                 : one.name == "weight" ? read_weight(one.value, way)
                                        : fmt::format("expected tls=... or weight=... behind the ?, not \"{}\"",
                                                      base::printable(one.name, kShown));
    if (!wrong.empty()) return wrong;
  }
  return {};
}

}  // namespace

std::expected<Way, std::string> read_way(const Value& value, std::string_view expected, const Report& report) {
  const std::string_view text = value.text;
  const auto mark = text.find('?');
  auto hop = read_hop(text.substr(0, mark), report.where(value.place).file);
  if (!hop) return std::unexpected(fmt::format("{}: {}", expected, hop.error()));
  Way way{*std::move(hop), {}};
  if (mark == std::string_view::npos) return way;
  if (auto wrong = read_parameters(text.substr(mark + 1), way); !wrong.empty()) return std::unexpected(std::move(wrong));
  return way;
}

std::vector<Parameter> parameters_of(std::string_view text) {
  std::vector<Parameter> all;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find('&', begin), text.size());
    const auto one = text.substr(begin, end - begin);
    const auto equals = std::min(one.find('='), one.size());
    all.push_back({one.substr(0, equals), one.substr(std::min(equals + 1, one.size()))});
    begin = end + 1;
  }
  return all;
}

std::optional<std::uint8_t> parse_weight(std::string_view text) {
  const auto weight = base::parse_number(text);
  if (!weight || *weight < 1 || *weight > 255) return std::nullopt;
  return static_cast<std::uint8_t>(*weight);
}

std::string wrong_with(const HopSpec& hop, HopTls tls) {
  if (hop.kind == HopKind::kSocket && tls != HopTls::kOff && tls != HopTls::kOptional) return socket_without_tls(hop);
  if (hop.kind == HopKind::kTurn && tls != HopTls::kOptional && tls != HopTls::kRequired)
    return R"(a host that calls begins TLS itself, and is known by its login: "optional" or "required")";
  if (hop.implicit && tls == HopTls::kOff) return "an smtps:// hop of this route begins with TLS";
  if (tls == HopTls::kDane && base::parse_ip(hop.host))
    return fmt::format("{} has no name in the DNS, so there are no TLSA records for it", hop.host);
  if (tls == HopTls::kDane && hop.socks && hop.kind == HopKind::kHost)
    return fmt::format("dane needs the DNS, and {} is looked up by the SOCKS server", hop.host);
  return {};
}

bool is_remote(const HopSpec& hop) { return hop.kind == HopKind::kHost || hop.kind == HopKind::kMx; }

// Whoever is told who the client is by XCLIENT or PROXY believes it, and gives rights to it; so both sides must know
// each other. XFORWARD is said only to who offers it, and is for the log.
void read_pass_client(const Section& section, std::span<HopSpec> hops) {
  auto pass = PassClient::kNone;
  section.choice("pass_client", pass,
                 {{"none", PassClient::kNone},
                  {"xforward", PassClient::kXforward},
                  {"xclient", PassClient::kXclient},
                  {"proxy", PassClient::kProxy}});
  if (pass == PassClient::kNone || hops.empty()) return;
  const auto& value = *section.get("pass_client");
  if (std::ranges::none_of(hops, speaks_smtp))
    return section.refuse(value, "pass_client", "none of its next hops speaks SMTP, so none can be told of clients");
  for (auto& hop : hops) {
    if (!speaks_smtp(hop)) continue;
    if (hop.kind == HopKind::kMx && pass != PassClient::kXforward)
      return section.refuse(value, "pass_client",
                            R"("mx" is whoever the DNS names: name the host that is told of clients so)");
    hop.pass_client = pass;
  }
}

}  // namespace postern::config
