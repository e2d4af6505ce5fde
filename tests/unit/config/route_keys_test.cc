// How a route's mail is sent: source, socks, pass_client, masquerade and second_path; what they mean, what sets next hops apart,
// and every mistake with its place.
#include <fmt/format.h>

#include "common/config/cut.h"
#include "common/config/hop.h"
#include "common/config/summary.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class RouteKeys : public ConfigTest {
 protected:
  static std::string route(const std::string& via, const std::string& more) {
    return "[[route]]\nto = [\"*\"]\nvia = [" + via + "]\n" + more + '\n';
  }
  static std::string domain(const std::string& deliver, const std::string& more) {
    return "[[domain]]\nname = [\"in.example\"]\nrecipients = \"any\"\ndeliver = \"" + deliver + "\"\n" + more + '\n';
  }
  Config config(const std::string& text) const {
    auto loaded = load_text(kGood + text);
    EXPECT_TRUE(loaded) << mistakes(kGood + text);
    return loaded ? *std::move(loaded) : Config();
  }
  // Of the first hop of a route.
  HopSpec hop(const std::string& via, const std::string& more) const {
    const auto c = config(route(via, more));
    return c.routes.empty() ? HopSpec() : c.routes[0].via[0];
  }
  // What is wrong with the key in line 14 of the file; its value begins in column `column`.
  std::string wrong(const std::string& via, const std::string& more) const {
    auto text = mistakes(kGood + route(via, more));
    EXPECT_TRUE(text.starts_with("postern.toml:14:")) << text;
    return text.substr(std::min(text.size(), text.find("\": ") + 3));
  }
  static base::IpAddress ip(const char* text) { return *base::parse_ip(text); }
  static constexpr const char* kHost = "\"smtp://relay.example\"";
};

// --- source -----------------------------------------------------------------------------------------

TEST_F(RouteKeys, SourcesAreOfAllHostsOfTheRoute) {
  const auto c = config(route(R"("mx", "smtp://a.example", "lmtp://b.example", "lmtp:unix:/run/lmtp")",
                              R"(source = ["192.0.2.5", "2001:db8::5?weight=3"])"));
  const std::vector<SourceAddress> both{{ip("192.0.2.5"), 1}, {ip("2001:db8::5"), 3}};
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(c.routes[0].via[i].sources, both) << i;
  EXPECT_TRUE(c.routes[0].via[3].sources.empty());
  EXPECT_TRUE(hop(kHost, "source = []").sources.empty());
}

TEST_F(RouteKeys, SourcesOfDeliveryGoToTheRelay) {
  const auto c = config("[delivery]\nsource = [\"192.0.2.6\"]\n");
  EXPECT_EQ(cut_relay(c, {}).sources, (std::vector<SourceAddress>{{ip("192.0.2.6"), 1}}));
  EXPECT_TRUE(cut_relay(config(""), {}).sources.empty());
  EXPECT_EQ(mistakes(std::string(kGood) + "[delivery]\nsource = [\"localhost\"]\n"),
            "postern.toml:12:11: delivery.source = \"localhost\": expected an address of this host, like \"192.0.2.5\"\n");
}

TEST_F(RouteKeys, MistakesInSources) {
  const auto source = [&](const std::string& text) { return wrong(kHost, "source = [\"" + text + "\"]"); };
  for (const auto* text : {"", "mx.example.org", "192.0.2.0/24", "192.0.2.5:25", "[::1]"})
    EXPECT_EQ(source(text), "expected an address of this host, like \"192.0.2.5\"\n") << text;
  for (const auto* text : {"0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1", "fe80::1", "0.1.2.3"})
    EXPECT_EQ(source(text), "nobody can send from this address\n") << text;
  EXPECT_EQ(source("192.0.2.5?weight=0"), "expected a weight between 1 and 255 behind the ?, like weight=3\n");
  EXPECT_EQ(source("192.0.2.5?weight=1&weight=2"), "weight is said twice\n");
  EXPECT_EQ(source("192.0.2.5?tls=off"), "expected weight=... behind the ?, not \"tls\"\n");
  EXPECT_EQ(source("192.0.2.5?"), "expected weight=... behind the ?, not \"\"\n");
  EXPECT_EQ(source("192.0.2.5\", \"192.0.2.5?weight=2"), "this address is named before\n");
  EXPECT_EQ(source("192.0.2.5\", \"::ffff:192.0.2.5"), "this address is named before\n");
  std::string many;
  for (int n = 1; n <= 65; ++n) many += fmt::format("{}\"192.0.2.{}\"", n == 1 ? "" : ", ", n);
  EXPECT_EQ(mistakes(kGood + route(kHost, "source = [" + many + "]")),
            "postern.toml:14:10: route.source: expected at most 64 elements\n");
  for (const auto* via : {"\"refuse\"", "\"discard\"", "\"lmtp:unix:/run/lmtp\""})
    EXPECT_EQ(mistakes(kGood + route(via, "source = [\"192.0.2.5\"]")),
              "postern.toml:14:10: route.source = [\"192.0.2.5\"]: no next hop of this route is connected to over the "
              "network\n");
}

TEST_F(RouteKeys, AnAddressThatNobodyHasIsWarnedOf) {
  const auto c = config(route(kHost, R"(source = ["192.0.2.5", "192.0.2.6", "127.0.0.9"])") +
                        "[delivery]\nsource = [\"2001:db8::5\"]\n");
  EXPECT_TRUE(warnings(c).empty()) << "nobody knows";
  const auto warned = warnings(c, {ip("192.0.2.5"), ip("127.0.0.1")});
  ASSERT_EQ(warned.size(), 2U);
  EXPECT_EQ(dir_.shortened(warned[0]),
            "postern.toml: delivery.source: no interface of this host has 2001:db8::5: nothing can be sent from it");
  EXPECT_EQ(dir_.shortened(warned[1]),
            "postern.toml:11:1: route.source: no interface of this host has 192.0.2.6: nothing can be sent from it");
  EXPECT_NE(rights_summary(c, {ip("192.0.2.5")}).find("\nWARNING "), std::string::npos);
}

// --- socks ------------------------------------------------------------------------------------------

TEST_F(RouteKeys, SocksIsForAllHostsOfTheRoute) {
  const auto c = config(route(R"("mx", "smtp://a.example", "lmtp:unix:/run/lmtp")", R"(socks = "[::1]:1080")"));
  EXPECT_EQ(c.routes[0].via[0].socks, base::parse_endpoint("[::1]:1080"));
  EXPECT_EQ(c.routes[0].via[1].socks, base::parse_endpoint("[::1]:1080"));
  EXPECT_FALSE(c.routes[0].via[2].socks);
  EXPECT_FALSE(hop(kHost, "socks = \"\"").socks);
}

TEST_F(RouteKeys, MistakesInSocks) {
  for (const auto* text : {"127.0.0.1", "localhost:1080", "127.0.0.1:0", "127.0.0.1:70000", "0.0.0.0:1080", ":1080",
                           "::1:1080", "ff02::1", "socks5://127.0.0.1:1080"})
    EXPECT_EQ(wrong(kHost, fmt::format("socks = \"{}\"", text)),
              "expected the address and the port of a SOCKS5 server, like \"127.0.0.1:1080\"\n")
        << text;
  EXPECT_EQ(wrong("\"lmtp:unix:/run/lmtp\"", "socks = \"127.0.0.1:1080\""),
            "no next hop of this route is connected to over the network\n");
}

// The SOCKS server looks up what the route names, and nobody vouches for that.
TEST_F(RouteKeys, DaneNeedsTheDns) {
  const std::string socks = "socks = \"127.0.0.1:1080\"\n", why = "dane needs the DNS, and relay.example is looked up by "
                            "the SOCKS server\n";
  EXPECT_EQ(mistakes(kGood + route(kHost, socks + "tls = \"dane\"")), "postern.toml:15:7: route.tls = \"dane\": " + why);
  EXPECT_EQ(mistakes(kGood + route("\"smtp://relay.example?tls=dane\"", socks)),
            "postern.toml:13:8: route.via = \"smtp://relay.example?tls=dane\": " + why);
  EXPECT_EQ(mistakes(kGood + route("\"mx\"", socks + "tls = \"dane\"")), "");
}

// The server is what is connected to.
TEST_F(RouteKeys, ASourceMustReachTheSocksServer) {
  const std::string socks = "socks = \"127.0.0.1:1080\"\n";
  EXPECT_EQ(mistakes(kGood + route(kHost, socks + R"(source = ["2001:db8::5", "127.0.0.2"])")), "");
  EXPECT_EQ(mistakes(kGood + route(kHost, socks + R"(source = ["2001:db8::5"])")),
            "postern.toml:11:1: route.socks: 127.0.0.1:1080 cannot be connected to: no address of route.source is "
            "IPv4\n");
  EXPECT_EQ(mistakes(kGood + route(kHost, socks) + "[delivery]\nsource = [\"2001:db8::5\"]\n"),
            "postern.toml:11:1: route.socks: 127.0.0.1:1080 cannot be connected to: no address of delivery.source is "
            "IPv4\n");
}

// --- pass_client ------------------------------------------------------------------------------------

TEST_F(RouteKeys, ClientsArePassedOnToHopsThatSpeakSmtp) {
  for (const auto pass : {PassClient::kNone, PassClient::kXforward, PassClient::kXclient, PassClient::kProxy}) {
    const auto text = fmt::format("pass_client = \"{}\"", pass_client_text(pass));
    const auto c = config(route(R"("smtp://a.example", "smtps://b.example", "lmtp://c.example", "lmtp:unix:/l")", text));
    EXPECT_EQ(c.routes[0].via[0].pass_client, pass);
    EXPECT_EQ(c.routes[0].via[1].pass_client, pass);
    EXPECT_EQ(c.routes[0].via[2].pass_client, PassClient::kNone);
    EXPECT_EQ(c.routes[0].via[3].pass_client, PassClient::kNone);
    EXPECT_EQ(config(domain("smtp://in.example", text)).domains.back().deliver.pass_client, pass);
  }
  EXPECT_EQ(hop("\"mx\"", "pass_client = \"xforward\"").pass_client, PassClient::kXforward);
  for (const auto* nothing : {"\"refuse\"", "\"discard\"", "\"lmtp:unix:/run/lmtp\"", "\"mx\""})
    EXPECT_EQ(hop(nothing, "pass_client = \"none\"").pass_client, PassClient::kNone);
}

TEST_F(RouteKeys, MistakesInPassClient) {
  EXPECT_EQ(wrong(kHost, "pass_client = \"xfer\""),
            "expected one of \"none\", \"xforward\", \"xclient\", \"proxy\"\n");
  for (const auto* via : {"\"refuse\"", "\"discard\"", "\"lmtp:unix:/run/lmtp\"", "\"lmtp://a.example\""})
    EXPECT_EQ(wrong(via, "pass_client = \"xforward\""),
              "none of its next hops speaks SMTP, so none can be told of clients\n")
        << via;
  // Every host of the world would be told, and asked to believe it.
  for (const auto* pass : {"xclient", "proxy"}) {
    const auto text = fmt::format("pass_client = \"{}\"", pass);
    EXPECT_EQ(wrong("\"smtp://a.example\", \"mx\"", text),
              "\"mx\" is whoever the DNS names: name the host that is told of clients so\n");
    EXPECT_NE(mistakes(kGood + domain("mx", text)), "");
  }
  EXPECT_EQ(mistakes(kGood + domain("mailbox", "pass_client = \"xclient\"")),
            "postern.toml:15:15: domain.pass_client = \"xclient\": none of its next hops speaks SMTP, so none can be "
            "told of clients\n");
}

// --- masquerade -------------------------------------------------------------------------------------

TEST_F(RouteKeys, MasqueradeIsOfTheRoute) {
  const auto c = config(route(kHost, "masquerade = \"Corp.Example\""));
  EXPECT_EQ(c.routes[0].masquerade.text(), "corp.example");
  EXPECT_EQ(cut_queued(c, {}).routes[0].masquerade.text(), "corp.example");
  EXPECT_TRUE(config(route(kHost, "masquerade = \"\"")).routes[0].masquerade.empty());
  EXPECT_EQ(wrong(kHost, "masquerade = \"[192.0.2.1]\""), "expected a name, not an address\n");
  EXPECT_NE(mistakes(kGood + route(kHost, "masquerade = \"a..b\"")), "");
  for (const auto* via : {"\"refuse\"", "\"discard\"", "\"lmtp:unix:/run/lmtp\""})
    EXPECT_EQ(wrong(via, "masquerade = \"corp.example\""), "no mail of this route goes to another host\n");
}

// --- second_path ------------------------------------------------------------------------------------

TEST_F(RouteKeys, ASecondPathIsOfTheRoute) {
  constexpr const char* kTwo = "\"smtp://a.example\", \"mx\"";
  const auto c = config(route(kTwo, "second_path = true"));
  EXPECT_TRUE(c.routes[0].second_path);
  EXPECT_TRUE(cut_queued(c, {}).routes[0].second_path);
  EXPECT_FALSE(config(route(kTwo, "")).routes[0].second_path);
  EXPECT_FALSE(config(route(kHost, "second_path = false")).routes[0].second_path);
  for (const auto* via : {kHost, "\"mx\"", "\"refuse\""})
    EXPECT_TRUE(mistakes(kGood + route(via, "second_path = true"))
                    .ends_with("this route has one next hop, and no other path\n"))
        << via;
  EXPECT_NE(mistakes(kGood + route(kTwo, "second_path = \"b.example\"")), "");
}

// --- Names of next hops, and the summary --------------------------------------------------------------

TEST_F(RouteKeys, WhatIsDemandedSetsNextHopsApart) {
  const auto name = [&](const std::string& more) { return host_name(hop(kHost, more)); };
  EXPECT_EQ(name(""), "relay.example:25");
  EXPECT_EQ(name("pass_client = \"xforward\""), "relay.example:25/xforward");
  EXPECT_EQ(name("pass_client = \"xclient\"\ntls = \"required\""), "relay.example:25/required/xclient");
  EXPECT_EQ(name("pass_client = \"proxy\"\nsocks = \"127.0.0.1:1080\""),
            "relay.example:25/proxy/socks=127.0.0.1:1080");
  EXPECT_EQ(name("source = [\"192.0.2.5\"]"), "relay.example:25/source=192.0.2.5");
  EXPECT_EQ(name("source = [\"192.0.2.5\", \"2001:db8::6?weight=3\"]"),
            "relay.example:25/source=192.0.2.5,2001:db8::6*3");
  EXPECT_EQ(host_name(hop("\"smtp://relay.example?weight=3\"", "")), "relay.example:25") << "one host is one hop";
  EXPECT_EQ(demand_text(hop("\"mx\"", "socks = \"[::1]:1080\"")), "/socks=[::1]:1080");
}

TEST_F(RouteKeys, ManySourcesHaveAShortName) {
  const auto name = [&](const std::string& last) {
    return host_name(hop(kHost, "source = [\"192.0.2.5\", \"192.0.2.6\", \"" + last + "\"]"));
  };
  EXPECT_TRUE(name("192.0.2.7").starts_with("relay.example:25/source=192.0.2.5+"));
  EXPECT_EQ(name("192.0.2.7").size(), std::string("relay.example:25/source=192.0.2.5+").size() + 16);
  EXPECT_EQ(name("192.0.2.7"), name("192.0.2.7?weight=1"));
  EXPECT_NE(name("192.0.2.7"), name("192.0.2.8"));
  EXPECT_NE(name("192.0.2.7"), name("192.0.2.7?weight=2"));
}

TEST_F(RouteKeys, NamesHaveRoom) {
  const auto host = fmt::format("{0}.{0}.{0}.example", std::string(60, 'a'));  // 190 characters
  const auto sources = [&](const char* socks) {
    return mistakes(kGood + route("\"smtp://" + host + "\"",
                                  fmt::format("socks = \"{}\"\nsource = [\"192.0.2.5\"]", socks)));
  };
  EXPECT_EQ(sources("127.0.0.1:1080"), "");
  EXPECT_EQ(mistakes(kGood + route("\"smtp://" + host + "\"",
                                   "source = [\"2001:db8:1111:2222:3333:4444:5555:6666\", "
                                   "\"2001:db8:1111:2222:3333:4444:5555:7777?weight=100\"]")),
            fmt::format("postern.toml:11:1: route.via: the name of {} and all that is demanded of it are too long "
                        "together, by 27 characters\n",
                        host));
}

TEST_F(RouteKeys, TheSummarySaysWhatARouteDoes) {
  const auto summary = [&](const std::string& text) {
    const auto all = rights_summary(config(text));
    const auto at = all.find("  *: to ");
    return at == std::string::npos ? all : all.substr(at, all.find('\n', at) - at);
  };
  EXPECT_EQ(summary(route(R"("smtp://a.example?weight=3", "smtp://b.example?weight=1", "mx")", "tls = \"required\"")),
            "  *: to smtp://a.example:25 (weight 3), smtp://b.example:25 (weight 1), mx, TLS required");
  EXPECT_EQ(summary(route(R"("mx?tls=optional", "smtps://a.example?weight=3")", "tls = \"verified\"")),
            "  *: to mx (TLS optional), smtps://a.example:465 (TLS verified, weight 3)");
  EXPECT_EQ(summary(route(R"("mx", "smtp://a.example")", "tls = \"required\"\nsecond_path = true")),
            "  *: to mx, smtp://a.example:25, a second path for whom one refuses by its policy (X.7.N), TLS required");
  EXPECT_EQ(summary(route(R"("lmtp:unix:/run/lmtp", "smtp://a.example")", "tls = \"optional\"")),
            "  *: to lmtp:unix:/run/lmtp, smtp://a.example:25");
  EXPECT_EQ(summary(route(kHost, R"(source = ["192.0.2.5", "192.0.2.6?weight=2"]
socks = "127.0.0.1:1080"
pass_client = "xforward"
masquerade = "corp.example"
internal = true)")),
            "  *: to smtp://relay.example:25, told who the client is (XFORWARD), from 192.0.2.5, 192.0.2.6 (weight 2), "
            "through the SOCKS server 127.0.0.1:1080, our senders at corp.example (internal)");
  const auto all = rights_summary(config(domain("smtp://in.example?tls=required", "pass_client = \"proxy\"") +
                                         "[delivery]\nsource = [\"192.0.2.7\"]\n"));
  EXPECT_NE(all.find("  in.example: any recipient, to smtp://in.example:25, TLS required, as the client itself (PROXY)\n"),
            std::string::npos)
      << all;
  EXPECT_NE(all.find("  *: to mx, port 25\n  sent from 192.0.2.7, where a route says nothing else\n"), std::string::npos)
      << all;
  const auto newer = rights_summary(config("[delivery]\ntls_minimum = \"1.3\"\n"));
  EXPECT_NE(newer.find("  *: to mx, port 25\n  TLS 1.3 and later; where it need not be, in clear to hosts that speak none of "
                       "these\n"),
            std::string::npos)
      << newer;
}

}  // namespace
}  // namespace postern::config
