// Next hops as `via` of a [[route]] and `deliver` of a [[domain]] write them: one of hop.h, and behind a question mark
// what holds for it alone: "smtp://a.example?weight=3", "mx?tls=optional", "smtp://b.example?tls=verified&weight=2".
#pragma once

#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/report.h"
#include "common/config/section.h"

namespace postern::config {

struct Way {
  HopSpec hop;                // with its weight
  std::optional<HopTls> tls;  // none: it says nothing
};

// The path of a socket is as seen from the value's file, and made absolute. On failure a sentence; `expected` stands
// before what is wrong with the hop itself.
[[nodiscard]] std::expected<Way, std::string> read_way(const Value& value, std::string_view expected,
                                                       const Report& report);

// One of those behind a question mark, as entries of other lists have them too.
struct Parameter {
  std::string_view name, value;  // before and behind its '='
};
// "tls=off&weight=3": at least one, which may be empty.
[[nodiscard]] std::vector<Parameter> parameters_of(std::string_view text);
// 1 to 255; nullopt for anything else.
[[nodiscard]] std::optional<std::uint8_t> parse_weight(std::string_view text);

// Why mail cannot go there under this demand; empty: it can.
[[nodiscard]] std::string wrong_with(const HopSpec& hop, HopTls tls);
// It is connected to over the network: a host, or the hosts of an MX.
[[nodiscard]] bool is_remote(const HopSpec& hop);

// `pass_client` of a section, for those of its hops that speak SMTP.
void read_pass_client(const Section& section, std::span<HopSpec> hops);

}  // namespace postern::config
