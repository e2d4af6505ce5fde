// Mail over connections that next hops have opened (ATRN, RFC 2645).
#include "common/os/socket.h"
#include "pool_rig.h"

namespace postern::relay {
namespace {

class Turned : public ::testing::Test, protected PoolRig {
 protected:
  base::GrantId call(ipc::Turned turned = {"amy[192.0.2.9]", "TLSv1.3 X", {}}) {
    auto pair = os::socket_pair();
    hop.serve(std::move(pair->first));
    return queued->call("inner.example", std::move(turned), std::move(pair->second));
  }
};

TEST_F(Turned, TheHostThatCalledIsGreetedAsAnyNextHop) {
  const auto grant = call();
  until_asked();
  EXPECT_EQ(queued->asks.front().grant, grant);
  queued->lease(kBody);
  until_outcomes(1);
  const auto& outcome = queued->outcomes.front();
  EXPECT_EQ(outcome.results.front().result, ipc::Result::kDelivered);
  EXPECT_EQ(outcome.remote, "amy[192.0.2.9]");
  EXPECT_EQ(outcome.tls.tls, "TLSv1.3 X");
  EXPECT_EQ(outcome.tls.verified, "yes: by its login");
  EXPECT_EQ(hop.lines.front(), "EHLO us.example");
  until_asked();
  queued->no_work();
  EXPECT_EQ(until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(hop.lines.back(), "QUIT");
}

TEST_F(Turned, ItIsToldThatTheHostCalledInClearText) {
  call({"amy[192.0.2.9]", "", {}});
  until_asked();
  queued->lease(kBody);
  until_outcomes(1);
  EXPECT_EQ(queued->outcomes.front().tls.tls, "none: not begun by the host that called");
}

// There is no limit of messages: who is sent away would call again at once.
TEST_F(Turned, ItCarriesAllThatThereIs) {
  call();
  for (std::size_t i = 1; i <= Pool::kMessagesPerConnection + 2; ++i) {
    until_asked();
    queued->lease(kBody);
    until_outcomes(i);
  }
  EXPECT_EQ(hop.sessions, 1U);
}

// Whatever it says or does, nobody could connect there before either.
TEST_F(Turned, AHostThatGoesIsNoFailureOfTheNextHop) {
  hop.answer([](const std::string& line, bool& close) -> std::optional<std::string> {
    if (line == "<greeting>") return close = true, "554 not now";
    return std::nullopt;
  });
  call();
  EXPECT_EQ(until_ended().end, ipc::GrantEnd::kClosed);
  hop.answer([](const std::string& line, bool& close) -> std::optional<std::string> {
    if (line.starts_with("MAIL")) return close = true, "";
    return std::nullopt;
  });
  call();
  until_asked();
  queued->lease(kBody);
  until_outcomes(1);
  EXPECT_EQ(queued->outcomes.front().results.front().result, ipc::Result::kDeferred);
  EXPECT_EQ(until_ended(2).end, ipc::GrantEnd::kClosed);
}

TEST_F(Turned, ASocketThatIsClosedEndsIt) {
  auto pair = os::socket_pair();
  pair->first.reset();
  queued->call("inner.example", {"amy[192.0.2.9]", "", {}}, std::move(pair->second));
  EXPECT_EQ(until_ended().end, ipc::GrantEnd::kClosed);
}

// The machine: what the owner asks between messages.
TEST(Noop, FindsWhetherTheNextHopIsThere) {
  Client client("us.example");
  std::string out;
  ASSERT_EQ(client.on_input("220 a\r\n250 a\r\n", out).event, Client::Event::kReady);
  out.clear();
  client.noop(out);
  EXPECT_EQ(out, "NOOP\r\n");
  EXPECT_EQ(client.state(), ClientState::kNoop);
  EXPECT_GT(client.timeout(), base::Millis(0));
  ASSERT_EQ(client.on_input("250 here\r\n", out).event, Client::Event::kAlive);
  EXPECT_EQ(client.state(), ClientState::kReady);
  client.noop(out);
  EXPECT_EQ(client.on_input("421 good night\r\n", out).event, Client::Event::kOver);
}

TEST(KeptInTls, CountsAsTls) {
  Client client("us.example");
  client.kept_in_tls();
  std::string out;
  ASSERT_EQ(client.on_input("220 a\r\n250-a\r\n250 REQUIRETLS\r\n", out).event, Client::Event::kReady);
  EXPECT_TRUE(client.in_tls());
  Envelope secret;
  secret.from = "ann@example.org";
  secret.recipients = {{.address = "x@inner.example"}};
  secret.require_tls = true;
  EXPECT_FALSE(client.lack_of_tls(secret));
}

}  // namespace
}  // namespace postern::relay
