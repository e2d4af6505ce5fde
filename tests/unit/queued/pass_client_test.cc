// Whose client a message was: what is kept of that, and which next hops hear of it.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

using config::PassClient;

const ipc::FirstClient kForwarded{base::parse_ip("198.51.100.7"), "4321", "first.example", "first hello", "SMTP"};

config::HopSpec hop_to(std::string name, PassClient pass) {
  return {.kind = config::HopKind::kHost, .host = std::move(name), .pass_client = pass};
}

class PassClientTest : public ::testing::Test, protected EngineRig {
 protected:
  // Mail for far.example goes to a host that is told of clients, other mail to one that is not.
  void tell(PassClient pass = PassClient::kXforward) {
    config.routes = {{.to = {"far.example"}, .via = {hop_to("told", pass)}},
                     {.to = {"*"}, .via = {hop_to("untold", PassClient::kNone)}}};
  }
  void start() {
    begin();
    connect(smtpd);
  }
  ipc::Submit from_client() {
    ++requests_;
    auto frame = submit_frame(requests_, static_cast<std::uint8_t>(requests_), 0);
    frame.client_name = "name.example";
    return frame;
  }
  base::MessageId submit(ipc::Submit frame, const std::string& to = "a@far.example") {
    const std::string body = "Subject: x\r\n\r\nhello\r\n";
    frame.body_size = body.size();
    const auto before = smtpd.submitted.size();
    send(smtpd, frame, {to}, body);
    for (int n = 0; n < 10; ++n) turn(1);
    EXPECT_EQ(smtpd.submitted.size(), before + 1);
    return smtpd.submitted.back().id;
  }
  // Whom next hops hear of with so many messages, which are all that are queued.
  std::map<base::MessageId, std::optional<ipc::FirstClient>> told_of_all(std::size_t count) {
    FakeRelay relay;
    connect(relay);
    for (int n = 0; n < 50 && relay.leases.size() < count; ++n) {
      for (const auto& grant : std::exchange(relay.grants, {})) (void)relay.ask(grant);
      turn(1);
    }
    std::map<base::MessageId, std::optional<ipc::FirstClient>> told;
    for (const auto& lease : relay.leases) told[lease.message] = lease.client;
    EXPECT_EQ(told.size(), count) << "not handed out";
    return told;
  }
  std::optional<ipc::FirstClient> told(base::MessageId id) { return told_of_all(1)[id]; }
  FakeSmtpd smtpd;

 private:
  std::uint64_t requests_ = 0;
};

const ipc::FirstClient kDirect{base::parse_ip("10.1.2.3"), "", "name.example", "client.example", "ESMTP"};

TEST_F(PassClientTest, IsKeptWhereANextHopIsToldOfIt) {
  tell();
  start();
  const auto direct = submit(from_client());
  auto frame = from_client();
  frame.esmtp = false;
  frame.hello.clear();
  frame.client_name.clear();
  const auto terse = submit(frame);
  ASSERT_NE(look(direct)->first, nullptr);
  EXPECT_EQ(*look(direct)->first, kDirect);
  const auto told = told_of_all(2);
  EXPECT_EQ(told.at(direct), kDirect);
  EXPECT_EQ(told.at(terse), (ipc::FirstClient{kDirect.address, "", "", "", "SMTP"}));
}

TEST_F(PassClientTest, ItsFirstOneCountsWhoeverSaidSo) {
  tell();
  start();
  auto frame = from_client();
  frame.first = kForwarded;
  const auto id = submit(frame);
  EXPECT_EQ(*look(id)->first, kForwarded);
  EXPECT_EQ(told(id), kForwarded);
}

// Who may say XFORWARD has no rights of others here, and must not get them at the next hop.
class RightsTest : public PassClientTest, public ::testing::WithParamInterface<PassClient> {};

TEST_P(RightsTest, AreNotThoseOfWhomXforwardNames) {
  tell(GetParam());
  start();
  auto frame = from_client();
  frame.first = kForwarded;
  const auto forwarded = submit(frame);
  const auto direct = submit(from_client());
  const auto told = told_of_all(2);
  EXPECT_EQ(told.at(forwarded), (ipc::FirstClient{kDirect.address, "", "", "client.example", ""}));
  EXPECT_EQ(told.at(direct), kDirect);
}

INSTANTIATE_TEST_SUITE_P(Ways, RightsTest, ::testing::Values(PassClient::kXclient, PassClient::kProxy));

TEST_F(PassClientTest, NothingIsKeptWhereNobodyIsTold) {
  config.routes = {{.to = {"*"}, .via = {hop_to("untold", PassClient::kNone)}}};
  start();
  auto frame = from_client();
  frame.first = kForwarded;
  const auto id = submit(frame);
  EXPECT_EQ(look(id)->first, nullptr);
  EXPECT_FALSE(told(id));
}

TEST_F(PassClientTest, OfTwoNextHopsTheOneHears) {
  tell();
  start();
  const auto one = submit(from_client());
  const auto other = submit(from_client(), "a@elsewhere.example");
  EXPECT_NE(look(other)->first, nullptr) << "it may be routed anew";
  const auto told = told_of_all(2);
  EXPECT_TRUE(told.at(one));
  EXPECT_FALSE(told.at(other));
}

TEST_F(PassClientTest, AnInnerHostOfADomainMayHearToo) {
  config.domain_hops = {hop_to("inner", PassClient::kXclient)};
  start();
  const auto id = submit(from_client(), "ann@example.org");
  EXPECT_EQ(told(id), kDirect);
}

TEST_F(PassClientTest, OutlivesARestart) {
  tell();
  start();
  auto frame = from_client();
  frame.first = kForwarded;
  const auto id = submit(frame);
  end();
  begin();
  EXPECT_EQ(*look(id)->first, kForwarded);
  EXPECT_EQ(told(id), kForwarded);
}

// What was accepted before anybody was to be told has its client and hello all the same.
TEST_F(PassClientTest, WhatIsQueuedAlreadyIsToldOfAsFarAsItIsKnown) {
  config.routes = {{.to = {"*"}, .via = {hop_to("untold", PassClient::kNone)}}};
  start();
  const auto id = submit(from_client());
  tell(PassClient::kProxy);
  engine->configure(config);
  turn();
  EXPECT_EQ(told(id), (ipc::FirstClient{kDirect.address, "", "", "client.example", ""}));
}

TEST_F(PassClientTest, AUserOfThisHostIsNoClient) {
  tell();
  config.rights.listeners[0].local = true;
  config.rights.listeners[0].relay_from = {base::parse_network("127.0.0.0/8").value()};
  start();
  auto frame = from_client();
  frame.origin = config::kThisHost;
  frame.first = kForwarded;  // nobody says XFORWARD there
  const auto id = submit(frame);
  EXPECT_FALSE(told(id));
}

// It has none of our rights.
TEST_F(PassClientTest, AClientThatNobodyKnowsIsNotThisHost) {
  tell(PassClient::kXclient);
  config.rights.listeners[0].service = config::Service::kMx;
  config.rights.listeners[0].xclient_from = {base::parse_network("10.0.0.0/8").value()};
  config.domain_hops = {hop_to("inner", PassClient::kXclient)};
  start();
  auto frame = from_client();
  frame.origin.claimed = config::kUnknownClient;
  frame.client_name.clear();
  const auto id = submit(frame, "ann@example.org");
  EXPECT_EQ(told(id), (ipc::FirstClient{{}, "", "", "client.example", "ESMTP"}));
}

TEST_F(PassClientTest, OurNoticesComeFromNobody) {
  tell();
  start();
  auto record = envelope(0);
  record.notice = true;
  record.from = {};
  record.recipients.push_back({.number = 0, .address = address("a@far.example")});
  const auto id = record.id;
  store->accept(std::move(record), std::make_shared<const std::string>(),
                [this, id](bool) noexcept { engine->admit(id); });
  turn();
  EXPECT_FALSE(told(id));
}

TEST_F(PassClientTest, TheRouterKnowsWhetherAnybodyIsTold) {
  EXPECT_FALSE(Router(config).passes_clients());
  config.routes = {{.to = {"*"}, .via = {hop_to("a", PassClient::kNone), hop_to("b", PassClient::kNone)}}};
  EXPECT_FALSE(Router(config).passes_clients());
  for (const auto pass : {PassClient::kXforward, PassClient::kXclient, PassClient::kProxy}) {
    config.routes[0].via[1].pass_client = pass;
    EXPECT_TRUE(Router(config).passes_clients());
  }
  config.routes.clear();
  config.domain_hops = {hop_to("inner", PassClient::kProxy)};
  EXPECT_TRUE(Router(config).passes_clients());
}

// Connections that are told are no others', though the host is the same.
TEST_F(PassClientTest, NextHopsThatHearOtherThingsAreOtherNextHops) {
  std::set<std::string> names;
  for (const auto pass : {PassClient::kNone, PassClient::kXforward, PassClient::kXclient, PassClient::kProxy})
    names.insert(hop_name(hop_to("relay.example", pass)));
  EXPECT_EQ(names, (std::set<std::string>{"relay.example:25", "relay.example:25/proxy", "relay.example:25/xclient",
                                          "relay.example:25/xforward"}));
}

}  // namespace
}  // namespace postern::queued
