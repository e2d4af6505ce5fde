#include "queued/routing.h"

#include <gtest/gtest.h>

#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

class RoutingTest : public ::testing::Test {
 protected:
  RoutingTest() : config(demo_config()) {
    config.routes.push_back({.to = {"corp.example"},
                             .via = {{config::HopKind::kHost, "exact", 25}},
                             .connections = 3,
                             .internal = true});
    config.routes.push_back(
        {.to = {"*.corp.example"}, .via = {{config::HopKind::kHost, "below", 25}}});
    config.routes.push_back(
        {.to = {"*.deep.corp.example"}, .via = {{config::HopKind::kHost, "deep", 25}}});
  }
  std::string host(const std::string& to) {
    return Router(config).route(address(to)).destination.via.front().host;
  }
  config::QueuedConfig config;
};

TEST_F(RoutingTest, TheSectionThatDecidesIsNamed) {
  std::uint32_t line = 40;
  for (auto& route : config.routes) {
    route.file = "conf.d/r.toml";
    route.line = line++;
  }
  config.domain_places = {{21, "postern.toml"}};
  const auto by = [&](const std::string& to) { return Router(config).routed_by(address(to)); };
  EXPECT_EQ(by("a@corp.example").place, "conf.d/r.toml:40");
  EXPECT_EQ(by("a@x.corp.example").place, "conf.d/r.toml:41");
  EXPECT_EQ(by("a@deep.corp.example").place, "conf.d/r.toml:41");
  EXPECT_EQ(by("a@x.y.deep.corp.example").place, "conf.d/r.toml:42");
  EXPECT_EQ(by("a@corp.example").by, ipc::RoutedBy::kRoute);
  EXPECT_EQ(by("a@other.example").by, ipc::RoutedBy::kNothing);
  EXPECT_EQ(by("ann@example.org").by, ipc::RoutedBy::kDomain);
  EXPECT_EQ(by("ann@example.org").place, "postern.toml:21");
  config.routes.push_back({.to = {"*"}, .via = {{}}, .line = 50, .file = "postern.toml"});
  EXPECT_EQ(by("a@other.example").place, "postern.toml:50");
  // What has no place is not given one.
  config.routes.back().line = 0;
  EXPECT_EQ(by("a@other.example").by, ipc::RoutedBy::kRoute);
  EXPECT_EQ(by("a@other.example").place, "");
}

TEST_F(RoutingTest, TheMostSpecificRouteWins) {
  EXPECT_EQ(host("a@corp.example"), "exact");
  EXPECT_EQ(host("a@x.corp.example"), "below");
  EXPECT_EQ(host("a@deep.corp.example"), "below");
  EXPECT_EQ(host("a@x.y.deep.corp.example"), "deep");
  EXPECT_EQ(host("a@other.example"), "");
  config.routes.push_back({.to = {"*"}, .via = {{config::HopKind::kHost, "smart", 25}}});
  EXPECT_EQ(host("a@other.example"), "smart");
  const auto route = Router(config).route(address("a@corp.example"));
  EXPECT_TRUE(route.destination.internal);
  EXPECT_EQ(route.destination.connections, 3U);
}

TEST_F(RoutingTest, QueuesAreDomainsAndLocalIsOurs) {
  const Router router(config);
  EXPECT_EQ(router.route(address("ann@example.org")).queue, "local");
  EXPECT_TRUE(router.route(address("ann@example.org")).destination.local);
  EXPECT_EQ(router.route(address("a@Far.Example")).queue, "far.example");
  EXPECT_EQ(router.route(address("a@local")).queue, "local.");
  EXPECT_FALSE(router.route(address("a@local")).destination.local);
  ASSERT_TRUE(router.mailbox(address("Ann+tag@example.org")));
  EXPECT_EQ(router.mailbox(address("Ann+tag@example.org"))->user, "ann");
  EXPECT_FALSE(router.mailbox(address("nobody@example.org")));
  EXPECT_TRUE(router.names("corp.example"));
  EXPECT_FALSE(router.names("nowhere.example"));
}

TEST_F(RoutingTest, SendersOfOursAreMasked) {
  config.rights.hostname = mail::Domain::parse("mx.example.org").value();
  config.rights.alias_domains = {
      {mail::Domain::parse("example.net").value(), mail::Domain::parse("example.org").value()}};
  config.routes[0].masquerade = mail::Domain::parse("corp.example").value();
  const Router router(config);
  EXPECT_EQ(router.route(address("a@corp.example")).destination.masquerade, "corp.example");
  EXPECT_EQ(router.route(address("a@x.corp.example")).destination.masquerade, "");
  EXPECT_EQ(router.route(address("ann@example.org")).destination.masquerade, "");
  const auto masked = [&](const std::string& from, const std::string& domain = "corp.example") {
    return router.masked(mail::ReversePath(address(from)), domain).text();
  };
  EXPECT_EQ(masked("Ann+tag@example.org"), "Ann+tag@corp.example");
  EXPECT_EQ(masked("nobody@example.org"), "nobody@corp.example");
  EXPECT_EQ(masked("\"a b\"@example.net"), "\"a b\"@corp.example");
  EXPECT_EQ(masked("MAILER-DAEMON@mx.example.org"), "MAILER-DAEMON@corp.example");
  EXPECT_EQ(masked("a@far.example"), "a@far.example");
  EXPECT_EQ(masked("a@sub.example.org"), "a@sub.example.org");
  EXPECT_TRUE(router.masked({}, "corp.example").is_null());
  // Rather the true one than none.
  const auto domain = std::string(60, 'a') + '.' + std::string(60, 'b') + '.' + std::string(60, 'c') + ".example";
  const auto local = std::string(64, 'x');
  EXPECT_EQ(masked("x@example.org", domain), "x@" + domain);
  EXPECT_EQ(masked(local + "@example.org", domain), local + "@example.org");
}

TEST_F(RoutingTest, AnInnerHostServesItsDomainAsInternal) {
  config.domain_hops[0] = {config::HopKind::kHost, "inner", 25};
  const auto route = Router(config).route(address("ann@example.org"));
  EXPECT_EQ(route.queue, "example.org");
  EXPECT_TRUE(route.destination.internal);
  EXPECT_FALSE(route.destination.local);
}

}  // namespace
}  // namespace postern::queued
