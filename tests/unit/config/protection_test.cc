// route.tls, smtps://, delivery.ca and delivery.trust_ad: what they mean, and their mistakes.
#include "common/config/cut.h"
#include "common/config/hop.h"
#include "tests/unit/config/temp_dir.h"
#include "tests/unit/tls/certificates.h"

namespace postern::config {
namespace {

class Protection : public ConfigTest {
 protected:
  static std::string route(const std::string& via, const std::string& tls = "") {
    return "[[route]]\nto = [\"*\"]\nvia = [\"" + via + "\"]\n" +
           (tls.empty() ? "" : "tls = \"" + tls + "\"\n");
  }
  Config config(const std::string& text) const {
    auto loaded = load_text(kGood + text);
    EXPECT_TRUE(loaded) << mistakes(kGood + text);
    return loaded ? *std::move(loaded) : Config();
  }
};

TEST_F(Protection, EachDemandHasItsName) {
  EXPECT_EQ(config(route("mx")).routes[0].via[0].tls, HopTls::kOptional);
  for (const auto tls : {HopTls::kOff, HopTls::kOptional, HopTls::kRequired, HopTls::kVerified,
                         HopTls::kDane}) {
    const auto hop = config(route("smtp://mx.example", std::string(tls_text(tls)))).routes[0].via[0];
    EXPECT_EQ(hop.tls, tls);
    EXPECT_FALSE(hop.implicit);
    EXPECT_EQ(demand_text(hop),
              tls == HopTls::kOptional ? "" : "/" + std::string(tls_text(tls)));
  }
  EXPECT_EQ(mistakes(kGood + route("mx", "perhaps")),
            "postern.toml:14:7: route.tls = \"perhaps\": expected one of \"off\", \"optional\", "
            "\"required\", \"verified\", \"dane\"\n");
}

TEST_F(Protection, TlsMayComeFirst) {
  const auto hop = config(route("smtps://mx.example", "verified")).routes[0].via[0];
  EXPECT_TRUE(hop.implicit);
  EXPECT_EQ(hop_text(hop), "smtps://mx.example:465");
  EXPECT_EQ(demand_text(hop), "/smtps/verified");
  EXPECT_EQ(hop_text(config(route("smtps://[::1]:2465")).routes[0].via[0]), "smtps://[::1]:2465");
  EXPECT_EQ(mistakes(kGood + route("smtps://mx.example", "off")),
            "postern.toml:14:7: route.tls = \"off\": an smtps:// hop of this route begins with TLS\n");
}

TEST_F(Protection, AnAddressHasNoTlsaRecords) {
  EXPECT_EQ(mistakes(kGood + route("smtp://192.0.2.1", "dane")),
            "postern.toml:14:7: route.tls = \"dane\": 192.0.2.1 has no name in the DNS, so there are "
            "no TLSA records for it\n");
}

TEST_F(Protection, AuthoritiesGoToTheRelayAlone) {
  const auto root = tls::test::Authority::instance().root();
  dir_.write("ca.pem", root);
  const auto c = config("[delivery]\nca = \"ca.pem\"\n");
  EXPECT_EQ(c.delivery.authorities.file, dir_.path() + "/ca.pem");
  EXPECT_EQ(cut_relay(c, {}).ca, root);
  dir_.write("bad.pem", "nonsense");
  EXPECT_EQ(mistakes(kGood + std::string("[delivery]\nca = \"bad.pem\"\n")),
            "postern.toml:12:6: delivery.ca = \"bad.pem\": the file bad.pem: holds no "
            "certificate in PEM\n");
}

// RFC 7672 2.2: the way to a resolver that checks DNSSEC must be safe too.
TEST_F(Protection, OnlyResolversOnLoopbackAreBelievedUnlessItIsSaid) {
  const auto trusts = [&](const std::string& delivery) {
    return cut_relay(config("[delivery]\n" + delivery), {}).trust_ad;
  };
  EXPECT_TRUE(trusts("dns = [\"127.0.0.1\", \"[::1]:5353\"]\n"));
  EXPECT_FALSE(trusts("dns = [\"127.0.0.1\", \"192.0.2.1\"]\n"));
  EXPECT_TRUE(trusts("dns = [\"192.0.2.1\"]\ntrust_ad = true\n"));
}

}  // namespace
}  // namespace postern::config
