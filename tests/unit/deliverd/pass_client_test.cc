// What next hops hear of the clients that messages came from, over real sockets: in which order, on how many
// connections, and whose trouble it is when they do not like it.
#include <algorithm>

#include "pool_rig.h"

namespace postern::relay {
namespace {

using config::PassClient;
using Lines = std::vector<std::string>;

const ipc::FirstClient kClient{base::parse_ip("192.0.2.7"), "4321", "client.example", "hello.example", "ESMTP"};

class Passing : public testing::Test {
 protected:
  config::HopSpec hop_with(PassClient pass) const {
    auto hop = rig.to_hop();
    hop.pass_client = pass;
    return hop;
  }
  // One message over a connection of its own; what became of it.
  std::string send(const config::HopSpec& hop, const std::optional<ipc::FirstClient>& client) {
    const auto before = rig.queued->outcomes.size();
    const auto ended = rig.queued->ended.size();
    rig.queued->asks.clear();
    rig.queued->client = client;
    rig.queued->grant("example.org", hop);
    rig.until_asked();
    rig.queued->lease(kBody);
    rig.until_outcomes(before + 1);
    rig.until_ended(ended + 1);
    return text(rig.queued->outcomes.back());
  }
  // The second of the MX hosts; null: somebody else has its port.
  std::unique_ptr<FakeHop> second() {
    auto hop = std::make_unique<FakeHop>(rig.loop, FakeHop::Answer(), "127.0.0.2", rig.hop.endpoint().port);
    EXPECT_TRUE(hop->bound());
    hop->proxied = rig.hop.proxied;
    return hop;
  }
  static FakeHop::Answer offering(std::string line, std::string to_xclient = "220 fake") {
    return [line, to_xclient](const std::string& said, bool&) -> std::optional<std::string> {
      if (said.starts_with("EHLO")) return "250-fake\r\n250-PIPELINING\r\n250 " + line;
      if (said.starts_with("XCLIENT")) return to_xclient;
      return std::nullopt;
    };
  }
  static FakeHop::Answer greeting(std::string text, bool closes = false) {
    return [text, closes](const std::string& said, bool& close) -> std::optional<std::string> {
      if (said != "<greeting>") return std::nullopt;
      close = closes;
      return text;
    };
  }
  PoolRig rig;
};

// --- PROXY ------------------------------------------------------------------------------------------

class Proxied : public Passing {
 protected:
  Proxied() { rig.hop.proxied = true; }
  const config::HopSpec hop = hop_with(PassClient::kProxy);
  const std::string header = proxy_header(kClient, rig.hop.endpoint());
};

TEST_F(Proxied, ConnectsWithTheMessageInHandAndTheHeaderInFront) {
  rig.queued->client = kClient;
  rig.queued->grant("example.org", hop);
  rig.until_asked();
  for (int i = 0; i < 3; ++i) rig.loop.run_once(false);
  EXPECT_EQ(rig.hop.sessions, 0U) << "whose connection would it be?";
  rig.queued->lease(kBody);
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDelivered, 250));
  EXPECT_EQ(rig.hop.headers, std::vector{header});
  EXPECT_EQ(rig.hop.lines, (Lines{"EHLO hello.example", "MAIL FROM:<a@us.example> SIZE=40",
                                  "RCPT TO:<r@example.org>", "DATA", "QUIT"}));
  EXPECT_EQ(rig.hop.messages, std::vector{kOnTheWire});
  EXPECT_TRUE(rig.queued->asks.empty()) << "another message may be another's";
}

TEST_F(Proxied, EachMessageHasAConnectionOfItsOwn) {
  auto other = kClient;
  other.address = base::parse_ip("2001:db8::7");
  other.hello = "not a name";
  EXPECT_EQ(send(hop, kClient), one(kDelivered, 250));
  EXPECT_EQ(send(hop, other), one(kDelivered, 250));
  EXPECT_EQ(send(hop, std::nullopt), one(kDelivered, 250));
  EXPECT_EQ(rig.hop.sessions, 3U);
  EXPECT_EQ(rig.hop.headers, (std::vector{header, proxy_header(other, rig.hop.endpoint()),
                                          proxy_header(std::nullopt, rig.hop.endpoint())}));
  Lines hellos;
  for (const auto& line : rig.hop.lines)
    if (line.starts_with("EHLO")) hellos.push_back(line);
  EXPECT_EQ(hellos, (Lines{"EHLO hello.example", "EHLO us.example", "EHLO us.example"}));
}

TEST_F(Proxied, WhereNobodyAnswersTheMessageComesBackAndTheHopIsTheTrouble) {
  auto nowhere = hop;
  nowhere.host = "127.0.0.3";
  EXPECT_EQ(send(nowhere, kClient), one(kReturned, 0));
  EXPECT_EQ(rig.queued->ended.back().end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(rig.queued->ended.back().failure, ipc::FailureClass::kConnect);
  EXPECT_EQ(rig.queued->ended.back().reply.text, "connecting: Connection refused");
}

// Or one client that the next hop does not like would stop the mail of all.
TEST_F(Proxied, AClientThatIsRefusedIsTheMessagesTrouble) {
  rig.hop.answer(greeting("554 5.7.1 not you"));
  EXPECT_EQ(send(hop, kClient), one(kDeferred, 554));
  EXPECT_EQ(rig.queued->ended.back().end, ipc::GrantEnd::kClosed);
  rig.hop.answer(greeting("", true));
  EXPECT_EQ(send(hop, kClient), one(kDeferred, 0));
  EXPECT_EQ(rig.queued->ended.back().end, ipc::GrantEnd::kClosed);
}

TEST_F(Proxied, WhereWeOurselvesAreRefusedTheHopIsTheTrouble) {
  rig.hop.answer(greeting("554 5.7.1 not you"));
  EXPECT_EQ(send(hop, std::nullopt), one(kReturned, 0));
  EXPECT_EQ(rig.queued->ended.back().end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(rig.queued->ended.back().failure, ipc::FailureClass::kGreeting);
}

TEST_F(Proxied, TheNextHostGetsAHeaderOfItsOwn) {
  const auto other = second();
  rig.hop.answer(greeting("454 4.7.1 not now"));
  config::HopSpec mx;
  mx.pass_client = PassClient::kProxy;
  EXPECT_EQ(send(mx, kClient), one(kDelivered, 250));
  EXPECT_EQ(rig.hop.headers, std::vector{header});
  EXPECT_EQ(other->headers, std::vector{proxy_header(kClient, other->endpoint())});
  EXPECT_EQ(other->messages.size(), 1U);
  const auto& name = rig.queued->found.at(0).next_hop;
  EXPECT_TRUE(name.ends_with("/proxy")) << "nobody else's mail goes over such connections: " << name;
}

TEST_F(Proxied, OneThatWaitsLongForItsMessageEnds) {
  rig.restart_pool(base::Millis(50));
  rig.connect();
  rig.queued->grant("example.org", hop);
  rig.until_asked();
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  rig.queued->lease(kBody);  // crosses its end
  rig.until_outcomes(1);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kReturned, 0));
  EXPECT_EQ(rig.hop.sessions, 0U);
}

TEST_F(Proxied, ItMayBeCancelledBeforeAndBehindItsMessage) {
  const auto waiting = rig.queued->grant("example.org", hop);
  rig.until_asked();
  rig.queued->cancel(waiting);
  EXPECT_EQ(rig.until_ended(1).end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(rig.hop.sessions, 0U);
  for (const bool broken_off : {false, true}) {
    rig.queued->asks.clear();
    rig.queued->client = kClient;
    rig.hop.answer(greeting(""));
    const auto grant = rig.queued->grant("example.org", hop);
    rig.until_asked();
    const auto headers = rig.hop.headers.size();
    const auto outcomes = rig.queued->outcomes.size();
    const auto lease = rig.queued->lease(kBody);
    rig.until([&] { return rig.hop.headers.size() > headers; });
    broken_off ? rig.queued->break_off(lease) : rig.queued->cancel(grant);
    rig.until_outcomes(outcomes + 1);
    EXPECT_EQ(text(rig.queued->outcomes.back()), one(kReturned, 0)) << broken_off;
    rig.until([&] { return rig.hop.open == 0; });
  }
  EXPECT_TRUE(rig.hop.messages.empty());
}

TEST_F(Proxied, ProbesAreOurOwnAndShareAConnection) {
  for (std::uint64_t n = 1; n <= 2; ++n) {
    rig.queued->connection().send(
        ipc::Probe{base::RequestId(n), "in.example", hop, mail::Address::parse("a@in.example").value()});
    rig.until([&] { return rig.queued->probed.size() >= n; });
    EXPECT_EQ(rig.queued->probed.back().result, ipc::Result::kDelivered);
  }
  EXPECT_EQ(rig.hop.headers, std::vector{proxy_header(std::nullopt, rig.hop.endpoint())});
  EXPECT_EQ(rig.hop.lines.front(), "EHLO us.example");
}

TEST_F(Proxied, AProbeThatIsRefusedIsAnswered) {
  rig.hop.answer(greeting("554 5.7.1 not you"));
  rig.queued->connection().send(
      ipc::Probe{base::RequestId(1), "in.example", hop, mail::Address::parse("a@in.example").value()});
  rig.until([&] { return !rig.queued->probed.empty(); });
  EXPECT_EQ(rig.queued->probed.back().result, ipc::Result::kDeferred);
  EXPECT_EQ(rig.queued->probed.back().reply.code, 554);
}

// --- XCLIENT ----------------------------------------------------------------------------------------

class XclientSession : public Passing {
 protected:
  XclientSession() { rig.hop.answer(offering("XCLIENT NAME ADDR PORT PROTO HELO LOGIN")); }
  const config::HopSpec hop = hop_with(PassClient::kXclient);
};

TEST_F(XclientSession, MakesTheSessionItsClientsForOneMessage) {
  EXPECT_EQ(send(hop, kClient), one(kDelivered, 250));
  EXPECT_EQ(rig.queued->ended.back().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(rig.hop.lines,
            (Lines{"EHLO us.example",
                   "XCLIENT NAME=client.example ADDR=192.0.2.7 PORT=4321 PROTO=ESMTP HELO=hello.example",
                   "EHLO hello.example", "MAIL FROM:<a@us.example>", "RCPT TO:<r@example.org>", "DATA", "QUIT"}));
  EXPECT_EQ(rig.hop.messages, std::vector{kOnTheWire});
  EXPECT_TRUE(rig.queued->asks.empty());
}

TEST_F(XclientSession, IsNotSaidOfOurOwnMailWhichHasASessionOfItsOwn) {
  EXPECT_EQ(send(hop, std::nullopt), one(kDelivered, 250));
  EXPECT_EQ(rig.hop.lines, (Lines{"EHLO us.example", "MAIL FROM:<a@us.example>", "RCPT TO:<r@example.org>", "DATA",
                                  "QUIT"}));
  EXPECT_TRUE(rig.queued->asks.empty());
}

TEST_F(XclientSession, WhereItIsNotToBeHadTheMailWaits) {
  rig.hop.answer(offering("XFORWARD NAME ADDR"));
  EXPECT_EQ(send(hop, kClient), one(kDeferred, 0));
  const auto& missing = rig.queued->outcomes.back().results.at(0);
  EXPECT_EQ(missing.reply.text, "the next hop does not offer XCLIENT");
  EXPECT_EQ(missing.failure, ipc::FailureClass::kPolicy);
  EXPECT_EQ(rig.queued->ended.back().end, ipc::GrantEnd::kClosed) << "our own mail may go";
  rig.hop.answer(offering("XCLIENT ADDR", "550 5.7.0 not for you"));
  EXPECT_EQ(send(hop, kClient), one(kDeferred, 550));
  EXPECT_EQ(rig.queued->outcomes.back().results.at(0).failure, ipc::FailureClass::kPolicy);
  EXPECT_TRUE(rig.hop.messages.empty());
  EXPECT_EQ(rig.hop.lines.back(), "QUIT");
}

TEST_F(XclientSession, TheNextHostMayKnowIt) {
  const auto other = second();
  rig.hop.answer(offering("XCLIENT ADDR", "421 4.3.2 too many of that client"));
  other->answer(offering("XCLIENT ADDR"));
  config::HopSpec mx;
  mx.pass_client = PassClient::kXclient;
  EXPECT_EQ(send(mx, kClient), one(kDelivered, 250));
  EXPECT_EQ(other->lines.at(1), "XCLIENT ADDR=192.0.2.7");
  EXPECT_TRUE(rig.hop.messages.empty());
}

TEST_F(XclientSession, WhatIsCancelledAtItComesBack) {
  rig.hop.answer(offering("XCLIENT ADDR", ""));
  rig.queued->client = kClient;
  const auto grant = rig.queued->grant("example.org", hop);
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until([&] { return rig.hop.lines.back() == "XCLIENT ADDR=192.0.2.7"; });
  rig.queued->cancel(grant);
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kReturned, 0));
}

TEST_F(XclientSession, ProbesAreOurOwn) {
  for (std::uint64_t n = 1; n <= 2; ++n) {
    rig.queued->connection().send(
        ipc::Probe{base::RequestId(n), "in.example", hop, mail::Address::parse("a@in.example").value()});
    rig.until([&] { return rig.queued->probed.size() >= n; });
    EXPECT_EQ(rig.queued->probed.back().result, ipc::Result::kDelivered);
  }
  EXPECT_EQ(rig.hop.sessions, 1U);
  EXPECT_EQ(rig.hop.lines.at(1), "MAIL FROM:<>");
}

// --- XFORWARD ---------------------------------------------------------------------------------------

class XforwardSession : public Passing {
 protected:
  XforwardSession() { rig.hop.answer(offering("XFORWARD ADDR IDENT SOURCE")); }
  const config::HopSpec hop = hop_with(PassClient::kXforward);
};

TEST_F(XforwardSession, TellsOfEachMessageOnOneConnection) {
  rig.queued->grant("example.org", hop);
  Lines told;
  for (const auto& client : {std::optional(kClient), std::optional<ipc::FirstClient>()}) {
    rig.until_asked();
    rig.queued->client = client;
    const auto lease = rig.queued->lease(kBody);
    told.push_back(fmt::format("XFORWARD ADDR={} IDENT={} SOURCE={}", client ? "192.0.2.7" : "[UNAVAILABLE]",
                               base::to_string(lease.message), client ? "REMOTE" : "LOCAL"));
    rig.until_outcomes(told.size());
  }
  EXPECT_EQ(rig.hop.sessions, 1U);
  EXPECT_EQ(rig.hop.messages.size(), 2U);
  EXPECT_EQ(rig.hop.lines, (Lines{"EHLO us.example", told[0], "MAIL FROM:<a@us.example>", "RCPT TO:<r@example.org>",
                                  "DATA", told[1], "MAIL FROM:<a@us.example>", "RCPT TO:<r@example.org>", "DATA"}));
  EXPECT_EQ(rig.hop.reads, 5U) << "it costs no write of its own";
}

TEST_F(XforwardSession, KeepsNoMailWhereItIsNotWelcome) {
  rig.hop.answer(offering("SIZE"));
  rig.queued->client = kClient;
  rig.queued->grant("example.org", hop);
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until_outcomes(1);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDelivered, 250));
  EXPECT_EQ(std::count_if(rig.hop.lines.begin(), rig.hop.lines.end(),
                          [](const std::string& line) { return line.starts_with("XFORWARD"); }),
            0);
}

TEST_F(XforwardSession, ProbesTellNothing) {
  rig.queued->connection().send(
      ipc::Probe{base::RequestId(1), "in.example", hop, mail::Address::parse("a@in.example").value()});
  rig.until([&] { return !rig.queued->probed.empty(); });
  EXPECT_EQ(rig.hop.lines, (Lines{"EHLO us.example", "MAIL FROM:<>", "RCPT TO:<a@in.example>"}));
}

// Who is told of nothing hears nothing, whatever queued says.
TEST_F(Passing, IsForThoseWhoAreMeantAlone) {
  rig.hop.answer([](const std::string& line, bool&) -> std::optional<std::string> {
    if (line.starts_with("EHLO")) return "250-fake\r\n250-XCLIENT ADDR\r\n250 XFORWARD ADDR";
    return std::nullopt;
  });
  rig.queued->client = kClient;
  rig.queued->grant("example.org", rig.to_hop());
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until_outcomes(1);
  EXPECT_EQ(rig.hop.lines, (Lines{"EHLO us.example", "MAIL FROM:<a@us.example>", "RCPT TO:<r@example.org>", "DATA"}));
}

}  // namespace
}  // namespace postern::relay
