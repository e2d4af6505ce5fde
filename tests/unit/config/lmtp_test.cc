// Next hops that speak LMTP: lmtp://host[:port] and lmtp:unix:PATH, and their mistakes.
#include "common/config/cut.h"
#include "common/config/hop.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class LmtpHops : public ConfigTest {
 protected:
  static std::string route(const std::string& via, const std::string& more = "") {
    return "[[route]]\nto = [\"*\"]\nvia = [\"" + via + "\"]\n" + more;
  }
  static std::string domain(const std::string& deliver) {
    return "[[domain]]\nname = [\"in.example\"]\nrecipients = \"ask\"\ndeliver = \"" + deliver + "\"\n";
  }
  Config config(const std::string& text) const {
    auto loaded = load_text(kGood + text);
    EXPECT_TRUE(loaded) << mistakes(kGood + text);
    return loaded ? *std::move(loaded) : Config();
  }
};

TEST_F(LmtpHops, HostIsOneThatSpeaksLmtp) {
  const auto hop = config(route("lmtp://mail.example")).routes[0].via[0];
  EXPECT_EQ(hop.kind, HopKind::kHost);
  EXPECT_TRUE(hop.lmtp);
  EXPECT_EQ(hop_text(hop), "lmtp://mail.example:24");
  EXPECT_EQ(demand_text(hop), "/lmtp");
  const auto secure = config(route("lmtp://[::1]:2424", "tls = \"required\"\n")).routes[0].via[0];
  EXPECT_EQ(hop_text(secure), "lmtp://[::1]:2424");
  EXPECT_EQ(demand_text(secure), "/lmtp/required");
  EXPECT_FALSE(config(route("smtp://mail.example")).routes[0].via[0].lmtp);
}

TEST_F(LmtpHops, SocketIsSeenFromTheFile) {
  const auto c = config(domain("lmtp:unix:run/lmtp") + route("lmtp:unix:/run/dovecot/lmtp", "tls = \"off\"\n"));
  const auto& hop = c.domains.back().deliver;
  EXPECT_EQ(hop.kind, HopKind::kSocket);
  EXPECT_TRUE(hop.lmtp);
  EXPECT_EQ(hop.host, dir_.path() + "/run/lmtp");
  EXPECT_EQ(hop_text(hop), "lmtp:unix:" + hop.host);
  EXPECT_EQ(parse_hop(hop_text(hop)).value(), hop);
  EXPECT_EQ(c.routes[0].via[0].host, "/run/dovecot/lmtp");
}

// The parent connects, the local deliverer speaks: both know a socket by its place.
TEST_F(LmtpHops, SocketsAreNumbered) {
  const auto c = config(domain("lmtp:unix:/run/b") +
                        "[[route]]\nto = [\"c.example\"]\nvia = [\"lmtp:unix:/run/c\", \"lmtp:unix:/run/a\", "
                        "\"lmtp://mail.example\"]\n" +
                        route("lmtp:unix:/run/b"));
  const std::vector<std::string> all{"/run/a", "/run/b", "/run/c"};
  EXPECT_EQ(lmtp_sockets(c), all);
  EXPECT_EQ(cut_local(c).sockets, all);
  EXPECT_TRUE(needs_local(c));
}

TEST_F(LmtpHops, SocketNeedsTheLocalDelivererAndNoMailboxes) {
  std::string text = kGood;
  const auto at = text.find("recipients = ");
  ASSERT_NE(at, std::string::npos);
  text.insert(at, "deliver = \"lmtp:unix:/run/lmtp\"\n");
  const auto c = load_text(text);
  ASSERT_TRUE(c) << mistakes(text);
  EXPECT_FALSE(needs_mailboxes(*c));
  EXPECT_TRUE(needs_local(*c));
  EXPECT_TRUE(lmtp_sockets(config(route("lmtp://mail.example"))).empty());
}

TEST_F(LmtpHops, Mistakes) {
  const auto via = [](const std::string& text, const std::string& why) {
    const auto shown = text.size() > 60 ? text.substr(0, 60) + "..." : text;
    return "postern.toml:13:8: route.via = \"" + shown +
           "\": expected \"mx\", smtp[s]://host[:port], lmtp://host[:port], lmtp:unix:PATH, \"turn:\", \"refuse\" or "
           "\"discard\": " +
           why + "\n";
  };
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {"lmtp://mail.example:25", "LMTP is not spoken on port 25, which is SMTP's"},
           {"lmtp://", "expected the name or the address of a host: empty domain"},
           {"lmtp:unix:", "expected the path of a socket behind lmtp:unix:"},
           {"lmtp:mail.example", "unknown kind of next hop"},
           {"lmtp:unix:/" + std::string(107, 'a'),
            "/" + std::string(107, 'a') + " is too long for the name of a socket (107 characters)"}})
    EXPECT_EQ(mistakes(kGood + route(text)), via(text, why));
  EXPECT_EQ(mistakes(kGood + route("lmtp:unix:/run/lmtp", "tls = \"required\"\n")),
            "postern.toml:14:7: route.tls = \"required\": /run/lmtp is a socket of this host, and TLS is not "
            "spoken there\n");
}

}  // namespace
}  // namespace postern::config
