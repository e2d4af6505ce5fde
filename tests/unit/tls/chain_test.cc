#include "common/tls/chain.h"

#include <gtest/gtest.h>

#include "common/tls/key.h"
#include "tests/unit/tls/certificates.h"

namespace postern::tls::test {
namespace {

Chain chain(const std::string& pem) {
  auto parsed = Chain::parse(pem);
  EXPECT_TRUE(parsed) << parsed.error();
  return *std::move(parsed);
}
std::string chain_refusal(const std::string& pem) {
  const auto parsed = Chain::parse(pem);
  return parsed ? "" : parsed.error();
}

TEST(Chain, KnowsItsKeyItsNamesAndItsTime) {
  const auto& issued = Authority::instance().issue({"mx.example.org", "*.Example.net"});
  const auto read = chain(issued.chain);
  EXPECT_EQ(read.key(), PrivateKey::parse(issued.key)->id());
  EXPECT_EQ(read.kind(), "EC P-256");
  EXPECT_EQ(read.names(), (std::vector<std::string>{"mx.example.org", "*.example.net"}));
  EXPECT_EQ(read.not_after() - read.not_before(), base::Millis(30LL * 24 * 3'600'000));
  EXPECT_TRUE(read.issuers().empty());
}

TEST(Chain, CoversNames) {
  const auto read = chain(Authority::instance().issue({"mx.example.org", "*.example.net"}).chain);
  EXPECT_TRUE(read.covers("mx.example.org"));
  EXPECT_FALSE(read.covers("example.org"));
  EXPECT_TRUE(read.covers("a.example.net"));
  EXPECT_TRUE(read.covers("*.example.net"));
  EXPECT_FALSE(read.covers("*.example.org"));
  EXPECT_FALSE(read.covers("a.b.example.net"));
  // The subject's common name counts for nobody any more.
  EXPECT_FALSE(chain(Authority::instance().issue({}).chain).covers("nobody"));
}

TEST(Chain, KeepsItsOrder) {
  auto& authority = Authority::instance();
  const auto read = chain(authority.issue({"mx.example.org"}).chain + authority.root());
  EXPECT_EQ(read.names(), std::vector<std::string>{"mx.example.org"});
  EXPECT_EQ(read.issuers().size(), 1U);
}

TEST(Chain, RefusesWhatIsNone) {
  auto& authority = Authority::instance();
  const auto& issued = authority.issue({"mx.example.org"});
  EXPECT_EQ(chain_refusal(""), "holds no certificate in PEM: no start line");
  EXPECT_EQ(chain_refusal(issued.key), "holds no certificate in PEM: no start line");
  const auto cut = issued.chain.substr(0, issued.chain.size() / 2);
  EXPECT_TRUE(chain_refusal(cut).starts_with("holds no certificate in PEM"));
  EXPECT_TRUE(chain_refusal(issued.chain + cut).starts_with("holds a bad certificate"));
  std::string many;
  for (int i = 0; i < 17; ++i) many += issued.chain;
  EXPECT_EQ(chain_refusal(many), "holds more than 16 certificates");
  EXPECT_TRUE(chain_refusal(authority.issue({"a"}, "rsa:1024").chain)
                  .starts_with("its first certificate has an RSA"));
}

TEST(Authorities, AreCertificates) {
  auto& authority = Authority::instance();
  EXPECT_EQ(wrong_with_authorities(authority.root()), "");
  EXPECT_EQ(wrong_with_authorities(authority.root() + authority.root()), "");
  EXPECT_EQ(wrong_with_authorities("x"), "holds no certificate in PEM");
  EXPECT_TRUE(wrong_with_authorities(authority.root().substr(0, 100)).starts_with("holds a bad"));
}

}  // namespace
}  // namespace postern::tls::test
