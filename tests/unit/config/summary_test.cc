#include "common/config/summary.h"

#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class Summary : public ConfigTest {
 protected:
  std::string summary(const std::string& text) const {
    const auto loaded = load_text(text);
    return loaded ? dir_.shortened(rights_summary(*loaded)) : mistakes(text);
  }
  std::string warned(const std::string& text) const {
    const auto loaded = load_text(kGood + text);
    if (!loaded) return mistakes(kGood + text);
    std::string lines;
    for (const auto& warning : warnings(*loaded)) lines += dir_.shortened(warning) + '\n';
    return lines;
  }
  std::string relay_from(const std::string& networks) const {
    return warned("[[listen]]\naddress = \"127.0.0.1:2526\"\nservice = \"relay\"\nrelay_from = [" +
                  networks + "]\n");
  }
};

TEST_F(Summary, TheSmallestFile) {
  EXPECT_EQ(summary(kGood), R"(postern.toml: mx.example.org, spool spool
LISTENERS  who may send where
  127.0.0.1:2525  mx
    everybody: our domains
DOMAINS  mail that is ours
  example.org: 2 recipients of users, to maildir:/var/mail/{domain}/{user}
  postmaster of each: to it@example.org
ROUTES  mail for everybody else
  *: to mx, port 25
)");
}

TEST_F(Summary, ALargerFile) {
  dir_.write("one", "bob\n");
  EXPECT_EQ(summary(std::string(kGood) + R"([[domain]]
name = ["b.example", "c.example"]
deliver = "smtp://10.0.0.1"
recipients = "file:one"
[[domain]]
name = ["d.example"]
deliver = "mx"
recipients = "any"
[[listen]]
address = "[::]:2526"
service = "relay"
relay_from = ["10.0.0.0/8", "::1"]
[[listen]]
address = "127.0.0.1:2527"
relay_from = ["127.0.0.1"]
[[route]]
to = ["corp.example", "*.corp.example"]
via = ["smtp://relay.corp.example:2525"]
internal = true
[[route]]
to = ["*"]
via = ["discard"]
[mailbox]
path = "drop:/srv/drop"
[delivery]
start = "disabled"
)"),
            R"(postern.toml: mx.example.org, spool spool
LISTENERS  who may send where
  127.0.0.1:2525  mx
    everybody: our domains
  [::]:2526  relay
    10.0.0.0/8, ::1: anywhere
    everybody else: postmaster
  127.0.0.1:2527  mx
    everybody: our domains
    127.0.0.1: anywhere
DOMAINS  mail that is ours
  example.org: 2 recipients of users, to drop:/srv/drop
  b.example, c.example: 1 recipient of one, to smtp://10.0.0.1:25
  d.example: any recipient, to mx
  postmaster of each: to it@example.org
ROUTES  mail for everybody else
  corp.example, *.corp.example: to smtp://relay.corp.example:2525 (internal)
  *: to discard
  outbound is off after each start
WARNING postern.toml:23:1: 127.0.0.1:2527: an mx listener gives relay rights (127.0.0.1)
WARNING postern.toml:15:1: d.example: recipients = "any" accepts mail for addresses that nobody reads
)");
}

TEST_F(Summary, SaysWhoMaySpeakForOthers) {
  const std::string more = R"(proxy_from = ["10.0.0.5"]
xclient_from = ["10.0.0.6", "198.51.100.0/24"]
xforward_from = ["127.0.0.0/8"]
)";
  auto text = std::string(kGood);
  text.insert(text.find("\n[[domain]]"), more);
  const auto shown = summary(text);
  EXPECT_NE(shown.find(R"(    everybody: our domains
    10.0.0.5: must name the client (PROXY), and have its rights
    10.0.0.6, 198.51.100.0/24: may name another client (XCLIENT), and then have its rights
    127.0.0.0/8: may tell of another client (XFORWARD), for the log
)"),
            std::string::npos)
      << shown;
  EXPECT_NE(shown.find("WARNING postern.toml:5:1: 127.0.0.1:2525: xclient_from holds 198.51.100.0/24, "
                       "which is a public network: these hosts may speak as any client, with its "
                       "rights\n"),
            std::string::npos)
      << shown;
}

TEST_F(Summary, LongListsAreCut) {
  std::string text = std::string(kGood) + "[[route]]\nvia = [\"mx\"]\nto = [\"a0.example\"";
  for (int i = 1; i < 500; ++i) text += ", \"a" + std::to_string(i) + ".example\"";
  text += "]\n";
  for (int i = 0; i < 100; ++i) {
    text += "[[route]]\nvia = [\"mx\"]\nto = [\"r" + std::to_string(i) + ".example\"]\n";
    text += "[[domain]]\nrecipients = \"file:users\"\nname = [\"d" + std::to_string(i) +
            ".example\"]\n";
  }
  const auto shown = summary(text);
  EXPECT_NE(shown.find("a9.example, and 490 more: to mx"), std::string::npos) << shown;
  EXPECT_NE(shown.find("\n  and 91 more\n"), std::string::npos) << shown;
  EXPECT_NE(shown.find("\n  and 91 more sections\n"), std::string::npos) << shown;
}

TEST_F(Summary, DangerousNetworks) {
  EXPECT_EQ(relay_from(R"("10.0.0.0/8", "127.0.0.1", "192.168.1.0/24", "fe80::/10", "fd00::/8",
                          "172.16.0.0/12", "100.64.0.0/10", "::1", "169.254.1.1")"),
            "");
  const auto warning = [](const std::string& network, const std::string& what) {
    return "postern.toml:11:1: 127.0.0.1:2526: relay_from holds " + network + ", which is " + what +
           ": these clients may send anywhere\n";
  };
  EXPECT_EQ(relay_from("\"192.0.2.0/24\""), warning("192.0.2.0/24", "a public network"));
  EXPECT_EQ(relay_from("\"198.51.100.7\""), warning("198.51.100.7/32", "a public network"));
  EXPECT_EQ(relay_from("\"2001:db8::/32\""), warning("2001:db8::/32", "a public network"));
  EXPECT_EQ(relay_from("\"172.0.0.0/8\""), warning("172.0.0.0/8", "a public network"));
  EXPECT_EQ(relay_from("\"0.0.0.0/0\""), warning("0.0.0.0/0", "wider than /8 and public"));
  EXPECT_EQ(relay_from("\"::/0\""), warning("::/0", "wider than /8 and public"));
  EXPECT_EQ(relay_from("\"10.0.0.0/7\""), warning("10.0.0.0/7", "wider than /8 and public"));
  EXPECT_EQ(relay_from("\"fc00::/7\""), warning("fc00::/7", "wider than /8"));
}

TEST_F(Summary, DangerousMailboxes) {
  const auto root = dir_.path();
  EXPECT_EQ(warned("[mailbox]\npath = \"maildir:{user}\"\n"),
            "postern.toml: the mailbox root " + root +
                " and the spool spool overlap: the local "
                "deliverer could reach the queue\n");
  EXPECT_EQ(warned("[mailbox]\npath = \"maildir:spool/{user}\"\n"),
            "postern.toml: the mailbox root spool and the spool spool overlap: the local deliverer "
            "could reach the queue\n");
  EXPECT_EQ(warned("[mailbox]\npath = \"maildir:spool2/{user}\"\n"), "");
  EXPECT_EQ(warned("[mailbox]\npath = \"maildir:/m/{user}\"\n[[domain]]\nname = [\"b.example\"]\n"
                   "recipients = \"file:users\"\n"),
            "postern.toml: 2 [[domain]] sections share mailboxes, for the mailbox path "
            "maildir:/m/{user} has no {domain}\n");
}

}  // namespace
}  // namespace postern::config
