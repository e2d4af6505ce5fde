#include "common/config/rights.h"

#include <gtest/gtest.h>

#include "tests/unit/mail/spelled.h"

namespace postern::config {
namespace {

base::Network net(std::string_view text) {
  return base::parse_network(text).value();
}

enum : std::uint32_t { kMxOnly, kMxAndNetworks, kRelayOnly, kUnknown };

Rights sample() {
  Rights rights;
  rights.listeners = {
      {Service::kMx, {}},
      {Service::kMx,
       {net("10.0.0.0/8"), net("10.1.0.0/16"), net("192.0.2.7"), net("2001:db8::/32")}},
      {Service::kRelay, {net("127.0.0.0/8"), net("::1")}}};
  rights.domains = {
      {.names = {domain("example.org"), domain("example.net")},
       .users = {"a+b", "alice", "it", "quoted local"},
       .addresses = {"bob@example.net", "carol@example.org", "carol@example.net"},
       .extension = "+"},
      {.names = {domain("any.example")}, .recipients = RecipientsKind::kAny, .extension = "+"},
      {.names = {domain("ask.example")}, .recipients = RecipientsKind::kAsk, .extension = "+"},
      {.names = {domain("plain.example")}, .users = {"dave"}, .extension = ""},
      {.names = {domain("inner.example")}, .users = {"odd%name", "zoe"}, .extension = "+", .sent_on = true},
      {.names = {domain("hub.example")}, .recipients = RecipientsKind::kAny, .extension = "+", .sent_on = true}};
  rights.postmaster = address("it@example.org");
  rights.hostname = domain("mx.host.example");
  return rights;
}

struct Case {
  std::uint32_t listener;
  const char* client;
  const char* recipient;
  Verdict verdict;
  const char* user = "";
  const char* mailbox_domain = "";
  const char* rewritten = "";
};

class Decide : public testing::TestWithParam<Case> {};

TEST_P(Decide, Case) {
  const auto& c = GetParam();
  const RightsIndex index(sample());
  const auto decision =
      index.decide(base::ListenerIndex(c.listener), ip(c.client), address(c.recipient));
  SCOPED_TRACE(std::string(c.client) + " to " + c.recipient);
  EXPECT_EQ(decision.verdict, c.verdict);
  EXPECT_EQ(decision.user, c.user);
  EXPECT_EQ(decision.mailbox_domain, c.mailbox_domain);
  EXPECT_EQ(decision.rewritten ? decision.rewritten->text() : "", c.rewritten);
  if (decision.verdict == Verdict::kLocal) {
    EXPECT_EQ(index.rights().domains[decision.domain].names.front().text(), c.mailbox_domain);
  }
}

constexpr auto kLocal = Verdict::kLocal;
constexpr auto kRelay = Verdict::kRelay;
constexpr auto kNoUser = Verdict::kNoSuchUser;
constexpr auto kDenied = Verdict::kRelayDenied;

const Case kCases[] = {
    // Our own recipients, in every name of the section, whatever the case.
    {kMxOnly, "192.0.2.1", "alice@example.org", kLocal, "alice", "example.org"},
    {kMxOnly, "192.0.2.1", "ALICE@Example.NET", kLocal, "alice", "example.org"},
    {kMxOnly, "192.0.2.1", "\"quoted local\"@example.org", kLocal, "quoted local", "example.org"},
    {kMxOnly, "192.0.2.1", "\"alice\"@example.org", kLocal, "alice", "example.org"},
    {kMxOnly, "192.0.2.1", "nobody@example.org", kNoUser},
    {kMxOnly, "192.0.2.1", "dave@example.org", kNoUser},
    {kMxOnly, "192.0.2.1", "alice@sub.example.org", kDenied},
    // Whole addresses: valid in their own domain alone, and each a mailbox.
    {kMxOnly, "192.0.2.1", "bob@example.net", kLocal, "bob@example.net", "example.org"},
    {kMxOnly, "192.0.2.1", "bob@example.org", kNoUser},
    {kMxOnly, "192.0.2.1", "carol@example.org", kLocal, "carol", "example.org"},
    {kMxOnly, "192.0.2.1", "Carol@example.net", kLocal, "carol@example.net", "example.org"},
    // Extensions: the entry itself first, then what stands before the mark.
    {kMxOnly, "192.0.2.1", "alice+news@example.org", kLocal, "alice", "example.org"},
    {kMxOnly, "192.0.2.1", "alice+@example.org", kLocal, "alice", "example.org"},
    {kMxOnly, "192.0.2.1", "alice+a+b@example.org", kLocal, "alice", "example.org"},
    {kMxOnly, "192.0.2.1", "a+b@example.org", kLocal, "a+b", "example.org"},
    {kMxOnly, "192.0.2.1", "bob+x@example.net", kLocal, "bob@example.net", "example.org"},
    {kMxOnly, "192.0.2.1", "carol+x@example.org", kLocal, "carol", "example.org"},
    {kMxOnly, "192.0.2.1", "+news@example.org", kNoUser},
    {kMxOnly, "192.0.2.1", "nobody+alice@example.org", kNoUser},
    {kMxOnly, "192.0.2.1", "dave@plain.example", kLocal, "dave", "plain.example"},
    {kMxOnly, "192.0.2.1", "dave+x@plain.example", kNoUser},
    // `any`: the local part, encoded.
    {kMxOnly, "192.0.2.1", "Some.One@any.example", kLocal, "some.one", "any.example"},
    {kMxOnly, "192.0.2.1", "\"x/../y\"@any.example", kLocal, "x%2F..%2Fy", "any.example"},
    {kMxOnly, "192.0.2.1", "\"..\"@any.example", kLocal, "%2E.", "any.example"},
    {kMxOnly, "192.0.2.1", "a+b@any.example", kLocal, "a%2Bb", "any.example"},
    // Where mail is sent on, a stranger may not ask the next host for a way further.
    {kMxOnly, "192.0.2.1", "zoe+x=far.example@inner.example", kLocal, "zoe", "inner.example"},
    {kMxOnly, "192.0.2.1", "zoe+x%far.example@inner.example", kDenied},
    {kMxOnly, "192.0.2.1", "zoe%far.example@inner.example", kNoUser},
    {kMxOnly, "192.0.2.1", "odd%name@inner.example", kLocal, "odd%name", "inner.example"},
    {kMxOnly, "192.0.2.1", "x%far.example@hub.example", kDenied},
    {kMxOnly, "192.0.2.1", "far.example!x@hub.example", kDenied},
    {kMxOnly, "192.0.2.1", "\"x@far.example\"@hub.example", kDenied},
    {kMxAndNetworks, "10.1.2.3", "x%far.example@hub.example", kLocal, "x%25far.example", "hub.example"},
    {kMxOnly, "192.0.2.1", "x%far.example@any.example", kLocal, "x%25far.example", "any.example"},
    {kMxOnly, "192.0.2.1", "alice+x%y@example.org", kLocal, "alice", "example.org"},
    // Foreign recipients: relay_from alone decides.
    {kMxOnly, "127.0.0.1", "x@elsewhere.example", kDenied},
    {kMxAndNetworks, "10.255.255.255", "x@elsewhere.example", kRelay},
    {kMxAndNetworks, "10.1.2.3", "x@elsewhere.example", kRelay},
    {kMxAndNetworks, "10.2.0.0", "x@elsewhere.example", kRelay},
    {kMxAndNetworks, "9.255.255.255", "x@elsewhere.example", kDenied},
    {kMxAndNetworks, "11.0.0.0", "x@elsewhere.example", kDenied},
    {kMxAndNetworks, "192.0.2.7", "x@elsewhere.example", kRelay},
    {kMxAndNetworks, "192.0.2.6", "x@elsewhere.example", kDenied},
    {kMxAndNetworks, "192.0.2.8", "x@elsewhere.example", kDenied},
    {kMxAndNetworks, "2001:db8:ffff::1", "x@elsewhere.example", kRelay},
    {kMxAndNetworks, "2001:db9::", "x@elsewhere.example", kDenied},
    {kMxAndNetworks, "::ffff:10.0.0.1", "x@elsewhere.example", kRelay},
    {kMxAndNetworks, "10.0.0.1", "nobody@example.org", kNoUser},
    // A relay listener serves its networks alone.
    {kRelayOnly, "127.0.0.1", "x@elsewhere.example", kRelay},
    {kRelayOnly, "127.0.0.1", "alice@example.org", kLocal, "alice", "example.org"},
    {kRelayOnly, "::1", "x@elsewhere.example", kRelay},
    {kRelayOnly, "192.0.2.1", "x@elsewhere.example", kDenied},
    {kRelayOnly, "192.0.2.1", "alice@example.org", kDenied},
    // Postmaster is accepted from everybody, and goes to the configured one.
    {kMxOnly, "192.0.2.1", "Postmaster", kLocal, "it", "example.org", "it@example.org"},
    {kMxOnly, "192.0.2.1", "POSTMASTER@example.net", kLocal, "it", "example.org", "it@example.org"},
    {kMxOnly, "192.0.2.1", "postmaster@any.example", kLocal, "it", "example.org", "it@example.org"},
    {kRelayOnly, "192.0.2.1", "postmaster", kLocal, "it", "example.org", "it@example.org"},
    {kMxOnly, "192.0.2.1", "postmaster@elsewhere.example", kDenied},
    {kMxOnly, "192.0.2.1", "postmaster+x@example.org", kNoUser},
    // So is that of this host, and whoever sends our notices.
    {kMxOnly, "192.0.2.1", "Postmaster@MX.host.example", kLocal, "it", "example.org", "it@example.org"},
    {kMxOnly, "192.0.2.1", "MAILER-DAEMON@mx.host.example", kLocal, "it", "example.org", "it@example.org"},
    {kMxOnly, "192.0.2.1", "Mailer-Daemon@example.net", kLocal, "it", "example.org", "it@example.org"},
    {kMxOnly, "192.0.2.1", "mailer-daemon@any.example", kLocal, "mailer-daemon", "any.example"},
    {kMxOnly, "192.0.2.1", "mailer-daemon+x@example.net", kNoUser},
    {kMxOnly, "192.0.2.1", "alice@mx.host.example", kDenied},
    {kMxOnly, "192.0.2.1", "mailer-daemon@elsewhere.example", kDenied},
    {kRelayOnly, "192.0.2.1", "mailer-daemon@example.org", kDenied},
    // An unknown listener may nothing.
    {kUnknown, "127.0.0.1", "alice@example.org", kDenied},
    {kUnknown, "127.0.0.1", "postmaster", kDenied},
};
INSTANTIATE_TEST_SUITE_P(Table, Decide, testing::ValuesIn(kCases));

TEST(Rights, ForeignPostmasterIsRelayedTo) {
  auto rights = sample();
  rights.postmaster = address("Ops@elsewhere.example");
  const RightsIndex index(rights);
  const auto decision = index.decide(base::ListenerIndex(kMxOnly), ip("192.0.2.1"),
                                     address("postmaster@example.org"));
  EXPECT_EQ(decision.verdict, Verdict::kRelay);
  EXPECT_EQ(decision.rewritten, address("Ops@elsewhere.example"));
  // The right is postmaster's, not that of the address behind it.
  EXPECT_EQ(
      index.decide(base::ListenerIndex(kMxOnly), ip("192.0.2.1"), *decision.rewritten).verdict,
      Verdict::kRelayDenied);
}

TEST(Rights, TheSenderOfNoticesMayHaveAMailbox) {
  auto rights = sample();
  rights.domains[0].users.push_back("mailer-daemon");
  rights.hostname = domain("example.net");  // one of ours, so nothing is special about it
  const RightsIndex index(rights);
  const auto decision = index.find(address("MAILER-DAEMON@example.net"));
  EXPECT_EQ(decision.user, "mailer-daemon");
  EXPECT_FALSE(decision.rewritten);
  EXPECT_EQ(index.find(address("postmaster@example.net")).user, "it");
  // Who has no mailbox is no recipient of the domain all the same: a configuration may not rely on him.
  EXPECT_FALSE(RightsIndex(sample()).knows(address("mailer-daemon@example.org")));
}

TEST(Rights, OurOwnMailReachesTheHostsPostmaster) {
  const RightsIndex index(sample());
  EXPECT_EQ(index.find(address("mailer-daemon@mx.host.example")).rewritten, address("it@example.org"));
  EXPECT_EQ(index.find(address("alice@mx.host.example")).verdict, Verdict::kRelay);
  auto rights = sample();
  rights.hostname = {};
  EXPECT_EQ(RightsIndex(rights).find(address("postmaster")).rewritten, address("it@example.org"));
}

TEST(Rights, PostmasterIsAcceptedEvenWhereTheTableLacksHim) {
  auto rights = sample();
  rights.postmaster = address("Gone/away@example.org");
  const RightsIndex index(rights);
  const auto decision =
      index.decide(base::ListenerIndex(kMxOnly), ip("192.0.2.1"), address("postmaster"));
  EXPECT_EQ(decision.verdict, Verdict::kLocal);
  EXPECT_EQ(decision.user, "gone%2Faway");
  EXPECT_EQ(decision.mailbox_domain, "example.org");
}

TEST(Rights, EmptyAddressIsNobody) {
  const RightsIndex index(sample());
  EXPECT_EQ(index.decide(base::ListenerIndex(kMxOnly), ip("127.0.0.1"), mail::Address()).verdict,
            Verdict::kRelayDenied);
}

TEST(Rights, LocalDomains) {
  const RightsIndex index(sample());
  EXPECT_TRUE(index.is_local(domain("example.net")));
  EXPECT_FALSE(index.is_local(domain("elsewhere.example")));
  EXPECT_FALSE(index.is_local(mail::Domain()));
  EXPECT_TRUE(index.knows(address("alice@example.org")));
  EXPECT_FALSE(index.knows(address("nobody@example.org")));
  EXPECT_FALSE(index.knows(address("alice@elsewhere.example")));
}

TEST(Rights, AMovedIndexStillKnows) {
  RightsIndex first(sample());
  RightsIndex second = std::move(first);
  first = std::move(second);
  EXPECT_TRUE(first.knows(address("alice@example.org")));
}

TEST(Rights, MailboxNames) {
  EXPECT_EQ(mailbox_name(""), "%");
  EXPECT_EQ(mailbox_name("Alice_B-C.9"), "alice_b-c.9");
  EXPECT_EQ(mailbox_name("."), "%2E");
  EXPECT_EQ(mailbox_name("..."), "%2E..");
  EXPECT_EQ(mailbox_name("%"), "%25");
  EXPECT_EQ(mailbox_name("a b\x01\xff"), "a%20b%01%FF");
  EXPECT_EQ(mailbox_name(std::string_view("\0", 1)), "%00");
}

// Case and composition are no part of a name; letters are.
TEST(Rights, NamesBeyondAscii) {
  auto rights = sample();
  rights.domains[0].users = {"j\xc3\xbcrg"};
  rights.domains[0].addresses = {"\xc3\xa9mile@example.org", "\xc3\xa9mile@example.net"};
  const RightsIndex index(std::move(rights));
  const auto user = [&](std::string_view text) {
    return index.decide(base::ListenerIndex(0), ip("203.0.113.1"), address(text)).user;
  };
  for (const auto* text : {"j\xc3\xbcrg@example.org", "J\xc3\x9cRG@Example.Org", "ju\xcc\x88rg+x@example.org",
                           "\"j\xc3\xbcrg\"@example.net"})
    EXPECT_EQ(user(text), "j\xc3\xbcrg") << text;
  EXPECT_EQ(user("E\xcc\x81MILE@example.org"), "\xc3\xa9mile");
  EXPECT_EQ(user("E\xcc\x81MILE@example.net"), "\xc3\xa9mile@example.net");
  EXPECT_EQ(user("jurg@example.org"), "");
  EXPECT_EQ(user("J\xc3\x9crg@any.example"), "j%C3%BCrg");
  EXPECT_EQ(mailbox_name("JU\xcc\x88rg"), mailbox_name("j\xc3\xbcrg"));
}

TEST(Rights, ManyNetworks) {
  auto rights = sample();
  auto& from = rights.listeners[kMxOnly].relay_from;
  for (unsigned i = 0; i < 256; i += 2) from.push_back(net("172." + std::to_string(i) + ".0.0/16"));
  const RightsIndex index(rights);
  for (unsigned i = 0; i < 256; ++i) {
    const auto client = ip("172." + std::to_string(i) + ".255.255");
    const auto verdict =
        index.decide(base::ListenerIndex(kMxOnly), client, address("x@elsewhere.example")).verdict;
    EXPECT_EQ(verdict, i % 2 == 0 ? Verdict::kRelay : Verdict::kRelayDenied) << i;
  }
}

TEST(Rights, OfWhoHasLoggedIn) {
  auto rights = sample();
  rights.listeners.push_back({Service::kSubmission, {}});
  const RightsIndex index(std::move(rights));
  constexpr base::ListenerIndex kSubmission(3);
  const auto verdict = [&](base::ListenerIndex listener, const char* to, bool logged_in) {
    return index.decide(listener, ip("192.0.2.1"), address(to), logged_in).verdict;
  };
  for (const char* to : {"x@elsewhere.example", "alice@example.org", "postmaster"})
    EXPECT_EQ(verdict(kSubmission, to, false), kDenied) << to;
  EXPECT_EQ(verdict(kSubmission, "x@elsewhere.example", true), kRelay);
  EXPECT_EQ(verdict(kSubmission, "alice@example.org", true), kLocal);
  EXPECT_EQ(verdict(kSubmission, "nobody@example.org", true), kNoUser);
  EXPECT_EQ(verdict(kSubmission, "postmaster", true), kLocal);
  EXPECT_EQ(verdict(base::ListenerIndex(kRelayOnly), "x@elsewhere.example", true), kRelay);
  // Nobody can log in at an mx listener; who says so all the same wins nothing.
  EXPECT_EQ(verdict(base::ListenerIndex(kMxOnly), "x@elsewhere.example", true), kDenied);
  EXPECT_EQ(verdict(base::ListenerIndex(9), "x@elsewhere.example", true), kDenied);
}

// Whatever networks listeners name, who was called is a stranger.
TEST(Rights, OfConnectionsThatWereTurnedRound) {
  const RightsIndex index(sample());
  for (const auto* client : {"10.1.1.1", "127.0.0.1", "192.0.2.1", "0.0.0.0"})
    for (const bool logged_in : {false, true}) {
      const auto verdict = [&](const char* to) {
        return index.decide(kTurned, ip(client), address(to), logged_in).verdict;
      };
      EXPECT_EQ(verdict("x@elsewhere.example"), kDenied) << client;
      EXPECT_EQ(verdict("alice@example.org"), kLocal) << client;
      EXPECT_EQ(verdict("nobody@example.org"), kNoUser) << client;
      EXPECT_EQ(verdict("postmaster"), kLocal) << client;
    }
  EXPECT_FALSE(index.expects_proxy(kTurned, ip("10.1.1.1")));
  EXPECT_FALSE(index.is_socket(kTurned));
  EXPECT_FALSE(index.may_claim(kTurned, ip("10.1.1.1")));
  EXPECT_FALSE(index.may_start(kTurned, ip("10.1.1.1")));
  Origin claimed(ip("192.0.2.1"));
  claimed.claimed = ip("10.1.1.1");
  EXPECT_EQ(index.decide(kTurned, claimed, address("alice@example.org")).verdict, kDenied);
}

// --- Clients behind others ----------------------------------------------------------------------

constexpr const char* kProxy = "192.0.2.100";
constexpr const char* kGateway = "192.0.2.200";

// On the listener with networks 10.0.0.0/8 and so on.
RightsIndex with_proxies() {
  auto rights = sample();
  rights.listeners[kMxAndNetworks].proxy_from = {net(kProxy)};
  rights.listeners[kMxAndNetworks].xclient_from = {net(kGateway), net("10.9.0.0/16")};
  return RightsIndex(std::move(rights));
}

Origin origin(const char* peer, const char* proxied, const char* claimed) {
  Origin made(ip(peer));
  if (*proxied != '\0') made.proxied = ip(proxied);
  if (*claimed != '\0') made.claimed = ip(claimed);
  return made;
}

TEST(Origin, IsWhomTheLastOneNamed) {
  EXPECT_EQ(origin("192.0.2.1", "", "").client(), ip("192.0.2.1"));
  EXPECT_EQ(origin("192.0.2.1", "192.0.2.2", "").client(), ip("192.0.2.2"));
  EXPECT_EQ(origin("192.0.2.1", "", "192.0.2.3").client(), ip("192.0.2.3"));
  EXPECT_EQ(origin("192.0.2.1", "192.0.2.2", "192.0.2.3").client(), ip("192.0.2.3"));
  EXPECT_EQ(origin("192.0.2.1", "192.0.2.2", "192.0.2.3").connected(), ip("192.0.2.2"));
}

TEST(Origin, IsBelievedOnlyFromWhomTheListenerNames) {
  struct {
    const char *peer, *proxied, *claimed;
    Verdict far, ours;
  } const cases[] = {
      {kProxy, "", "", kDenied, kLocal},
      {kProxy, "10.1.1.1", "", kRelay, kLocal},
      {kProxy, "192.0.2.1", "", kDenied, kLocal},
      {kGateway, "10.1.1.1", "", kDenied, kDenied},     // no proxy
      {"10.1.1.1", "192.0.2.1", "", kDenied, kDenied},  // not even down
      {kGateway, "", "10.1.1.1", kRelay, kLocal},
      {kGateway, "", "192.0.2.1", kDenied, kLocal},
      {kProxy, "", "10.1.1.1", kDenied, kDenied},
      {"10.1.1.1", "", "10.1.1.2", kDenied, kDenied},
      {"10.9.1.1", "", "192.0.2.1", kDenied, kLocal},
      {kProxy, kGateway, "10.1.1.1", kRelay, kLocal},
      {kProxy, "10.9.1.1", "10.1.1.1", kRelay, kLocal},
      {kProxy, "192.0.2.1", "10.1.1.1", kDenied, kDenied},
      {kGateway, kGateway, "10.1.1.1", kDenied, kDenied},
      {kGateway, "", "0.0.0.0", kDenied, kLocal},  // nobody knows it
      {kGateway, "", "::", kDenied, kLocal},
  };
  const auto index = with_proxies();
  const base::ListenerIndex listener(kMxAndNetworks);
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.peer) + ' ' + c.proxied + ' ' + c.claimed);
    const auto o = origin(c.peer, c.proxied, c.claimed);
    EXPECT_EQ(index.decide(listener, o, address("x@far.example")).verdict, c.far);
    EXPECT_EQ(index.decide(listener, o, address("alice@example.org")).verdict, c.ours);
    EXPECT_EQ(index.believes(listener, o), c.ours == kLocal);
    if (o.proxied || o.claimed) {
      EXPECT_EQ(index.decide(base::ListenerIndex(kMxOnly), o, address("postmaster")).verdict,
                kDenied)
          << "another listener names nobody";
    }
  }
}

TEST(Origin, ALoginMakesNobodyBelieved) {
  auto rights = sample();
  rights.listeners.push_back({.service = Service::kSubmission, .xclient_from = {net(kGateway)}});
  const RightsIndex index(std::move(rights));
  const auto verdict = [&](const Origin& from, bool logged_in) {
    return index.decide(base::ListenerIndex(3), from, address("x@far.example"), logged_in).verdict;
  };
  EXPECT_EQ(verdict(origin(kGateway, "", "192.0.2.1"), true), kRelay);
  EXPECT_EQ(verdict(origin(kGateway, "", "0.0.0.0"), true), kRelay);
  EXPECT_EQ(verdict(origin(kGateway, "", "192.0.2.1"), false), kDenied);
  EXPECT_EQ(verdict(origin("10.1.1.1", "", "192.0.2.1"), true), kDenied);
  EXPECT_EQ(verdict(origin(kProxy, "192.0.2.1", ""), true), kDenied);
}

TEST(Origin, AnUnknownClientRelaysNowhereEvenWhereAllMay) {
  auto rights = sample();
  rights.listeners[kMxOnly].relay_from = {net("0.0.0.0/0"), net("::/0")};
  rights.listeners[kMxOnly].xclient_from = {net(kGateway)};
  const RightsIndex index(std::move(rights));
  const auto verdict = [&](const char* claimed) {
    return index
        .decide(base::ListenerIndex(kMxOnly), origin(kGateway, "", claimed), address("x@far.example"))
        .verdict;
  };
  EXPECT_EQ(verdict("0.0.0.0"), kDenied);
  EXPECT_EQ(verdict("0.0.0.1"), kRelay);
}

// --- Aliases ---------------------------------------------------------------------------------------

Rights with_aliases() {
  auto rights = sample();
  const auto alias = [](const char* name, const char* text, std::vector<AliasTarget> targets) {
    return Alias{name, address(text), static_cast<std::uint32_t>(targets.size()), false, std::move(targets)};
  };
  rights.domains[0].aliases = {
      alias("team", "team@example.org", {{address("alice@example.org"), {}}, {address("x@far.example"), {}}}),
      alias("alice", "alice@example.org", {{address("alice@example.org"), {}}}),
      alias("a+c", "a+c@example.org", {{address("alice@example.org"), {}}})};
  rights.domains[1].aliases = {alias("x", "x@any.example", {{address("alice@example.org"), {}}})};
  rights.alias_domains = {{domain("old.example"), domain("example.net")}, {domain("mad.example"), domain("far.example")}};
  return rights;
}

TEST(Aliases, ComeBeforeUsersAndCostNoRights) {
  const RightsIndex index(with_aliases());
  const auto decide = [&](const char* to) {
    return index.decide(base::ListenerIndex(kMxOnly), ip("192.0.2.1"), address(to));
  };
  const struct {
    const char* to;
    const char* alias;  // "": none
    const char* user = "";
    const char* rewritten = "";
  } kTable[] = {
      {"TEAM@Example.net", "team"},       {"team+x@example.org", "team"},
      {"alice@example.org", "alice"},     {"a+b@example.org", "", "a+b"},
      {"a+c@example.org", "a+c"},         {"it+team@example.org", "", "it"},
      {"x@any.example", "x"},             {"x+y@any.example", "x"},
      {"z+x@any.example", "", "z%2Bx"},   {"team@old.example", "team", "", "team@example.net"},
      {"It@old.example", "", "it", "It@example.net"}, {"bob@old.example", "", "bob@example.net", "bob@example.net"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.to);
    const auto decision = decide(row.to);
    EXPECT_EQ(decision.verdict, Verdict::kLocal);
    EXPECT_EQ(decision.alias ? decision.alias->name : "", row.alias);
    EXPECT_EQ(decision.user, row.user);
    EXPECT_EQ(decision.rewritten ? decision.rewritten->text() : "", row.rewritten);
    EXPECT_EQ(decision.count(), decision.alias ? decision.alias->count + 1 : 1);
  }
  for (const auto* nobody : {"tea@example.org", "team@plain.example", "nobody@old.example"})
    EXPECT_EQ(decide(nobody).verdict, Verdict::kNoSuchUser) << nobody;
  EXPECT_EQ(decide("x@mad.example").verdict, Verdict::kRelayDenied);
  EXPECT_EQ(decide("x@far.example").verdict, Verdict::kRelayDenied);
}

TEST(Aliases, AreBehindWhatIsAccepted) {
  const RightsIndex index(with_aliases());
  EXPECT_EQ(index.place(address("alice@example.org")).user, "alice");
  EXPECT_EQ(index.place(address("alice@example.org")).alias, nullptr);
  EXPECT_EQ(index.place(address("team@example.org")).verdict, Verdict::kNoSuchUser);
  EXPECT_EQ(index.place(address("x@any.example")).user, "x");
  EXPECT_EQ(index.place(address("it@old.example")).user, "it");
  EXPECT_EQ(index.place(address("x@far.example")).verdict, Verdict::kRelay);
  ASSERT_NE(index.find(address("team@example.org")).alias, nullptr);
  EXPECT_EQ(index.find(address("team@example.org")).alias->targets.size(), 2U);
  EXPECT_EQ(index.find(address("x@far.example")).verdict, Verdict::kRelay);
}

TEST(Aliases, PostmasterMayBeOne) {
  auto rights = with_aliases();
  rights.postmaster = address("team@example.org");
  const RightsIndex index(std::move(rights));
  const auto decision = index.decide(base::ListenerIndex(kMxOnly), ip("192.0.2.1"), address("postmaster@old.example"));
  ASSERT_NE(decision.alias, nullptr);
  EXPECT_EQ(decision.alias->name, "team");
  EXPECT_TRUE(index.knows(address("team@example.org")));
}

TEST(Aliases, AnAddressThatBecomesTooLongIsNobodys) {
  auto rights = with_aliases();
  const std::string label(60, 'l');
  const auto long_name = label + '.' + label + '.' + label + ".example.org";
  rights.domains[1].names.push_back(domain(long_name));
  rights.alias_domains.push_back({domain("s.example"), domain(long_name)});
  const RightsIndex index(std::move(rights));
  const auto verdict = [&](const std::string& local_part) {
    return index.decide(base::ListenerIndex(kMxOnly), ip("192.0.2.1"), address(local_part + "@s.example")).verdict;
  };
  EXPECT_EQ(verdict(std::string(50, 'x')), Verdict::kLocal);
  EXPECT_EQ(verdict(std::string(64, 'x')), Verdict::kNoSuchUser);
}

// Who may send as alice may not as somebody else whose name only looks like hers with an extension.
TEST(Rights, ASenderIsNamedWithoutHisExtension) {
  const RightsIndex index(sample());
  const std::pair<const char*, const char*> cases[] = {
      {"Alice+x@example.net", "alice@example.net"},
      {"a+b@example.org", "a+b@example.org"},
      {"a+b+x@example.org", "a@example.org"},
      {"nobody+x@example.org", "nobody@example.org"},
      {"ann+x@any.example", "ann+x@any.example"},
      {"ann+x@ask.example", "ann+x@ask.example"},
      {"dave+x@plain.example", "dave+x@plain.example"},
      {"ann+x@far.example", "ann+x@far.example"},
  };
  for (const auto& [from, name] : cases) EXPECT_EQ(index.sender_name(address(from)), name) << from;
  auto with_alias = sample();
  with_alias.domains[1].aliases = {{"team", address("team@any.example"), 1, false, {}}};
  EXPECT_EQ(RightsIndex(with_alias).sender_name(address("team+x@any.example")), "team@any.example");
}

TEST(Rights, OneMaildirHasOneKeyForEachExtension) {
  auto rights = sample();
  rights.alias_domains = {{domain("old.example"), domain("example.org")}};
  for (auto& one : rights.domains) one.merges = !one.sent_on;
  const RightsIndex index(rights);
  const auto key = [&](const char* text) { return index.key(address(text)); };
  EXPECT_EQ(key("Alice@example.org"), key("alice@example.net"));
  EXPECT_EQ(key("\"alice\"@old.example"), key("ALICE@example.org"));
  EXPECT_EQ(key("alice+x@example.org"), key("Alice+x@example.net"));
  EXPECT_NE(key("alice+x@example.org"), key("alice+X@example.org")) << "there may be two folders";
  EXPECT_NE(key("alice+x@example.org"), key("alice@example.org"));
  EXPECT_NE(key("bob@example.net"), key("bob@example.org")) << "the one has a mailbox of its own";
  EXPECT_EQ(key("Ann+x@any.example"), key("ann+X@any.example"));
  EXPECT_NE(key("Zoe@inner.example"), key("zoe@inner.example")) << "its next hop may know two";
  EXPECT_NE(key("ann@far.example"), key("Ann@far.example")) << "what case means elsewhere is not known here";
}

// They may go to different hosts, and wait in different queues.
TEST(Rights, NamesOfASectionThatIsSentOnHaveKeysOfTheirOwn) {
  auto rights = sample();
  rights.alias_domains = {{domain("old.example"), domain("b.example")}};
  rights.domains.push_back({.names = {domain("a.example"), domain("b.example")},
                            .recipients = RecipientsKind::kAny, .extension = "", .sent_on = true});
  const RightsIndex index(rights);
  EXPECT_EQ(index.key(address("info@a.example")), "info@a.example");
  EXPECT_EQ(index.key(address("info@b.example")), "info@b.example");
  EXPECT_EQ(index.key(address("info@old.example")), "info@b.example") << "as which it is sent";
}

}  // namespace
}  // namespace postern::config
