// Between the relays and fetch: what the MTA-STS policies of domains say of their MX hosts (RFC 8461).
#pragma once

#include "common/ipc/types.h"

namespace postern::ipc {

inline constexpr std::size_t kPolicyHosts = 20;  // that one question is about
inline constexpr std::size_t kPolicyId = 32;     // bytes (RFC 8461 3.1)

enum class StsMode : std::uint8_t { kNone, kTesting, kEnforce };

// fetch finds the policy where it has none, or the DNS names another one, and then answers; within its
// patience in any case.
struct AskPolicy {
  static constexpr Type kType = Type::kAskPolicy;
  static constexpr Route kRoute{roles(Role::kRelay), roles(Role::kFetch)};
  static constexpr Window kWindow{.requests = 1024};
  base::RequestId request;
  std::string domain;
  std::vector<std::string> hosts;  // in lower case
  static constexpr auto fields() {
    return fields_of(field("request", &AskPolicy::request),
                      field("domain", &AskPolicy::domain, kMaxQueueName),
                      field("hosts", &AskPolicy::hosts, kPolicyHosts, kMaxQueueName));
  }
};

struct PolicySaid {
  static constexpr Type kType = Type::kPolicySaid;
  static constexpr Route kRoute{roles(Role::kFetch), roles(Role::kRelay)};
  using ReplyTo = Replies<AskPolicy>;
  base::RequestId request;
  bool known = true;                   // false: the DNS names a policy, and there was no time to fetch it
  StsMode mode = StsMode::kNone;       // likewise where there is no policy
  std::vector<std::string> strangers;  // of the hosts: those that the policy does not name
  std::string id;                      // of the policy
  static constexpr auto fields() {
    return fields_of(field("request", &PolicySaid::request), field("known", &PolicySaid::known),
                      field("mode", &PolicySaid::mode),
                      field("strangers", &PolicySaid::strangers, kPolicyHosts, kMaxQueueName),
                      field("id", &PolicySaid::id, kPolicyId));
  }
};

template <>
inline constexpr StsMode kLastEnumerator<StsMode> = StsMode::kEnforce;

}  // namespace postern::ipc
