// [[account]]: what accounts may send, whose section holds, and its mistakes.
#include "common/config/account_limits.h"

#include "common/config/cut.h"
#include "common/config/summary.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class Accounts : public ConfigTest {
 protected:
  static constexpr const char* kAuth = "[auth]\ndovecot = \"unix:/run/auth\"\n";
  // Of one section with these lines.
  std::string wrong(const std::string& lines) const { return mistakes(kGood + (kAuth + ("[[account]]\n" + lines))); }
  Config config(const std::string& text) const {
    auto loaded = load_text(kGood + text);
    EXPECT_TRUE(loaded) << mistakes(kGood + text);
    return loaded ? *std::move(loaded) : Config();
  }
};

TEST_F(Accounts, TheirOwnSectionHoldsOrThatOfAll) {
  const auto c = config(std::string(kAuth) +
                        "[[account]]\nname = \"bob\"\nmessages = [\"1/h\"]\n"
                        "[[account]]\nname = \"*\"\nmessages = [\"10/h\", \"100/day\"]\nrecipients = [\"200/h\"]\n"
                        "[[account]]\nname = \"amy@example.org\"\nsenders = [\"{account}\", \"*@Example.net\"]\n");
  const auto cut = cut_queued(c, {}).accounts;
  ASSERT_EQ(cut.size(), 3U);
  EXPECT_EQ(limits_of(cut, "bob")->messages, (std::vector<Rate>{{1, 3600}}));
  EXPECT_TRUE(limits_of(cut, "bob")->recipients.empty());
  EXPECT_EQ(limits_of(cut, "eve")->messages, (std::vector<Rate>{{10, 3600}, {100, 86'400}}));
  EXPECT_EQ(limits_of(cut, "eve")->recipients, (std::vector<Rate>{{200, 3600}}));
  EXPECT_TRUE(limits_of(cut, "amy@example.org")->messages.empty());
  EXPECT_EQ(limits_of(cut, "amy@example.org")->senders, (std::vector<std::string>{"{account}", "*@example.net"}));
  EXPECT_EQ(limits_of({}, "bob"), nullptr);
  EXPECT_EQ(limits_of(cut, ""), nullptr) << "who has not logged in";
  const auto text = rights_summary(c);
  EXPECT_NE(text.find("ACCOUNTS  what who logs in may send\n"
                      "  *: 10 messages in 1h, 100 messages in 1d, 200 recipients in 1h\n"
                      "  amy@example.org: without a limit; only as {account}, *@example.net\n"
                      "  bob: 1 messages in 1h\n"),
            std::string::npos)
      << text;
}

TEST_F(Accounts, Mistakes) {
  EXPECT_EQ(wrong("name = \"*\"\n"), "");
  EXPECT_EQ(wrong("messages = [\"1/h\"]\n"),
            "postern.toml:13:1: account.name: this key is missing: expected the name of an account, or \"*\" for all\n");
  EXPECT_NE(wrong("name = \"Bob\"\n").find("expected the name in lower case"), std::string::npos);
  EXPECT_NE(wrong("name = \"a b\"\n").find("or \"*\" for all"), std::string::npos);
  for (const auto* bad : {"10/min", "10/s", "0/h", "0", "ten", "10"})
    EXPECT_EQ(wrong(std::string("name = \"*\"\nrecipients = [\"") + bad + "\"]\n"),
              std::string("postern.toml:15:15: account.recipients = \"") + bad +
                  "\": expected so many in an hour or a day, like \"200/h\" or \"1000/day\"\n");
  EXPECT_NE(wrong("name = \"*\"\nmessages = [\"1/h\", \"2/h\", \"3/h\", \"4/h\", \"5/h\"]\n").find("at most 4 elements"),
            std::string::npos);
  EXPECT_EQ(wrong("name = \"*\"\nsenders = [\"bob\"]\n"),
            "postern.toml:15:12: account.senders = \"bob\": expected an address, \"*@example.org\", \"{account}\" or "
            "\"*\"\n");
  EXPECT_EQ(wrong("name = \"*\"\n[[account]]\nname = \"*\"\n"),
            "postern.toml:16:8: account.name = \"*\": this stands already at postern.toml:13\n");
  EXPECT_EQ(mistakes(std::string(kGood) + "[[account]]\nname = \"*\"\n"),
            "postern.toml:11:1: account: nobody can log in: say who they are in [auth]\n");
}

// ATRN: which queues an account may take. They are those whose mail waits for a call.
TEST_F(Accounts, WhatAnAccountTakesByCalling) {
  const std::string routes = "[[route]]\nto = [\"inner.example\", \"*.corp.example\"]\nvia = [\"turn:?tls=required\"]\n"
                             "[[route]]\nto = [\"mail.corp.example\", \"*\"]\nvia = [\"mx\"]\n";
  const auto c = config(kAuth + routes +
                        "[[account]]\nname = \"amy\"\natrn = [\"Inner.Example\", \"a.corp.example\"]\natrn_wait = \"1h\"\n");
  const auto cut = cut_queued(c, {});
  ASSERT_EQ(cut.routes[0].via.size(), 1U);
  EXPECT_EQ(cut.routes[0].via[0].kind, HopKind::kTurn);
  EXPECT_EQ(cut.routes[0].via[0].tls, HopTls::kRequired);
  EXPECT_EQ(cut.accounts[0].atrn, (std::vector<std::string>{"inner.example", "a.corp.example"}));
  EXPECT_EQ(cut.accounts[0].atrn_wait, base::Millis(3'600'000));
  EXPECT_TRUE(cut_smtpd(c).auth.atrn);
  EXPECT_FALSE(cut_smtpd(config(kAuth + routes)).auth.atrn);
  EXPECT_NE(rights_summary(c).find("amy: without a limit; may take the mail of inner.example, a.corp.example (ATRN), "
                                   "and waits 1h for more\n"),
            std::string::npos)
      << rights_summary(c);
  const auto wrong_atrn = [&](const std::string& lines) {
    return mistakes(kGood + (kAuth + routes + "[[account]]\nname = \"amy\"\n" + lines));
  };
  for (const auto* other : {"far.example", "mail.corp.example", "corp.example", "example.org"})
    EXPECT_NE(wrong_atrn(std::string("atrn = [\"") + other + "\"]\n").find("does not wait for a call"), std::string::npos) << other;
  EXPECT_NE(wrong_atrn("atrn = [\"far.example\"]\n").find("postern.toml:21:9: account.atrn"), std::string::npos)
      << wrong_atrn("atrn = [\"far.example\"]\n");
  EXPECT_NE(wrong_atrn("atrn = [\"inner.example\", \"inner.example\"]\n").find("named before"), std::string::npos);
  EXPECT_NE(wrong_atrn("atrn_wait = \"1h\"\n").find("may take no mail"), std::string::npos);
  EXPECT_NE(mistakes(kGood + (kAuth + routes + "[[account]]\nname = \"*\"\natrn = [\"inner.example\"]\n")).find("name the account"),
            std::string::npos);
}

TEST_F(Accounts, AWayThatIsCalledForStandsAlone) {
  const auto way = [&](const std::string& lines) {
    return mistakes(kGood + (kAuth + ("[[route]]\nto = [\"inner.example\"]\n" + lines)));
  };
  EXPECT_EQ(way("via = [\"turn:\"]\n"), "");
  EXPECT_NE(way("via = [\"turn:\", \"mx\"]\n").find("stands alone"), std::string::npos);
  EXPECT_NE(way("via = [\"turn:host\"]\n").find("nothing stands behind turn:"), std::string::npos);
  EXPECT_NE(way("via = [\"turn:?weight=2\"]\n").find("nobody shares"), std::string::npos);
  for (const auto* tls : {"off", "verified", "dane"})
    EXPECT_NE(way(std::string("via = [\"turn:\"]\ntls = \"") + tls + "\"\n").find("known by its login"), std::string::npos) << tls;
}

TEST_F(Accounts, MailThatNobodyMayCallForIsWarnedOf) {
  const std::string route = "[[route]]\nto = [\"inner.example\", \"*.corp.example\"]\nvia = [\"turn:\"]\n";
  const auto all = warnings(config(kAuth + route));
  ASSERT_EQ(all.size(), 1U);
  EXPECT_NE(all[0].find("mail for inner.example waits until its host calls, and no [[account]] may take it"), std::string::npos)
      << all[0];
  EXPECT_TRUE(warnings(config(kAuth + route + "[[account]]\nname = \"amy\"\natrn = [\"inner.example\"]\n")).empty());
}

TEST_F(Accounts, AnAccountThatHasNoAddressIsWarnedOf) {
  const auto c = config(std::string(kAuth) + "[[account]]\nname = \"*\"\nsenders = [\"{account}\"]\n");
  const auto all = warnings(c);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_NE(all[0].find("[[account]] *: an account without a domain"), std::string::npos) << all[0];
  EXPECT_TRUE(warnings(config("[domains]\ndefault = \"example.org\"\n" + std::string(kAuth) +
                              "[[account]]\nname = \"*\"\nsenders = [\"{account}\"]\n")).empty());
}

TEST_F(Accounts, OneThatNobodyHasIsWarnedOf) {
  dir_.write("accounts", "bob:$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC\n");
  const auto c = config("[auth]\naccounts = \"accounts\"\nmechanisms = [\"PLAIN\"]\n[[account]]\nname = \"bob\"\n"
                        "[[account]]\nname = \"*\"\n[[account]]\nname = \"bbo\"\n");
  const auto all = warnings(c);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(dir_.shortened(all[0]), "postern.toml: [[account]] bbo: accounts has no such account");
}

}  // namespace
}  // namespace postern::config
