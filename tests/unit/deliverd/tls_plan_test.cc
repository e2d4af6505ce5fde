// The table on top of tls_plan.h, row by row.
#include "deliverd/relay/tls_plan.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace postern::relay {
namespace {

using config::HopKind;
using config::HopTls;

constexpr HopTls kAll[] = {HopTls::kOff, HopTls::kOptional, HopTls::kRequired, HopTls::kVerified,
                           HopTls::kDane};
const std::string kDigest(32, 'd');

config::HopSpec mx(HopTls tls) { return {.kind = HopKind::kMx, .tls = tls}; }
config::HopSpec host(HopTls tls, bool implicit = false) {
  return {.kind = HopKind::kHost, .host = "mx.example", .port = 25, .tls = tls, .implicit = implicit};
}
Target target(bool vouched, const std::string& domain = "example.org") {
  Target made{"mx.example", {base::parse_ip("192.0.2.1").value(), 25}, domain, {}};
  if (vouched) made.vouched = {"mx.example"};
  return made;
}
dns::TlsaAnswer records(std::vector<dns::TlsaRecord> list, bool secure = true) {
  return {dns::Status::kRecords, std::move(list), {}, {}, secure};
}
dns::TlsaAnswer none(dns::Status status = dns::Status::kNoDomain, bool secure = true) {
  return {status, {}, {}, status == dns::Status::kTemporary ? "no answer" : "", secure};
}
const dns::TlsaRecord kRightKey{3, 1, 1, kDigest};

std::string_view word(Need need) {
  switch (need) {
    case Need::kClear:
      return "clear";
    case Need::kTry:
      return "try";
    case Need::kEncrypt:
      return "encrypt";
    case Need::kVerify:
      return "verify";
    case Need::kDane:
      return "dane";
  }
  return "?";
}

std::string plan(const config::HopSpec& hop, const Target& target, const dns::TlsaAnswer& answer) {
  const auto planned = plan_for(hop, target, answer, "mx.example");
  if (planned) return std::string(word(planned->need));
  EXPECT_EQ(planned.error().end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(planned.error().failure, ipc::FailureClass::kTls);
  EXPECT_EQ(planned.error().reply.enhanced.status, 4);
  return planned.error().reply.text();
}

// Each way's plan, in the order of kAll.
std::string plans(config::HopSpec (*way)(HopTls), const Target& target,
                  const dns::TlsaAnswer& answer) {
  std::string all;
  for (const auto tls : kAll) {
    const auto one = plan(way(tls), target, answer);
    all += (all.empty() ? "" : " ") + (one.starts_with("4.") ? "no" : one);
  }
  return all;
}
config::HopSpec by_name(HopTls tls) { return host(tls); }

TEST(TlsPlan, WithoutDnssecTheWayAloneDecides) {
  for (const auto& answer : {records({kRightKey}), none(), none(dns::Status::kTemporary)}) {
    EXPECT_EQ(plans(mx, target(false), answer), "clear try encrypt verify no");
    EXPECT_EQ(plans(by_name, target(false, ""), answer), "clear try encrypt verify no");
  }
}

TEST(TlsPlan, RecordsBindWhereTheHostIsVouchedFor) {
  EXPECT_EQ(plans(mx, target(true), records({kRightKey})), "clear dane dane verify dane");
  EXPECT_EQ(plans(by_name, target(true, ""), records({kRightKey})), "clear try encrypt verify dane")
      << "a route's word needs no more";
}

TEST(TlsPlan, NoRecordsAreNoMatterUnlessTheyAreDemanded) {
  for (const auto status : {dns::Status::kNoData, dns::Status::kNoDomain})
    EXPECT_EQ(plans(mx, target(true), none(status)), "clear try encrypt verify no");
  EXPECT_EQ(plans(mx, target(true), records({kRightKey}, false)), "clear try encrypt verify no")
      << "of a zone that nobody vouches for";
}

// RFC 7672 2.2.
TEST(TlsPlan, UnusableRecordsDemandTlsAndNothingElse) {
  const std::vector<dns::TlsaRecord> unusable{
      {0, 1, 1, kDigest}, {1, 1, 1, kDigest}, {4, 1, 1, kDigest}, {3, 2, 1, kDigest},
      {3, 1, 3, kDigest}, {3, 1, 1, "short"}, {3, 1, 2, kDigest}, {2, 0, 0, ""}};
  EXPECT_EQ(plans(mx, target(true), records(unusable)), "clear encrypt encrypt verify no");
  for (const auto& one : unusable)
    EXPECT_EQ(plan(mx(HopTls::kOptional), target(true), records({one})), "encrypt");
  auto mixed = unusable;
  mixed.push_back(kRightKey);
  const auto planned =
      plan_for(mx(HopTls::kOptional), target(true), records(mixed), "mx.example");
  ASSERT_TRUE(planned);
  EXPECT_EQ(planned->records, std::vector{kRightKey});
}

TEST(TlsPlan, WithoutAnAnswerTheHostIsOutOfReach) {
  EXPECT_EQ(plans(mx, target(true), none(dns::Status::kTemporary, false)), "clear no no verify no");
  EXPECT_EQ(plan(mx(HopTls::kOptional), target(true), none(dns::Status::kTemporary, false)),
            "4.4.3 looking up the TLSA records of mx.example: no answer");
}

TEST(TlsPlan, WhatIsDemandedInVainIsSaid) {
  EXPECT_EQ(plan(mx(HopTls::kDane), target(false), none()),
            "4.7.0 DNSSEC does not vouch for mx.example");
  EXPECT_EQ(plan(mx(HopTls::kDane), target(true), none()),
            "4.7.0 mx.example has no secure TLSA records");
  EXPECT_EQ(plan(mx(HopTls::kDane), target(true), records({{1, 1, 1, kDigest}})),
            "4.7.0 mx.example has no usable TLSA records");
}

TEST(TlsPlan, WhereTlsComesFirstItIsNotMerelyTried) {
  EXPECT_EQ(plan(host(HopTls::kOptional, true), target(false, ""), none()), "encrypt");
  EXPECT_EQ(plan(host(HopTls::kVerified, true), target(false, ""), none()), "verify");
  EXPECT_TRUE(plan_for(host(HopTls::kOptional, true), target(false, ""), {}, "")->implicit);
}

// RFC 7672 2.2.2, 3.2.2.
TEST(TlsPlan, AnAliasIsAskedFirstAndAllNamesCount) {
  auto aliased = target(true);
  aliased.vouched = {"real.example.net", "mx.example"};
  EXPECT_EQ(tlsa_bases(mx(HopTls::kOptional), aliased), aliased.vouched);
  const auto planned =
      plan_for(mx(HopTls::kOptional), aliased, records({kRightKey}), "real.example.net");
  ASSERT_TRUE(planned);
  EXPECT_EQ(planned->name, "real.example.net");
  EXPECT_EQ(planned->also, (std::vector<std::string>{"mx.example", "example.org"}));
}

TEST(TlsPlan, RecordsAreAskedForOnlyWhereTheyMatter) {
  for (const auto tls : kAll) {
    EXPECT_EQ(tlsa_bases(mx(tls), target(true)).empty(),
              tls == HopTls::kOff || tls == HopTls::kVerified);
    EXPECT_TRUE(tlsa_bases(mx(tls), target(false)).empty());
    EXPECT_EQ(tlsa_bases(host(tls), target(true, "")).empty(), tls != HopTls::kDane);
  }
  EXPECT_EQ(tlsa_name("mx.example", 2525), "_2525._tcp.mx.example");
}

// RFC 8461 5.
Target with_policy(bool enforced, bool named, bool vouched = false) {
  auto made = target(vouched);
  made.policy = PolicyWord{enforced, named, "20261123"};
  return made;
}

TEST(TlsPlan, WhoDemandsItIsSaid) {
  const auto why = [](const config::HopSpec& hop, const Target& target, const dns::TlsaAnswer& answer = none()) {
    return plan_for(hop, target, answer, "mx.example").value().why;
  };
  EXPECT_EQ(why(mx(HopTls::kOff), target(true)), "off: by configuration");
  EXPECT_EQ(why(mx(HopTls::kOptional), target(true)), "opportunistic: no policy");
  EXPECT_EQ(why(mx(HopTls::kRequired), target(true)), "required: by configuration");
  EXPECT_EQ(why(mx(HopTls::kVerified), target(true)), "verified: by configuration");
  EXPECT_EQ(why(host(HopTls::kOptional, true), target(false, "")), "required: by configuration");
  const dns::TlsaRecord unusable{1, 1, 1, kDigest};
  EXPECT_EQ(why(mx(HopTls::kOptional), target(true), records({kRightKey, unusable})), "dane: 1 TLSA record");
  EXPECT_EQ(why(mx(HopTls::kDane), target(true), records({kRightKey, kRightKey})), "dane: 2 TLSA records");
  EXPECT_EQ(why(mx(HopTls::kOptional), target(true), records({unusable})),
            "required: by TLSA records, of which none can be used");
  EXPECT_EQ(why(mx(HopTls::kRequired), target(true), records({unusable})), "required: by configuration");
  for (const auto tls : {HopTls::kOptional, HopTls::kVerified})
    EXPECT_EQ(why(mx(tls), with_policy(true, true)), "mta-sts: enforce, policy 20261123 of example.org");
  EXPECT_EQ(why(mx(HopTls::kOptional), with_policy(true, true, true), records({kRightKey})), "dane: 1 TLSA record");
  EXPECT_EQ(why(mx(HopTls::kOptional), with_policy(false, true)),
            "opportunistic: mta-sts testing, policy 20261123 of example.org");
  EXPECT_EQ(why(mx(HopTls::kRequired), with_policy(false, false)),
            "required: by configuration, mta-sts testing, policy 20261123 of example.org");
}

TEST(TlsPlan, APolicyThatIsEnforcedDemandsTheName) {
  for (const auto tls : {HopTls::kOptional, HopTls::kRequired, HopTls::kVerified}) {
    EXPECT_EQ(plan(mx(tls), with_policy(true, true), none()), "verify");
    EXPECT_EQ(plan(mx(tls), with_policy(true, false), none()),
              "4.7.0 the MTA-STS policy of example.org does not name mx.example");
  }
  const auto planned = plan_for(mx(HopTls::kOptional), with_policy(true, true), none(), {});
  EXPECT_EQ(planned->name, "mx.example");
  EXPECT_EQ(planned->policy, (PolicyWord{true, true, "20261123"}));
}

TEST(TlsPlan, APolicyThatIsTestedDemandsNothing) {
  for (const bool named : {true, false}) {
    EXPECT_EQ(plan(mx(HopTls::kOptional), with_policy(false, named), none()), "try");
    EXPECT_EQ(plan(mx(HopTls::kRequired), with_policy(false, named), none()), "encrypt");
  }
}

// RFC 8461 2.
TEST(TlsPlan, DaneGoesBeforeAPolicy) {
  for (const bool named : {true, false}) {
    EXPECT_EQ(plan(mx(HopTls::kOptional), with_policy(true, named, true), records({kRightKey})), "dane");
    EXPECT_TRUE(plan(mx(HopTls::kOptional), with_policy(true, named, true), none(dns::Status::kTemporary, false))
                    .starts_with("4.4.3 looking up the TLSA records"));
  }
  EXPECT_EQ(plan(mx(HopTls::kOptional), with_policy(true, true, true), records({{1, 1, 1, kDigest}})), "verify")
      << "where no record is usable the policy demands more";
  EXPECT_EQ(plan(mx(HopTls::kOptional), with_policy(true, true, true), none()), "verify");
}

TEST(TlsPlan, WhatATestedPolicyWouldHaveStoppedIsTold) {
  const auto complaint = [](const Target& target, const ipc::TlsNote& note, const dns::TlsaAnswer& answer = none()) {
    return policy_complaint(plan_for(mx(HopTls::kOptional), target, answer, "mx.example").value(), note);
  };
  const ipc::TlsNote good{"TLSv1.3 x", "yes: mx.example"}, doubtful{"TLSv1.3 x", "no: hostname mismatch"},
      clear{"none: not offered", ""};
  EXPECT_EQ(complaint(with_policy(false, true), good), "");
  EXPECT_EQ(complaint(with_policy(false, true), doubtful), "hostname mismatch");
  EXPECT_EQ(complaint(with_policy(false, true), clear), "TLS: none: not offered");
  EXPECT_EQ(complaint(with_policy(false, false), good), "the policy does not name mx.example");
  EXPECT_EQ(complaint(with_policy(true, true), doubtful), "") << "it was stopped";
  EXPECT_EQ(complaint(target(false), clear), "") << "there is none";
  EXPECT_EQ(complaint(with_policy(false, false, true), doubtful, records({kRightKey})), "") << "DANE said all";
}

// RFC 8689 2
TEST(TlsPlan, AHostIsKnownByItsCertificateAndByWhoNamesIt) {
  const ipc::TlsNote good{"TLSv1.3 x", "yes: mx.example"}, dane{"TLSv1.3 x", "dane: nothing.example"},
      bad{"TLSv1.3 x", "no: hostname mismatch"};
  const std::vector<std::string> others{"example.org"};
  const std::string nobody = "neither DNSSEC nor an MTA-STS policy names mx.example";
  auto sure = target(false);
  sure.named_for_sure = true;
  EXPECT_EQ(identity_doubt(sure, good, others), "");
  EXPECT_EQ(identity_doubt(sure, dane, others), "");
  EXPECT_EQ(identity_doubt(sure, bad, others), "hostname mismatch");
  EXPECT_EQ(identity_doubt(target(false), good, others), nobody);
  EXPECT_EQ(identity_doubt(with_policy(true, true), good, others), "");
  EXPECT_EQ(identity_doubt(with_policy(true, true), bad, others), "hostname mismatch");
  EXPECT_EQ(identity_doubt(with_policy(true, false), good, others), nobody);
  EXPECT_EQ(identity_doubt(with_policy(false, true), good, others), nobody) << "it is being tested";
}

// RFC 8689 4.2.1: where the domain has no MX record, or names itself.
TEST(TlsPlan, AHostIsKnownByTheNameOfTheDomainWhoseMailItTakes) {
  const ipc::TlsNote good{"TLSv1.3 x", "yes: mx.example"}, bad{"TLSv1.3 x", "no: certificate has expired"};
  const auto itself = target(false, "mx.example");
  EXPECT_EQ(identity_doubt(itself, good, {"mx.example", "mx.example"}), "");
  EXPECT_EQ(identity_doubt(itself, bad, {"mx.example"}), "certificate has expired");
  // Anybody can say that his mail goes there, or, of another's domain, that its mail does.
  EXPECT_NE(identity_doubt(itself, good, {"example.org"}), "");
  EXPECT_NE(identity_doubt(itself, good, {"mx.example", "example.org"}), "");
  EXPECT_EQ(identity_doubt(target(false), good, {"mx.example"}), "") << "mail for the host shares the connection";
}

}  // namespace
}  // namespace postern::relay
