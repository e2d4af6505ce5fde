// MTA-STS (RFC 8461): what a domain says of itself in the DNS and in its policy, and what that means for
// one of its MX hosts. Pure: neither asks nor remembers. Whatever does not follow the RFC is no record and no
// policy, never half of one. A host for which DANE holds is not asked about here (RFC 8461 2).
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"

namespace postern::relay {

inline constexpr std::size_t kMaxStsPolicy = 64 * 1024;            // bytes (RFC 8461 3.3)
inline constexpr std::size_t kMaxStsHosts = 1'000;                 // "mx" lines
inline constexpr base::Millis kMaxStsAge{31'557'600LL * 1'000};    // a year (RFC 8461 3.2)

enum class StsMode : std::uint8_t { kNone, kTesting, kEnforce };

struct StsPolicy {
  StsMode mode = StsMode::kNone;
  base::Millis max_age{0};
  std::vector<std::string> hosts;  // in lower case: "mx.example.org", "*.example.net"
  friend bool operator==(const StsPolicy&, const StsPolicy&) noexcept = default;
};

// The id in the TXT records of "_mta-sts.DOMAIN", each with its strings joined. Nothing: there is no policy, or
// more than one record says that there is.
[[nodiscard]] std::optional<std::string> read_sts_record(const std::vector<std::string>& texts);

// The body of "https://mta-sts.DOMAIN/.well-known/mta-sts.txt"; on failure what is wrong with it.
[[nodiscard]] std::expected<StsPolicy, std::string> read_sts_policy(std::string_view body);

enum class StsDemand : std::uint8_t {
  kNothing,
  kVerify,  // TLS and a certificate for its name
  kAvoid,   // no mail: the policy does not name it
};
// Of the MX host `host`. A policy that is being tested demands nothing.
[[nodiscard]] StsDemand sts_demand(const StsPolicy& policy, std::string_view host);

}  // namespace postern::relay
