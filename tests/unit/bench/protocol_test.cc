#include "bench/sink/protocol.h"

#include <gtest/gtest.h>

#include "bench/load/message.h"

namespace postern::bench {
namespace {


class ServerTest : public testing::Test {
 protected:
  explicit ServerTest(Server::Options options = {}) : server_(options, moods_) {}
  void set_moods(std::vector<std::string> moods) { moods_ = *Moods::parse(moods, 1); }
  // What the server says to this, and in event_ where it stopped.
  std::string say(std::string_view bytes) {
    std::string out;
    event_ = Server::Event::kNone;
    while (!bytes.empty() && event_ == Server::Event::kNone) {
      const auto step = server_.on_input(bytes, out);
      bytes.remove_prefix(step.used);
      event_ = step.event;
      if (step.used == 0) break;
    }
    return out;
  }
  void begin(std::string_view recipients = "RCPT TO:<b@y.test>\r\n") {
    say("EHLO me\r\nMAIL FROM:<a@x.test>\r\n");
    say(recipients);
  }
  static std::string message() {
    static const Text kText(1, true);
    Message made(kText, "run", 1, 3, 3000, true, "a@x.test", "b@y.test");
    std::string wire;
    while (made.append(wire)) {
    }
    return wire;
  }
  Moods moods_;
  Server server_;
  Server::Event event_ = Server::Event::kNone;
};

TEST_F(ServerTest, TakesAWholeMessage) {
  std::string out;
  EXPECT_EQ(server_.greet("127.0.0.1", out), Server::Event::kNone);
  EXPECT_EQ(out, "220 sink.test ESMTP\r\n");
  begin("RCPT TO:<b@y.test>\r\nRCPT TO:<c@y.test>\r\n");
  EXPECT_EQ(say("DATA\r\n"), "354 go on\r\n");
  EXPECT_EQ(say(message()), "250 2.0.0 taken\r\n");
  EXPECT_EQ(event_, Server::Event::kTaken);
  EXPECT_EQ(server_.evidence().kind, Evidence::Kind::kWhole);
  EXPECT_EQ(server_.evidence().number, 3U);
  EXPECT_EQ(server_.taken_by(), (std::vector<std::string>{"b@y.test", "c@y.test"}));
  EXPECT_EQ(server_.after_taken(), Server::Event::kNone);
}

TEST_F(ServerTest, TakesPipelinedMessagesInPiecesOfAnySize) {
  const auto one = "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n" + message();
  const auto all = "EHLO me\r\n" + one + one + "QUIT\r\n";
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{1000}, all.size()}) {
    Server server({}, moods_);
    std::string kept, out;
    int taken = 0;
    auto event = Server::Event::kNone;
    for (std::size_t at = 0; at < all.size(); at += piece) {
      kept += all.substr(at, piece);
      for (bool more = true; more && !kept.empty();) {
        const auto step = server.on_input(kept, out);
        kept.erase(0, step.used);
        event = step.event;
        if (event == Server::Event::kTaken) taken += server.evidence().kind == Evidence::Kind::kWhole;
        more = event == Server::Event::kTaken;
      }
    }
    EXPECT_EQ(taken, 2) << piece;
    EXPECT_EQ(event, Server::Event::kClose);
  }
}

TEST_F(ServerTest, NoticesAChange) {
  begin();
  say("DATA\r\n");
  auto wire = message();
  wire[wire.size() - 10] ^= 1;
  say(wire);
  EXPECT_EQ(server_.evidence().kind, Evidence::Kind::kChanged);
}

TEST_F(ServerTest, KeepsTheOrderOfCommands) {
  EXPECT_EQ(say("MAIL FROM:<a@x>\r\n").substr(0, 3), "503");
  say("HELO me\r\n");
  EXPECT_EQ(say("RCPT TO:<a@x>\r\n").substr(0, 3), "503");
  EXPECT_EQ(say("DATA\r\n").substr(0, 3), "503");
  EXPECT_EQ(say("nonsense\r\n").substr(0, 3), "502");
  say(std::string(Server::kMaxCommand + 1, 'x'));
  EXPECT_EQ(event_, Server::Event::kClose);
}

TEST_F(ServerTest, HasMoods) {
  set_moods({"rcpt:defer,for=*@later.test", "dot:refuse,for=no@*", "dot:cut,for=cut@*",
             "dot:drop,for=drop@*", "dot:delay=5s,for=slow@*", "mail:stall,for=stall@*"});
  begin("RCPT TO:<b@later.test>\r\nRCPT TO:<c@y.test>\r\n");
  EXPECT_EQ(say("DATA\r\n"), "354 go on\r\n");
  say(message());
  EXPECT_EQ(server_.taken_by(), std::vector<std::string>{"c@y.test"});

  begin("RCPT TO:<no@y.test>\r\n");
  say("DATA\r\n");
  EXPECT_EQ(say(message()), "554 5.6.0 not this message\r\n");
  EXPECT_EQ(event_, Server::Event::kNone);

  begin("RCPT TO:<cut@y.test>\r\n");
  say("DATA\r\n");
  EXPECT_EQ(say(message()), "");
  EXPECT_EQ(event_, Server::Event::kTaken);  // and then
  EXPECT_EQ(server_.after_taken(), Server::Event::kCut);

  begin("RCPT TO:<drop@y.test>\r\n");
  say("DATA\r\n");
  say(message());
  EXPECT_EQ(event_, Server::Event::kCut);

  begin("RCPT TO:<slow@y.test>\r\n");
  say("DATA\r\n");
  say(message());
  EXPECT_EQ(event_, Server::Event::kTaken);
  EXPECT_EQ(server_.after_taken(), Server::Event::kDelay);
  EXPECT_EQ(server_.delay(), base::Millis(5000));

  say("EHLO me\r\nMAIL FROM:<stall@x.test>\r\n");
  EXPECT_EQ(event_, Server::Event::kStall);
}

TEST_F(ServerTest, GreetsByMood) {
  set_moods({"connect:refuse,for=127.*"});
  std::string out;
  EXPECT_EQ(server_.greet("127.0.0.1", out), Server::Event::kClose);
  EXPECT_EQ(out, "554 5.3.2 no mail here\r\n");
}

TEST_F(ServerTest, OffersNoTlsUnlessTold) {
  EXPECT_EQ(say("EHLO me\r\n").find("STARTTLS"), std::string::npos);
  EXPECT_EQ(say("STARTTLS\r\n").substr(0, 3), "502");
  EXPECT_EQ(event_, Server::Event::kNone);
}

struct TlsTest : ServerTest {
  TlsTest() : ServerTest({.starttls = true}) {}
};

TEST_F(TlsTest, BeginsAnewBehindStarttls) {
  EXPECT_EQ(say("STARTTLS\r\n").substr(0, 3), "503");
  EXPECT_NE(say("EHLO me\r\n").find("250-STARTTLS\r\n"), std::string::npos);
  EXPECT_EQ(say("STARTTLS\r\n"), "220 2.0.0 go on with TLS\r\n");
  EXPECT_EQ(event_, Server::Event::kTls);
  EXPECT_FALSE(server_.secure());
  server_.secured();
  EXPECT_TRUE(server_.secure());
  EXPECT_EQ(say("MAIL FROM:<a@x>\r\n").substr(0, 3), "503");
  EXPECT_EQ(say("EHLO me\r\n").find("STARTTLS"), std::string::npos);
  EXPECT_EQ(say("STARTTLS\r\n").substr(0, 3), "502");
}

TEST_F(TlsTest, TakesMailInClearTextToo) {
  begin();
  say("DATA\r\n");
  EXPECT_EQ(say(message()), "250 2.0.0 taken\r\n");
  EXPECT_EQ(event_, Server::Event::kTaken);
  EXPECT_FALSE(server_.secure());
}

struct LmtpTest : ServerTest {
  LmtpTest() : ServerTest({.lmtp = true}) {}
};

TEST_F(LmtpTest, AnswersForEachRecipient) {
  set_moods({"dot:defer,for=c@*"});
  EXPECT_EQ(say("EHLO me\r\n").substr(0, 3), "500");
  say("LHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nRCPT TO:<c@y.test>\r\nDATA\r\n");
  EXPECT_EQ(say(message()), "250 2.0.0 taken\r\n451 4.3.0 not this message now\r\n");
  EXPECT_EQ(event_, Server::Event::kTaken);
  EXPECT_EQ(server_.taken_by(), std::vector<std::string>{"b@y.test"});
}

struct LimitTest : ServerTest {
  LimitTest() : ServerTest({.limit = 1}) {}
};

TEST_F(LimitTest, TakesSoManyOnOneConnection) {
  begin();
  say("DATA\r\n");
  say(message());
  EXPECT_EQ(say("MAIL FROM:<a@x.test>\r\n").substr(0, 3), "421");
  EXPECT_EQ(event_, Server::Event::kClose);
}

}  // namespace
}  // namespace postern::bench
