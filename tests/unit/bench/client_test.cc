#include "bench/load/client.h"

#include <gtest/gtest.h>

namespace postern::bench {
namespace {


class ClientTest : public testing::Test {
 protected:
  // Replies; the event, and in said_ what the client sent.
  Client::Event hear(std::string_view replies) {
    said_.clear();
    const auto step = client_.on_input(replies, said_);
    EXPECT_EQ(step.used, replies.size());
    return step.event;
  }
  void stand(
      std::string_view hello = "250-x\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n") {
    EXPECT_EQ(hear("220 x\r\n"), Client::Event::kNone);
    EXPECT_EQ(said_, "EHLO me\r\n");
    EXPECT_EQ(hear(hello), Client::Event::kReady);
  }
  void begin(std::vector<std::string> recipients = {"b@y"}) {
    said_.clear();
    client_.begin({"a@x", std::move(recipients), 10, client_.eight_bit()}, said_);
  }
  Client client_{{"me", true, true}};
  std::string said_;
};

TEST_F(ClientTest, PipelinesWhereItIsOffered) {
  stand();
  begin({"b@y", "c@y"});
  EXPECT_EQ(said_,
            "MAIL FROM:<a@x> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<b@y>\r\nRCPT TO:<c@y>\r\nDATA\r\n");
  EXPECT_EQ(hear("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"), Client::Event::kBody);
  client_.body_sent();
  EXPECT_EQ(hear("250 2.0.0 Ok: queued as X\r\n"), Client::Event::kFinished);
  EXPECT_EQ(client_.outcome().fate, Fate::kAcknowledged);
  EXPECT_EQ(client_.outcome().text, "250 2.0.0 Ok: queued as X");
  EXPECT_FALSE(client_.in_transaction());
}

TEST_F(ClientTest, GoesStepByStepWhereItIsNot) {
  stand("250 x\r\n");
  EXPECT_FALSE(client_.eight_bit());
  begin({"b@y", "c@y"});
  EXPECT_EQ(said_, "MAIL FROM:<a@x>\r\n");
  hear("250 ok\r\n");
  EXPECT_EQ(said_, "RCPT TO:<b@y>\r\n");
  hear("550 5.1.1 no\r\n");
  EXPECT_EQ(said_, "RCPT TO:<c@y>\r\n");
  hear("250 ok\r\n");
  EXPECT_EQ(said_, "DATA\r\n");
  EXPECT_EQ(hear("354 go\r\n"), Client::Event::kBody);
  client_.body_sent();
  EXPECT_EQ(hear("250 ok\r\n"), Client::Event::kFinished);
  ASSERT_EQ(client_.outcome().refused.size(), 1U);
  EXPECT_EQ(client_.outcome().refused[0].index, 0U);
  EXPECT_EQ(client_.outcome().refused[0].reply, "550 5.1.1 no");
}

TEST_F(ClientTest, SaysHeloToAnOldServer) {
  EXPECT_EQ(hear("220 x\r\n"), Client::Event::kNone);
  EXPECT_EQ(hear("502 what\r\n"), Client::Event::kNone);
  EXPECT_EQ(said_, "HELO me\r\n");
  EXPECT_EQ(hear("250 x\r\n"), Client::Event::kReady);
}

TEST_F(ClientTest, HearsARefusalAtEachStage) {
  struct Case {
    const char* replies;
    const char* text;
    const char* answer;
  };
  const Case cases[] = {
      {"450 sender\r\n503 no\r\n503 no\r\n", "450 sender", ""},
      {"450 sender\r\n503 no\r\n354 go\r\n", "450 sender", ".\r\n"},
      {"250 ok\r\n550 rcpt\r\n503 no\r\n", "550 rcpt", ""},
      {"250 ok\r\n550 rcpt\r\n354 go\r\n", "550 rcpt", ".\r\n"},
      {"250 ok\r\n250 ok\r\n451 data\r\n", "451 data", ""},
  };
  for (const auto& c : cases) {
    client_ = Client({"me", true, true});
    stand();
    begin();
    const auto event = hear(c.replies);
    EXPECT_EQ(said_, c.answer) << c.replies;
    if (*c.answer != '\0') {
      EXPECT_EQ(event, Client::Event::kNone);
      EXPECT_EQ(hear("554 no recipients\r\n"), Client::Event::kFinished);
    } else {
      EXPECT_EQ(event, Client::Event::kFinished);
    }
    EXPECT_EQ(client_.outcome().fate, Fate::kRefused) << c.replies;
    EXPECT_EQ(client_.outcome().text, c.text);
    EXPECT_FALSE(client_.over());
  }
}

TEST_F(ClientTest, ClearsWhatTheServerMayRememberFirst) {
  stand();
  begin();
  EXPECT_EQ(hear("250 ok\r\n550 rcpt\r\n503 no\r\n"), Client::Event::kFinished);
  begin();
  EXPECT_TRUE(said_.starts_with("RSET\r\nMAIL FROM:")) << said_;
  EXPECT_EQ(hear("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"), Client::Event::kBody);
  client_.body_sent();
  EXPECT_EQ(hear("552 too much\r\n"), Client::Event::kFinished);
  EXPECT_EQ(client_.outcome().fate, Fate::kRefused);
  begin();
  EXPECT_TRUE(said_.starts_with("MAIL FROM:")) << said_;
}

TEST_F(ClientTest, TakesAGoodByeAfterTheDotForTheAnswer) {
  stand();
  begin();
  EXPECT_EQ(hear("250 ok\r\n250 ok\r\n354 go\r\n"), Client::Event::kBody);
  client_.body_sent();
  EXPECT_EQ(hear("421 4.3.2 closing\r\n"), Client::Event::kFinished);
  EXPECT_EQ(client_.outcome().fate, Fate::kRefused);
  EXPECT_TRUE(client_.over());
}

TEST_F(ClientTest, KnowsWhatALostConnectionMeans) {
  struct Case {
    bool body_sent, dot_left;
    Fate fate;
  };
  for (const auto& c : {Case{false, true, Fate::kUnsent}, Case{true, false, Fate::kUnsent},
                        Case{true, true, Fate::kUnknown}}) {
    client_ = Client({"me", true, true});
    stand();
    begin();
    EXPECT_EQ(hear("250 ok\r\n250 ok\r\n354 go\r\n"), Client::Event::kBody);
    if (c.body_sent) client_.body_sent();
    client_.lost("reset", c.dot_left);
    EXPECT_EQ(client_.outcome().fate, c.fate);
    EXPECT_TRUE(client_.over());
  }
}

TEST_F(ClientTest, KeepsARefusalWhateverHappensToTheConnection) {
  stand();
  begin();
  EXPECT_EQ(hear("450 sender\r\n503 no\r\n354 go\r\n"), Client::Event::kNone);
  client_.lost("reset", true);
  EXPECT_EQ(client_.outcome().fate, Fate::kRefused);
}

TEST_F(ClientTest, LeavesAServerThatTalksNonsense) {
  for (const char* const nonsense : {"hello\r\n", "354 go\r\n", "999 x\r\n"}) {
    client_ = Client({"me", true, true});
    stand();
    begin();
    EXPECT_EQ(hear(nonsense), Client::Event::kOver) << nonsense;
    EXPECT_EQ(client_.outcome().fate, Fate::kUnsent);
  }
}

TEST_F(ClientTest, NonsenseAfterTheDotLeavesTheFateOpen) {
  stand();
  begin();
  EXPECT_EQ(hear("250 ok\r\n250 ok\r\n354 go\r\n"), Client::Event::kBody);
  client_.body_sent();
  EXPECT_EQ(hear("hello\r\n"), Client::Event::kOver);
  EXPECT_EQ(client_.outcome().fate, Fate::kUnknown);
}

}  // namespace
}  // namespace postern::bench
