// [[collect]]: whom we call, as whom, for which domains; and every mistake with its place.
#include <fmt/format.h>

#include "common/config/cut.h"
#include "common/config/summary.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class Collecting : public ConfigTest {
 protected:
  Collecting() { dir_.write("password", "open sesame\n"); }
  static std::string collect(const std::string& more = "", const std::string& from = "odmr.example.net") {
    return "[[collect]]\nfrom = \"" + from + "\"\nlogin = \"ann\"\npassword_file = \"password\"\n" + more + '\n';
  }
  Config config(const std::string& text) const {
    auto loaded = load_text(kGood + text);
    EXPECT_TRUE(loaded) << mistakes(kGood + text);
    return loaded ? *std::move(loaded) : Config();
  }
  // What is wrong with the key in line 15 of the file.
  std::string wrong(const std::string& more) const {
    auto text = mistakes(kGood + collect(more));
    EXPECT_TRUE(text.starts_with("postern.toml:15:")) << text;
    return text.substr(std::min(text.size(), text.find(": ", text.find(' ') + 1) + 2));
  }
};

TEST_F(Collecting, IsByVerifiedTlsOnItsPort) {
  const auto c = config(collect());
  ASSERT_EQ(c.collects.size(), 1U);
  const auto& one = c.collects[0];
  EXPECT_EQ(one.hop, (HopSpec{.kind = HopKind::kHost, .host = "odmr.example.net", .port = 366,
                              .tls = HopTls::kVerified, .login = "ann"}));
  EXPECT_EQ(one.every, base::Millis(600'000));
  EXPECT_FALSE(one.wait);
  EXPECT_TRUE(one.domains.empty());
}

TEST_F(Collecting, SaysWhatItWants) {
  const auto c = config(collect("domains = [\"Example.ORG\"]\nevery = \"30s\"\nwait = true\n"
                                "source = [\"192.0.2.5\"]\nsocks = \"127.0.0.1:1080\"",
                                "[2001:db8::1]:25"));
  const auto cut = cut_queued(c, {});
  ASSERT_EQ(cut.collects.size(), 1U);
  const auto& one = cut.collects[0];
  EXPECT_EQ(one.hop.host, "2001:db8::1");
  EXPECT_EQ(one.hop.port, 25);
  EXPECT_EQ(one.hop.sources.size(), 1U);
  EXPECT_TRUE(one.hop.socks);
  ASSERT_EQ(one.domains.size(), 1U);
  EXPECT_EQ(one.domains[0].text(), "example.org");
  EXPECT_EQ(one.every, base::Millis(30'000));
  EXPECT_TRUE(one.wait);
  EXPECT_NE(rights_summary(c).find("smtp://[2001:db8::1]:25 as ann: example.org, every 30s"), std::string::npos)
      << rights_summary(c);
}

TEST_F(Collecting, ItsPasswordIsTheRelaysAlone) {
  const auto c = config(collect());
  EXPECT_EQ(cut_relay(c, {}).logins, (std::vector<RelayLogin>{{"odmr.example.net", 366, "ann", "open sesame"}}));
}

TEST_F(Collecting, DomainsAreOurs) {
  EXPECT_EQ(wrong("domains = [\"far.example\"]"), "no [[domain]] names it: its mail would be refused here\n");
  EXPECT_EQ(wrong("domains = [\"example.org\", \"example.org\"]"), "this domain is named before\n");
  // One that stands for ours is ours.
  const auto c = config("[domains.alias]\n\"example.net\" = \"example.org\"\n" + collect("domains = [\"example.net\"]"));
  EXPECT_EQ(c.collects[0].domains.size(), 1U);
}

TEST_F(Collecting, NeedsAnAccount) {
  EXPECT_EQ(mistakes(std::string(kGood) + "[[collect]]\n"),
            "postern.toml:11:1: collect.from: this key is missing: expected the host that keeps our mail, like "
            "\"odmr.example.net\"\n"
            "postern.toml:11:1: collect.login: this key is missing: expected the account that we have there\n"
            "postern.toml:11:1: collect.password_file: this key is missing: expected the file with its password\n");
}

TEST_F(Collecting, MistakesInTheRest) {
  EXPECT_EQ(wrong("every = \"10ms\""), "expected at least \"1s\"\n");
  EXPECT_NE(mistakes(kGood + collect("", "smtp://x")), "");
  EXPECT_NE(mistakes(kGood + collect("", "odmr.example.net:0")), "");
  EXPECT_NE(mistakes(kGood + collect("", "1.2.3")), "");
}

TEST_F(Collecting, TheSameMailIsCollectedOnce) {
  const auto text = mistakes(kGood + collect() + collect());
  EXPECT_NE(text.find("collect.from: the same mail is collected already at "), std::string::npos) << text;
  config(collect() + collect("domains = [\"example.org\"]"));
  config(collect() + collect("", "other.example.net"));
}

TEST_F(Collecting, OneAccountHasOnePassword) {
  dir_.write("other", "guessed\n");
  const auto text = mistakes(kGood + collect() +
                             "[[route]]\nto = [\"*\"]\nvia = [\"smtp://odmr.example.net:366\"]\ntls = \"verified\"\n"
                             "login = \"ann\"\npassword_file = \"other\"\n");
  EXPECT_NE(text.find("ann has another password at smtp://odmr.example.net:366 in the route at "), std::string::npos)
      << text;
}

}  // namespace
}  // namespace postern::config
