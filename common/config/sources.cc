#include "common/config/sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <expected>

#include "common/base/text.h"
#include "common/config/way.h"

namespace postern::config {
namespace {

constexpr std::size_t kShownOfName = 40;  // of a name that nobody knows

std::expected<SourceAddress, std::string> parse_source(std::string_view text) {
  const auto mark = text.find('?');
  const auto address = base::parse_ip(text.substr(0, mark));
  if (!address) return std::unexpected(R"(expected an address of this host, like "192.0.2.5")");
  if (!is_end(*address)) return std::unexpected("nobody can send from this address");
  SourceAddress source{*address};
  if (mark == std::string_view::npos) return source;
  bool said = false;
  for (const auto& one : parameters_of(text.substr(mark + 1))) {
    if (one.name != "weight")
      return std::unexpected(fmt::format("expected weight=... behind the ?, not \"{}\"",
                                         base::printable(one.name, kShownOfName)));
    const auto weight = parse_weight(one.value);
    if (!weight) return std::unexpected("expected a weight between 1 and 255 behind the ?, like weight=3");
    if (std::exchange(said, true)) return std::unexpected("weight is said twice");
    source.weight = *weight;
  }
  return source;
}

std::expected<std::optional<base::Endpoint>, std::string> parse_socks(std::string_view text) {
  if (text.empty()) return std::nullopt;
  const auto endpoint = base::parse_endpoint(text);
  if (endpoint && endpoint->port > 0 && is_end(endpoint->address)) return *endpoint;
  return std::unexpected(R"(expected the address and the port of a SOCKS5 server, like "127.0.0.1:1080")");
}

}  // namespace

void read_sources(const Section& section, std::vector<SourceAddress>& sources) {
  for (const auto* value : section.elements("source", kMaxSources)) {
    const auto source = parse_source(value->text);
    if (!source)
      section.refuse(*value, "source", source.error());
    else if (std::ranges::find(sources, source->address, &SourceAddress::address) != sources.end())
      section.refuse(*value, "source", "this address is named before");
    else
      sources.push_back(*source);
  }
}

void read_socks(const Section& section, std::optional<base::Endpoint>& socks) {
  section.string("socks", socks, parse_socks);
}

bool is_end(const base::IpAddress& address) {
  const auto first = address.bytes[0];
  if (address.is_unspecified()) return false;
  if (address.family == base::IpFamily::kV4) return first != 0 && first < 224;
  return first != 0xff && !(first == 0xfe && (address.bytes[1] & 0xc0) == 0x80);
}

}  // namespace postern::config
