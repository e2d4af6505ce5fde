// Sessions whose peer must say in a PROXY header whom it is connected for.
#include <gtest/gtest.h>

#include "smtpd/session.h"
#include "tests/unit/smtpd/rig.h"

namespace postern::smtpd::test {
namespace {

constexpr std::string_view kHeader = "PROXY TCP4 10.0.0.5 192.0.2.25 4321 25\r\n";

// The rig's client, 192.0.2.7, is a proxy; 10.0.0.0/8 may send anywhere.
struct ProxyRig : SessionRig {
  explicit ProxyRig(config::TlsMode mode = config::TlsMode::kOff)
      : SessionRig(SOCK_STREAM, true, mode, rights_with_proxy()) {}
  static config::Rights rights_with_proxy() {
    auto rights = sample_rights();
    rights.listeners.front().proxy_from = {base::parse_network("192.0.2.7").value()};
    return rights;
  }
};

constexpr std::string_view kMail =
    "EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<ben@far.example>\r\nDATA\r\n"
    "x\r\n.\r\n";

TEST(ProxiedSession, GreetsOnlyBehindTheHeader) {
  ProxyRig rig;
  EXPECT_EQ(rig.heard(), "");
  EXPECT_EQ(rig.say(kHeader.substr(0, 20)), "");
  EXPECT_EQ(rig.say(kHeader.substr(20)), "220 mx.example.org ESMTP Postern\r\n");
  rig.say(kMail);
  ASSERT_EQ(rig.queued->transactions.size(), 1U) << "10.0.0.5 may send anywhere";
  const auto& origin = rig.queued->transactions[0].submit.origin;
  EXPECT_EQ(base::to_string(origin.peer), "192.0.2.7");
  ASSERT_TRUE(origin.proxied.has_value());
  EXPECT_EQ(base::to_string(*origin.proxied), "10.0.0.5");
  EXPECT_FALSE(origin.claimed.has_value());
}

TEST(ProxiedSession, TakesWhatFollowsInTheSamePacket) {
  ProxyRig rig;
  const auto replies = rig.say(std::string(kHeader) + "EHLO client.example\r\nQUIT\r\n");
  EXPECT_TRUE(replies.starts_with("220 mx.example.org ESMTP Postern\r\n250-mx.example.org\r\n"));
  EXPECT_NE(replies.find("\r\n221 "), std::string::npos);
  EXPECT_TRUE(rig.hung_up);
}

TEST(ProxiedSession, TakesAByteAtATime) {
  ProxyRig rig;
  std::string heard;
  for (const char c : std::string(kHeader) + "NOOP\r\n") heard += rig.say({&c, 1});
  EXPECT_EQ(heard, "220 mx.example.org ESMTP Postern\r\n250 2.0.0 Ok\r\n");
}

TEST(ProxiedSession, IsTheProxysOwnWhereItSaysSo) {
  ProxyRig rig;
  rig.say("PROXY UNKNOWN\r\n");
  rig.say(kMail);
  EXPECT_TRUE(rig.queued->transactions.empty()) << "the proxy itself may relay nowhere";
  rig.say("RSET\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nx\r\n.\r\n");
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  EXPECT_FALSE(rig.queued->transactions[0].submit.origin.proxied.has_value());
}

TEST(ProxiedSession, EndsWithoutAWordWhereTheHeaderIsMissingOrWrong) {
  for (const std::string_view bytes :
       {"EHLO client.example\r\n", "PROXY TCP4 10.0.0.5\r\n", "\x16\x03\x01", "\r\n\r\n\r\n"}) {
    ProxyRig rig;
    EXPECT_EQ(rig.say(bytes), "") << bytes;
    EXPECT_TRUE(rig.hung_up) << bytes;
    EXPECT_EQ(rig.ended, 1) << bytes;
  }
}

TEST(ProxiedSession, EndsWhereTheHeaderComesTooLate) {
  ProxyRig rig;
  rig.say("PROXY TCP4 ");
  rig.clock.advance(Session::kProxyTimeout - base::Millis(1));
  rig.session->check_deadline();
  rig.turn();
  EXPECT_EQ(rig.ended, 0);
  rig.clock.advance(base::Millis(1));
  rig.session->check_deadline();
  EXPECT_EQ(rig.heard(), "");
  EXPECT_TRUE(rig.hung_up);
  EXPECT_EQ(rig.ended, 1);
}

TEST(ProxiedSession, EndsAtOnceWhenTheServerStops) {
  ProxyRig rig;
  rig.turn();
  rig.session->shutdown();
  rig.turn();
  EXPECT_EQ(rig.heard(), "");
  EXPECT_EQ(rig.ended, 1);
}

TEST(ProxiedSession, CountsTheClientsConnectionsNotTheProxys) {
  ProxyRig rig;
  rig.clients.use(1, {});
  const auto other = rig.clients.enter(base::parse_ip("10.0.0.5").value());
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ(rig.say(kHeader), "421 4.3.2 mx.example.org too many connections from your address\r\n");
  EXPECT_TRUE(rig.hung_up);
  ProxyRig second;
  second.clients.use(1, {});
  const auto proxy = second.clients.enter(base::parse_ip("192.0.2.7").value());
  EXPECT_EQ(second.say(kHeader).substr(0, 4), "220 ");
  EXPECT_FALSE(second.clients.enter(base::parse_ip("10.0.0.5").value()).has_value());
  second.leave();
  EXPECT_TRUE(second.clients.enter(base::parse_ip("10.0.0.5").value()).has_value());
}

TEST(ProxiedSession, StandsBeforeStartTls) {
  ProxyRig rig(config::TlsMode::kOptional);
  rig.say(kHeader);
  EXPECT_NE(rig.say("EHLO client.example\r\n").find("250-STARTTLS\r\n"), std::string::npos);
  EXPECT_EQ(rig.say("STARTTLS\r\n"), "220 2.0.0 Go ahead with TLS\r\n");
}

// What an auth hears.
struct HearsLogins {
  using Connection = ipc::Connection<HearsLogins, ipc::Role::kAuth, ipc::Role::kSmtpd>;
  HearsLogins(event::Loop& loop, base::UniqueFd fd)
      : connection(std::make_unique<Connection>(loop, std::move(fd), *this)) {}
  void on(const ipc::Login& m) { logins.push_back(m); }
  void on(const ipc::LoginResponse&) {}
  void on(const ipc::UserLogin&, ipc::Descriptors) {}
  void on(const ipc::EndLogin&) {}
  void closed() noexcept {}
  std::unique_ptr<Connection> connection;
  std::vector<ipc::Login> logins;
};

// Failures are counted against the client, not against the proxy of them all.
TEST(ProxiedSession, LogsInFromWhereItsClientIs) {
  ProxyRig rig;
  rig.service.mechanisms = {sasl::Mechanism::kPlain};
  rig.service.plaintext_logins = true;
  auto ends = ipc::make_channel_pair();
  HearsLogins auth(rig.loop, std::move(ends.a));
  rig.auth.connect(std::move(ends.b));
  rig.say(kHeader);
  rig.say("EHLO client.example\r\nAUTH PLAIN AGJvYgBzZWNyZXQ=\r\n");
  ASSERT_EQ(auth.logins.size(), 1U);
  EXPECT_EQ(base::to_string(auth.logins[0].client), "10.0.0.5");
}

// The client's part of TLS begins behind the header, in the same packet or not.
TEST(ProxiedSession, StandsBeforeImplicitTls) {
  for (const bool together : {false, true}) {
    ProxyRig rig(config::TlsMode::kImplicit);
    tls::test::End end;
    end.make(tls::Session::connect(*tls::ClientContext::make({}), {.host = "mx.example.org"}));
    end.receive({});
    if (together) {
      rig.send(std::string(kHeader) + std::exchange(end.out, {}));
    } else {
      EXPECT_EQ(rig.say(kHeader), "");
    }
    for (int i = 0; i < 4; ++i) {
      rig.send(std::exchange(end.out, {}));
      if (!rig.signer.waiting.empty()) rig.signer.answer();
      end.receive(rig.heard());
    }
    EXPECT_EQ(end.state(), event::Filter::State::kOpen) << together;
    EXPECT_EQ(end.plain, "220 mx.example.org ESMTP Postern\r\n") << together;
  }
}

TEST(ProxiedSession, TakesNoClientHelloForAHeader) {
  ProxyRig rig(config::TlsMode::kImplicit);
  EXPECT_EQ(rig.say("\x16\x03\x01"), "");
  EXPECT_TRUE(rig.hung_up);
}

}  // namespace
}  // namespace postern::smtpd::test
