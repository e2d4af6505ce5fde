// What load() says about good and bad files, with the exact place of every mistake.
#include "common/config/parse.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/config/cut.h"
#include "common/config/hop.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class Parse : public ConfigTest {
 protected:
  // The mistakes of the good configuration with `text` behind it, so from line 11 on.
  std::string behind(const std::string& text) const { return mistakes(kGood + text); }
};

TEST_F(Parse, TheSmallestFileHasAllDefaults) {
  const auto loaded = load_text(kGood);
  ASSERT_TRUE(loaded) << mistakes(kGood);
  const auto& c = *loaded;
  EXPECT_EQ(c.hostname, "mx.example.org");
  EXPECT_EQ(c.postmaster.text(), "it@example.org");
  EXPECT_EQ(c.spool, dir_.path() + "/spool");
  EXPECT_EQ(c.runtime, "/run/postern");
  EXPECT_EQ(c.control.view, "adm");
  EXPECT_EQ(c.control.operate, "postern");
  EXPECT_EQ(c.control.admin, "root");
  ASSERT_EQ(c.listeners.size(), 1U);
  EXPECT_EQ(to_string(c.listeners[0].address), "127.0.0.1:2525");
  EXPECT_EQ(c.listeners[0].service, Service::kMx);
  EXPECT_TRUE(c.listeners[0].relay_from.empty());
  EXPECT_TRUE(c.listeners[0].require_hello);
  EXPECT_EQ(c.listeners[0].where.line, 5U);
  EXPECT_TRUE(c.default_domain.empty());
  ASSERT_EQ(c.domains.size(), 1U);
  EXPECT_EQ(c.domains[0].deliver.kind, HopKind::kMailbox);
  EXPECT_EQ(c.domains[0].extension, "+");
  EXPECT_EQ(c.domains[0].users, (std::vector<std::string>{"alice", "it"}));
  EXPECT_EQ(c.mailbox.kind, MailboxKind::kMaildir);
  EXPECT_EQ(c.mailbox.root, "/var/mail");
  EXPECT_EQ(c.mailbox.path, "{domain}/{user}");
  EXPECT_EQ(c.mailbox.owner, "_postern-local");
  EXPECT_TRUE(c.routes.empty());
  EXPECT_TRUE(c.delivery.dns.empty());
  EXPECT_EQ(c.delivery.port, 25);
  EXPECT_FALSE(c.delivery.start_disabled);
  ASSERT_EQ(c.retry.after.size(), 4U);
  EXPECT_EQ(c.retry.after[0], base::Millis(15 * 60'000));
  EXPECT_EQ(c.retry.after[3], base::Millis(4 * 3'600'000));
  EXPECT_EQ(c.retry.expire, base::Millis(5LL * 86'400'000));
  EXPECT_EQ(c.retry.max_gap, base::Millis(86'400'000));
  EXPECT_EQ(c.limits.message_size, 25U << 20);
  EXPECT_EQ(c.limits.recipients, 1000U);
  EXPECT_EQ(c.limits.session_size, 0U);
  EXPECT_EQ(c.limits.connections, 2000U);
  EXPECT_EQ(c.limits.connections_per_client, 50U);
  EXPECT_EQ(c.limits.messages_per_session, 0U);
  EXPECT_EQ(c.limits.timeout.command, base::Millis(300'000));
  EXPECT_EQ(c.limits.timeout.data, base::Millis(600'000));
  EXPECT_EQ(c.limits.timeout.idle, base::Millis(300'000));
  EXPECT_EQ(c.bounce.from, "Mail Delivery System");
  EXPECT_FALSE(c.bounce.copy_to);
  EXPECT_EQ(c.bounce.badmail, "");
  EXPECT_EQ(c.retry.notify, base::Millis(12LL * 3'600'000));
  EXPECT_EQ(c.space.stop_intake, 1U << 30);
  EXPECT_EQ(c.space.reserve, 128U << 20);
  EXPECT_EQ(c.space.segment, 64U << 20);
  EXPECT_EQ(c.log.file, "");
  EXPECT_EQ(c.log.role.format, LogFormat::kText);
  EXPECT_EQ(c.log.role.level, LogLevel::kInfo);
  EXPECT_EQ(c.processes.smtpd, 0U);
  EXPECT_EQ(c.processes.relay, 0U);
}

TEST_F(Parse, EveryKeyIsRead) {
  dir_.write("other", "bob\n");
  const auto loaded = load_text(R"(
hostname = "MX.Example.org"
postmaster = "Ops@elsewhere.example"
spool = "/var/lib/postern/"
runtime = "run"
[control]
view = "v"
operate = "o"
admin = "a"
[[listen]]
address = "[::1]:2525"
service = "relay"
tls = "off"
relay_from = ["10.0.0.0/8", "::1"]
require_hello = false
[[listen]]
address = "0.0.0.0:2526"
[domains]
default = "Example.ORG"
[[domain]]
name = ["Example.org", "bücher.example"]
deliver = "smtp://[2001:DB8::1]:2525"
recipients = "file:other"
extension = "-"
[[domain]]
name = ["any.example"]
deliver = "mx"
recipients = "any"
extension = ""
[mailbox]
path = "drop:mail/drop/"
owner = "vmail"
[[route]]
to = ["Corp.example", "*.corp.example"]
via = ["smtp://Relay.corp.example:2525"]
tls = "off"
connections = 7
internal = true
rate = "600/min"
[[route]]
to = ["*"]
via = ["mx"]
[[route]]
to = ["bad.example"]
via = ["refuse"]
[[route]]
to = ["hole.example"]
via = ["discard"]
[[route]]
to = ["v4.example"]
via = ["smtp://192.0.2.1"]
[delivery]
dns = ["127.0.0.1:5353", "::1"]
port = 2600
start = "disabled"
[retry]
after = ["1s", "2m"]
expire = "3h"
notify = "0"
max_gap = "2d"
[limits]
message_size = "1MB"
recipients = 5
session_size = 0
connections = 10
connections_per_client = 3
messages_per_session = 4
timeout = { command = "1s", data = "2s", idle = 0 }
[bounce]
from = "Postern"
copy_to = "Bounces@Example.ORG"
badmail = "bad"
[space]
stop_intake = "0"
segment = "1MiB"
[log]
to = "log/postern.log"
format = "json"
level = "debug"
[processes]
smtpd = 2
relay = 3
)");
  ASSERT_TRUE(loaded);
  const auto& c = *loaded;
  EXPECT_EQ(c.hostname, "mx.example.org");
  EXPECT_EQ(c.postmaster.text(), "Ops@elsewhere.example");
  EXPECT_EQ(c.spool, "/var/lib/postern");
  EXPECT_EQ(c.runtime, dir_.path() + "/run");
  EXPECT_EQ(c.control.view + c.control.operate + c.control.admin, "voa");
  EXPECT_EQ(to_string(c.listeners[0].address), "[::1]:2525");
  EXPECT_EQ(c.listeners[0].service, Service::kRelay);
  ASSERT_EQ(c.listeners[0].relay_from.size(), 2U);
  EXPECT_EQ(base::to_string(c.listeners[0].relay_from[1]), "::1/128");
  EXPECT_FALSE(c.listeners[0].require_hello);
  EXPECT_EQ(c.default_domain.text(), "example.org");
  EXPECT_EQ(c.domains[0].names[1].text(), "xn--bcher-kva.example");
  EXPECT_EQ(hop_text(c.domains[0].deliver), "smtp://[2001:db8::1]:2525");
  EXPECT_EQ(c.domains[0].users_file, dir_.path() + "/other");
  EXPECT_EQ(c.domains[0].extension, "-");
  EXPECT_EQ(hop_text(c.domains[1].deliver), "mx");
  EXPECT_EQ(c.domains[1].recipients, RecipientsKind::kAny);
  EXPECT_EQ(c.domains[1].extension, "");
  EXPECT_EQ(c.mailbox.kind, MailboxKind::kDrop);
  EXPECT_EQ(c.mailbox.root, dir_.path() + "/mail/drop");
  EXPECT_EQ(c.mailbox.path, "");
  EXPECT_EQ(c.mailbox.owner, "vmail");
  ASSERT_EQ(c.routes.size(), 5U);
  EXPECT_EQ(c.routes[0].to, (std::vector<std::string>{"corp.example", "*.corp.example"}));
  EXPECT_EQ(hop_text(c.routes[0].via[0]), "smtp://relay.corp.example:2525");
  EXPECT_EQ(c.routes[0].connections, 7U);
  EXPECT_EQ(c.routes[0].interval, 100'000U);
  EXPECT_TRUE(c.routes[0].internal);
  EXPECT_EQ(c.routes[0].where.line, 33U);
  EXPECT_EQ(hop_text(c.routes[1].via[0]), "mx");
  EXPECT_EQ(c.routes[1].connections, 20U);
  EXPECT_EQ(hop_text(c.routes[2].via[0]), "refuse");
  EXPECT_EQ(hop_text(c.routes[3].via[0]), "discard");
  EXPECT_EQ(hop_text(c.routes[4].via[0]), "smtp://192.0.2.1:25");
  ASSERT_EQ(c.delivery.dns.size(), 2U);
  EXPECT_EQ(base::to_string(c.delivery.dns[0]), "127.0.0.1:5353");
  EXPECT_EQ(base::to_string(c.delivery.dns[1]), "[::1]:53");
  EXPECT_EQ(c.delivery.port, 2600);
  EXPECT_TRUE(c.delivery.start_disabled);
  EXPECT_EQ(c.retry.after, (std::vector{base::Millis(1000), base::Millis(120'000)}));
  EXPECT_EQ(c.retry.expire, base::Millis(3 * 3'600'000));
  EXPECT_EQ(c.retry.notify, base::Millis(0));
  EXPECT_EQ(c.retry.max_gap, base::Millis(2 * 86'400'000));
  EXPECT_EQ(c.limits.message_size, 1'000'000U);
  EXPECT_EQ(c.limits.recipients, 5U);
  EXPECT_EQ(c.limits.session_size, 0U);
  EXPECT_EQ(c.limits.connections, 10U);
  EXPECT_EQ(c.limits.connections_per_client, 3U);
  EXPECT_EQ(c.limits.messages_per_session, 4U);
  EXPECT_EQ(c.limits.timeout.command, base::Millis(1000));
  EXPECT_EQ(c.limits.timeout.data, base::Millis(2000));
  EXPECT_EQ(c.limits.timeout.idle, base::Millis(0));
  EXPECT_EQ(c.bounce.from, "Postern");
  ASSERT_TRUE(c.bounce.copy_to);
  EXPECT_EQ(c.bounce.copy_to->text(), "Bounces@example.org");
  EXPECT_EQ(c.bounce.badmail, dir_.path() + "/bad");
  EXPECT_EQ(c.space.stop_intake, 0U);
  EXPECT_EQ(c.space.segment, 1U << 20);
  EXPECT_EQ(c.log.file, dir_.path() + "/log/postern.log");
  EXPECT_EQ(c.log.role.format, LogFormat::kJson);
  EXPECT_EQ(c.log.role.level, LogLevel::kDebug);
  EXPECT_EQ(c.processes.smtpd, 2U);
  EXPECT_EQ(c.processes.relay, 3U);
}

TEST_F(Parse, TheFileItself) {
  EXPECT_EQ(to_string(load("/nonexistent/postern.toml").error().at(0)),
            "/nonexistent/postern.toml: cannot be read: No such file or directory");
  EXPECT_EQ(dir_.shortened(to_string(load(dir_.path()).error().at(0))),
            dir_.path() + ": is not a regular file");
  const auto fifo = dir_.path() + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(dir_.shortened(to_string(load(fifo).error().at(0))), "fifo: is not a regular file");
}

TEST_F(Parse, SyntaxErrorsStopAtTheFirst) {
  EXPECT_EQ(mistakes("hostname = \n"),
            "postern.toml:1:12: not TOML: Error while parsing key-value pair: expected value, saw "
            "'\\n'\n");
  EXPECT_EQ(
      mistakes("spool = \"a\"\nspool = \"b\"\nx = 1\n"),
      "postern.toml:2:9: not TOML: Error while parsing key-value pair: cannot redefine existing "
      "string 'spool' (at postern.toml:1:1)\n");
  EXPECT_EQ(
      behind("[log]\nto = \"a\"\n[log]\n"),
      "postern.toml:13:1: not TOML: Error while parsing table header: cannot redefine existing "
      "table 'log' (at postern.toml:11:2)\n");
  EXPECT_EQ(
      behind("[[listen]]\naddress = \"a\"\n[[listen]]\naddress = \"b\"\naddress = \"c\"\n"),
      "postern.toml:15:11: not TOML: Error while parsing key-value pair: cannot redefine existing "
      "string 'address' (at postern.toml:14:1)\n");
  EXPECT_EQ(
      mistakes("a = 1\nb = { c = 1, c = 2 }\n"),
      "postern.toml:2:18: not TOML: Error while parsing key-value pair: cannot redefine existing "
      "integer 'c'\n");
  EXPECT_EQ(load_text("a = \"\xff\"\n").error().size(), 1U);
  EXPECT_EQ(mistakes("a" +
                     [] {
                       std::string dots;
                       for (int i = 0; i < 100'000; ++i) dots += ".a";
                       return dots;
                     }() +
                     " = 1\n"),
            "postern.toml: not TOML: a line has too many dots\n");
  EXPECT_EQ(load_text("a = " + std::string(100'000, '[')).error().size(), 1U);
}

TEST_F(Parse, EmptyFileLacksAllThatIsRequired) {
  EXPECT_EQ(
      mistakes(""),
      "postern.toml:1:1: hostname: this key is missing: expected the name of this host, like "
      "\"mx1.example.org\"\n"
      "postern.toml:1:1: listen: this key is missing: expected at least one section [[listen]]\n"
      "postern.toml:1:1: postmaster: this key is missing: expected the address that gets "
      "postmaster's mail, like \"it@example.org\"\n"
      "postern.toml:1:1: spool: this key is missing: expected the directory of the queue, like "
      "\"/var/lib/postern\"\n");
}

TEST_F(Parse, RequiredKeysOfSections) {
  EXPECT_EQ(
      behind("[[listen]]\n[[domain]]\n[[route]]\n"),
      "postern.toml:11:1: listen.address: this key is missing: expected an address and a port, "
      "like \"0.0.0.0:25\" or \"[::]:25\"\n"
      "postern.toml:12:1: domain.name: this key is missing: expected an array of domains\n"
      "postern.toml:12:1: domain.recipients: this key is missing: expected \"file:\" and the name "
      "of a file, \"ask\", or \"any\"\n"
      "postern.toml:13:1: route.to: this key is missing: expected an array of domains, like "
      "[\"corp.example\", \"*.corp.example\"]\n"
      "postern.toml:13:1: route.via: this key is missing: expected an array with a next hop, like "
      "[\"smtp://relay.example\"]\n");
}

TEST_F(Parse, UnknownKeys) {
  EXPECT_EQ(behind("[limit]\nrecipients = 1\n"),
            "postern.toml:11:1: limit: unknown key; did you mean limits?\n");
  EXPECT_EQ(behind("[limits]\n  recipient = 1\n"),
            "postern.toml:12:3: limits.recipient: unknown key; did you mean limits.recipients?\n");
  EXPECT_EQ(
      behind("[limits]\nmesage_sise = 1\n"),
      "postern.toml:12:1: limits.mesage_sise: unknown key; did you mean limits.message_size?\n");
  EXPECT_EQ(behind("[log]\nstop_intake = \"1GiB\"\n"),
            "postern.toml:12:1: log.stop_intake: unknown key; did you mean space.stop_intake?\n");
  EXPECT_EQ(behind("[log]\nnonsense = 1\n"), "postern.toml:12:1: log.nonsense: unknown key\n");
  EXPECT_EQ(behind("[limits]\ntimeout = { comand = \"1s\" }\n"),
            "postern.toml:12:13: limits.timeout.comand: unknown key; did you mean "
            "limits.timeout.command?\n");
  EXPECT_EQ(behind("[\"a\\nb\"]\n"), "postern.toml:11:1: a?b: unknown key\n");
}

TEST_F(Parse, TopLevelKeysBehindATable) {
  EXPECT_EQ(
      mistakes("hostname = \"mx.example.org\"\nspool = \"spool\"\n[[listen]]\naddress = "
               "\"127.0.0.1:25\"\nrelay_from = [\"127.0.0.1\"]\npostmaster = "
               "\"it@example.org\"\n"),
      "postern.toml:1:1: postmaster: this key is missing: expected the address that gets "
      "postmaster's mail, like \"it@example.org\"\n"
      "postern.toml:6:1: listen.postmaster: postmaster is a key of the top level: it must move "
      "above the first [table]\n");
  EXPECT_EQ(
      behind("runtime = \"/run\"\ninclude = []\n"),
      "postern.toml:11:1: domain.runtime: runtime is a key of the top level: it must move above "
      "the first [table]\n"
      "postern.toml:12:1: domain.include: include is a key of the top level: it must move above "
      "the first [table]\n");
}

TEST_F(Parse, WrongTypes) {
  EXPECT_EQ(
      mistakes("hostname = 1\npostmaster = true\nspool = 1.5\nlisten = 1979-05-27\n"),
      "postern.toml:1:12: hostname: expected a string, not a number\n"
      "postern.toml:2:14: postmaster: expected a string, not true or false\n"
      "postern.toml:3:9: spool: expected a string, not a number with a fraction\n"
      "postern.toml:4:1: listen: expected [[listen]], one such section for each listen, not a "
      "date or time\n");
  EXPECT_EQ(behind("[[log]]\n[route]\nto = 1\n"),
            "postern.toml:11:1: log: expected one section [log], not an array\n"
            "postern.toml:12:1: route: expected [[route]], one such section for each route, not a "
            "table\n");
  EXPECT_EQ(
      behind("[limits]\nmessage_size = 1000\nrecipients = \"1\"\ntimeout = \"5m\"\n[retry]\nafter "
             "= \"1m\"\nexpire = []\n[[listen]]\naddress = [\"0.0.0.0:25\"]\nrelay_from = "
             "\"::1\"\nrequire_hello = 1\n"),
      "postern.toml:12:16: limits.message_size: expected a size like \"25MiB\", not a number\n"
      "postern.toml:13:14: limits.recipients: expected a whole number, not a string\n"
      "postern.toml:14:1: limits.timeout: expected one section [limits.timeout], not a string\n"
      "postern.toml:16:9: retry.after: expected an array of times like \"15m\", not a string\n"
      "postern.toml:17:10: retry.expire: expected a time like \"15m\", not an array\n"
      "postern.toml:19:11: listen.address: expected a string, not an array\n"
      "postern.toml:20:14: listen.relay_from: expected an array of strings, not a string\n"
      "postern.toml:21:17: listen.require_hello: expected true or false, not a number\n");
  EXPECT_EQ(
      behind("[delivery]\ndns = [\"127.0.0.1\", 5]\n"),
      "postern.toml:12:21: delivery.dns = 5: expected an array of strings, with nothing else in "
      "it, not a number\n");
}

TEST_F(Parse, BadIdentity) {
  EXPECT_EQ(mistakes("hostname = \"a b\"\npostmaster = \"it\"\nspool = \"\"\n" +
                     std::string(kGood).substr(std::string(kGood).find("[["))),
            "postern.toml:1:12: hostname = \"a b\": expected a domain: bad character in domain\n"
            "postern.toml:2:14: postmaster = \"it\": expected an address with its domain, like "
            "\"it@example.org\"\n"
            "postern.toml:3:9: spool = \"\": expected a path\n");
  const auto rest = "spool = \"s\"\n" + std::string(kGood).substr(std::string(kGood).find("[["));
  EXPECT_EQ(
      mistakes("hostname = \"[127.0.0.1]\"\npostmaster = \"@example.org\"\n" + rest),
      "postern.toml:1:12: hostname = \"[127.0.0.1]\": expected a name, not an address\n"
      "postern.toml:2:14: postmaster = \"@example.org\": expected an address: empty local part\n");
  EXPECT_EQ(mistakes("hostname = \"h\"\npostmaster = \"it@example.org\"\nruntime = \"/" +
                     std::string(95, 'r') + "\"\n" + rest),
            "postern.toml:3:11: runtime = \"/" + std::string(59, 'r') + "...\": /" +
                std::string(95, 'r') +
                "/control.sock is too long for the name of a socket (107 characters)\n");
}

TEST_F(Parse, BadListeners) {
  EXPECT_EQ(
      behind("[[listen]]\naddress = \"25\"\n[[listen]]\naddress = \"0.0.0.0:0\"\nservice = "
             "\"mail\"\nrelay_from = [\"10.0.0.0/8\", \"10.0.0.1/8\",\n  \"example.org\"]\n"),
      "postern.toml:12:11: listen.address = \"25\": expected an address and a port, like "
      "\"0.0.0.0:25\" or \"[::]:25\", or \"unix:\" and a socket\n"
      "postern.toml:14:11: listen.address = \"0.0.0.0:0\": expected an address and a port, like "
      "\"0.0.0.0:25\" or \"[::]:25\", or \"unix:\" and a socket\n"
      "postern.toml:15:11: listen.service = \"mail\": expected one of \"mx\", \"relay\", \"submission\"\n"
      "postern.toml:16:29: listen.relay_from = \"10.0.0.1/8\": expected a network like "
      "\"192.0.2.0/24\" or an address, with no bit set behind the prefix\n"
      "postern.toml:17:3: listen.relay_from = \"example.org\": expected a network like "
      "\"192.0.2.0/24\" or an address, with no bit set behind the prefix\n");
  EXPECT_EQ(
      mistakes("hostname = \"h\"\npostmaster = \"a@b.example\"\nspool = \"s\"\nlisten = []\n"),
      "postern.toml:4:10: listen = []: expected at least one section [[listen]]\n");
}

TEST_F(Parse, BadDomains) {
  EXPECT_EQ(
      behind("[domains]\ndefault = \"-\"\n[[domain]]\nname = [\"Example.ORG\", \"a..b\", "
             "\"ok.example\"]\ndeliver = \"refuse\"\nrecipients = \"users\"\nextension = "
             "\"++\"\n[[domain]]\nname = []\ndeliver = \"smtp://h:x\"\nrecipients = "
             "\"file:\"\nextension = \"a\"\n"),
      "postern.toml:12:11: domains.default = \"-\": expected a domain: label begins with a "
      "hyphen\n"
      "postern.toml:14:9: domain.name = \"Example.ORG\": this stands already at "
      "postern.toml:9:9\n"
      "postern.toml:14:24: domain.name = \"a..b\": expected a domain: empty label in domain\n"
      "postern.toml:15:11: domain.deliver = \"refuse\": expected \"mailbox\", smtp[s]://host[:port], "
      "lmtp://host[:port], lmtp:unix:PATH, "
      "\"turn:\" or \"mx\"\n"
      "postern.toml:16:14: domain.recipients = \"users\": expected \"file:\" and the name of a "
      "file, \"ask\", or \"any\"\n"
      "postern.toml:17:13: domain.extension = \"++\": expected one mark like \"+\", or \"\" for "
      "no extensions\n"
      "postern.toml:19:8: domain.name = []: expected at least one domain\n"
      "postern.toml:20:11: domain.deliver = \"smtp://h:x\": expected \"mailbox\", "
      "smtp[s]://host[:port], lmtp://host[:port], lmtp:unix:PATH, \"turn:\" or \"mx\": expected nothing or a port between 1 and 65535 behind the "
      "host\n"
      "postern.toml:21:14: domain.recipients = \"file:\": expected \"file:\" and the name of a "
      "file, \"ask\", or \"any\"\n"
      "postern.toml:22:13: domain.extension = \"a\": expected one mark like \"+\", or \"\" for no "
      "extensions\n");
}

TEST_F(Parse, UnreadableUsersFile) {
  EXPECT_EQ(
      behind("[[domain]]\nname = [\"b.example\"]\nrecipients = \"file:missing\"\n"),
      "postern.toml:13:14: domain.recipients: the file missing cannot be read: No such file or "
      "directory\n");
  EXPECT_EQ(behind("[[domain]]\nname = [\"b.example\"]\nrecipients = \"file:.\"\n"),
            "postern.toml:13:14: domain.recipients: the file " + dir_.path() +
                " is not a regular file\n");
  if (::geteuid() == 0) return;  // root may read all
  const auto secret = dir_.write("secret", "x\n");
  ASSERT_EQ(::chmod(secret.c_str(), 0), 0);
  EXPECT_EQ(behind("[[domain]]\nname = [\"b.example\"]\nrecipients = \"file:secret\"\n"),
            "postern.toml:13:14: domain.recipients: the file secret cannot be read: Permission "
            "denied\n");
}

TEST_F(Parse, BadMailboxes) {
  const auto path = [&](const std::string& text) {
    return behind("[mailbox]\npath = \"" + text + "\"\n");
  };
  const auto wrong = [](const std::string& text, const std::string& why) {
    return "postern.toml:12:8: mailbox.path = \"" + text + "\": " + why + '\n';
  };
  EXPECT_EQ(path("/var/mail"),
            wrong("/var/mail", R"(expected "maildir:" or "drop:" and a directory)"));
  EXPECT_EQ(path("maildir:"), wrong("maildir:", "expected a directory behind the colon"));
  EXPECT_EQ(path("maildir:/var/mail"),
            wrong("maildir:/var/mail", "expected {user} in the path: each user has a mailbox"));
  EXPECT_EQ(
      path("maildir:/var/mail/{domain}"),
      wrong("maildir:/var/mail/{domain}", "expected {user} in the path: each user has a mailbox"));
  EXPECT_EQ(path("maildir:/{user}"),
            wrong("maildir:/{user}", "expected a directory before the first {domain} or {user}"));
  EXPECT_EQ(path("maildir:/m/{usr}"),
            wrong("maildir:/m/{usr}", "expected no braces but {domain} and {user}"));
  EXPECT_EQ(path("maildir:/m/{user}}"),
            wrong("maildir:/m/{user}}", "expected no braces but {domain} and {user}"));
  EXPECT_EQ(path("drop:/m/{user}"),
            wrong("drop:/m/{user}", "a drop is one directory: expected no {domain} or {user}"));
  EXPECT_EQ(path("maildir:/m/x-{user}/Maildir"), "");
  EXPECT_EQ(
      behind("[mailbox]\nowner = \"\"\n"),
      "postern.toml:12:9: mailbox.owner = \"\": expected 1 to 32 printable ASCII characters\n");
}

TEST_F(Parse, BadRoutes) {
  EXPECT_EQ(
      behind("[[route]]\nto = [\"a.example\", \"*.A.example\", \"**\"]\nvia = "
             "[\"mailbox\"]\nconnections = -1\n[[route]]\nto = [\"A.EXAMPLE\", "
             "\"example.org\"]\nvia = [\"relay.example\"]\n[[route]]\nto = []\nvia = []\n"),
      "postern.toml:12:35: route.to = \"**\": expected \"*\", a domain, or \"*.\" and a domain: "
      "bad character in domain\n"
      "postern.toml:13:8: route.via = \"mailbox\": expected \"mx\", smtp[s]://host[:port], "
      "lmtp://host[:port], lmtp:unix:PATH, \"turn:\", \"refuse\" or \"discard\"; mailboxes are for a [[domain]]\n"
      "postern.toml:14:15: route.connections = -1: expected a whole number between 0 and "
      "4294967295\n"
      "postern.toml:16:7: route.to = \"A.EXAMPLE\": this stands already at postern.toml:12:7\n"
      "postern.toml:16:20: route.to = \"example.org\": this is a [[domain]] of ours "
      "(postern.toml:9:9), and no route leads there\n"
      "postern.toml:17:8: route.via = \"relay.example\": expected \"mx\", smtp[s]://host[:port], "
      "lmtp://host[:port], lmtp:unix:PATH, \"turn:\", \"refuse\" or \"discard\": unknown kind of next hop\n"
      "postern.toml:19:6: route.to = []: expected at least one domain\n"
      "postern.toml:20:7: route.via = []: expected \"mx\", smtp[s]://host[:port], "
      "lmtp://host[:port], lmtp:unix:PATH, \"turn:\", \"refuse\" or "
      "\"discard\"\n");
}

TEST_F(Parse, BadHosts) {
  for (const char* good : {"smtp://h", "smtp://h.example:25", "smtp://192.0.2.1:1", "smtp://[::1]",
                           "smtp://[2001:db8::1]:65535", "smtp://localhost:2526"})
    EXPECT_EQ(behind(std::string("[[route]]\nto = [\"*\"]\nvia = [\"") + good + "\"]\n"), "")
        << good;
  for (const char* bad :
       {"smtp://", "smtp://:25", "smtp://h:", "smtp://h:0", "smtp://h:65536", "smtp://h:+1",
        "smtp://h/", "smtp://u@h", "smtp://[::1", "smtp://[::1]25", "smtp://::1", "smtp://[h]",
        "smtp://[192.0.2.1]", "smtp://300.0.2.1", "smtp://h h", "SMTP://h", "http://h", "MX", ""})
    EXPECT_EQ(load_text(std::string(kGood) + "[[route]]\nto = [\"*\"]\nvia = [\"" + bad + "\"]\n")
                  .error()
                  .at(0)
                  .column,
              8U)
        << bad;
}

TEST_F(Parse, BadDelivery) {
  EXPECT_EQ(
      behind("[delivery]\ndns = [\"dns.example\", \"127.0.0.1:0\"]\nport = 0\nstart = "
             "\"off\"\n[retry]\nafter = [\"15\", \"0\"]\nexpire = \"0\"\nmax_gap = \"1 d\"\n"),
      "postern.toml:12:8: delivery.dns = \"dns.example\": expected a resolver's address, like "
      "\"127.0.0.1:53\"\n"
      "postern.toml:12:23: delivery.dns = \"127.0.0.1:0\": expected a resolver's address, like "
      "\"127.0.0.1:53\"\n"
      "postern.toml:13:8: delivery.port = 0: expected a whole number between 1 and 65535\n"
      "postern.toml:14:9: delivery.start = \"off\": expected one of \"as-left\", \"disabled\"\n"
      "postern.toml:16:10: retry.after = \"15\": expected a time like \"30s\", \"15m\", \"1h\", "
      "\"5d\"\n"
      "postern.toml:16:16: retry.after = \"0\": expected a time like \"30s\", \"15m\", \"1h\", "
      "\"5d\"\n"
      "postern.toml:17:10: retry.expire = \"0\": expected a time like \"30s\", \"15m\", \"1h\", "
      "\"5d\"\n"
      "postern.toml:18:11: retry.max_gap = \"1 d\": expected a time like \"30s\", \"15m\", "
      "\"1h\", \"5d\"\n");
  EXPECT_EQ(behind("[retry]\nafter = []\n"),
            "postern.toml:12:9: retry.after = []: expected at least one time, like \"15m\"\n");
  std::string dns = "\"127.0.0.1\"";
  for (int i = 0; i < 16; ++i) dns += ", \"127.0.0.1\"";
  EXPECT_EQ(behind("[delivery]\ndns = [" + dns + "]\n"),
            "postern.toml:12:7: delivery.dns: expected at most 16 elements\n");
}

TEST_F(Parse, RetryRules) {
  const auto loaded = load_text(std::string(kGood) +
                                "[retry]\nspread = 0\n[[retry.rule]]\nto = [\"slow.example\", "
                                "\"*.Slow.example\"]\non = \"connect\"\nafter = [\"1m\", \"2m\"]\n"
                                "[[retry.rule]]\nto = [\"*\", \"local\"]\nexpire = \"1d\"\nnotify = "
                                "\"0\"\n[[retry.rule]]\nto = [\"slow.example\"]\non = \"any\"\n"
                                "after = [\"3m\"]\n");
  ASSERT_TRUE(loaded);
  const auto& retry = loaded->retry;
  EXPECT_EQ(retry.spread, 0U);
  EXPECT_EQ(retry.line, 0U);  // none of its times is written down
  ASSERT_EQ(retry.rules.size(), 3U);
  EXPECT_EQ(retry.rules[0].to, (std::vector<std::string>{"slow.example", "*.slow.example"}));
  EXPECT_EQ(retry.rules[0].on, FailureClass::kConnect);
  EXPECT_EQ(retry.rules[0].after, (std::vector{base::Millis(60'000), base::Millis(120'000)}));
  EXPECT_FALSE(retry.rules[0].expire);
  EXPECT_EQ(retry.rules[0].line, 13U);
  EXPECT_EQ(retry.rules[1].on, std::nullopt);
  EXPECT_TRUE(retry.rules[1].after.empty());
  EXPECT_EQ(retry.rules[1].expire, base::Millis(86'400'000));
  EXPECT_EQ(retry.rules[1].notify, base::Millis(0));
  EXPECT_EQ(retry.rules[2].on, std::nullopt);
  EXPECT_EQ(retry.rules[2].line, 21U);
}

TEST_F(Parse, BadRetryRules) {
  EXPECT_EQ(behind("[[retry.rule]]\non = \"slow\"\nafter = []\n[[retry.rule]]\nto = "
                   "[\"a.example\", \"x y\"]\n[retry]\nspread = 101\n"),
            "postern.toml:11:1: retry.rule.to: this key is missing: expected an array of domains, "
            "like [\"slow.example\", \"*.slow.example\"]\n"
            "postern.toml:12:6: retry.rule.on = \"slow\": expected one of \"dns\", \"connect\", "
            "\"greeting\", \"tls\", \"policy\", \"mailbox\", \"data\", \"local\", \"login\", \"any\"\n"
            "postern.toml:13:9: retry.rule.after = []: expected at least one time, like \"15m\"\n"
            "postern.toml:14:1: retry.rule.after: this key is missing: expected an array of times, "
            "or expire or notify\n"
            "postern.toml:15:20: retry.rule.to = \"x y\": expected \"*\", a domain, or \"*.\" and a "
            "domain: bad character in domain\n"
            "postern.toml:17:10: retry.spread = 101: expected a whole number between 0 and 100\n");
  // Equal ones contradict each other; another class of failure is another rule.
  EXPECT_EQ(behind("[[retry.rule]]\nto = [\"a.example\"]\non = \"dns\"\nafter = [\"1m\"]\n"
                   "[[retry.rule]]\nto = [\"a.example\"]\nafter = [\"1m\"]\n"
                   "[[retry.rule]]\nto = [\"b.example\", \"A.example\"]\non = \"dns\"\n"
                   "after = [\"2m\"]\n"),
            "postern.toml:19:20: retry.rule.to = \"A.example\": a rule for the same failures stands "
            "already at postern.toml:12:7\n");
  // What no queue is named after would never apply.
  EXPECT_EQ(behind("[[retry.rule]]\nto = [\"example.org\"]\nafter = [\"1m\"]\n"),
            "postern.toml:12:7: retry.rule.to = \"example.org\": mail for this [[domain]] goes to "
            "mailboxes: their queue is \"local\"\n");
}

TEST_F(Parse, OnlyANextHopCanBeAsked) {
  const auto domain = [](const char* deliver) {
    return std::string("[[domain]]\nname = [\"in.example\"]\nrecipients = \"ask\"\n") + deliver;
  };
  const auto loaded = load_text(std::string(kGood) + domain("deliver = \"smtp://10.0.0.1\"\n"));
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->domains.back().recipients, RecipientsKind::kAsk);
  EXPECT_EQ(behind(domain("deliver = \"mx\"\n")), "");
  for (const char* bad : {"", "deliver = \"mailbox\"\n"})
    EXPECT_EQ(behind(domain(bad)),
              "postern.toml:13:14: domain.recipients = \"ask\": only a next hop can be asked: "
              "expected deliver = \"smtp://host\" or \"mx\"\n");
}

TEST_F(Parse, BadLimits) {
  EXPECT_EQ(
      behind("[limits]\nmessage_size = \"25\"\nrecipients = -1\nconnections = "
             "4294967296\ntimeout.data = \"x\"\n[space]\nsegment = \"1000000B\"\nstop_intake = "
             "\"lots\"\n"),
      "postern.toml:12:16: limits.message_size = \"25\": expected a size like \"25MiB\", "
      "\"1GiB\", \"100KB\", or \"0\" for none\n"
      "postern.toml:13:14: limits.recipients = -1: expected a whole number between 0 and "
      "20000\n"
      "postern.toml:14:15: limits.connections = 4294967296: expected a whole number between 0 "
      "and 4294967295\n"
      "postern.toml:15:16: limits.timeout.data = \"x\": expected a time like \"30s\", \"15m\", "
      "\"1h\", \"5d\", or \"0\" for none\n"
      "postern.toml:17:11: space.segment = \"1000000B\": expected a multiple of 4KiB from 1MiB "
      "to 1GiB\n"
      "postern.toml:18:15: space.stop_intake = \"lots\": expected a size like \"25MiB\", "
      "\"1GiB\", \"100KB\", or \"0\" for none\n");
  for (const char* bad : {"0", "512KiB", "2GiB"})
    EXPECT_NE(behind(std::string("[space]\nsegment = \"") + bad + "\"\n"), "") << bad;
}

TEST_F(Parse, LimitsThatNoSegmentHasRoomFor) {
  EXPECT_EQ(behind("[space]\nsegment = \"1MiB\"\n"),
            "postern.toml:12:11: space.segment = \"1MiB\": expected at least 5MiB, for messages with 1000 "
            "recipients; or set limits.recipients to 181 or less\n");
  EXPECT_EQ(behind("[limits]\nrecipients = 20000\n"),
            "postern.toml:12:14: limits.recipients = 20000: a segment of the journal (space.segment, 64MiB) "
            "has room for messages with 13084 recipients; for 20000 it must be 98MiB\n");
  EXPECT_EQ(behind("[limits]\nrecipients = 13084\n"), "");
  EXPECT_EQ(behind("[limits]\nrecipients = 20000\n[space]\nsegment = \"98MiB\"\n"), "");
  EXPECT_EQ(behind("[limits]\nrecipients = 0\n[space]\nsegment = \"1MiB\"\n"), "");
}

TEST_F(Parse, BadOutput) {
  EXPECT_EQ(
      behind("[control]\nview = \"\"\n[bounce]\nfrom = \"a\\nb\"\n[log]\nto = \"stdout\"\nformat "
             "= \"xml\"\nlevel = \"loud\"\n[processes]\nsmtpd = -1\nrelay = 5000\n"),
      "postern.toml:12:8: control.view = \"\": expected 1 to 32 printable ASCII characters\n"
      "postern.toml:14:8: bounce.from = \"a?b\": expected 1 to 200 printable ASCII characters\n"
      "postern.toml:16:6: log.to = \"stdout\": expected \"stderr\", or a file's path like "
      "\"/var/log/postern.log\"\n"
      "postern.toml:17:10: log.format = \"xml\": expected one of \"text\", \"json\"\n"
      "postern.toml:18:9: log.level = \"loud\": expected one of \"debug\", \"info\", \"warning\", "
      "\"error\"\n"
      "postern.toml:20:9: processes.smtpd = -1: expected a whole number between 0 and 1000\n"
      "postern.toml:21:9: processes.relay = 5000: expected a whole number between 0 and 1000\n");
}

TEST_F(Parse, ImpossibleListeners) {
  EXPECT_EQ(
      behind("[[listen]]\naddress = \"127.0.0.1:2525\"\n[[listen]]\naddress = "
             "\"0.0.0.0:2525\"\n[[listen]]\naddress = \"[::]:2525\"\n[[listen]]\naddress = "
             "\"127.0.0.1:2526\"\nservice = \"relay\"\n"),
      "postern.toml:11:1: listen.address: 127.0.0.1:2525 cannot be bound beside 127.0.0.1:2525 of "
      "postern.toml:5\n"
      "postern.toml:13:1: listen.address: 0.0.0.0:2525 cannot be bound beside 127.0.0.1:2525 of "
      "postern.toml:5\n"
      "postern.toml:17:1: listen.relay_from: service = \"relay\" is for clients in relay_from: "
      "name at least one network\n");
  EXPECT_EQ(
      mistakes("hostname = \"h\"\npostmaster = \"a@b.example\"\nspool = \"s\"\n[[listen]]\naddress "
               "= \"127.0.0.1:25\"\n"),
      "postern.toml:4:1: listen.service: service = \"mx\" takes mail for our domains: add a "
      "section [[domain]]\n");
}

TEST_F(Parse, AUnixSocketIsForUsersOfThisHost) {
  const auto loaded = load_text(std::string(kGood) +
                                "[[listen]]\naddress = \"unix:/run/p/s\"\nservice = \"submission\"\n"
                                "[[account]]\nname = \"www-data\"\nmessages = [\"10/h\"]\n");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(to_string(loaded->listeners[1].address), "unix:/run/p/s");
  EXPECT_TRUE(has_local_users(*loaded) && needs_auth(*loaded) && !knows_passwords(*loaded));
  const auto cut = cut_smtpd(*loaded);
  EXPECT_TRUE(cut.rights.listeners[1].local && !cut.rights.listeners[0].local);
  EXPECT_TRUE(cut.auth.mechanisms.empty());  // there is no password that anybody could say
  EXPECT_EQ(cut_relay(*loaded, {}).own_ports, std::vector<std::uint16_t>{2525});
}

TEST_F(Parse, UnixSocketsThatCannotBe) {
  EXPECT_EQ(
      behind("[[listen]]\naddress = \"unix:\"\n[[listen]]\naddress = \"unix:/" + std::string(107, 's') + "\"\n"),
      "postern.toml:12:11: listen.address = \"unix:\": expected a path\n"
      "postern.toml:14:11: listen.address = \"unix:/" + std::string(54, 's') + "...\": /" +
          std::string(107, 's') + " is too long for the name of a socket\n");
  EXPECT_EQ(
      behind("[[listen]]\naddress = \"unix:/s\"\ntls = \"required\"\nrelay_from = [\"::1\"]\n"
             "xclient_from = [\"::1\"]\n[[listen]]\naddress = \"unix:/s\"\nservice = \"submission\"\n"),
      "postern.toml:11:1: listen.service: a Unix socket is for users of this host, each logged in as itself: say "
      "service = \"submission\"\n"
      "postern.toml:11:1: listen.tls: a Unix socket needs no TLS: say tls = \"off\"\n"
      "postern.toml:11:1: listen.xclient_from: nobody comes from a network through a Unix socket: take it out\n"
      "postern.toml:16:1: listen.address: unix:/s cannot be bound beside unix:/s of postern.toml:11\n");
}

TEST_F(Parse, NextHopsThatAreOurselves) {
  EXPECT_EQ(behind("[[route]]\nto = [\"*\"]\nvia = [\"smtp://localhost:2525\"]\n"),
            "postern.toml:11:1: route.via: smtp://localhost:2525 is our own listener "
            "(postern.toml:5)\n");
  EXPECT_EQ(behind("deliver = \"smtp://127.0.0.9:2526\"\n[[listen]]\naddress = \"0.0.0.0:2526\"\n"),
            "postern.toml:8:1: domain.deliver: smtp://127.0.0.9:2526 is our own listener "
            "(postern.toml:12)\n");
  EXPECT_EQ(behind("[[route]]\nto = [\"*\"]\nvia = [\"smtp://127.0.0.2:2525\"]\n"), "");
}

TEST_F(Parse, PostmasterMustBeSomebody) {
  dir_.write("users", "alice\n");
  EXPECT_EQ(mistakes(kGood),
            "postern.toml:2:14: postmaster: it@example.org is no recipient of its [[domain]] "
            "(postern.toml:8): add it to users\n");
}

TEST_F(Parse, ManyMistakesAreCounted) {
  std::string text = kGood;
  for (int i = 0; i < 1'500; ++i) text += "x" + std::to_string(i) + " = 1\n";
  const auto loaded = load_text(text);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().size(), kMaxMistakes + 1);
  EXPECT_EQ(loaded.error().back().text, "500 more mistakes");
}

}  // namespace
}  // namespace postern::config
