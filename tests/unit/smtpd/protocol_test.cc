// What the dialogues cannot say: the calls to the sink, the end of data under every permutation,
// what the owner is told to wait for.
#include "smtpd/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/smtpd/harness.h"

namespace postern::smtpd::test {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

constexpr std::string_view kUntilData =
    "EHLO client\r\nMAIL FROM:<ann@a.example> SIZE=77 BODY=8BITMIME\r\n"
    "RCPT TO:<alice@example.org>\r\nDATA\r\n";

class ProtocolTest : public testing::Test {
 protected:
  Connection connect() { return Connection(service_, base::parse_ip("192.0.2.1")); }

  config::RightsIndex rights_{sample_rights()};
  Service service_ = sample_service(rights_);
};

TEST_F(ProtocolTest, HandsOverTheWholeEnvelope) {
  auto c = connect();
  c.feed(kUntilData);
  c.feed("..\r\n.\r\n");
  ASSERT_EQ(c.sink.messages.size(), 1U);
  const auto& [envelope, facts, body] = c.sink.messages.front();
  EXPECT_EQ(envelope.reverse_path.text(), "ann@a.example");
  EXPECT_EQ(envelope.hello, "client");
  EXPECT_EQ(envelope.with, mail::WithProtocol::kEsmtp);
  EXPECT_EQ(envelope.declared_size, 77U);
  EXPECT_TRUE(envelope.eight_bit);
  ASSERT_EQ(envelope.recipients.size(), 1U);
  EXPECT_EQ(envelope.recipients[0].decision.verdict, config::Verdict::kLocal);
  EXPECT_EQ(envelope.recipients[0].decision.user, "alice");
  EXPECT_EQ(body, "..\r\n");
  EXPECT_EQ(facts.wire_size, 4U);
  EXPECT_EQ(facts.size, 3U);
  EXPECT_TRUE(facts.stuffed);
  EXPECT_EQ(c.protocol.messages(), 1U);
}

class ForwardedTest : public ProtocolTest {
 protected:
  ForwardedTest() {
    service_.xforward_from = config::NetworkSet({base::parse_network("192.0.2.1").value(),
                                                 base::parse_network("127.0.0.0/8").value()});
  }
  // Whom the next hop would be told of, once this was said, by this peer.
  std::optional<ipc::FirstClient> first(std::string_view xforward, std::string_view peer = "192.0.2.1") {
    Connection c(service_, base::parse_ip(peer));
    c.feed("EHLO proxy.example\r\nXFORWARD " + std::string(xforward) + "\r\n");
    c.feed("MAIL FROM:<ann@a.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n.\r\n");
    c.feed("MAIL FROM:<ann@a.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n.\r\n");
    CHECK(c.sink.messages.size() == 2);
    EXPECT_FALSE(c.sink.messages[1].envelope.first) << "it was said of one message";
    return c.sink.messages[0].envelope.first;
  }
};

TEST_F(ForwardedTest, TheFirstClientGoesToTheNextHop) {
  EXPECT_EQ(first("NAME=first.example ADDR=198.51.100.7 PORT=4321 PROTO=SMTP HELO=a+20b IDENT=x SOURCE=REMOTE"),
            (ipc::FirstClient{base::parse_ip("198.51.100.7"), "4321", "first.example", "a b", "SMTP"}));
  EXPECT_EQ(first("ADDR=IPV6:2001:db8::7 NAME=[UNAVAILABLE] HELO=[TEMPUNAVAIL]"),
            (ipc::FirstClient{base::parse_ip("2001:db8::7"), "", "", "", ""}));
  EXPECT_EQ(first("ADDR=[UNAVAILABLE] HELO=client.example"), (ipc::FirstClient{{}, "", "", "client.example", ""}));
}

// Then its client is who said so.
TEST_F(ForwardedTest, WhatNamesNobodyIsNothing) {
  EXPECT_FALSE(first("SOURCE=LOCAL"));
  EXPECT_FALSE(first("NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=4321 PROTO=ESMTP IDENT=x SOURCE=REMOTE"));
}

// On another host that address is this one's own.
TEST_F(ForwardedTest, TheLoopbackOfAnotherHostNamesNobodyHere) {
  EXPECT_FALSE(first("NAME=localhost ADDR=127.0.0.1 SOURCE=LOCAL"));
  EXPECT_FALSE(first("NAME=localhost ADDR=IPV6:::1"));
  const auto here = first("NAME=localhost ADDR=127.0.0.1", "127.0.0.9");
  ASSERT_TRUE(here);
  EXPECT_EQ(here->address, base::parse_ip("127.0.0.1"));
}

class LocalProtocolTest : public testing::Test {
 protected:
  LocalProtocolTest() {
    service_.local = service_.login_required = true;
    protocol_.await_user();
  }
  static config::Rights rights() {
    auto rights = sample_rights();
    rights.listeners = {{.service = config::Service::kSubmission, .local = true}};
    return rights;
  }
  config::RightsIndex rights_{rights()};
  Service service_ = sample_service(rights_);
  RecordingSink sink_;
  Protocol protocol_{service_, std::nullopt, sink_};
};

TEST_F(LocalProtocolTest, GreetsAUserOfThisHostOnceItIsKnown) {
  EXPECT_EQ(protocol_.want(), Want::kLogin);
  EXPECT_EQ(protocol_.timeout(), TimeoutKind::kNone);
  EXPECT_TRUE(protocol_.output().empty());
  protocol_.login_answered({LoginStep::Result::kAccepted, "www-data"});
  EXPECT_THAT(protocol_.output(), testing::StartsWith("220 "));
  EXPECT_EQ(protocol_.account(), "www-data");
  EXPECT_FALSE(protocol_.origin());
  protocol_.output().clear();
  const std::string_view mail = "EHLO client\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<x@far.example>\r\n";
  EXPECT_EQ(protocol_.input(mail), mail.size());
  EXPECT_THAT(protocol_.output(), testing::Not(testing::HasSubstr("AUTH")));
  EXPECT_THAT(protocol_.output(), EndsWith("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n"));
  EXPECT_EQ(protocol_.input("AUTH PLAIN\r\n"), 12U);
  EXPECT_THAT(protocol_.output(), EndsWith("502 5.5.1 Command not offered\r\n"));
}

TEST_F(LocalProtocolTest, TurnsAwayWhomItMayNotServe) {
  protocol_.login_answered({LoginStep::Result::kRefused, {}});
  EXPECT_THAT(protocol_.output(), testing::StartsWith("554 "));
  EXPECT_EQ(protocol_.want(), Want::kClose);
}

TEST_F(LocalProtocolTest, SaysLaterWhenNobodyCanTellWhoThatIs) {
  protocol_.login_answered({LoginStep::Result::kUnavailable, {}});
  EXPECT_THAT(protocol_.output(), testing::StartsWith("421 4.3.2 "));
  EXPECT_EQ(protocol_.want(), Want::kClose);
}

TEST_F(LocalProtocolTest, EndsWhileItWaits) {
  protocol_.shutdown();
  EXPECT_EQ(protocol_.want(), Want::kClose);
}

TEST_F(ProtocolTest, OneOutputForAPipelinedGroup) {
  RecordingSink sink;
  Protocol protocol(service_, base::parse_ip("192.0.2.1"), sink);
  protocol.start();
  protocol.output().clear();
  EXPECT_EQ(protocol.input(kUntilData), kUntilData.size());
  EXPECT_THAT(protocol.output(),
              EndsWith("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"));
}

TEST_F(ProtocolTest, ReadsNothingWhileItWaits) {
  RecordingSink sink;
  Protocol protocol(service_, base::parse_ip("192.0.2.1"), sink);
  protocol.start();
  EXPECT_EQ(protocol.input(kUntilData), kUntilData.size());
  EXPECT_EQ(protocol.timeout(), TimeoutKind::kData);
  const std::string_view rest = "x\r\n.\r\nNOOP\r\n";
  EXPECT_EQ(protocol.input(rest), 6U);
  EXPECT_EQ(protocol.want(), Want::kResult);
  EXPECT_EQ(protocol.timeout(), TimeoutKind::kNone);
  EXPECT_EQ(protocol.input("NOOP\r\n"), 0U);
  protocol.accepted(base::MessageId(7));
  EXPECT_EQ(protocol.want(), Want::kInput);
  EXPECT_THAT(protocol.output(), EndsWith("250 2.0.0 Ok: queued as 0000000000007\r\n"));
}

TEST_F(ProtocolTest, ReadsNothingUntilTlsStands) {
  service_.tls = config::TlsMode::kOptional;
  RecordingSink sink;
  Protocol protocol(service_, base::parse_ip("192.0.2.1"), sink);
  protocol.start();
  EXPECT_EQ(protocol.input("EHLO c\r\nSTARTTLS\r\nNOOP\r\n"), 18U);
  EXPECT_EQ(protocol.want(), Want::kTls);
  EXPECT_THAT(protocol.output(), EndsWith("250 HELP\r\n")) << "nothing before start_tls()";
  protocol.start_tls(TlsStart::kReady);
  EXPECT_THAT(protocol.output(), EndsWith("220 2.0.0 Go ahead with TLS\r\n"));
  EXPECT_EQ(protocol.want(), Want::kTls);
  EXPECT_EQ(protocol.timeout(), TimeoutKind::kTls);
  EXPECT_EQ(protocol.input("NOOP\r\n"), 0U);
  EXPECT_FALSE(protocol.tls());
  protocol.output().clear();
  protocol.secured({"TLSv1.3 X", "peer"});
  EXPECT_EQ(protocol.output(), "");
  EXPECT_EQ(protocol.want(), Want::kInput);
  EXPECT_EQ(protocol.hello(), "");
  EXPECT_EQ(protocol.tls()->peer, "peer");
}

TEST_F(ProtocolTest, SaysNothingInClearTextDuringAHandshake) {
  for (const auto mode : {config::TlsMode::kOptional, config::TlsMode::kImplicit}) {
    for (const bool time_is_up : {true, false}) {
      service_.tls = mode;
      RecordingSink sink;
      Protocol protocol(service_, base::parse_ip("192.0.2.1"), sink);
      if (mode == config::TlsMode::kOptional) {
        protocol.start();
        (void)protocol.input("EHLO c\r\nSTARTTLS\r\n");
        protocol.start_tls(TlsStart::kReady);
      }
      EXPECT_EQ(protocol.timeout(), TimeoutKind::kTls);
      protocol.output().clear();
      time_is_up ? protocol.timed_out() : protocol.shutdown();
      EXPECT_EQ(protocol.want(), Want::kClose);
      EXPECT_EQ(protocol.output(), "");
    }
  }
}

TEST_F(ProtocolTest, PausesAfterTheBytesThatAskedForIt) {
  RecordingSink sink;
  sink.pause_always = true;
  Protocol protocol(service_, base::parse_ip("192.0.2.1"), sink);
  protocol.start();
  EXPECT_EQ(protocol.input(kUntilData), kUntilData.size());
  EXPECT_EQ(protocol.input("line\r\n"), 6U);
  EXPECT_EQ(protocol.want(), Want::kResume);
  EXPECT_EQ(protocol.timeout(), TimeoutKind::kNone);
  EXPECT_EQ(protocol.input(".\r\n"), 0U);
  protocol.resume();
  EXPECT_EQ(protocol.want(), Want::kInput);
  // The end in the same piece: told only once the sink is ready.
  EXPECT_EQ(protocol.input("more\r\n.\r\n"), 9U);
  EXPECT_EQ(protocol.want(), Want::kResume);
  EXPECT_TRUE(sink.messages.empty());
  protocol.resume();
  EXPECT_EQ(protocol.want(), Want::kResult);
  ASSERT_EQ(sink.messages.size(), 1U);
  EXPECT_EQ(sink.messages[0].body, "line\r\nmore\r\n");
}

TEST_F(ProtocolTest, StoresNothingOfWhatItWillRefuse) {
  service_.limits.message_size = 10;
  auto c = connect();
  c.feed(kUntilData.substr(0, 13));
  c.feed("MAIL FROM:<ann@a.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n");
  c.feed("123456789012");
  EXPECT_EQ(c.sink.aborted, 1U);
  c.feed("\r\n.\r\n");
  EXPECT_TRUE(c.sink.messages.empty());
  EXPECT_THAT(c.sink.refusals, ElementsAre(HasSubstr("552 5.3.4")));
}

TEST_F(ProtocolTest, TellsTheSinkWhomItRefused) {
  auto c = connect();
  c.feed(
      "EHLO client\r\nMAIL FROM:<ann@a.example>\r\nRCPT TO:<x@example.org>\r\nRCPT "
      "TO:<x@far.example>\r\n");
  EXPECT_THAT(c.sink.refusals, ElementsAre("550 5.1.1 <x@example.org>: no such user here",
                                           "550 5.7.1 <x@far.example>: relaying denied"));
}

TEST_F(ProtocolTest, NamesTheTimer) {
  auto c = connect();
  EXPECT_EQ(c.protocol.timeout(), TimeoutKind::kCommand);
  c.feed("EHLO client\r\n");
  EXPECT_EQ(c.protocol.timeout(), TimeoutKind::kIdle);
  c.feed("MAIL FROM:<ann@a.example>\r\n");
  EXPECT_EQ(c.protocol.timeout(), TimeoutKind::kCommand);
  c.feed("QUIT\r\n");
  EXPECT_EQ(c.protocol.timeout(), TimeoutKind::kNone);
}

TEST_F(ProtocolTest, TimeOutWhileTheSinkPausesAbandonsTheMessage) {
  RecordingSink sink;
  sink.pause_always = true;
  Protocol protocol(service_, base::parse_ip("192.0.2.1"), sink);
  protocol.start();
  EXPECT_EQ(protocol.input(kUntilData), kUntilData.size());
  EXPECT_EQ(protocol.input("a\r\n.\r\n"), 6U);
  protocol.timed_out();
  EXPECT_EQ(sink.aborted, 1U);
  protocol.resume();
  EXPECT_EQ(protocol.want(), Want::kClose);
  EXPECT_TRUE(sink.messages.empty());
}

TEST_F(ProtocolTest, TakesANewConfigurationInTheMiddle) {
  auto c = connect();
  c.feed("EHLO client\r\nMAIL FROM:<ann@a.example>\r\nRCPT TO:<carol@example.org>\r\n");
  auto changed = sample_rights();
  changed.domains[0].users = {"carol"};
  const config::RightsIndex rights(std::move(changed));
  const auto service = sample_service(rights);
  c.protocol.reconfigure(service);
  c.feed("RCPT TO:<carol@example.org>\r\n");
  EXPECT_THAT(c.output, EndsWith("no such user here\r\n250 2.1.5 Ok\r\n"));
}

TEST_F(ProtocolTest, ManyMessagesInOneSession) {
  auto c = connect();
  c.feed("EHLO client\r\n");
  for (int i = 0; i < 1000; ++i)
    c.feed("MAIL FROM:<ann@a.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nx\r\n.\r\n");
  EXPECT_EQ(c.sink.messages.size(), 1000U);
}

// --- The end of data
// ------------------------------------------------------------------------------

// An independent reading of RFC 5321: where the body that begins `wire` ends, by searching.
struct Expected {
  bool complete = false;
  bool bare = false;
  std::string body;
};

Expected expected(const std::string& wire) {
  Expected e;
  const auto end = ("\r\n" + wire).find("\r\n.\r\n");
  e.complete = end != std::string::npos;
  e.body = wire.substr(0, e.complete ? end : wire.size());
  for (std::size_t i = 0; i < e.body.size(); ++i) {
    const bool crlf_here = e.body.compare(i, 2, "\r\n") == 0;
    if (crlf_here)
      ++i;
    else if (e.body[i] == '\r' || e.body[i] == '\n')
      e.bare = true;
  }
  return e;
}

// All strings of CR, LF, NUL, dot and a letter up to a length, between a body and a planted second
// message, whole, byte by byte and cut at random. The second one may be read as commands only behind the one true end.
TEST_F(ProtocolTest, NoPermutationAtTheEndSmugglesAMessage) {
  constexpr std::string_view kAlphabet("\r\n.\0a", 5);
  constexpr std::size_t kLongest = 6;
  const std::string planted =
      "MAIL FROM:<ceo@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nplanted\r\n.\r\n";
  std::mt19937 random(20261127);
  std::size_t tried = 0;
  for (std::size_t length = 0; length <= kLongest; ++length) {
    std::vector<std::size_t> digits(length, 0);
    for (bool more = true; more; ++tried) {
      std::string middle;
      for (const auto digit : digits) middle += kAlphabet[digit];
      const auto wire = "body" + middle + planted;
      const auto want = expected(wire);
      ASSERT_TRUE(want.complete);
      const bool ends_in_middle = want.body.size() < 4 + middle.size();

      for (const std::size_t most : {wire.size(), std::size_t{1}, std::size_t{5}}) {
        auto c = connect();
        c.feed(kUntilData);
        const auto feed = [&](std::string_view piece) { c.feed(piece); };
        most == wire.size() ? feed(wire) : in_random_pieces(wire, most, random, feed);
        if (want.bare) {
          ASSERT_EQ(c.sink.messages.size(), 0U) << testing::PrintToString(middle);
          ASSERT_TRUE(c.closed());
        } else {
          ASSERT_GE(c.sink.messages.size(), 1U) << testing::PrintToString(middle);
          ASSERT_EQ(c.sink.messages[0].body, want.body);
          if (!ends_in_middle) {
            ASSERT_EQ(c.sink.messages.size(), 1U) << testing::PrintToString(middle);
          }
        }
      }
      more = false;
      for (auto& digit : digits) {
        digit = (digit + 1) % kAlphabet.size();
        if (digit != 0) {
          more = true;
          break;
        }
      }
    }
  }
  EXPECT_EQ(tried, 1U + 5 + 25 + 125 + 625 + 3125 + 15625);
}

TEST_F(ProtocolTest, BodySplitAtEachByteIsTheSame) {
  const std::string body =
      "Received: a\r\nSubject: x\r\n\r\n..\r\n.x\r\n\r\n...\r\nline \xff\r\n.\t\r\n";
  const auto wire = body + ".\r\nNOOP\r\n";
  for (std::size_t cut = 1; cut < wire.size(); ++cut) {
    for (std::size_t second = cut; second < wire.size(); ++second) {
      auto c = connect();
      c.feed(kUntilData);
      c.feed(std::string_view(wire).substr(0, cut));
      c.feed(std::string_view(wire).substr(cut, second - cut));
      c.feed(std::string_view(wire).substr(second));
      ASSERT_EQ(c.sink.messages.size(), 1U);
      ASSERT_EQ(c.sink.messages[0].body, body) << cut << ' ' << second;
      ASSERT_EQ(c.sink.messages[0].facts.size, body.size() - 4);
      ASSERT_THAT(c.output, EndsWith("queued as 0000000000001\r\n250 2.0.0 Ok\r\n"));
    }
  }
}

// --- Recipients that are asked for ------------------------------------------------------------------

class Asked : public testing::Test {
 protected:
  static config::RightsIndex asking() {
    auto rights = sample_rights();
    rights.domains[0].recipients = config::RecipientsKind::kAsk;
    return config::RightsIndex(std::move(rights));
  }
  Asked() { connection.holds_answers = true; }
  config::RightsIndex rights = asking();
  Service service = sample_service(rights);
  Connection connection{service, base::parse_ip("192.0.2.7")};
};

TEST_F(Asked, NothingIsReadBeforeTheAnswer) {
  connection.feed("HELO c\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<bob@example.org>\r\nNOOP\r\n");
  EXPECT_EQ(connection.protocol.want(), Want::kAnswer);
  EXPECT_EQ(connection.protocol.timeout(), TimeoutKind::kNone);
  EXPECT_EQ(connection.sink.asked, std::vector<std::string>{"bob@example.org"});
  connection.output.clear();
  connection.protocol.answered(nullptr);
  connection.take_output();
  EXPECT_EQ(connection.output, "250 2.1.5 Ok\r\n");
  connection.feed("");
  connection.feed("RCPT TO:<carol@example.org>\r\n");
  connection.output.clear();
  const mail::Reply no{550, {5, 1, 1}, {"no"}};
  connection.protocol.answered(&no);
  connection.take_output();
  EXPECT_EQ(connection.output, "550 5.1.1 no\r\n");
  EXPECT_EQ(connection.sink.refusals.back(), "550 5.1.1 no");
}

TEST_F(Asked, AStopIsTheAnswer) {
  connection.feed("HELO c\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<bob@example.org>\r\n");
  connection.output.clear();
  connection.protocol.shutdown();
  connection.take_output();
  EXPECT_TRUE(connection.output.starts_with("421 4.3.2"));
  EXPECT_TRUE(connection.closed());
}

}  // namespace
}  // namespace postern::smtpd::test
