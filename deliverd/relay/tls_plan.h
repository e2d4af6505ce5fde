// What a session with one host must be before it carries mail: from what the way demands (route.tls) and
// what the DNS says of the host, to a plan, or to the reason why the host gets no mail now. Pure; the
// questions are asked elsewhere (tls_desk.h).
//
//   route.tls   vouched   TLSA records      plan
//   off         -         -                 clear
//   optional,   no        -                 TLS if it is offered and works
//   required    yes       none, insecure    likewise
//   (MX hosts)  yes       usable            DANE
//               yes       none usable       TLS, with whomsoever (RFC 7672 2.2)
//               yes       no answer         none: the host is out of reach
//   verified    -         -                 TLS and the host's name
//   dane        yes       usable            DANE
//               else                        none: the host is out of reach
//
// Then the domain's MTA-STS policy has its say (RFC 8461 5), where the way heeds it (config::heeds_policies) and
// the plan is not DANE, which goes before it (RFC 8461 2):
//
//   enforced, and names the host     TLS and the host's name
//   enforced, and does not name it   none: the host is out of reach
//   tested                           as before; what would not have passed is told (policy_complaint)
//
// With "required", or where TLS comes first (smtps:), "if it is offered" is "always". Vouched for is a host
// whose name and addresses DNSSEC proves, in the eyes of a resolver that we believe.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "common/config/roles.h"
#include "common/dns/answer.h"
#include "deliverd/relay/next_hop.h"

namespace postern::relay {

enum class Need : std::uint8_t {
  kClear,
  kTry,      // TLS; in clear where that fails
  kEncrypt,  // TLS, whoever it is
  kVerify,   // TLS and a certificate for the host's name
  kDane,     // TLS and a certificate that the records name
};

struct Plan {
  Need need = Need::kClear;
  bool implicit = false;
  std::string name;                      // whom the certificate is for: the host, or what it stands for
  std::vector<dns::TlsaRecord> records;  // kDane
  std::vector<std::string> also;         // kDane: names that count as well
  std::optional<PolicyWord> policy;      // of the domain, where it counts
  std::string why;  // who demands that, for people: "opportunistic: no policy", "dane: 2 TLSA records"
  friend bool operator==(const Plan&, const Plan&) noexcept = default;
};
using Planned = std::expected<Plan, Trouble>;

// Do TLSA records bind mail on this way?
[[nodiscard]] bool heeds_tlsa(const config::HopSpec& hop);
// The names (of the host, best first) to ask for TLSA records at; none: they do not matter.
[[nodiscard]] std::vector<std::string> tlsa_bases(const config::HopSpec& hop, const Target& target);
// "_25._tcp.mx.example.org"
[[nodiscard]] std::string tlsa_name(const std::string& base, std::uint16_t port);
// `answer`: of the first base that has records, or else of the last one; not read where there are no
// bases. `base`: whose answer that is.
[[nodiscard]] Planned plan_for(const config::HopSpec& hop, const Target& target,
                               const dns::TlsaAnswer& answer, const std::string& base);
// What of a session by this plan a policy that is being tested would not have let pass; empty: nothing.
[[nodiscard]] std::string policy_complaint(const Plan& plan, const ipc::TlsNote& session);
// Why a host in TLS may not be one that may have mail for these domains, for a message that demands to know
// (RFC 8689 2); empty: it is one. Its certificate must be good, and its name one that nobody else can have given.
[[nodiscard]] std::string identity_doubt(const Target& target, const ipc::TlsNote& session,
                                         const std::vector<std::string>& domains);

}  // namespace postern::relay
