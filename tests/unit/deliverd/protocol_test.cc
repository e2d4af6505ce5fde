#include "deliverd/relay/protocol.h"

#include <gtest/gtest.h>

#include "player.h"
#include "scripts.h"

namespace postern::relay {
namespace {

std::vector<Envelope> messages_of(std::string_view words) {
  std::vector<Envelope> messages;
  for (const char c : words) {
    if (c == '1' || c == '2') {
      messages.push_back({"a@us.example", {{"r1@example.org", {}, {}}}, 100, false, {}, {}});
      if (c == '2') messages.back().recipients.push_back({"r2@example.org", {}, {}});
    }
    if (c == 'b') messages.back().eight_bit = true;
    if (c == 'p') messages.back().probe = true;
    if (c == 'd') {
      messages.back().ret = mail::Return::kHeaders;
      messages.back().envid = mail::EnvelopeId::parse("QQ+2B1").value();
      auto& first = messages.back().recipients.front();
      first.notify = mail::Notify::parse("DELAY,SUCCESS").value();
      first.orcpt = mail::OriginalRecipient::parse("rfc822;old+2Br1@example.org").value();
    }
    if (c == 'L') messages.back().size = 5000;
  }
  return messages;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

enum class Pieces { kBlocks, kBytes, kBareLf };

void play(const Script& script, Pieces pieces) {
  SCOPED_TRACE(script.name);
  Player player(messages_of(script.messages));
  std::string block;
  const auto feed = [&] {
    if (pieces == Pieces::kBytes)
      for (const char c : block) player.feed(std::string_view(&c, 1));
    else
      player.feed(block);
    block.clear();
  };
  for (const auto& line : lines_of(script.lines)) {
    if (line[0] == 'S') {
      block += line.substr(2) + (pieces == Pieces::kBareLf ? "\n" : "\r\n");
      continue;
    }
    feed();
    if (line[0] == 'C') {
      EXPECT_EQ(player.next_line(), line.substr(2));
    }
    if (line[0] == 'T') player.silence();
    if (line[0] == 'X') player.lost();
  }
  feed();
  EXPECT_EQ(player.outcome(), script.outcome);
  EXPECT_EQ(player.unread(), "") << "said too much";
  EXPECT_TRUE(player.over());
  EXPECT_EQ(player.client().state(), ClientState::kOver);
}

TEST(Client, FollowsEveryScript) {
  for (const auto& script : kScripts) play(script, Pieces::kBlocks);
}

TEST(Client, FollowsEveryScriptByteByByte) {
  for (const auto& script : kScripts) play(script, Pieces::kBytes);
}

TEST(Client, TakesBareLf) {
  for (const auto& script : kScripts) play(script, Pieces::kBareLf);
}

// Wherever the connection ends, each recipient of each message that was begun has one verdict, and
// a message is unknown exactly while its dot is unanswered.
TEST(Client, SurvivesTheEndAtEveryByte) {
  for (const auto& script : kScripts) {
    SCOPED_TRACE(script.name);
    std::string replies;
    for (const auto& line : lines_of(script.lines))
      if (line[0] == 'S') replies += line.substr(2) + "\r\n";
    for (std::size_t cut = 0; cut <= replies.size(); ++cut) {
      Player player(messages_of(script.messages));
      player.feed(std::string_view(replies).substr(0, cut));
      const bool was_over = player.over();
      const bool awaits_dot = player.client().state() == ClientState::kDot;
      player.lost();
      ASSERT_EQ(player.ended().size(), player.begun()) << cut;
      for (const auto& verdicts : player.ended())
        for (const auto& verdict : verdicts) ASSERT_NE(verdict.result, ipc::Result::kReturned);
      if (player.ended().empty() || was_over) continue;
      bool unknown = false;
      for (const auto& verdict : player.ended().back())
        unknown |= verdict.result == ipc::Result::kUnknown;
      ASSERT_EQ(unknown, awaits_dot) << cut;
    }
  }
}

// The dot is still in our buffers: the next hop cannot have the message.
TEST(Client, DotThatNeverLeftIsDeferred) {
  Player player(messages_of("1"));
  player.feed("220 a\r\n250-a\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  ASSERT_EQ(player.client().state(), ClientState::kDot);
  player.lost(false);
  EXPECT_EQ(player.outcome(), "deferred data");
}

TEST(Client, TellsWhetherAnythingWasTried) {
  const std::string_view up_to_mail = "220 a\r\n250 a\r\n";
  Player refused(messages_of("1"));
  refused.feed(up_to_mail);
  refused.feed("421 bye\r\n");
  EXPECT_TRUE(refused.client().untouched());
  Player later(messages_of("1"));
  later.feed(up_to_mail);
  later.feed("250 ok\r\n421 bye\r\n");
  EXPECT_FALSE(later.client().untouched());
  EXPECT_FALSE(later.client().body_begun());
}

TEST(Client, KeepsTheRepliesWords) {
  Player player(messages_of("1"));
  player.feed("220 a\r\n250 a\r\n250 ok\r\n550-5.1.1 no such\r\n550 5.1.1 user\a here\r\n");
  const auto& reply = player.ended().at(0).at(0).reply;
  EXPECT_EQ(reply.enhanced, (mail::EnhancedCode{5, 1, 1}));
  EXPECT_EQ(reply.text(), "550 5.1.1 no such; user\\\\x07 here");
}

// RFC 5321 4.5.3.2.
TEST(Client, WaitsAsLongAsTheStandardSays) {
  using std::chrono::minutes;
  Player player(messages_of("1"));
  auto& client = player.client();
  EXPECT_EQ(client.timeout(), minutes(5));
  player.feed("220 a\r\n");
  EXPECT_EQ(client.timeout(), minutes(5));
  player.feed("250 a\r\n");
  EXPECT_EQ(client.timeout(), minutes(5));
  player.feed("250 ok\r\n");
  EXPECT_EQ(client.timeout(), minutes(5));
  player.feed("250 ok\r\n");
  EXPECT_EQ(client.timeout(), minutes(2));
  player.feed("354 go\r\n");
  EXPECT_EQ(client.timeout(), minutes(10));
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
    ASSERT_EQ(feed(reply), Client::Event::kOver);
    EXPECT_EQ(text(client.verdicts().at(0)), expected);
  }
}

TEST(Client, BodyThatCannotBeReadIsDeferred) {
  Client client("us.example");
  std::string out;
  std::string_view greeting = "220 a\r\n250 a\r\n";
  ASSERT_EQ(client.on_input(greeting, out).event, Client::Event::kReady);
  static_cast<void>(client.begin({"", {{"r1@example.org", {}, {}}}, 1, false, {}, {}}, out));
  ASSERT_EQ(client.on_input("250 ok\r\n250 ok\r\n354 go\r\n", out).event, Client::Event::kBody);
  client.body_failed("input/output error");
  EXPECT_EQ(text(client.verdicts().at(0)), "deferred local");
  EXPECT_EQ(client.state(), ClientState::kOver);
  EXPECT_TRUE(out.ends_with("DATA\r\n")) << "no dot may follow";
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
    Player player(messages_of("2 1 2"));
    player.feed("220 a\r\n250-a\r\n250 PIPELINING\r\n");
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
