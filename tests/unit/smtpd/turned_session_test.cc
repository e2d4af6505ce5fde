// Sessions that are turned round (ATRN): their client becomes the server; and those of hosts that we called, which a
// relay keeps.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "smtpd/session.h"
#include "tests/unit/smtpd/rig.h"

namespace postern::smtpd::test {
namespace {

// Lets everybody in.
struct GenerousAuth {
  using Connection = ipc::Connection<GenerousAuth, ipc::Role::kAuth, ipc::Role::kSmtpd>;
  GenerousAuth(event::Loop& loop, base::UniqueFd fd)
      : connection(std::make_unique<Connection>(loop, std::move(fd), *this)) {}
  void on(const ipc::Login& m) {
    connection->send(ipc::LoginAnswer{m.request, ipc::LoginResult::kAccepted, {}, "bob"});
  }
  void on(const ipc::LoginResponse&) {}
  void on(const ipc::UserLogin&, ipc::Descriptors) {}
  void on(const ipc::EndLogin&) { ++ended; }
  void closed() noexcept {}
  std::unique_ptr<Connection> connection;
  int ended = 0;
};

struct TurnedSession : testing::Test {
  TurnedSession() {
    rig.service.mechanisms = {sasl::Mechanism::kPlain};
    rig.service.plaintext_logins = rig.service.atrn = true;
    auto ends = ipc::make_channel_pair();
    auth = std::make_unique<GenerousAuth>(rig.loop, std::move(ends.a));
    rig.auth.connect(std::move(ends.b));
    rig.heard();
    rig.say("EHLO inner.example\r\n");
    EXPECT_TRUE(rig.say("AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n").starts_with("235"));
  }
  void turn() {
    EXPECT_EQ(rig.say("ATRN Inner.Example\r\n"), "");
    ASSERT_EQ(rig.queued->turns.size(), 1U);
    EXPECT_EQ(rig.queued->turns[0].queues, std::vector<std::string>{"inner.example"});
    EXPECT_NE(rig.queued->turns[0].session, base::Token{});
    EXPECT_EQ(rig.queued->turns[0].tls, "");
    relay = rig.queued->turn(0);
    EXPECT_EQ(rig.heard(), "250 2.0.0 Ok\r\n");
  }
  std::string relayed() {
    rig.turn();
    char bytes[256];
    const auto got = ::recv(relay.get(), bytes, sizeof bytes, 0);
    return got > 0 ? std::string(bytes, static_cast<std::size_t>(got)) : got == 0 ? "closed" : "";
  }
  SessionRig rig;
  std::unique_ptr<GenerousAuth> auth;
  base::UniqueFd relay;
};

TEST_F(TurnedSession, CarriesBytesBothWays) {
  turn();
  rig.send("220 inner.example ready\r\n");
  EXPECT_EQ(relayed(), "220 inner.example ready\r\n");
  ASSERT_EQ(::send(relay.get(), "EHLO mx\r\n", 9, 0), 9);
  EXPECT_EQ(rig.heard(), "EHLO mx\r\n");
  rig.send("QUIT\r\n");
  EXPECT_EQ(relayed(), "QUIT\r\n") << "is no command";
  relay.reset();
  rig.heard();
  EXPECT_TRUE(rig.hung_up);
  EXPECT_EQ(rig.ended, 1);
  EXPECT_EQ(auth->ended, 1) << "nobody is logged in any more";
}

TEST_F(TurnedSession, EndsForTheRelayWithItsClient) {
  turn();
  rig.leave();
  EXPECT_EQ(relayed(), "closed");
  EXPECT_EQ(rig.ended, 1);
}

TEST_F(TurnedSession, HasNoTimeOfItsOwn) {
  turn();
  rig.clock.advance(base::Millis(3'600'000));
  rig.session->check_deadline();
  rig.send("220 late\r\n");
  EXPECT_EQ(relayed(), "220 late\r\n");
}

TEST_F(TurnedSession, ALockLeavesALittleTimeToEndInOrder) {
  turn();
  rig.session->end_login();
  EXPECT_EQ(relayed(), "");
  rig.clock.advance(Session::kTurnedLock);
  rig.session->check_deadline();
  EXPECT_EQ(relayed(), "closed");
  EXPECT_EQ(rig.ended, 1);
}

TEST_F(TurnedSession, WhatCameBeforeTheReplyIsNotBelieved) {
  EXPECT_EQ(rig.say("ATRN inner.example\r\n"), "");
  rig.send("220 inner.example ready\r\n");
  relay = rig.queued->turn(0);
  EXPECT_TRUE(rig.heard().starts_with("554 5.5.1 Nothing may follow ATRN"));
  EXPECT_EQ(relayed(), "closed");
}

TEST_F(TurnedSession, IsNoneWhereQueuedDoesNotAnswer) {
  EXPECT_EQ(rig.say("ATRN inner.example\r\n"), "");
  rig.break_channel();
  EXPECT_TRUE(rig.heard().starts_with("451 4.3.2"));
  EXPECT_TRUE(rig.say("NOOP\r\n").starts_with("250"));
}

// --- Of a host that we called -------------------------------------------------------------------------

struct CalledSession : SessionRig {
  explicit CalledSession(std::optional<TlsFacts> kept) {
    int ends[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    client = base::UniqueFd::adopt(ends[0]);
    session = std::make_unique<Session>(
        context, service, base::UniqueFd::adopt(ends[1]), base::IpAddress{base::IpFamily::kV4, {192, 0, 2, 9}},
        ClientDesk::Place(), [](Session*) noexcept {}, std::move(kept));
  }
  const ipc::Submit& take_message() {
    say("MAIL FROM:<a@outer.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n");
    say("A: b\r\n\r\nx\r\n.\r\n");
    CHECK(queued->transactions.size() == 1);
    return queued->transactions[0].submit;
  }
};

// RFC 3848: TLS it is, whoever opened it; nobody has logged in here.
TEST(CalledSession, TellsOfTheTlsThatTheRelayKeeps) {
  CalledSession rig(TlsFacts{"TLSv1.3 TLS_AES_256_GCM_SHA384", "odmr.example"});
  EXPECT_TRUE(rig.heard().starts_with("220 mx.example.org"));
  const auto hello = rig.say("EHLO outer.example\r\n");
  EXPECT_EQ(hello.find("STARTTLS"), std::string::npos) << hello;
  EXPECT_NE(hello.find("250-REQUIRETLS\r\n"), std::string::npos) << hello;
  EXPECT_TRUE(rig.say("STARTTLS\r\n").starts_with("503 "));
  EXPECT_TRUE(rig.say("AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n").starts_with("502 "));
  const auto& submit = rig.take_message();
  EXPECT_EQ(submit.tls, "TLSv1.3 TLS_AES_256_GCM_SHA384");
  EXPECT_EQ(submit.tls_peer, "odmr.example");
  EXPECT_EQ(submit.session, base::Token{});
  EXPECT_TRUE(submit.esmtp);
}

TEST(CalledSession, ClaimsNoTlsWhereThereIsNone) {
  CalledSession rig(std::nullopt);
  EXPECT_TRUE(rig.heard().starts_with("220 mx.example.org"));
  EXPECT_EQ(rig.say("EHLO outer.example\r\n").find("REQUIRETLS"), std::string::npos);
  const auto& submit = rig.take_message();
  EXPECT_EQ(submit.tls + submit.tls_peer, "");
}

}  // namespace
}  // namespace postern::smtpd::test
