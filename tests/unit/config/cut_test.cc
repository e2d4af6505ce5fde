// What each role gets of the configuration.
#include "common/config/cut.h"

#include <fmt/format.h>

#include <map>

#include "common/sasl/scram_verifier.h"
#include "tests/unit/config/temp_dir.h"
#include "tests/unit/tls/certificates.h"

namespace postern::config {
namespace {

base::Endpoint endpoint(std::string_view text) {
  return base::parse_endpoint(text).value();
}

class Cut : public ConfigTest {
 protected:
  Config config(const std::string& text = "") const {
    auto loaded = load_text(kGood + text);
    EXPECT_TRUE(loaded) << mistakes(kGood + text);
    return loaded ? *std::move(loaded) : Config();
  }
  static constexpr const char* kMore = R"([[domain]]
name = ["b.example", "c.example"]
deliver = "smtp://10.0.0.1:2600"
recipients = "any"
[[listen]]
address = "127.0.0.1:2526"
service = "relay"
relay_from = ["127.0.0.0/8"]
require_hello = false
[[listen]]
address = "[::1]:2526"
[domains]
default = "example.org"
[[route]]
to = ["corp.example"]
via = ["smtp://relay.corp.example:2525"]
connections = 3
internal = true
[mailbox]
path = "maildir:/srv/mail/{domain}/{user}/Maildir"
[limits]
connections = 7
message_size = "1MiB"
recipients = 9
[delivery]
port = 2600
start = "disabled"
[space]
segment = "2MiB"
stop_intake = "3MiB"
reserve = "5MiB"
[history]
keep = "2d"
size = "7MiB"
[bounce]
from = "Postern"
copy_to = "b@example.org"
badmail = "/srv/bad"
[log]
level = "warning"
[processes]
smtpd = 2
)";
  Facts facts() const {
    return {.cores = 4,
            .groups = {.view = 4, .operate = 5, .admin = 0},
            .resolvers = {endpoint("127.0.0.53:53")},
            .own_addresses = {*base::parse_ip("192.0.2.1")}};
  }
};

TEST_F(Cut, Smtpd) {
  const auto cut = cut_smtpd(config(kMore));
  EXPECT_EQ(cut.hostname, "mx.example.org");
  EXPECT_EQ(cut.log.level, LogLevel::kWarning);
  ASSERT_EQ(cut.listeners.size(), 3U);
  EXPECT_EQ(cut.listeners[0].name, "127.0.0.1:2525");
  EXPECT_FALSE(cut.listeners[1].require_hello);
  EXPECT_EQ(cut.listeners[2].name, "[::1]:2526");
  EXPECT_EQ(cut.default_domain.text(), "example.org");
  ASSERT_EQ(cut.rights.listeners.size(), 3U);
  EXPECT_EQ(cut.rights.listeners[1].service, Service::kRelay);
  EXPECT_EQ(cut.rights.listeners[1].relay_from.size(), 1U);
  ASSERT_EQ(cut.rights.domains.size(), 2U);
  EXPECT_EQ(cut.rights.domains[0].users, (std::vector<std::string>{"alice", "it"}));
  EXPECT_EQ(cut.rights.domains[1].recipients, RecipientsKind::kAny);
  EXPECT_EQ(cut.rights.postmaster.text(), "it@example.org");
  EXPECT_EQ(cut.rights.hostname.text(), cut.hostname);
  EXPECT_EQ(cut.limits.connections, 7U);  // of all processes
  EXPECT_EQ(cut.limits.message_size, 1U << 20);
}

TEST_F(Cut, WithoutALimitOfRecipientsASegmentIsTheLimit) {
  auto c = config();
  EXPECT_EQ(cut_smtpd(c).limits.recipients, 1000U);
  c.limits.recipients = 0;
  c.space.segment = 2 << 20;
  EXPECT_EQ(cut_smtpd(c).limits.recipients, 386U);  // of 5 KiB each, in 2 MiB
  EXPECT_EQ(cut_queued(c, facts()).recipients, 386U);
}

TEST_F(Cut, Processes) {
  auto c = config();
  EXPECT_EQ(smtpd_processes(c, 4), 4U);
  EXPECT_EQ(relay_processes(c, 0), 1U);
  c.processes = {.smtpd = 3, .relay = 1};
  EXPECT_EQ(smtpd_processes(c, 4), 3U);
  EXPECT_EQ(relay_processes(c, 4), 1U);
}

TEST_F(Cut, Queued) {
  const auto cut = cut_queued(config(kMore), facts());
  ASSERT_EQ(cut.domain_hops.size(), 2U);
  EXPECT_EQ(cut.domain_hops[0].kind, HopKind::kMailbox);
  EXPECT_EQ(cut.domain_hops[1].host, "10.0.0.1");
  EXPECT_EQ(cut.domain_hops[1].port, 2600);
  ASSERT_EQ(cut.routes.size(), 1U);
  EXPECT_EQ(cut.routes[0].to[0], "corp.example");
  EXPECT_EQ(cut.routes[0].via[0].host, "relay.corp.example");
  EXPECT_EQ(cut.routes[0].connections, 3U);
  EXPECT_TRUE(cut.routes[0].internal);
  EXPECT_EQ(cut.routes[0].line, 24U);
  EXPECT_EQ(cut.routes[0].file, "postern.toml");
  ASSERT_EQ(cut.domain_places.size(), 2U);
  EXPECT_GT(cut.domain_places[0].line, 0U);
  EXPECT_GT(cut.domain_places[1].line, cut.domain_places[0].line);
  EXPECT_EQ(cut.domain_places[0].file, "postern.toml");
  EXPECT_EQ(cut.retry.line, 0U);  // nothing is written down
  EXPECT_GT(cut.start_place.line, 24U);
  EXPECT_EQ(cut.retry.after.size(), 4U);
  EXPECT_EQ(cut.control.view, 4U);
  EXPECT_EQ(cut.control.operate, 5U);
  EXPECT_EQ(cut.control.admin, 0U);
  EXPECT_EQ(cut.bounce_from, "Postern");
  EXPECT_EQ(cut.bounce_copy_to->text(), "b@example.org");
  EXPECT_TRUE(cut.badmail_elsewhere);
  EXPECT_EQ(cut.message_size, 1U << 20);
  EXPECT_EQ(cut.recipients, 9U);
  EXPECT_EQ(cut.stop_intake, 3U << 20);
  EXPECT_EQ(cut.reserve, 5U << 20);
  EXPECT_EQ(cut.history_keep, base::Millis(2LL * 24 * 3600 * 1000));
  EXPECT_EQ(cut.history_size, 7U << 20);
  EXPECT_EQ(cut.segment_size, 2U << 20);
  EXPECT_TRUE(cut.start_disabled);
  EXPECT_EQ(cut.rights.domains.size(), cut.domain_hops.size());
}

TEST_F(Cut, Relay) {
  const auto cut = cut_relay(config(kMore), facts());
  EXPECT_EQ(cut.dns, std::vector{endpoint("127.0.0.53:53")});
  EXPECT_EQ(cut.port, 2600);
  // Those of the host, and those that we listen on (in a container, the host may not name them).
  EXPECT_EQ(cut.own_addresses,
            (std::vector{*base::parse_ip("192.0.2.1"), *base::parse_ip("127.0.0.1"),
                         *base::parse_ip("::1")}));
  EXPECT_EQ(cut.own_ports, (std::vector<std::uint16_t>{2525, 2526}));
  EXPECT_EQ(cut_relay(config("[delivery]\ndns = [\"[::1]:5353\"]\n"), facts()).dns,
            std::vector{endpoint("[::1]:5353")});
  EXPECT_EQ(cut_relay(config(), {}).dns, std::vector{endpoint("127.0.0.1:53")});
  EXPECT_EQ(cut.tls_minimum, tls::Version::k12);
  EXPECT_EQ(cut_relay(config("[delivery]\ntls_minimum = \"1.3\"\n"), facts()).tls_minimum, tls::Version::k13);
}

TEST_F(Cut, RelayHasNetworksThatItMustNotConnectTo) {
  const auto forbids = [](const RelayConfig& cut, std::string_view address) {
    return std::any_of(cut.forbid.begin(), cut.forbid.end(), [&](const base::Network& network) {
      return network.contains(*base::parse_ip(address));
    });
  };
  const auto usual = cut_relay(config(), facts());
  for (const auto* here :
       {"127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "fe80::1", "ff02::1"})
    EXPECT_TRUE(forbids(usual, here)) << here;
  for (const auto* there :
       {"192.0.2.1", "10.0.0.1", "126.255.255.255", "223.255.255.255", "2001:db8::1", "fd00::1"})
    EXPECT_FALSE(forbids(usual, there)) << there;
  const auto own = cut_relay(config("[delivery]\nforbid = [\"10.0.0.0/8\"]\n"), facts());
  EXPECT_TRUE(forbids(own, "10.1.2.3"));
  EXPECT_FALSE(forbids(own, "127.0.0.1"));
  EXPECT_TRUE(cut_relay(config("[delivery]\nforbid = []\n"), facts()).forbid.empty());
}

template <class T>
void expect_round_trip(const T& cut) {
  const auto bytes = ipc::encode(cut);
  const auto back = ipc::decode<T>(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(ipc::encode(*back), bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    EXPECT_FALSE(ipc::decode<T>(std::string_view(bytes).substr(0, i))) << i;
  EXPECT_FALSE(ipc::decode<T>(bytes + 'x'));
}

TEST_F(Cut, Fetch) {
  const auto root = tls::test::Authority::instance().root();
  const auto file = dir_.write("root.pem", root);
  const auto with = [&](const std::string& delivery, const std::string& more = "") {
    return config("[delivery]\nca = \"" + file + "\"\n" + delivery + more);
  };
  const auto c = with("dns = [\"127.0.0.1:5353\"]\nmta_sts_port = 8443\nforbid = [\"10.0.0.0/8\"]\n");
  const auto cut = cut_fetch(c, facts());
  EXPECT_EQ(cut.port, 8443);
  EXPECT_EQ(cut.dns, std::vector{endpoint("127.0.0.1:5353")});
  EXPECT_EQ(cut.forbid.size(), 1U);
  EXPECT_EQ(cut.ca, root);
  EXPECT_TRUE(cut_relay(c, facts()).policies);
  expect_round_trip(cut);
  EXPECT_EQ(cut_fetch(with(""), facts()).port, 443);
  EXPECT_EQ(cut_fetch(with(""), facts()).dns, facts().resolvers);

  const auto route = [](const char* to, const char* via, const char* tls) {
    return fmt::format("[[route]]\nto = [\"{}\"]\nvia = [\"{}\"]\ntls = \"{}\"\n", to, via, tls);
  };
  EXPECT_TRUE(needs_fetch(with(""))) << "mail without a route goes by MX";
  EXPECT_FALSE(needs_fetch(with("mta_sts = false\n")));
  EXPECT_FALSE(cut_relay(with("mta_sts = false\n"), facts()).policies);
  EXPECT_FALSE(needs_fetch(with("", route("*", "smtp://relay.example", "verified"))));
  for (const auto* tls : {"off", "dane"}) EXPECT_FALSE(needs_fetch(with("", route("*", "mx", tls)))) << tls;
  for (const auto* tls : {"optional", "required", "verified"})
    EXPECT_TRUE(needs_fetch(with("", route("*", "mx", tls)))) << tls;
  EXPECT_TRUE(needs_fetch(with("", route("*", "smtp://relay.example", "off") + route("a.example", "mx", "required"))));
  EXPECT_TRUE(needs_fetch(with("", route("*", "smtp://relay.example", "off") +
                                       "[[domain]]\nname = [\"b.example\"]\ndeliver = \"mx\"\n"
                                       "recipients = \"any\"\n")));
}

// It hears of ways only where a SOCKS server is on one of them.
TEST_F(Cut, FetchGoesTheWayOfTheMail) {
  const std::string socks = "socks = \"192.0.2.1:1080\"\n";
  const auto route = [](const char* to, const char* via) {
    return fmt::format("[[route]]\nto = [{}]\nvia = [{}]\n", to, via);
  };
  const auto direct = route(R"("a.example", "*.a.example")", R"("mx")");
  const auto inner = "[[domain]]\nname = [\"b.example\", \"c.example\"]\ndeliver = \"mx\"\nrecipients = \"any\"\n";
  const auto other = route(R"("d.example")", R"("smtp://relay.example")") + socks;
  EXPECT_TRUE(cut_fetch(config(direct + inner + other), facts()).ways.empty());
  const auto cut = cut_fetch(
      config(direct + inner + other + route(R"("*")", R"("smtp://first.example", "mx")") + socks), facts());
  ASSERT_EQ(cut.ways.size(), 3U) << "not the one without MX hosts";
  EXPECT_EQ(cut.ways[0].to, (std::vector<std::string>{"a.example", "*.a.example"}));
  EXPECT_EQ(cut.ways[0].socks, std::nullopt);
  EXPECT_EQ(cut.ways[1].to, std::vector<std::string>{"*"});
  EXPECT_EQ(cut.ways[1].socks, endpoint("192.0.2.1:1080"));
  EXPECT_EQ(cut.ways[2].to, (std::vector<std::string>{"b.example", "c.example"}));
  EXPECT_EQ(cut.ways[2].socks, std::nullopt);
  expect_round_trip(cut);
}

TEST_F(Cut, Local) {
  const auto c = config(kMore);
  EXPECT_TRUE(needs_local(c));
  EXPECT_EQ(c.mailbox.root, "/srv/mail");
  const auto cut = cut_local(c);
  EXPECT_EQ(cut.kind, MailboxKind::kMaildir);
  EXPECT_EQ(cut.path, "{domain}/{user}/Maildir");
  EXPECT_EQ(cut.hostname, "mx.example.org");
  EXPECT_FALSE(needs_local(config("deliver = \"mx\"\n")));
  EXPECT_EQ(control_socket(c), "/run/postern/control.sock");
}

TEST_F(Cut, EveryRoleDecodesItsOwn) {
  const auto c = config(kMore);
  expect_round_trip(cut_smtpd(c));
  expect_round_trip(cut_queued(c, facts()));
  expect_round_trip(cut_relay(c, facts()));
  expect_round_trip(cut_local(c));
}

// The secrets of a configuration, and who gets them.
TEST_F(Cut, SecretsGoToTheirRoleAlone) {
  const auto& issued = tls::test::Authority::instance().issue({"mx.example.org"});
  const auto& other = tls::test::Authority::instance().issue({"other.example"}, "rsa:2048");
  const std::string hash =
      "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC";
  const auto verifier = sasl::ScramVerifier::make("pw", "0123456789abcdef", 4096).text();
  dir_.write("accounts", "bob:" + hash + ":" + verifier + "\n");
  const std::string password = "the smart host's";
  dir_.write("password", password + "\n");
  const auto c = config(kMore + ("[[route]]\nto = [\"*\"]\nvia = [\"smtp://smart.example:587\"]\ntls = "
                                 "\"verified\"\nlogin = \"ann\"\npassword_file = \"password\"\n"
                                 "[[certificate]]\nchain = \"" + issued.chain_file + "\"\nkey = \"" +
                                 issued.key_file + "\"\n[[certificate]]\nchain = \"" +
                                 other.chain_file + "\"\nkey = \"" + other.key_file +
                                 "\"\n[auth]\naccounts = \"accounts\"\n"));
  ASSERT_EQ(c.certificates.size(), 2U);
  EXPECT_TRUE(needs_key(c));
  EXPECT_FALSE(needs_key(config()));
  const std::map<std::string, std::string> cuts{{"smtpd", ipc::encode(cut_smtpd(c))},
                                                {"queued", ipc::encode(cut_queued(c, facts()))},
                                                {"relay", ipc::encode(cut_relay(c, facts()))},
                                                {"local", ipc::encode(cut_local(c))},
                                                {"key", ipc::encode(cut_key(c))},
                                                {"auth", ipc::encode(cut_auth(c))},
                                                {"fetch", ipc::encode(cut_fetch(c, facts()))},
                                                {"mailbox", ipc::encode(cut_mailbox(c, "bob", "example.org"))}};
  const std::map<std::string, std::string> secrets{
      {issued.key, "key"}, {other.key, "key"}, {hash, "auth"}, {verifier, "auth"},
      {password, "relay"}};
  for (const auto& [secret, owner] : secrets)
    for (const auto& [role, cut] : cuts)
      EXPECT_EQ(cut.find(secret) != std::string::npos, role == owner) << role;
  for (const auto& [role, cut] : cuts)
    EXPECT_EQ(cut.find("PRIVATE KEY") != std::string::npos, role == "key") << role;
  EXPECT_EQ(cut_key(c).keys, (std::vector{issued.key, other.key}));
  const auto smtpd = cut_smtpd(c);
  ASSERT_EQ(smtpd.tls.certificates.size(), 2U);
  EXPECT_EQ(smtpd.tls.certificates[0].chain, issued.chain);
  EXPECT_EQ(smtpd.tls.certificates[0].names, std::vector<std::string>{"mx.example.org"});
  EXPECT_EQ(smtpd.listeners[0].tls, TlsMode::kOptional);
  expect_round_trip(cut_key(c));
  expect_round_trip(cut_auth(c));
  expect_round_trip(cut_relay(c, facts()));
  EXPECT_TRUE(needs_auth(c));
  EXPECT_FALSE(needs_auth(config()));
}

TEST_F(Cut, TheLargestListsTravel) {
  std::string text = "[[listen]]\naddress = \"127.0.0.1:2526\"\nrelay_from = [\"10.0.0.0/32\"";
  for (int i = 1; i < 10'000; ++i)
    text += ", \"10." + std::to_string(i / 256) + '.' + std::to_string(i % 256) + ".0/24\"";
  text += "]\n";
  std::string addresses;
  for (int i = 0; i < 1'001; ++i)
    text += "[[listen]]\naddress = \"127.0.0.1:" + std::to_string(3000 + i) + "\"\n";
  EXPECT_EQ(mistakes(kGood + text),
            "postern.toml:2010:1: listen: expected at most 1000 such sections\n");
  text.resize(text.rfind("[[listen]]"));
  text.resize(text.rfind("[[listen]]"));
  text.resize(text.rfind("[[listen]]"));
  EXPECT_TRUE(ipc::decode<SmtpdConfig>(ipc::encode(cut_smtpd(config(text)))));
}

TEST_F(Cut, TheLongestPatternTravels) {
  const std::string label(63, 'a');
  const auto name = label + '.' + label + '.' + label + '.' + std::string(61, 'b');  // 253
  const auto route = [](const std::string& to) {
    return "[[route]]\nto = [\"" + to + "\"]\nvia = [\"mx\"]\n";
  };
  EXPECT_TRUE(ipc::decode<QueuedConfig>(ipc::encode(cut_queued(config(route("*." + name)), {}))));
  EXPECT_TRUE(ipc::decode<QueuedConfig>(ipc::encode(cut_queued(config(route(name + "bb")), {}))));
  EXPECT_NE(mistakes(kGood + route("*." + name + "b")).find("at most 255 characters"),
            std::string::npos);
}

TEST_F(Cut, Resolvers) {
  const auto read = [&](const std::string& text) {
    std::string all;
    for (const auto& resolver : system_resolvers(dir_.write("resolv.conf", text)))
      all += base::to_string(resolver) + ' ';
    return all;
  };
  EXPECT_EQ(
      read(
          "# x\nsearch example.org\nnameserver 192.0.2.1\n nameserver 192.0.2.9\nnameserver\t"
          "2001:db8::1 \nnameserver fe80::1%eth0\nnameservers 192.0.2.8\nnameserver 192.0.2.2 # y"),
      "192.0.2.1:53 [2001:db8::1]:53 192.0.2.2:53 ");
  EXPECT_EQ(read(""), "127.0.0.1:53 ");
  EXPECT_EQ(read("nameserver\n"), "127.0.0.1:53 ");
  std::string many;
  for (int i = 0; i < 100; ++i) many += "nameserver 192.0.2.1\n";
  EXPECT_EQ(system_resolvers(dir_.write("resolv.conf", many)).size(), 16U);
  EXPECT_EQ(system_resolvers("/nonexistent").size(), 1U);
}

}  // namespace
}  // namespace postern::config
