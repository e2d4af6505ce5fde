#include "deliverd/relay/tls_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace postern::relay {
namespace {

using config::HopTls;

constexpr std::string_view kDoubt = "no: ";  // of ipc::TlsNote::verified

std::unexpected<Trouble> out_of_reach(mail::EnhancedCode code, std::string why,
                                      const Target& target) {
  Trouble trouble{ipc::GrantEnd::kTemporary, ipc::FailureClass::kTls, {}, remote_name(target)};
  trouble.reply.enhanced = code;
  trouble.reply.lines.push_back(std::move(why));
  return std::unexpected(std::move(trouble));
}

// Usages 0 and 1 lean on authorities of which mail servers share no list: RFC 7672 3.1.3.
bool usable(const dns::TlsaRecord& record) {
  if ((record.usage != 2 && record.usage != 3) || record.selector > 1) return false;
  switch (record.matching) {
    case 0:
      return !record.data.empty();
    case 1:
      return record.data.size() == 32;  // SHA-256
    case 2:
      return record.data.size() == 64;  // SHA-512
    default:
      return false;
  }
}

// What holds where no TLSA record has a say.
Need need_of(const config::HopSpec& hop) {
  switch (hop.tls) {
    case HopTls::kOff:
      return Need::kClear;
    case HopTls::kOptional:
      return hop.implicit ? Need::kEncrypt : Need::kTry;
    case HopTls::kRequired:
    case HopTls::kDane:
      return Need::kEncrypt;
    case HopTls::kVerified:
      return Need::kVerify;
  }
  return Need::kEncrypt;
}

// Whose need it is, where nobody but the way has a say.
std::string why_by_way(Need need) {
  switch (need) {
    case Need::kClear:
      return "off: by configuration";
    case Need::kTry:
      return "opportunistic: no policy";
    case Need::kEncrypt:
      return "required: by configuration";
    case Need::kVerify:
      return "verified: by configuration";
    case Need::kDane:
      break;
  }
  return {};
}

Plan dane(Plan plan, const Target& target, const dns::TlsaAnswer& answer, const std::string& base) {
  plan.need = Need::kDane;
  plan.records = answer.records;
  std::erase_if(plan.records, [](const auto& record) { return !usable(record); });
  const auto count = plan.records.size();
  plan.why = fmt::format("dane: {} TLSA record{}", count, count == 1 ? "" : "s");
  plan.name = base;
  // RFC 7672 3.2.2: the host by its other name, and the domain whose mail it takes.
  for (const auto& name : target.vouched)
    if (name != base) plan.also.push_back(name);
  if (!target.domain.empty() && target.domain != base) plan.also.push_back(target.domain);
  return plan;
}

Planned obeying_policy(Planned plan, const Target& target) {
  if (!plan || !target.policy || plan->need == Need::kDane) return plan;
  plan->policy = target.policy;
  const auto policy = fmt::format("policy {} of {}", target.policy->id, target.domain);
  if (!target.policy->enforced) {
    const bool tried = plan->need == Need::kTry;
    plan->why = fmt::format("{} mta-sts testing, {}", tried ? "opportunistic:" : plan->why + ",", policy);
    return plan;
  }
  if (!target.policy->named)
    return out_of_reach({4, 7, 0},
                        fmt::format("the MTA-STS policy of {} does not name {}", target.domain, target.host),
                        target);
  plan->need = Need::kVerify;
  plan->why = "mta-sts: enforce, " + policy;
  return plan;
}

Planned plan_without_policy(const config::HopSpec& hop, const Target& target, const dns::TlsaAnswer& answer,
                            const std::string& base) {
  const auto need = need_of(hop);
  Plan plan{need, hop.implicit, target.host, {}, {}, {}, why_by_way(need)};
  const bool demanded = hop.tls == HopTls::kDane;
  if (tlsa_bases(hop, target).empty()) {
    if (demanded)
      return out_of_reach({4, 7, 0}, fmt::format("DNSSEC does not vouch for {}", target.host), target);
    return plan;
  }
  // Who keeps the answer from us must not get clear text for it (RFC 7672 2.1.3).
  if (answer.status == dns::Status::kTemporary)
    return out_of_reach({4, 4, 3}, fmt::format("looking up the TLSA records of {}: {}", base, answer.trouble),
                        target);
  const bool there = answer.secure && !answer.records.empty();
  if (there && std::any_of(answer.records.begin(), answer.records.end(), usable))
    return dane(std::move(plan), target, answer, base);
  if (demanded)
    return out_of_reach({4, 7, 0},
                        fmt::format("{} has no {} TLSA records", base, there ? "usable" : "secure"), target);
  if (!there) return plan;
  if (plan.need == Need::kTry) plan.why = "required: by TLSA records, of which none can be used";
  plan.need = Need::kEncrypt;
  return plan;
}

}  // namespace

bool heeds_tlsa(const config::HopSpec& hop) {
  switch (hop.tls) {
    case HopTls::kOptional:
    case HopTls::kRequired:
      return hop.kind == config::HopKind::kMx;
    case HopTls::kDane:
      return true;
    case HopTls::kOff:
    case HopTls::kVerified:
      return false;
  }
  return false;
}

std::vector<std::string> tlsa_bases(const config::HopSpec& hop, const Target& target) {
  return heeds_tlsa(hop) ? target.vouched : std::vector<std::string>();
}

std::string tlsa_name(const std::string& base, std::uint16_t port) {
  return fmt::format("_{}._tcp.{}", port, base);
}

Planned plan_for(const config::HopSpec& hop, const Target& target, const dns::TlsaAnswer& answer,
                 const std::string& base) {
  return obeying_policy(plan_without_policy(hop, target, answer, base), target);
}

std::string policy_complaint(const Plan& plan, const ipc::TlsNote& session) {
  if (!plan.policy || plan.policy->enforced) return {};
  if (!plan.policy->named) return "the policy does not name " + plan.name;
  if (session.tls.starts_with("none")) return "TLS: " + session.tls;
  if (session.verified.starts_with(kDoubt)) return session.verified.substr(kDoubt.size());
  return {};
}

// Mail of other domains than the one that was looked up may share the connection, where their MX records are the same
// and nobody vouches for either: so each of these has to be the host's own name.
std::string identity_doubt(const Target& target, const ipc::TlsNote& session,
                           const std::vector<std::string>& domains) {
  if (session.verified.starts_with(kDoubt)) return session.verified.substr(kDoubt.size());
  const bool by_policy = target.policy && target.policy->enforced && target.policy->named;
  const bool by_itself = std::all_of(domains.begin(), domains.end(),
                                     [&](const std::string& domain) { return domain == target.host; });
  if (target.named_for_sure || by_policy || by_itself) return {};
  return fmt::format("neither DNSSEC nor an MTA-STS policy names {}", target.host);
}

}  // namespace postern::relay
