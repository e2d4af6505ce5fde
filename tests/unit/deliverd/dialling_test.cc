// How next hops are connected to: from which address of ours, and through a SOCKS server.
#include "fake_socks.h"
#include "pool_rig.h"
#include "sender.h"

namespace postern::relay {
namespace {

constexpr std::string_view kNotOurs = "192.0.2.5";

config::SourceAddress source(std::string_view address, std::uint8_t weight = 1) {
  return {base::parse_ip(address).value(), weight};
}

// Chance that counts, over all that share it.
Sources sources(std::vector<config::SourceAddress> addresses) {
  return Sources(std::move(addresses), [next = std::make_shared<std::uint64_t>(0)] { return (*next)++; });
}

// Nobody listens there.
base::Endpoint refusing(const base::Endpoint& other) {
  return {base::parse_ip("127.0.0.9").value(), other.port};
}

// One race, to its end.
class OneRace final : public RaceOwner {
 public:
  OneRace(event::Loop& loop, std::vector<base::Endpoint> endpoints, Dial dial)
      : race_(std::make_unique<Race>(loop, std::move(endpoints), *this, std::move(dial))) {
    until(loop, [this] { return nobody || winner; });
  }

  std::vector<std::string> failed;  // "0: Connection refused"
  std::optional<std::size_t> winner;
  std::string from;  // the winner's source
  base::UniqueFd socket;
  bool nobody = false;

 private:
  void on_attempt_failed(std::size_t number, std::string_view why) noexcept override {
    failed.push_back(fmt::format("{}: {}", number, why));
  }
  void on_connected(std::size_t number, base::UniqueFd fd) noexcept override {
    winner = number;
    socket = std::move(fd);
    if (const auto source = race_->source(number)) from = base::to_string(*source);
  }
  void on_nobody() noexcept override { nobody = true; }

  std::unique_ptr<Race> race_;
};

using Strings = std::vector<std::string>;

// --- Sources ----------------------------------------------------------------------------------------

TEST(DialFrom, EachRaceDrawsItsSourceByWeight) {
  event::Loop loop;
  FakeHop hop(loop);
  const Dial dial{sources({source("127.0.0.2"), source("127.0.0.3", 3)})};
  Strings from;
  for (std::size_t i = 1; i <= 8; ++i) {
    from.push_back(OneRace(loop, {hop.endpoint()}, dial).from);
    until(loop, [&] { return hop.peers.size() == i; });
  }
  EXPECT_EQ(hop.peers, from);
  EXPECT_EQ(std::count(from.begin(), from.end(), "127.0.0.2"), 2);
  EXPECT_EQ(std::count(from.begin(), from.end(), "127.0.0.3"), 6);
}

TEST(DialFrom, WithoutSourcesTheKernelChooses) {
  event::Loop loop;
  FakeHop hop(loop);
  const OneRace race(loop, {hop.endpoint()}, {});
  EXPECT_EQ(race.winner, 0U);
  EXPECT_EQ(race.from, "");
}

TEST(DialFrom, AnAddressThatIsNotOursIsNamedAndTheNextAttemptDrawsAnother) {
  event::Loop loop;
  FakeHop hop(loop);
  const OneRace race(loop, {hop.endpoint(), hop.endpoint()}, {sources({source(kNotOurs), source("127.0.0.2")})});
  EXPECT_EQ(race.failed, (Strings{"0: cannot send from 192.0.2.5: Cannot assign requested address"}));
  EXPECT_EQ(race.winner, 1U);
  EXPECT_EQ(race.from, "127.0.0.2");
}

TEST(DialFrom, NoOtherAddressIsTakenForOneThatIsNotThere) {
  event::Loop loop;
  FakeHop hop(loop);
  const OneRace race(loop, {hop.endpoint()}, {sources({source(kNotOurs)})});
  EXPECT_TRUE(race.nobody);
  for (int i = 0; i < 3; ++i) loop.run_once(false);
  EXPECT_EQ(hop.sessions, 0U);
}

// Why the others failed, or what they say, is worth more: it comes behind.
TEST(DialFrom, WhatNoSourceCanReachIsPassedOver) {
  event::Loop loop;
  FakeHop hop(loop);
  const auto port = hop.endpoint().port;
  const base::Endpoint v6{base::parse_ip("::1").value(), port};
  const Dial dial{sources({source("127.0.0.2")})};
  const OneRace refused(loop, {v6, refusing(hop.endpoint()), v6}, dial);
  EXPECT_TRUE(refused.nobody);
  EXPECT_EQ(refused.failed, (Strings{"0: no source address is IPv6", "2: no source address is IPv6",
                                     "1: Connection refused"}));
  const OneRace none(loop, {v6}, dial);
  EXPECT_TRUE(none.nobody);
  EXPECT_EQ(none.failed, (Strings{"0: no source address is IPv6"}));
  const OneRace some(loop, {v6, hop.endpoint()}, dial);
  EXPECT_EQ(some.winner, 1U);
  const OneRace other(loop, {hop.endpoint()}, {sources({source("::1")})});
  EXPECT_EQ(other.failed, (Strings{"0: no source address is IPv4"}));
}

// --- SOCKS ------------------------------------------------------------------------------------------

TEST(DialSocks, TheServerIsAskedForEachEndpoint) {
  event::Loop loop;
  FakeHop hop(loop);
  FakeSocks socks(loop);
  const auto closed = refusing(hop.endpoint());
  const OneRace race(loop, {closed, hop.endpoint()}, {.socks = socks.endpoint()});
  EXPECT_EQ(race.failed, (Strings{"0: " + socks.text() + " says: connection refused"}));
  EXPECT_EQ(race.winner, 1U);
  EXPECT_EQ(socks.asked, (Strings{base::to_string(closed), base::to_string(hop.endpoint())}));
}

TEST(DialSocks, IPv6AddressesAreAskedForOverIPv4) {
  event::Loop loop;
  FakeSocks socks(loop);
  socks.reply = "\5\3"s;
  const base::Endpoint far{base::parse_ip("2001:db8::9").value(), 25};
  const OneRace race(loop, {far}, {.sources = sources({source("127.0.0.2")}), .socks = socks.endpoint()});
  EXPECT_EQ(socks.asked, (Strings{"[2001:db8::9]:25"}));
  EXPECT_EQ(race.failed, (Strings{"0: " + socks.text() + " says: network unreachable"}));
}

TEST(DialSocks, WhatHasNoAddressIsAskedForByName) {
  event::Loop loop;
  FakeHop hop(loop);
  FakeSocks socks(loop);
  socks.hosts["far.example"] = hop.endpoint();
  const OneRace race(loop, {{{}, 2525}}, {.socks = socks.endpoint(), .host = "far.example"});
  EXPECT_EQ(race.winner, 0U);
  EXPECT_EQ(socks.asked, (Strings{"far.example:2525"}));
  until(loop, [&] { return hop.sessions == 1; });
}

TEST(DialSocks, NothingOfWhatTheHostSaysIsTaken) {
  event::Loop loop;
  FakeHop hop(loop);
  FakeSocks socks(loop);
  socks.glued = true;
  const OneRace race(loop, {hop.endpoint()}, {.socks = socks.endpoint()});
  ASSERT_EQ(race.winner, 0U);
  char text[64];
  const auto size = ::recv(race.socket.get(), text, sizeof text, 0);
  ASSERT_GT(size, 0);
  EXPECT_EQ(std::string(text, static_cast<std::size_t>(size)), "220 fake ESMTP\r\n");
}

TEST(DialSocks, EachTroubleNamesTheServer) {
  struct Case {
    std::string method;
    std::string reply;
    std::string trouble;
  };
  const std::string in = "\5\0"s;
  const Case cases[] = {
      {"\5\xff", "", "lets nobody in without a log-in"},
      {"HTTP/1.1 400 what?\r\n", "", "does not speak SOCKS5"},
      {in, "\5\2"s, "says: connection not allowed by ruleset"},
      {in, "\5\2\0\1\0\0\0\0\0\0"s, "says: connection not allowed by ruleset"},
      {in, "\5\x63"s, "says: failure 99"},
      {in, "", "ended the connection"},
      {in, "\5"s, "ended the connection"},
      {in, "\5\0\0\1\x7f\0"s, "ended the connection"},
      {in, "\5\0\0\7\x7f"s, "answered with an unknown kind of address"},
  };
  for (const auto& one : cases) {
    event::Loop loop;
    FakeSocks socks(loop);
    socks.method = one.method;
    socks.reply = one.reply;
    const OneRace race(loop, {{base::parse_ip("192.0.2.9").value(), 25}}, {.socks = socks.endpoint()});
    EXPECT_TRUE(race.nobody);
    EXPECT_EQ(race.failed, (Strings{"0: " + socks.text() + " " + one.trouble}));
  }
}

TEST(DialSocks, AServerThatIsAwayIsTheTrouble) {
  event::Loop loop;
  FakeHop hop(loop);
  const auto away = refusing(hop.endpoint());
  const auto start = "0: the SOCKS server " + base::to_string(away) + " cannot be reached: ";
  EXPECT_EQ(OneRace(loop, {hop.endpoint()}, {.socks = away}).failed, (Strings{start + "Connection refused"}));
  EXPECT_EQ(OneRace(loop, {hop.endpoint()}, {sources({source(kNotOurs)}), away}).failed,
            (Strings{start + "cannot send from 192.0.2.5: Cannot assign requested address"}));
  EXPECT_EQ(OneRace(loop, {hop.endpoint()}, {sources({source("::1")}), away}).failed,
            (Strings{start + "no source address is IPv4"}));
  for (int i = 0; i < 3; ++i) loop.run_once(false);
  EXPECT_EQ(hop.sessions, 0U) << "nobody goes there without it";
}

TEST(DialSocks, SourcesAreForTheServer) {
  event::Loop loop;
  FakeHop hop(loop);
  FakeSocks socks(loop);
  const OneRace race(loop, {hop.endpoint()}, {sources({source("127.0.0.4")}), socks.endpoint()});
  EXPECT_EQ(race.from, "127.0.0.4");
  EXPECT_EQ(socks.peers, (Strings{"127.0.0.4"}));
  until(loop, [&] { return hop.sessions == 1; });
  EXPECT_NE(hop.peers[0], "127.0.0.4");
}

TEST(DialSocks, ARaceThatIsGivenUpEndsItsTalk) {
  event::Loop loop;
  FakeSocks socks(loop);
  socks.method.clear();  // it says nothing
  struct Nobody final : RaceOwner {
    void on_attempt_failed(std::size_t, std::string_view) noexcept override { ADD_FAILURE(); }
    void on_connected(std::size_t, base::UniqueFd) noexcept override { ADD_FAILURE(); }
    void on_nobody() noexcept override { ADD_FAILURE(); }
  } owner;
  const std::vector<base::Endpoint> far{{base::parse_ip("192.0.2.9").value(), 25}};
  auto race = std::make_unique<Race>(loop, far, owner, Dial{.socks = socks.endpoint()});
  until(loop, [&] { return socks.let_in == 1; });
  race.reset();
  until(loop, [&] { return socks.open == 0; });
  EXPECT_TRUE(socks.asked.empty());
}

// --- Pools ------------------------------------------------------------------------------------------

class Dialling : public testing::Test {
 protected:
  // A host that only the SOCKS server knows.
  config::HopSpec far() const {
    auto hop = by_socks(config::HopKind::kHost);
    hop.host = "far.example";
    return hop;
  }
  config::HopSpec by_socks(config::HopKind kind) const {
    config::HopSpec hop;
    hop.kind = kind;
    hop.port = rig.hop.endpoint().port;
    hop.socks = socks.endpoint();
    return hop;
  }
  // Of one message there.
  const ipc::Outcome& deliver(const std::string& queue, const config::HopSpec& hop) {
    const auto before = rig.queued->outcomes.size();
    const auto grant = rig.queued->grant(queue, hop);
    rig.until_asked();
    rig.queued->lease(kBody);
    rig.until_outcomes(before + 1);
    rig.until_asked();
    rig.queued->asks.clear();
    rig.queued->cancel(grant);
    rig.until_ended(before + 1);
    return rig.queued->outcomes.back();
  }
  void send_from(std::vector<config::SourceAddress> addresses) {
    auto settings = rig.settings();
    settings.sources = sources(std::move(addresses));
    rig.pool().configure(std::move(settings));
  }

  PoolRig rig;
  FakeSocks socks{rig.loop};
};

TEST_F(Dialling, MailGoesThroughByName) {
  socks.hosts["far.example"] = rig.hop.endpoint();
  socks.glued = true;
  const auto& outcome = deliver("example.org", far());
  EXPECT_EQ(text(outcome), one(kDelivered, 250));
  EXPECT_EQ(outcome.remote, fmt::format("far.example:{}", rig.hop.endpoint().port));
  EXPECT_EQ(rig.hop.messages, (Strings{kOnTheWire}));
  EXPECT_EQ(socks.asked, (Strings{outcome.remote}));
}

TEST_F(Dialling, MailGoesThroughByAddress) {
  auto hop = by_socks(config::HopKind::kHost);
  hop.host = "127.0.0.1";
  const auto endpoint = base::to_string(rig.hop.endpoint());
  EXPECT_EQ(deliver("example.org", hop).remote, "[127.0.0.1]" + endpoint.substr(9));
  EXPECT_EQ(deliver("example.org", by_socks(config::HopKind::kMx)).remote,
            "one.example[127.0.0.1]" + endpoint.substr(9));
  EXPECT_EQ(socks.asked, (Strings{endpoint, endpoint})) << "MX hosts are known by our own DNS";
}

TEST_F(Dialling, WhatIsForbiddenStaysForbidden) {
  auto settings = rig.settings();
  settings.bounds.forbidden = {base::parse_network("127.0.0.0/8").value()};
  rig.pool().configure(std::move(settings));
  rig.queued->grant("example.org", by_socks(config::HopKind::kMx));
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kPermanent);
  EXPECT_TRUE(socks.asked.empty());
}

TEST_F(Dialling, ARefusalDefersAndNamesTheTargetAndTheServer) {
  socks.reply = "\5\2"s;
  rig.queued->grant("example.org", far());
  const auto& ended = rig.until_ended();
  EXPECT_EQ(ended.end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(ended.failure, ipc::FailureClass::kConnect);
  EXPECT_EQ(ended.reply.text, "connecting: " + socks.text() + " says: connection not allowed by ruleset");
  EXPECT_EQ(ended.remote, fmt::format("far.example:{}", rig.hop.endpoint().port));
}

TEST_F(Dialling, ConnectionsAreMadeFromTheConfiguredSources) {
  send_from({source("127.0.0.2"), source("127.0.0.3")});
  for (int i = 0; i < 2; ++i) deliver("example.org", rig.to_hop());
  EXPECT_EQ(rig.hop.peers, (Strings{"127.0.0.2", "127.0.0.3"}));
  // New ones alone obey what is configured later.
  rig.queued->grant("example.org", rig.to_hop());
  rig.until_asked();
  send_from({source("127.0.0.5")});
  rig.queued->lease(kBody);
  rig.until_outcomes(3);
  EXPECT_EQ(rig.hop.peers.back(), "127.0.0.2");
  rig.queued->grant("example.org", rig.to_hop());
  rig.until_asked(2);
  EXPECT_EQ(rig.hop.peers.back(), "127.0.0.5");
}

TEST_F(Dialling, AHopsOwnSourcesComeFirst) {
  send_from({source("127.0.0.2")});
  auto hop = rig.to_hop();
  hop.sources = {source("127.0.0.6")};
  deliver("example.org", hop);
  EXPECT_EQ(rig.hop.peers, (Strings{"127.0.0.6"}));
}

TEST_F(Dialling, ASourceThatIsNotOursDefers) {
  auto hop = rig.to_hop();
  hop.sources = {source(kNotOurs)};
  rig.queued->grant("example.org", hop);
  const auto& ended = rig.until_ended();
  EXPECT_EQ(ended.end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(ended.failure, ipc::FailureClass::kConnect);
  EXPECT_EQ(ended.reply.text, "connecting: cannot send from 192.0.2.5: Cannot assign requested address");
  EXPECT_TRUE(rig.hop.peers.empty());
}

TEST_F(Dialling, ProbesAreMadeLikewise) {
  send_from({source("127.0.0.2")});
  socks.hosts["far.example"] = rig.hop.endpoint();
  const auto probe = [&](std::uint64_t number, const config::HopSpec& hop) {
    rig.queued->connection().send(ipc::Probe{base::RequestId(number), "in.example", hop,
                                             mail::Address::parse("a@in.example").value()});
    rig.until([&] { return rig.queued->probed.size() == number; });
    EXPECT_EQ(rig.queued->probed.back().result, ipc::Result::kDelivered);
  };
  probe(1, rig.to_hop());
  EXPECT_EQ(rig.hop.peers, (Strings{"127.0.0.2"}));
  probe(2, far());
  EXPECT_EQ(socks.peers, (Strings{"127.0.0.2"}));
  EXPECT_EQ(rig.queued->probed.back().remote, socks.asked.at(0));
}

}  // namespace
}  // namespace postern::relay
