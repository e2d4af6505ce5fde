#include "common/tls/key.h"

#include <gtest/gtest.h>

#include "tests/unit/tls/certificates.h"

namespace postern::tls::test {
namespace {

PrivateKey key(const std::string& kind) {
  auto made = PrivateKey::parse(Authority::instance().issue({"mx.example.org"}, kind).key);
  EXPECT_TRUE(made) << made.error();
  return *std::move(made);
}
std::string key_refusal(const std::string& pem) {
  const auto made = PrivateKey::parse(pem);
  return made ? "" : made.error();
}

TEST(PrivateKey, SaysWhatItIs) {
  EXPECT_EQ(key("rsa:2048").kind(), "RSA 2048");
  EXPECT_EQ(key("P-256").kind(), "EC P-256");
  EXPECT_EQ(key("P-384").kind(), "EC P-384");
  EXPECT_EQ(key("ed25519").kind(), "Ed25519");
  EXPECT_NE(key("P-256").id(), key("P-384").id());
  EXPECT_EQ(key("P-256").id(), key("P-256").id());
}

TEST(PrivateKey, RefusesWhatItCannotUse) {
  auto& authority = Authority::instance();
  EXPECT_EQ(key_refusal(""), "holds no private key in PEM: unsupported");
  EXPECT_EQ(key_refusal(authority.root()), "holds no private key in PEM: unsupported");
  EXPECT_EQ(key_refusal(authority.issue({"a"}, "rsa:1024").key),
            "an RSA key of 1024 bits: expected 2048 to 8192");
  EXPECT_EQ(key_refusal(authority.issue({"a"}, "P-521").key),
            "an EC key on secp521r1: expected P-256 or P-384");
  EXPECT_TRUE(
      key_refusal("-----BEGIN ENCRYPTED PRIVATE KEY-----\n").starts_with("the key is encrypted"));
}

TEST(PrivateKey, SignsByFittingSchemesOnly) {
  for (const auto digest : {Digest::kSha256, Digest::kSha384, Digest::kSha512}) {
    EXPECT_EQ(key("rsa:2048").sign({Algorithm::kRsaPss, digest}, "x").value().size(), 256U);
    EXPECT_EQ(key("rsa:2048").sign({Algorithm::kRsaPkcs1, digest}, "x").value().size(), 256U);
    EXPECT_TRUE(key("P-256").sign({Algorithm::kEcdsa, digest}, "x"));
    EXPECT_FALSE(key("P-256").sign({Algorithm::kRsaPss, digest}, "x"));
    EXPECT_FALSE(key("rsa:2048").sign({Algorithm::kEcdsa, digest}, "x"));
    EXPECT_FALSE(key("ed25519").sign({Algorithm::kEd25519, digest}, "x"));
  }
  EXPECT_EQ(key("ed25519").sign({Algorithm::kEd25519, Digest::kNone}, "x").value().size(), 64U);
  EXPECT_FALSE(key("P-256").sign({Algorithm::kEcdsa, Digest::kNone}, "x"));
}

// What smtpd asks for in earnest is checked wherever the tests have a handshake.
TEST(PrivateKey, SignsAnewEachTime) {
  const auto rsa = key("rsa:2048");
  const Scheme scheme{Algorithm::kRsaPkcs1, Digest::kSha256};  // the same bytes give the same signature
  const auto first = rsa.sign(scheme, "x");
  ASSERT_TRUE(first);
  EXPECT_TRUE(rsa.sign({Algorithm::kRsaPss, Digest::kSha256}, "x"));
  EXPECT_NE(rsa.sign(scheme, "y"), first);
  EXPECT_EQ(rsa.sign(scheme, "x"), first);
}

TEST(IsServerHandshake, TakesNothingElse) {
  const std::string pad(64, ' ');
  const std::string server("TLS 1.3, server CertificateVerify\0", 34);
  const std::string client("TLS 1.3, client CertificateVerify\0", 34);
  EXPECT_TRUE(is_server_handshake(pad + server + std::string(32, 'h')));
  EXPECT_TRUE(is_server_handshake(pad + server + std::string(48, 'h')));
  EXPECT_FALSE(is_server_handshake(pad + server + std::string(33, 'h')));
  EXPECT_FALSE(is_server_handshake(pad + client + std::string(32, 'h')));
  EXPECT_FALSE(is_server_handshake(pad + server));
  EXPECT_FALSE(is_server_handshake(pad));
  EXPECT_FALSE(is_server_handshake(""));
  EXPECT_FALSE(is_server_handshake(std::string(10, ' ')));

  const std::string randoms(64, 'r');
  const auto parameters = [&](char curve, int group, std::size_t point) {
    return randoms + curve + static_cast<char>(group >> 8) + static_cast<char>(group) +
           static_cast<char>(point) + std::string(point, 'p');
  };
  EXPECT_TRUE(is_server_handshake(parameters(3, 29, 32)));
  EXPECT_TRUE(is_server_handshake(parameters(3, 23, 65)));
  EXPECT_TRUE(is_server_handshake(parameters(3, 24, 97)));
  EXPECT_FALSE(is_server_handshake(parameters(3, 29, 31)));
  EXPECT_FALSE(is_server_handshake(parameters(3, 30, 32)));
  EXPECT_FALSE(is_server_handshake(parameters(1, 29, 32)));
  EXPECT_FALSE(is_server_handshake(parameters(3, 29, 32) + "x"));
  EXPECT_FALSE(is_server_handshake(randoms + "\x03\x1d"));
  // A certificate begins so, and a message's digest or text has no such form.
  EXPECT_FALSE(is_server_handshake("\x30\x82" + std::string(300, 'c')));
  EXPECT_FALSE(is_server_handshake(std::string(32, '\x5a')));
}

}  // namespace
}  // namespace postern::tls::test
