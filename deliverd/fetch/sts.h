// MTA-STS (RFC 8461): what a domain says of itself in the DNS and in its policy, and what that means for
// its MX hosts. Pure: neither asks nor remembers. Whatever does not follow the RFC is no record and no
// policy, never half of one.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/ipc/policies.h"

namespace postern::fetch {

inline constexpr std::size_t kMaxStsPolicy = 64 * 1024;            // bytes (RFC 8461 3.3)
inline constexpr std::size_t kMaxStsHosts = 1'000;                 // "mx" lines
// Bytes of all their names: a few domains must not fill the cache, and drive the others out.
inline constexpr std::size_t kMaxStsNames = 8 * 1024;
inline constexpr base::Millis kMaxStsAge{31'557'600LL * 1'000};    // a year (RFC 8461 3.2)

using ipc::StsMode;

struct StsPolicy {
  StsMode mode = StsMode::kNone;
  base::Millis max_age{0};
  std::vector<std::string> hosts;  // in lower case: "mx.example.org", "*.example.net"
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("mode", &StsPolicy::mode), ipc::field("max_age", &StsPolicy::max_age),
                          ipc::field("hosts", &StsPolicy::hosts, kMaxStsHosts, 300));
  }
  friend bool operator==(const StsPolicy&, const StsPolicy&) noexcept = default;
};

// The id in the TXT records of "_mta-sts.DOMAIN", each with its strings joined. Nothing: there is no policy, or
// more than one record says that there is.
[[nodiscard]] std::optional<std::string> read_sts_record(const std::vector<std::string>& texts);

// The body of "https://mta-sts.DOMAIN/.well-known/mta-sts.txt"; on failure what is wrong with it.
[[nodiscard]] std::expected<StsPolicy, std::string> read_sts_policy(std::string_view body);

// Does the policy name this MX host? A star stands for its first label (RFC 8461 4.1).
[[nodiscard]] bool names_host(const StsPolicy& policy, std::string_view host);

}  // namespace postern::fetch
