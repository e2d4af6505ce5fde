// [[certificate]], [tls] and listen.tls: what they mean, and every mistake with its place.
#include "common/config/certificates.h"

#include "common/config/summary.h"
#include "tests/unit/config/temp_dir.h"
#include "tests/unit/tls/certificates.h"

namespace postern::config {
namespace {

using tls::test::Authority;
using tls::test::Issued;

class Certificates : public ConfigTest {
 protected:
  // The files of a certificate, in the directory of the configuration.
  void put(const std::string& stem, const Issued& issued) const {
    dir_.write(stem + ".pem", issued.chain);
    dir_.write(stem + ".key", issued.key);
  }
  static std::string section(const std::string& stem, const std::string& names = "") {
    return "[[certificate]]\n" + (names.empty() ? "" : "names = [" + names + "]\n") + "chain = \"" +
           stem + ".pem\"\nkey = \"" + stem + ".key\"\n";
  }
  Config config(const std::string& text) const {
    auto loaded = load_text(kGood + text);
    EXPECT_TRUE(loaded) << mistakes(kGood + text);
    return loaded ? *std::move(loaded) : Config();
  }
};

TEST_F(Certificates, AreRead) {
  put("a", Authority::instance().issue({"mx.example.org", "*.Example.net"}));
  put("b", Authority::instance().issue({"other.example"}, "rsa:2048"));
  const auto c =
      config(section("a") + section("b", "\"OTHER.example\"") + "[tls]\nminimum = \"1.3\"\n");
  ASSERT_EQ(c.certificates.size(), 2U);
  EXPECT_EQ(c.certificates[0].names, (std::vector<std::string>{"mx.example.org", "*.example.net"}));
  EXPECT_EQ(c.certificates[0].kind, "EC P-256");
  EXPECT_EQ(c.certificates[1].names, std::vector<std::string>{"other.example"});
  EXPECT_EQ(c.certificates[1].kind, "RSA 2048");
  EXPECT_NE(c.certificates[1].key.find("PRIVATE KEY"), std::string::npos);
  EXPECT_EQ(c.tls.minimum, tls::Version::k13);
}

TEST_F(Certificates, SayHowAListenerSpeaksTls) {
  put("a", Authority::instance().issue({"mx.example.org"}));
  const auto listener = [](const std::string& tls) {
    return "[[listen]]\naddress = \"127.0.0.1:2526\"\ntls = \"" + tls + "\"\n";
  };
  EXPECT_EQ(config("").listeners[0].tls, TlsMode::kOff);
  EXPECT_EQ(config(section("a")).listeners[0].tls, TlsMode::kOptional);
  EXPECT_EQ(config(section("a") + listener("off")).listeners[1].tls, TlsMode::kOff);
  EXPECT_EQ(config(section("a") + listener("optional")).listeners[1].tls, TlsMode::kOptional);
  EXPECT_EQ(config(section("a") + listener("required")).listeners[1].tls, TlsMode::kRequired);
  EXPECT_EQ(config(section("a") + listener("implicit")).listeners[1].tls, TlsMode::kImplicit);
  EXPECT_EQ(mistakes(kGood + section("a") + listener("perhaps")),
            "postern.toml:16:7: listen.tls = \"perhaps\": expected one of \"off\", \"optional\", "
            "\"required\", \"implicit\"\n");
  EXPECT_EQ(
      mistakes(kGood + listener("required")),
      "postern.toml:11:1: listen.tls: TLS needs a certificate: add a section [[certificate]], or "
      "say tls = \"off\"\n");
}

TEST_F(Certificates, EveryMistakeHasItsPlace) {
  put("a", Authority::instance().issue({"mx.example.org"}));
  put("b", Authority::instance().issue({"mx.example.org"}, "P-384"));
  put("weak", Authority::instance().issue({"mx.example.org"}, "rsa:1024"));
  dir_.write("nonsense.pem", "nonsense");
  dir_.write("nonsense.key", "nonsense");
  const auto of = [&](const std::string& text) { return mistakes(kGood + text); };
  EXPECT_EQ(of("[[certificate]]\n"),
            "postern.toml:11:1: certificate.chain: this key is missing: expected a file with the "
            "certificate and those that "
            "lead to its root, in PEM\n"
            "postern.toml:11:1: certificate.key: this key is missing: expected a file with its "
            "private key, in PEM\n");
  EXPECT_EQ(of(section("gone")),
            "postern.toml:12:9: certificate.chain = \"gone.pem\": the file gone.pem cannot be "
            "read: No such file or directory\n"
            "postern.toml:13:7: certificate.key = \"gone.key\": the file gone.key cannot be read: "
            "No such file or directory\n");
  EXPECT_EQ(
      of(section("nonsense")),
      "postern.toml:12:9: certificate.chain = \"nonsense.pem\": the file nonsense.pem: holds no "
      "certificate in PEM: no start line\n");
  EXPECT_EQ(
      of("[[certificate]]\nchain = \"a.pem\"\nkey = \"b.key\"\n"),
      "postern.toml:13:7: certificate.key = \"b.key\": the key in b.key does not belong to the "
      "certificate in a.pem\n");
  EXPECT_EQ(
      of("[[certificate]]\nchain = \"a.pem\"\nkey = \"nonsense.key\"\n"),
      "postern.toml:13:7: certificate.key = \"nonsense.key\": the file nonsense.key: holds no "
      "private key in PEM: unsupported\n");
  EXPECT_EQ(of(section("weak")),
            "postern.toml:12:9: certificate.chain = \"weak.pem\": the file weak.pem: its first "
            "certificate has an RSA key of 1024 bits: expected 2048 to 8192\n");
  EXPECT_EQ(
      of(section("a", "\"mx.example.org\", \"mx.example.net\"")),
      "postern.toml:12:28: certificate.names = \"mx.example.net\": the certificate in a.pem does "
      "not have this name\n");
  EXPECT_EQ(of(section("a", "\"*\"")),
            "postern.toml:12:10: certificate.names = \"*\": expected the name of a host, like "
            "\"mx1.example.org\" or \"*.example.org\"\n");
  EXPECT_EQ(of(section("a") + "[tls]\nminimum = \"1.1\"\n"),
            "postern.toml:15:11: tls.minimum = \"1.1\": expected one of \"1.2\", \"1.3\"\n");
  EXPECT_EQ(of(section("a") + "[delivery]\ntls_minimum = \"1.1\"\n"),
            "postern.toml:15:15: delivery.tls_minimum = \"1.1\": expected one of \"1.2\", \"1.3\"\n");
  EXPECT_EQ(of(section("a") + "[tls]\nclient_ca = \"gone.pem\"\n"),
            "postern.toml:15:13: tls.client_ca = \"gone.pem\": the file gone.pem cannot be read: "
            "No such file or directory\n");
  EXPECT_EQ(of(section("a") + "[tls]\nclient_ca = \"a.key\"\n"),
            "postern.toml:15:13: tls.client_ca = \"a.key\": the file a.key: holds no certificate "
            "in PEM\n");
}

TEST_F(Certificates, AreSummedUp) {
  put("a", Authority::instance().issue({"mx.example.org", "mail.example.org"}));
  dir_.write("ca.pem", Authority::instance().root());
  const auto loaded =
      load_text(kGood + section("a") +
                "[[listen]]\naddress = \"127.0.0.1:465\"\ntls = \"implicit\"\n[tls]\n"
                "client_ca = \"ca.pem\"\n");
  ASSERT_TRUE(loaded);
  const auto text = dir_.shortened(rights_summary(*loaded));
  EXPECT_NE(text.find("  127.0.0.1:2525  mx, TLS optional\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  127.0.0.1:465  mx, TLS from the first byte\n"), std::string::npos);
  EXPECT_NE(
      text.find("CERTIFICATES  TLS 1.2 and later\n  mx.example.org, mail.example.org: EC P-256, "
                "until 20"),
      std::string::npos)
      << text;
  EXPECT_NE(text.find(", a.pem\n  clients are asked for certificates of ca.pem\n"),
            std::string::npos);
  EXPECT_EQ(text.find("WARNING"), std::string::npos);
}

TEST_F(Certificates, AnEndThatIsNearIsWarnedOf) {
  const auto warned = [&](const Issued& issued) {
    put("a", issued);
    const auto loaded = load_text(kGood + section("a"));
    if (!loaded) return mistakes(kGood + section("a"));
    std::string all;
    for (const auto& warning : warnings(*loaded)) all += dir_.shortened(warning) + '\n';
    return all;
  };
  auto& authority = Authority::instance();
  EXPECT_TRUE(warned(authority.issue({"mx.example.org"}, "P-256", "-days 3"))
                  .starts_with("postern.toml:11:1: the certificate in a.pem expires soon, on 20"));
  EXPECT_TRUE(warned(authority.issue({"mx.example.org"}, "P-256", "-days -1"))
                  .starts_with("postern.toml:11:1: the certificate in a.pem has expired, on 20"));
  EXPECT_EQ(warned(authority.issue({"mx.example.org"}, "P-256", "-days 20")), "");
}

}  // namespace
}  // namespace postern::config
