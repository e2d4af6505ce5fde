// As whom a route logs in at its hosts, and every way in which a password could be sent where it must not.
#include "common/config/hop_login.h"

#include <fmt/format.h>

#include "common/config/cut.h"
#include "common/config/hop.h"
#include "common/config/summary.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class HopLogin : public ConfigTest {
 protected:
  HopLogin() { dir_.write("password", "open sesame\n"); }
  static std::string route(const std::string& via, const std::string& more = "", const std::string& to = "*") {
    return "[[route]]\nto = [\"" + to + "\"]\nvia = " + via + "\n" + more;
  }
  static std::string login(const std::string& user = "ann", const std::string& file = "password") {
    return fmt::format("tls = \"verified\"\nlogin = \"{}\"\npassword_file = \"{}\"\n", user, file);
  }
  Config config(const std::string& text) const {
    auto loaded = load_text(kGood + text);
    EXPECT_TRUE(loaded) << mistakes(kGood + text);
    return loaded ? *std::move(loaded) : Config();
  }
  static constexpr const char* kHost = "[\"smtp://smart.example:587\"]";
};

TEST_F(HopLogin, IsOfTheHostsThatTheRouteNames) {
  const auto c = config(route("[\"mx\", \"smtp://smart.example:587\", \"smtps://[2001:db8::1]\"]", login("Ann@x")));
  const auto& via = c.routes[0].via;
  EXPECT_EQ(via[0].login, "");  // whose host it is the DNS says
  EXPECT_EQ(via[1].login, "Ann@x");
  EXPECT_EQ(via[2].login, "Ann@x");
  EXPECT_EQ(demand_text(via[1]), "/verified/login=Ann@x");
  const std::vector<RelayLogin> all{{"2001:db8::1", 465, "Ann@x", "open sesame"},
                                    {"smart.example", 587, "Ann@x", "open sesame"}};
  EXPECT_EQ(cut_relay(c, {}).logins, all);
  EXPECT_NE(rights_summary(c).find(", TLS verified, logged in as Ann@x\n"), std::string::npos) << rights_summary(c);
}

// "mx first, then smart host": what the password demands is demanded of the host that gets it.
TEST_F(HopLogin, OtherHopsMayDemandLess) {
  const auto c = config(route("[\"mx?tls=optional\", \"smtps://smart.example\"]", login()));
  EXPECT_EQ(c.routes[0].via[0].tls, HopTls::kOptional);
  EXPECT_EQ(c.routes[0].via[1].login, "ann");
  EXPECT_EQ(c.routes[0].via[1].tls, HopTls::kVerified);
  const auto alone = config(route("[\"mx\", \"smtps://smart.example?tls=verified\"]",
                                  "login = \"ann\"\npassword_file = \"password\"\n"));
  EXPECT_EQ(alone.routes[0].via[1].login, "ann");
  for (const auto* via : {"[\"smtp://smart.example?tls=required\"]", "[\"smtp://a.example\", \"smtp://b.example?tls=dane\"]"})
    EXPECT_EQ(mistakes(kGood + route(via, login())),
              "postern.toml:15:9: route.login = \"ann\": a password is sent over verified TLS alone: say tls = "
              "\"verified\"\n")
        << via;
}

TEST_F(HopLogin, IsNoneWhereNothingIsSaid) {
  const auto c = config(route(kHost, "login = \"\"\npassword_file = \"\"\n"));
  EXPECT_EQ(c.routes[0].via[0].login, "");
  EXPECT_TRUE(cut_relay(c, {}).logins.empty());
}

TEST_F(HopLogin, PasswordIsOneLine) {
  for (const auto* content : {"open sesame", "open sesame\n", "open sesame\r\n"}) {
    dir_.write("password", content);
    EXPECT_EQ(config(route(kHost, login())).routes[0].password, "open sesame");
  }
  const std::pair<const char*, const char*> bad[] = {
      {"", "holds no password: expected a password that is not empty"},
      {"a\nb\n", "holds more than one line: expected the password alone"},
      {"p\xc3\xa4ss\n", "holds no password: expected a password of printable ASCII: clients do not agree on how to send others"}};
  for (const auto& [content, why] : bad) {
    dir_.write("password", content);
    EXPECT_EQ(dir_.shortened(mistakes(kGood + route(kHost, login()))),
              fmt::format("postern.toml:16:17: route.password_file = \"password\": the file password {}\n", why));
  }
}

TEST_F(HopLogin, UserAndPasswordBelongTogether) {
  EXPECT_EQ(mistakes(kGood + route(kHost, "tls = \"verified\"\nlogin = \"ann\"\n")),
            "postern.toml:15:9: route.login = \"ann\": an account without a password: say password_file\n");
  EXPECT_EQ(mistakes(kGood + route(kHost, "tls = \"verified\"\npassword_file = \"password\"\n")),
            "postern.toml:15:17: route.password_file = \"password\": a password without an account: say login\n");
  EXPECT_NE(mistakes(kGood + route(kHost, login("a b"))).find("route.login = \"a b\": expected a name"),
            std::string::npos);
  EXPECT_NE(mistakes(kGood + route(kHost, login("ann", "nowhere"))).find("route.password_file = \"nowhere\": the file"),
            std::string::npos);
}

// The password of a mail account is worth more than any mail.
TEST_F(HopLogin, NothingButVerifiedTlsCarriesAPassword) {
  for (const auto* tls : {"off", "optional", "required", "dane"}) {
    const auto text = fmt::format("tls = \"{}\"\nlogin = \"ann\"\npassword_file = \"password\"\n", tls);
    EXPECT_EQ(mistakes(kGood + route(kHost, text)),
              "postern.toml:15:9: route.login = \"ann\": a password is sent over verified TLS alone: say tls = "
              "\"verified\"\n")
        << tls;
  }
  EXPECT_NE(mistakes(kGood + route(kHost, "login = \"ann\"\npassword_file = \"password\"\n")), "");
}

TEST_F(HopLogin, ThereMustBeAHostToLogInAt) {
  EXPECT_NE(mistakes(kGood + route("[\"mx\"]", login())).find("names no host to log in at"), std::string::npos);
  EXPECT_NE(mistakes(kGood + route("[\"lmtp://x.example\"]", login())).find("nobody logs in at lmtp://x.example:24, by LMTP"),
            std::string::npos);
  EXPECT_NE(mistakes(kGood + route(kHost, login(std::string(129, 'a')))), "");
  const auto host = std::string(60, 'a') + '.' + std::string(60, 'b') + '.' + std::string(60, 'c') + ".example";
  EXPECT_NE(mistakes(kGood + route("[\"smtp://" + host + "\"]", login(std::string(60, 'a')))).find("too long together"),
            std::string::npos);
}

TEST_F(HopLogin, AnAccountHasOnePassword) {
  dir_.write("other", "another\n");
  const auto first = route(kHost, login(), "a.example");
  EXPECT_EQ(cut_relay(config(first + route(kHost, login(), "b.example")), {}).logins.size(), 1U);
  EXPECT_EQ(cut_relay(config(first + route(kHost, login("bob", "other"), "b.example")), {}).logins.size(), 2U);
  EXPECT_NE(mistakes(kGood + first + route(kHost, login("ann", "other"), "b.example"))
                .find("route.password_file: ann has another password at smtp://smart.example:587 in the route at "),
            std::string::npos);
}

}  // namespace
}  // namespace postern::config
