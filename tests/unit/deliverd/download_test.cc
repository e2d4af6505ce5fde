// Through whom policies are fetched: whose SOCKS server, and what it is asked for. That they come is seen end to end.
#include "deliverd/fetch/download.h"

#include <gtest/gtest.h>

#include "deliverd/fetch/ways.h"
#include "fake_hop.h"
#include "fake_socks.h"
#include "tests/unit/event/until.h"
#include "tls_rig.h"

namespace postern::fetch {
namespace {

std::optional<base::Endpoint> endpoint(std::string_view text) { return base::parse_endpoint(text); }

TEST(PolicyWays, AreThoseOfTheMail) {
  const auto first = endpoint("192.0.2.1:1080"), second = endpoint("192.0.2.2:1080"), third = endpoint("[::1]:1081");
  const Ways ways({{{"*"}, first},
                   {{"a.example", "b.example"}, second},
                   {{"*.example"}, third},
                   {{"*.direct.example", "c.example"}, std::nullopt}});
  EXPECT_EQ(ways.socks("elsewhere.test"), first);
  EXPECT_EQ(ways.socks("example"), first) << "*.example is below it";
  EXPECT_EQ(ways.socks("a.example"), second);
  EXPECT_EQ(ways.socks("b.example"), second);
  EXPECT_EQ(ways.socks("below.a.example"), third);
  EXPECT_EQ(ways.socks("direct.example"), third);
  EXPECT_EQ(ways.socks("x.direct.example"), std::nullopt) << "the longest pattern, and it says: directly";
  EXPECT_EQ(ways.socks("c.example"), std::nullopt);
}

TEST(PolicyWays, AreDirectWhereNoneIsGiven) {
  EXPECT_EQ(Ways().socks("a.example"), std::nullopt);
  EXPECT_EQ(Ways({{{"a.example"}, endpoint("192.0.2.1:1080")}}).socks("b.example"), std::nullopt);
}

const std::string kHost = "mta-sts.example.org";
const std::string kPolicy = "version: STSv1\nmode: enforce\nmx: mx.example.org\nmax_age: 86400\n";

// example.org has its policy at 127.0.0.1.
class DownloadTest : public testing::Test {
 protected:
  DownloadTest()
      : names_([](const std::string& asked, bool) -> std::optional<std::string> {
          const auto type = static_cast<unsigned>(asked[asked.find(std::string("\3org\0", 5)) + 6]);
          dns::Packet packet(kHost, type);
          if (type == dns::kA) packet.a(kHost, std::string("\x7f\0\0\1", 4));
          return dns::FakeServer::as_answer(asked, packet.bytes());
        }),
        resolver_(dns::Resolver::make({names_.endpoint()}, {base::Millis(200), 1, true}).value()),
        signer_(loop, issued().key) {
    resolver_->attach(loop);
    tickets_->replace({tls::random_ticket_key()});
    host.secure(*tls::ServerContext::make({.certificates = {{{}, issued().chain}}}, tickets_), signer_, true);
    host.answer([](const std::string& line, bool& close) -> std::optional<std::string> {
      close = line.empty();
      if (!close) return "";
      return fmt::format("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{}", kPolicy.size(),
                         kPolicy);
    });
  }
  // What comes of it, through the SOCKS server.
  std::string fetch(std::vector<base::Network> forbidden = {}) {
    std::string end;
    Download download(loop, *resolver_,
                      {.port = host.endpoint().port,
                       .forbidden = std::move(forbidden),
                       .context = *tls::ClientContext::make({.roots = tls::test::Authority::instance().root()}),
                       .socks = socks.endpoint()},
                      "example.org", [&](std::expected<std::string, std::string> text) noexcept {
                        end = text ? "fetched: " + *text : text.error();
                      });
    event::until(loop, [&] { return !end.empty(); });
    return end;
  }
  [[nodiscard]] std::vector<std::string> asked_for_host() const { return {base::to_string(host.endpoint())}; }

  event::Loop loop;
  relay::FakeHop host{loop};
  relay::FakeSocks socks{loop};

 private:
  static const tls::test::Issued& issued() { return tls::test::Authority::instance().issue({kHost}); }

  dns::FakeServer names_;
  std::unique_ptr<dns::Resolver> resolver_;
  std::shared_ptr<tls::TicketKeys> tickets_ = std::make_shared<tls::TicketKeys>();
  relay::PromptSigner signer_;
};

TEST_F(DownloadTest, TheServerConnectsToWhereOurDnsSaysTheHostIs) {
  EXPECT_EQ(fetch(), "fetched: " + kPolicy);
  EXPECT_EQ(socks.asked, asked_for_host());
  EXPECT_EQ(host.sessions, 1U);
}

// Neither are others asked for, nor is the host connected to without it.
TEST_F(DownloadTest, AServerThatRefusesIsTold) {
  socks.reply = std::string("\5\2\0\1\0\0\0\0\0\0", 10);
  EXPECT_EQ(fetch(), "connecting to " + kHost + ": " + socks.text() + " says: connection not allowed by ruleset");
  EXPECT_EQ(socks.asked, asked_for_host());
  EXPECT_EQ(host.sessions, 0U);
}

TEST_F(DownloadTest, TheServerIsNotAskedForWhereNoHostIsBelievedToBe) {
  EXPECT_EQ(fetch({base::parse_network("127.0.0.0/8").value()}),
            kHost + " is at addresses to which this server sends nothing");
  EXPECT_TRUE(socks.peers.empty());
  EXPECT_EQ(host.sessions, 0U);
}

}  // namespace
}  // namespace postern::fetch
