#include "deliverd/relay/protocol.h"

#include <gtest/gtest.h>

#include "player.h"

namespace postern::relay {
namespace {

// `numbers`: how many recipients each message has.
std::vector<Envelope> messages(std::initializer_list<int> numbers) {
  std::vector<Envelope> list;
  for (const int n : numbers) {
    auto& message = list.emplace_back();
    message.from = "a@us.example";
    message.size = 100;
    message.in_memory = true;
    for (int i = 1; i <= n; ++i)
      message.recipients.push_back({"r" + std::to_string(i) + "@example.org", {}, {}});
  }
  return list;
}

std::string outcome(const Player& player) {
  std::string all;
  for (const auto& line : player.outcomes()) all += (all.empty() ? "" : " | ") + line;
  return all;
}

std::string said(Player& player) {
  std::string all;
  for (auto line = player.next_line(); !line.empty(); line = player.next_line()) all += line + '\n';
  return all;
}

// --- RFC 2645 ----------------------------------------------------------------------------------------

const std::string kStands = "220 a\r\n250 a\r\n";

struct Turning {
  Turning() { EXPECT_EQ(feed(kStands), Client::Event::kReady); }
  Client::Event feed(const std::string& bytes) {
    auto event = Client::Event::kNone;
    for (used = 0; used < bytes.size() && event != Client::Event::kTurn && event != Client::Event::kOver;) {
      const auto step = client.on_input(std::string_view(bytes).substr(used), out);
      used += step.used;
      if (step.event != Client::Event::kNone) event = step.event;
    }
    return event;
  }
  Client client{"inner.example"};
  std::string out;
  std::size_t used = 0;
};

TEST(ClientThatTurns, NamesItsDomains) {
  for (const auto& [domains, command] : {std::pair("", "ATRN\r\n"), {"a.example,b.example", "ATRN a.example,b.example\r\n"}}) {
    Turning t;
    t.out.clear();
    t.client.turn(domains, t.out);
    EXPECT_EQ(t.out, command);
    EXPECT_EQ(t.client.state(), ClientState::kAtrn);
    EXPECT_GT(t.client.timeout().count(), 0);
  }
}

TEST(ClientThatTurns, IsOverWhenItIsTheServer) {
  Turning t;
  t.client.turn({}, t.out);
  t.out.clear();
  EXPECT_EQ(t.feed("250 now reversing\r\nEHLO outer.example\r\n"), Client::Event::kTurn);
  EXPECT_TRUE(t.client.turn_reply().positive());
  EXPECT_EQ(t.client.state(), ClientState::kTurned);
  EXPECT_EQ(t.used, std::string("250 now reversing\r\n").size());  // what follows is for the server
  EXPECT_EQ(t.out, "");
}

TEST(ClientThatTurns, IsReadyAfterARefusal) {
  for (const auto* reply : {"453 You have no mail", "450 4.7.1 not now", "530 5.7.0 who are you", "502 what"}) {
    Turning t;
    t.client.turn({}, t.out);
    EXPECT_EQ(t.feed(std::string(reply) + "\r\n"), Client::Event::kTurn);
    EXPECT_FALSE(t.client.turn_reply().positive());
    EXPECT_EQ(t.client.turn_reply().code, std::stoi(reply));
    EXPECT_EQ(t.client.state(), ClientState::kReady);
    t.out.clear();
    t.client.quit(t.out);
    EXPECT_EQ(t.out, "QUIT\r\n");
  }
}

TEST(ClientThatTurns, IsOverWhereThePeerGoesOrMakesNoSense) {
  for (const auto* reply : {"421 going", "354 go on", "nonsense"}) {
    Turning t;
    t.client.turn({}, t.out);
    EXPECT_EQ(t.feed(std::string(reply) + "\r\n"), Client::Event::kOver) << reply;
  }
  Turning t;
  t.client.turn({}, t.out);
  t.client.lost("connection closed by the next hop", true);
  EXPECT_EQ(t.client.trouble().result, ipc::Result::kDeferred);
  EXPECT_EQ(t.client.trouble().failure, ipc::FailureClass::kPolicy);
  EXPECT_NE(t.client.trouble().reply.text().find("ATRN"), std::string::npos);
}

const std::string kUtf8 = "220 a\r\n250-a\r\n250-8BITMIME\r\n250-DSN\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n";
const std::string kNoUtf8 = "220 a\r\n250-a\r\n250-8BITMIME\r\n250-DSN\r\n250 PIPELINING\r\n";

// RFC 6531 3.2: with a message that needs it, and no other.
TEST(Client, SaysSmtpUtf8WhereItIsNeeded) {
  auto list = messages({1, 1, 1, 1});
  list[0].utf8_from = true;
  list[1].utf8_header = list[1].eight_bit = true;
  list[2].recipients[0].utf8 = true;
  Player player(list);
  player.feed(kUtf8);
  for (const auto* mail : {"SMTPUTF8", "BODY=8BITMIME SMTPUTF8", "SMTPUTF8", ""}) {
    const auto lines = said(player);
    const std::string_view wanted = mail;
    const auto from = lines.find("MAIL FROM:<a@us.example>");
    ASSERT_NE(from, std::string::npos) << lines;
    const auto line = lines.substr(from, lines.find('\n', from) - from);
    EXPECT_EQ(line.find("SMTPUTF8") != std::string::npos, wanted.ends_with("SMTPUTF8")) << line;
    EXPECT_EQ(line.find("BODY=8BITMIME") != std::string::npos, wanted.starts_with("BODY")) << line;
    player.feed("250 ok\r\n250 ok\r\n354 go\r\n");
    player.feed("250 taken\r\n");
  }
  EXPECT_EQ(outcome(player), "delivered | delivered | delivered | delivered");
}

// What needs it fails where it is not offered, and nothing else: RFC 6531 3.5.
TEST(Client, SendsNothingBeyondAsciiWhereItIsNotOffered) {
  auto list = messages({1, 2, 3, 1, 1});
  list[0].utf8_from = true;
  list[1].utf8_header = list[1].eight_bit = true;
  list[1].recipients[1].utf8 = true;
  list[2].recipients[1].utf8 = true;
  list[3].recipients[0].utf8 = true;
  Player player(list);
  player.feed(kNoUtf8);
  const auto lines = said(player);
  EXPECT_EQ(lines.find("SMTPUTF8"), std::string::npos);
  EXPECT_EQ(lines.find("RCPT TO:<r2@"), std::string::npos) << lines;
  player.feed("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  player.feed("250 taken\r\n");
  player.feed("250 ok\r\n250 ok\r\n354 go\r\n");
  player.feed("250 taken\r\n");
  EXPECT_EQ(outcome(player),
            "failed data | failed data, failed data | delivered, failed data, delivered | failed data | delivered");
  const auto code = [&](std::size_t message, std::size_t recipient) {
    return player.ended().at(message).at(recipient).reply.enhanced;
  };
  EXPECT_EQ(code(0, 0), (mail::EnhancedCode{5, 6, 7}));
  EXPECT_EQ(code(1, 0), (mail::EnhancedCode{5, 6, 9}));
  EXPECT_EQ(code(1, 1), (mail::EnhancedCode{5, 6, 7}));
  EXPECT_EQ(code(2, 1), (mail::EnhancedCode{5, 6, 7}));
}

// RFC 6531 3.1: it comes with 8BITMIME or not at all.
TEST(Client, BelievesNoSmtpUtf8Alone) {
  auto list = messages({1});
  list[0].utf8_from = true;
  Player player(list);
  player.feed("220 a\r\n250-a\r\n250 SMTPUTF8\r\n");
  EXPECT_EQ(outcome(player), "failed data");
}

// RFC 6533 3: in UTF-8 only where SMTPUTF8 is said, in ASCII elsewhere, whatever is offered.
TEST(Client, HandsOnOriginalRecipientsOfTheTypeUtf8) {
  for (const bool needed : {true, false}) {
    auto list = messages({1});
    list[0].utf8_from = needed;
    list[0].recipients[0].orcpt = mail::OriginalRecipient::parse("utf-8;b\\x{F6}b@x.example").value();
    Player player(list);
    player.feed(kUtf8);
    const auto lines = said(player);
    EXPECT_NE(lines.find(needed ? " ORCPT=utf-8;b\xc3\xb6" "b@x.example\n" : " ORCPT=utf-8;b\\x{F6}b@x.example\n"),
              std::string::npos)
        << lines;
  }
}

// The dot is still in our buffers: the next hop cannot have the message.
TEST(Client, DotThatNeverLeftIsDeferred) {
  Player player(messages({1}));
  player.feed("220 a\r\n250-a\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  ASSERT_EQ(player.client().state(), ClientState::kDot);
  player.lost(false);
  EXPECT_EQ(outcome(player), "deferred data");
}

TEST(Client, TellsWhetherAnythingWasTried) {
  const std::string_view up_to_mail = "220 a\r\n250 a\r\n";
  Player refused(messages({1}));
  refused.feed(up_to_mail);
  refused.feed("421 bye\r\n");
  EXPECT_TRUE(refused.client().untouched());
  Player later(messages({1}));
  later.feed(up_to_mail);
  later.feed("250 ok\r\n421 bye\r\n");
  EXPECT_FALSE(later.client().untouched());
  EXPECT_FALSE(later.client().body_begun());
}

std::vector<Envelope> introduced(std::initializer_list<int> numbers) {
  auto list = messages(numbers);
  for (auto& message : list)
    message.introduction =
        Introduction{ipc::FirstClient{base::parse_ip("192.0.2.7"), "", "", "hello.example", "ESMTP"}, "id"};
  return list;
}

TEST(Client, TellsWhyANextHopDidNotHearOfAClient) {
  Player untold(introduced({1}));
  untold.feed("220 a\r\n250 a\r\n");
  EXPECT_EQ(untold.client().forward_refusal(), "the next hop does not offer XFORWARD");
  Player refused(introduced({1}));
  refused.feed("220 a\r\n250-a\r\n250 XFORWARD ADDR\r\n");
  EXPECT_EQ(refused.client().forward_refusal(), "");
  refused.feed("550 5.7.0 not for you\r\n");
  EXPECT_EQ(refused.client().forward_refusal(), "550 5.7.0 not for you");
  Player told(introduced({1}));
  told.feed("220 a\r\n250-a\r\n250 XFORWARD ADDR\r\n250 ok\r\n");
  EXPECT_EQ(told.client().forward_refusal(), "");
  Player nothing_to_tell(messages({1}));
  nothing_to_tell.feed("220 a\r\n250 a\r\n");
  EXPECT_EQ(nothing_to_tell.client().forward_refusal(), "");
}

// A next hop that goes away there has not heard of the message: it is the next connection's.
TEST(Client, IsUntouchedWhereItEndsAtXforward) {
  Player player(introduced({1}));
  player.feed("220 a\r\n250-a\r\n250 XFORWARD ADDR\r\n");
  ASSERT_EQ(player.client().state(), ClientState::kXforward);
  player.lost();
  EXPECT_TRUE(player.client().untouched());
}

TEST(Client, ThatHasBecomeAnothersIsSpent) {
  Client client("us.example");
  std::string out;
  ASSERT_EQ(client.on_input("220 a\r\n250-a\r\n250 XCLIENT ADDR\r\n", out).event, Client::Event::kReady);
  EXPECT_FALSE(client.introduced() || client.spent());
  out.clear();
  ASSERT_EQ(client.introduce(*introduced({1}).front().introduction->client, out), Client::Event::kNone);
  EXPECT_EQ(std::exchange(out, {}), "XCLIENT ADDR=192.0.2.7\r\n");
  EXPECT_EQ(client.timeout(), std::chrono::minutes(5));
  ASSERT_EQ(client.on_input("220 a\r\n", out).event, Client::Event::kNone);
  EXPECT_EQ(out, "EHLO hello.example\r\n");
  EXPECT_TRUE(client.features().xclient.empty()) << "what was offered to us";
  ASSERT_EQ(client.on_input("250 a\r\n", out).event, Client::Event::kReady);
  EXPECT_TRUE(client.introduced() && client.spent());
}

TEST(Client, KeepsTheRepliesWords) {
  Player player(messages({1}));
  player.feed("220 a\r\n250 a\r\n250 ok\r\n550-5.1.1 no such\r\n550 5.1.1 user\a here\r\n");
  const auto& reply = player.ended().at(0).at(0).reply;
  EXPECT_EQ(reply.enhanced, (mail::EnhancedCode{5, 1, 1}));
  EXPECT_EQ(reply.text(), "550 5.1.1 no such; user\\\\x07 here");
}

// A reply to a message that cannot have arrived is none.
TEST(Client, ReplyBeforeTheDotHasLeftEndsTheSession) {
  for (const auto& [reply, expected] : {std::pair("552 too big\r\n", "failed data 552"),
                                        std::pair("451 disk full\r\n", "deferred data 451"),
                                        std::pair("250 ok\r\n", "deferred data 250")}) {
    for (const std::string_view features : {"250 SIZE\r\n", "250 CHUNKING\r\n"}) {
      Client client("us.example");
      std::string out;
      static_cast<void>(client.on_input("220 a\r\n250-a\r\n" + std::string(features), out));
      static_cast<void>(client.begin(messages({1}).front(), out));
      const auto event = client.on_input("250 ok\r\n250 ok\r\n", out).event;
      if (event == Client::Event::kChunk) {
        client.chunk(100, out);
        client.body_sent();
      } else {
        ASSERT_EQ(client.on_input("354 go\r\n", out).event, Client::Event::kBody);
        client.body_sent();
      }
      ASSERT_EQ(client.on_input(reply, out, false).event, Client::Event::kOver);
      EXPECT_EQ(text(client.verdicts().at(0)), expected);
    }
  }
}

// A large body is under way when the next hop speaks: it will not take the message.
TEST(Client, ReplyIntoTheBodyEndsTheSession) {
  for (const auto& [reply, expected] : {std::pair("552 too big\r\n", "failed data 552"),
                                        std::pair("451 disk full\r\n", "deferred data 451"),
                                        std::pair("250 ok\r\n", "deferred data 250"),
                                        std::pair("421 bye\r\n", "deferred data 421")}) {
    Client client("us.example");
    std::string out;
    const auto feed = [&](std::string_view bytes) {
      Client::Step step{0, Client::Event::kNone};
      while (!bytes.empty()) {
        step = client.on_input(bytes, out);
        bytes.remove_prefix(step.used);
      }
      return step.event;
    };
    ASSERT_EQ(feed("220 a\r\n250 a\r\n"), Client::Event::kReady);
    ASSERT_EQ(client.begin({"", {{"r1@example.org", {}, {}}}, 1, false, {}, {}}, out), Client::Event::kNone);
    ASSERT_EQ(feed("250 ok\r\n250 ok\r\n354 go\r\n"), Client::Event::kBody);
    EXPECT_TRUE(client.body_begun());
    EXPECT_EQ(client.timeout(), std::chrono::minutes(3)) << "for each block (RFC 5321 4.5.3.2.5)";
    ASSERT_EQ(feed(reply), Client::Event::kOver);
    EXPECT_EQ(text(client.verdicts().at(0)), expected);
  }
}

// RFC 2033 4.2: it is the first recipient's, and says nothing of the others.
TEST(Client, InLmtpAReplyIntoTheMessageIsOneRecipients) {
  for (const auto& [reply, expected] : {std::pair("552 5.2.2 full\r\n", "failed data 552"),
                                        std::pair("452 4.2.2 full\r\n", "deferred data 452"),
                                        std::pair("421 4.3.2 bye\r\n", "deferred data 421"),
                                        std::pair("250 ok\r\n", "deferred data 250")}) {
    for (const bool sent : {false, true}) {  // up to the dot, which has not left
      Client client("us.example", TlsUse::kNever, Dialect::kLmtp);
      std::string out;
      static_cast<void>(client.on_input("220 a\r\n250 a\r\n", out));
      static_cast<void>(client.begin(messages({3}).front(), out));
      ASSERT_EQ(client.on_input("250 ok\r\n550 5.1.1 who\r\n250 ok\r\n250 ok\r\n354 go\r\n", out).event,
                Client::Event::kBody);
      if (sent) client.body_sent();
      ASSERT_EQ(client.on_input(reply, out, false).event, Client::Event::kOver);
      EXPECT_EQ(text(client.verdicts().at(0)), "failed mailbox 550");
      EXPECT_EQ(text(client.verdicts().at(1)), expected);
      EXPECT_EQ(text(client.verdicts().at(2)), "deferred data");
    }
  }
}

// What cannot have arrived is not unknown, whatever the next hop says.
TEST(Client, NonsenseBeforeTheDotHasLeftDefers) {
  for (const bool left : {false, true}) {
    Client client("us.example");
    std::string out;
    static_cast<void>(client.on_input("220 a\r\n250 a\r\n", out));
    static_cast<void>(client.begin(messages({1}).front(), out));
    ASSERT_EQ(client.on_input("250 ok\r\n250 ok\r\n354 go\r\n", out).event, Client::Event::kBody);
    client.body_sent();
    ASSERT_EQ(client.on_input("what?\r\n", out, left).event, Client::Event::kOver);
    EXPECT_EQ(text(client.verdicts().at(0)), left ? "unknown data" : "deferred data");
  }
}

TEST(Client, BodyThatCannotBeReadIsDeferred) {
  Client client("us.example");
  std::string out;
  std::string_view greeting = "220 a\r\n250 a\r\n";
  ASSERT_EQ(client.on_input(greeting, out).event, Client::Event::kReady);
  static_cast<void>(client.begin({"", {{"r1@example.org", {}, {}}}, 1, false, {}, {}}, out));
  ASSERT_EQ(client.on_input("250 ok\r\n250 ok\r\n354 go\r\n", out).event, Client::Event::kBody);
  client.body_failed({4, 3, 0}, "input/output error");
  EXPECT_EQ(text(client.verdicts().at(0)), "deferred local");
  EXPECT_EQ(client.state(), ClientState::kOver);
  EXPECT_TRUE(out.ends_with("DATA\r\n")) << "no dot may follow";
}

TEST(Client, BodyThatMustNotBeSentFails) {
  Client client("us.example");
  std::string out;
  ASSERT_EQ(client.on_input("220 a\r\n250-a\r\n250 CHUNKING\r\n", out).event, Client::Event::kReady);
  auto message = messages({1}).front();
  static_cast<void>(client.begin(message, out));
  ASSERT_EQ(client.on_input("250 ok\r\n250 ok\r\n", out).event, Client::Event::kChunk);
  client.body_failed({5, 6, 0}, "bare LF");
  EXPECT_EQ(text(client.verdicts().at(0)), "failed local");
  EXPECT_EQ(out.find("BDAT"), std::string::npos);
}

// Nothing a next hop says makes us say more than it asked for, or makes us wait without end.
TEST(Client, SurvivesNoise) {
  std::uint64_t state = 88172645463325252ULL;
  const auto random = [&] {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
  };
  constexpr std::string_view kWords[] = {"220 ",
                                         "250 ",
                                         "250-",
                                         "354 ",
                                         "421 ",
                                         "550 ",
                                         "552 ",
                                         "451 ",
                                         "\r\n",
                                         "\n",
                                         "\r",
                                         "5.1.1 ",
                                         "x",
                                         "999 ",
                                         "RSET",
                                         "250",
                                         std::string_view("\0", 1),
                                         "\xff"};
  for (int round = 0; round < 20'000; ++round) {
    Player player(messages({2, 1, 2}));
    player.feed(round % 2 == 0 ? "220 a\r\n250-a\r\n250 PIPELINING\r\n"
                               : "220 a\r\n250-CHUNKING\r\n250 LIMITS RCPTMAX=1 MAILMAX=2\r\n");
    for (int i = 0; i < 30; ++i) {
      std::string bytes(kWords[random() % std::size(kWords)]);
      if (random() % 3 != 0) bytes += "text\r\n";
      player.feed(bytes);
    }
    player.lost();
    ASSERT_EQ(player.ended().size(), player.begun());
    ASSERT_LT(player.unread().size(), 2000U);
  }
}

}  // namespace
}  // namespace postern::relay
