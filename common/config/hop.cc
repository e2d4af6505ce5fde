#include "common/config/hop.h"

#include <fmt/format.h>

#include "common/base/ip.h"
#include "common/base/text.h"

namespace postern::config {
namespace {

constexpr std::string_view kScheme = "smtp://";
constexpr std::string_view kImplicitScheme = "smtps://";
constexpr std::string_view kLmtpScheme = "lmtp://";
constexpr std::string_view kSocketScheme = "lmtp:unix:";
constexpr std::string_view kTurn = "turn:";  // nobody is named: who may call, his [[account]] says
constexpr std::uint16_t kSmtpPort = 25;
constexpr std::uint16_t kSmtpsPort = 465;
constexpr std::uint16_t kLmtpPort = 24;
constexpr std::size_t kSourcesNamed = 2;

std::expected<HopSpec, std::string> parse_lmtp_host(std::string_view text) {
  auto hop = parse_host(text, {.kind = HopKind::kHost, .port = kLmtpPort, .lmtp = true});
  // Where others expect SMTP nobody may find LMTP (RFC 2033 5).
  if (hop && hop->port == kSmtpPort)
    return std::unexpected("LMTP is not spoken on port 25, which is SMTP's");
  return hop;
}

std::expected<HopSpec, std::string> parse_socket(std::string_view path) {
  if (path.empty()) return std::unexpected("expected the path of a socket behind lmtp:unix:");
  return HopSpec{
      .kind = HopKind::kSocket, .host = std::string(path), .port = 0, .lmtp = true};
}

std::string source_text(const SourceAddress& source) {
  const auto address = base::to_string(source.address);
  return source.weight == 1 ? address : fmt::format("{}*{}", address, source.weight);
}

// A name has little room: of many the first one, and what tells the others apart.
std::string sources_text(const std::vector<SourceAddress>& sources) {
  auto text = source_text(sources.front());
  std::string rest;
  for (std::size_t i = 1; i < sources.size(); ++i) rest += ',' + source_text(sources[i]);
  if (sources.size() <= kSourcesNamed) return text + rest;
  return fmt::format("{}+{:016x}", text, std::hash<std::string>()(rest));
}

}  // namespace

std::expected<HopSpec, std::string> parse_host(std::string_view text, HopSpec hop) {
  const bool bracketed = text.starts_with('[');
  const auto host_end = bracketed ? text.find(']') : text.find(':');
  auto host = text.substr(0, host_end);
  if (bracketed) {
    if (host_end == std::string_view::npos)
      return std::unexpected("expected ] behind the IPv6 address");
    host = text.substr(1, host_end - 1);
    text.remove_prefix(host_end + 1);
  } else {
    text.remove_prefix(host.size());
  }
  if (!text.empty()) {
    const auto port = text.starts_with(':') ? base::parse_number(text.substr(1)) : std::nullopt;
    if (!port || *port < 1 || *port > 65535)
      return std::unexpected("expected nothing or a port between 1 and 65535 behind the host");
    hop.port = static_cast<std::uint16_t>(*port);
  }
  if (const auto address = base::parse_ip(host)) {
    if (bracketed != (host.find(':') != std::string_view::npos))
      return std::unexpected("only IPv6 addresses stand in brackets");
    hop.host = base::to_string(*address);
    return hop;
  }
  if (bracketed) return std::unexpected("expected an IPv6 address in the brackets");
  const auto name = mail::Domain::parse(host);
  if (!name || name->is_literal())
    return std::unexpected(fmt::format("expected the name or the address of a host{}",
                                       name ? "" : ": " + name.error().text));
  // Digits and dots alone are an address gone wrong, not a name.
  if (name->text().find_first_not_of("0123456789.") == std::string::npos)
    return std::unexpected("expected the name or the address of a host: not an IPv4 address");
  hop.host = name->text();
  return hop;
}

std::expected<HopSpec, std::string> parse_hop(std::string_view text) {
  if (text == "mx") return HopSpec{.kind = HopKind::kMx};
  if (text == "mailbox") return HopSpec{.kind = HopKind::kMailbox};
  if (text == "refuse") return HopSpec{.kind = HopKind::kRefuse};
  if (text == "discard") return HopSpec{.kind = HopKind::kDiscard};
  if (text == kTurn) return HopSpec{.kind = HopKind::kTurn};
  if (text.starts_with(kScheme))
    return parse_host(text.substr(kScheme.size()), {.kind = HopKind::kHost, .port = kSmtpPort});
  if (text.starts_with(kImplicitScheme))
    return parse_host(text.substr(kImplicitScheme.size()),
                      {.kind = HopKind::kHost, .port = kSmtpsPort, .implicit = true});
  if (text.starts_with(kLmtpScheme)) return parse_lmtp_host(text.substr(kLmtpScheme.size()));
  if (text.starts_with(kSocketScheme)) return parse_socket(text.substr(kSocketScheme.size()));
  if (text.starts_with(kTurn)) return std::unexpected("nothing stands behind turn: - the hosts call");
  return std::unexpected("unknown kind of next hop");
}

std::string hop_text(const HopSpec& hop) {
  switch (hop.kind) {
    case HopKind::kMx:
      return "mx";
    case HopKind::kMailbox:
      return "mailbox";
    case HopKind::kRefuse:
      return "refuse";
    case HopKind::kDiscard:
      return "discard";
    case HopKind::kSocket:
      return fmt::format("{}{}", kSocketScheme, hop.host);
    case HopKind::kTurn:
      return std::string(kTurn);
    case HopKind::kHost:
      break;
  }
  const bool v6 = hop.host.find(':') != std::string::npos;
  const auto scheme = hop.lmtp ? kLmtpScheme : hop.implicit ? kImplicitScheme : kScheme;
  return v6 ? fmt::format("{}[{}]:{}", scheme, hop.host, hop.port)
            : fmt::format("{}{}:{}", scheme, hop.host, hop.port);
}

std::string_view tls_text(HopTls tls) {
  switch (tls) {
    case HopTls::kOff:
      return "off";
    case HopTls::kOptional:
      return "optional";
    case HopTls::kRequired:
      return "required";
    case HopTls::kVerified:
      return "verified";
    case HopTls::kDane:
      return "dane";
  }
  return {};
}

std::string_view pass_client_text(PassClient pass) {
  switch (pass) {
    case PassClient::kNone:
      return "none";
    case PassClient::kXforward:
      return "xforward";
    case PassClient::kXclient:
      return "xclient";
    case PassClient::kProxy:
      return "proxy";
  }
  return {};
}

bool heeds_policies(const HopSpec& hop) {
  switch (hop.tls) {
    case HopTls::kOptional:
    case HopTls::kRequired:
    case HopTls::kVerified:
      return hop.kind == HopKind::kMx;
    case HopTls::kOff:
    case HopTls::kDane:
      return false;
  }
  return false;
}

std::string demand_text(const HopSpec& hop) {
  std::string text = hop.lmtp ? "/lmtp" : hop.implicit ? "/smtps" : "";
  if (hop.tls != HopTls::kOptional) text.append("/").append(tls_text(hop.tls));
  if (!hop.login.empty()) text.append("/login=").append(hop.login);
  if (hop.pass_client != PassClient::kNone) text.append("/").append(pass_client_text(hop.pass_client));
  if (hop.socks) text.append("/socks=").append(base::to_string(*hop.socks));
  if (!hop.sources.empty()) text.append("/source=").append(sources_text(hop.sources));
  return text;
}

std::string host_name(const HopSpec& hop) {
  const bool v6 = hop.host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}{}", hop.host, hop.port, demand_text(hop))
            : fmt::format("{}:{}{}", hop.host, hop.port, demand_text(hop));
}

}  // namespace postern::config
