// Logging in at a next hop: what tests/receivers cannot show of it, and who gets a password.
#include "deliverd/relay/login.h"

#include <gtest/gtest.h>

#include "common/base/base64.h"
#include "deliverd/relay/logins.h"

namespace postern::relay {
namespace {

using sasl::Mechanism;

MechanismSet offered(std::initializer_list<Mechanism> mechanisms) {
  MechanismSet set;
  for (const auto mechanism : mechanisms) set.add(mechanism);
  return set;
}

Login login() {
  return Login(std::make_shared<HopAccount>("user", "pencil"), "rOprNGfwEbeRWgbNEkqO");
}

TEST(Login, BeginsWithTheStrongestAndNeverTwice) {
  const auto all = offered({Mechanism::kLogin, Mechanism::kPlain, Mechanism::kScramSha256, Mechanism::kScramSha256Plus});
  auto one = login();
  EXPECT_TRUE(one.begin(all)->starts_with("AUTH SCRAM-SHA-256 "));
  EXPECT_TRUE(one.has_more(all));
  EXPECT_TRUE(one.begin(all)->starts_with("AUTH PLAIN "));
  EXPECT_EQ(one.begin(all), "AUTH LOGIN");
  EXPECT_FALSE(one.has_more(all));
  EXPECT_FALSE(one.begin(all));
}

TEST(Login, PlainSaysItAllAtOnce) {
  auto one = login();
  EXPECT_FALSE(one.satisfied());
  const auto command = one.begin(offered({Mechanism::kPlain})).value();
  EXPECT_EQ(base::parse_base64(command.substr(11)), std::string("\0user\0pencil", 12));
  EXPECT_TRUE(one.satisfied());
  EXPECT_FALSE(one.respond(""));
}

TEST(Login, ScramIsSatisfiedByTheServersProofAlone) {  // RFC 7677 3
  auto one = login();
  ASSERT_TRUE(one.begin(offered({Mechanism::kScramSha256})));
  const auto first = base::to_base64(
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
  EXPECT_EQ(base::parse_base64(one.respond(first).value()),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  EXPECT_FALSE(one.satisfied());
  EXPECT_EQ(one.respond(base::to_base64("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")).value(), "");
  EXPECT_TRUE(one.satisfied());
}

TEST(Login, KeysAreMadeAnewForAnotherSaltAlone) {
  HopAccount account("user", "pencil");
  const auto stored = account.keys("salt", 4096).stored;
  EXPECT_EQ(account.keys("salt", 4096).stored, stored);
  EXPECT_NE(account.keys("pepper", 4096).stored, stored);
  EXPECT_NE(account.keys("salt", 5000).stored, stored);
  EXPECT_EQ(account.keys("salt", 4096).stored, stored);
}

class Passwords : public testing::Test {
 protected:
  const Logins logins_{std::vector<config::RelayLogin>{{"smart.example", 587, "ann", "open sesame"}}};
  config::HopSpec hop_{.kind = config::HopKind::kHost, .host = "smart.example", .port = 587,
                       .tls = config::HopTls::kVerified, .login = "ann"};
};

TEST_F(Passwords, AreForTheirHost) {
  const auto found = logins_.find(hop_);
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->password(), "open sesame");
  hop_.login.clear();
  EXPECT_EQ(logins_.find(hop_).value(), nullptr);
}

// Whatever a stolen queued asks for.
TEST_F(Passwords, AreForNobodyElse) {
  const auto refused = [&](auto change) {
    auto hop = hop_;
    change(hop);
    const auto found = logins_.find(hop);
    return !found && found.error().end == ipc::GrantEnd::kTemporary &&
           found.error().failure == ipc::FailureClass::kLogin;
  };
  EXPECT_TRUE(refused([](config::HopSpec& hop) { hop.host = "evil.example"; }));
  EXPECT_TRUE(refused([](config::HopSpec& hop) { hop.port = 25; }));
  EXPECT_TRUE(refused([](config::HopSpec& hop) { hop.login = "bob"; }));
  EXPECT_TRUE(refused([](config::HopSpec& hop) { hop.lmtp = true; }));
  EXPECT_TRUE(refused([](config::HopSpec& hop) { hop.kind = config::HopKind::kMx; }));
  for (const auto tls : {config::HopTls::kOff, config::HopTls::kOptional, config::HopTls::kRequired, config::HopTls::kDane})
    EXPECT_TRUE(refused([&](config::HopSpec& hop) { hop.tls = tls; }));
}

}  // namespace
}  // namespace postern::relay
