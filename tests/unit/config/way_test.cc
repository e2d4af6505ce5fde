// What stands behind a next hop in `via` and `deliver`: its own tls and weight, and every mistake with its place.
#include "common/config/way.h"

#include <fmt/format.h>

#include "common/config/hop.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class Ways : public ConfigTest {
 protected:
  static std::string route(const std::string& via, const std::string& more = "") {
    return "[[route]]\nto = [\"*\"]\nvia = [" + via + "]\n" + more;
  }
  static std::string domain(const std::string& deliver) {
    return "[[domain]]\nname = [\"in.example\"]\nrecipients = \"any\"\ndeliver = \"" + deliver + "\"\n";
  }
  Config config(const std::string& text) const {
    auto loaded = load_text(kGood + text);
    EXPECT_TRUE(loaded) << mistakes(kGood + text);
    return loaded ? *std::move(loaded) : Config();
  }
  std::vector<HopSpec> via(const std::string& hops, const std::string& more = "") const {
    auto c = config(route(hops, more));
    return c.routes.empty() ? std::vector<HopSpec>(3) : c.routes[0].via;
  }
  // What is wrong with one entry.
  std::string wrong(const std::string& hop) const {
    auto text = mistakes(kGood + route('"' + hop + '"'));
    const auto begin = fmt::format("postern.toml:13:8: route.via = \"{}\": ", hop);
    EXPECT_TRUE(text.starts_with(begin)) << text;
    text.erase(0, begin.size());
    return text;
  }
};

TEST_F(Ways, AnEntryHasATlsOfItsOwn) {
  const auto ways = via(R"("mx?tls=optional", "smtps://smart.example?tls=required", "smtp://b.example:2525")",
                        "tls = \"verified\"\n");
  ASSERT_EQ(ways.size(), 3U);
  EXPECT_EQ(ways[0].kind, HopKind::kMx);
  EXPECT_EQ(ways[0].tls, HopTls::kOptional);
  EXPECT_EQ(hop_text(ways[1]), "smtps://smart.example:465");
  EXPECT_EQ(ways[1].tls, HopTls::kRequired);
  EXPECT_EQ(ways[2].tls, HopTls::kVerified);
  EXPECT_EQ(ways[2].port, 2525);
  for (const auto tls : {HopTls::kOff, HopTls::kOptional, HopTls::kRequired, HopTls::kVerified, HopTls::kDane})
    EXPECT_EQ(via(fmt::format("\"mx?tls={}\"", tls_text(tls)))[0].tls, tls);
}

// What the route demands in vain of one of its hops that one may say for itself.
TEST_F(Ways, TheRoutesTlsIsForThoseThatSayNothing) {
  EXPECT_EQ(via(R"("smtp://192.0.2.1?tls=verified", "mx")", "tls = \"dane\"\n")[1].tls, HopTls::kDane);
  EXPECT_EQ(via(R"("smtps://a.example?tls=required", "mx")", "tls = \"off\"\n")[0].tls, HopTls::kRequired);
}

TEST_F(Ways, AnEntryHasAWeight) {
  const auto ways = via(R"("smtp://a.example?weight=3", "mx?weight=1&tls=off", "lmtp:unix:/run/lmtp?weight=251")");
  ASSERT_EQ(ways.size(), 3U);
  EXPECT_EQ(ways[0].weight, 3);
  EXPECT_EQ(ways[1].weight, 1);
  EXPECT_EQ(ways[1].tls, HopTls::kOff);
  EXPECT_EQ(ways[2].weight, 251);
  EXPECT_EQ(ways[2].host, "/run/lmtp");
  EXPECT_EQ(via("\"smtp://[::1]:2526?tls=off\"")[0].host, "::1");
  EXPECT_EQ(via("\"mx\"")[0].weight, 0);
}

TEST_F(Ways, WeightsOfNeighboursAreLimitedTogether) {
  EXPECT_EQ(mistakes(kGood + route(R"("smtp://a?weight=200", "smtp://b?weight=55", "smtp://c")")), "");
  EXPECT_EQ(mistakes(kGood + route(R"("smtp://a?weight=255", "smtp://b", "smtp://c?weight=255")")), "");
  EXPECT_EQ(mistakes(kGood + route(R"("smtp://a?weight=200", "smtp://b?weight=50", "smtp://c?weight=6")")),
            "postern.toml:13:53: route.via = \"smtp://c?weight=6\": the weights of these neighbours are 256 together: "
            "expected at most 255\n");
}

TEST_F(Ways, AHopIsNamedOnceWhateverIsSaidOfIt) {
  EXPECT_EQ(mistakes(kGood + route(R"("smtp://a?weight=2", "smtp://a:25?tls=off")")),
            "postern.toml:13:29: route.via = \"smtp://a:25?tls=off\": this next hop is named before\n");
  EXPECT_EQ(mistakes(kGood + route(R"("mx?weight=2", "mx")")),
            "postern.toml:13:23: route.via = \"mx\": this next hop is named before\n");
  EXPECT_EQ(mistakes(kGood + route(R"("smtp://a:465", "smtps://a")")), "");
}

TEST_F(Ways, MistakesInTls) {
  EXPECT_EQ(wrong("mx?tls=perhaps"), "expected tls=off, optional, required, verified or dane behind the ?\n");
  EXPECT_EQ(wrong("mx?tls"), "expected tls=off, optional, required, verified or dane behind the ?\n");
  EXPECT_EQ(wrong("mx?tls=off&tls=off"), "tls is said twice\n");
  EXPECT_EQ(wrong("smtps://a.example?tls=off"), "an smtps:// hop of this route begins with TLS\n");
  EXPECT_EQ(wrong("smtp://192.0.2.1?tls=dane"),
            "192.0.2.1 has no name in the DNS, so there are no TLSA records for it\n");
  for (const auto* tls : {"off", "optional", "required"})
    EXPECT_EQ(wrong(fmt::format("lmtp:unix:/run/lmtp?tls={}", tls)),
              "/run/lmtp is a socket of this host, and TLS is not spoken there\n");
}

TEST_F(Ways, MistakesInWeights) {
  for (const auto* weight : {"0", "256", "", "x", "-1", "1.5", "+1", " 1"})
    EXPECT_EQ(wrong(fmt::format("mx?weight={}", weight)),
              "expected a weight between 1 and 255 behind the ?, like weight=3\n")
        << weight;
  EXPECT_EQ(wrong("mx?weight=1&weight=1"), "weight is said twice\n");
  for (const auto* hop : {"refuse", "discard"})
    EXPECT_EQ(wrong(fmt::format("{}?weight=2", hop)),
              fmt::format("nothing more can be said of {}: leave out the ? and what follows\n", hop));
}

TEST_F(Ways, MistakesInWhatIsSaid) {
  for (const auto& [text, name] : {std::pair("mx?", ""), std::pair("mx?port=25", "port"), std::pair("mx?weight=1&", ""),
                                   std::pair("mx?TLS=off", "TLS"), std::pair("mx?a?b=c", "a?b"),
                                   std::pair("mx?&tls=off", "")})
    EXPECT_EQ(wrong(text), fmt::format("expected tls=... or weight=... behind the ?, not \"{}\"\n", name)) << text;
  EXPECT_EQ(mistakes(kGood + route("\"mx?\\u0001\\n=1\"")).find('\n'),
            mistakes(kGood + route("\"mx?\\u0001\\n=1\"")).size() - 1) << "one mistake is one line";
  EXPECT_EQ(wrong("smtp://a.example:?tls=off"),
            "expected \"mx\", smtp[s]://host[:port], lmtp://host[:port], lmtp:unix:PATH, \"turn:\", \"refuse\" or \"discard\": "
            "expected nothing or a port between 1 and 65535 behind the host\n");
}

TEST_F(Ways, ADomainsHopHasATlsOfItsOwn) {
  EXPECT_EQ(config(domain("smtp://a.example?tls=verified")).domains.back().deliver.tls, HopTls::kVerified);
  EXPECT_EQ(config(domain("mx")).domains.back().deliver.tls, HopTls::kOptional);
  const auto wrong = [&](const std::string& deliver) { return mistakes(kGood + domain(deliver)); };
  EXPECT_EQ(wrong("smtp://a.example?weight=2"),
            "postern.toml:14:11: domain.deliver = \"smtp://a.example?weight=2\": nobody shares this mail: leave out the "
            "weight\n");
  EXPECT_EQ(wrong("mailbox?tls=off"),
            "postern.toml:14:11: domain.deliver = \"mailbox?tls=off\": nothing more can be said of mailbox: leave out "
            "the ? and what follows\n");
}

}  // namespace
}  // namespace postern::config
