// How long the client waits in each of its states (RFC 5321 4.5.3.2), on a clock of the test's own: what comes a
// millisecond before the end of the time counts, and what has not come by then is not waited for.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>

#include "player.h"

namespace postern::relay {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::string_view kHandshake = "<tls>";

struct Wait {
  ClientState state;
  base::Millis time;
  std::vector<std::string_view> before;  // what the next hop says up to there
  std::string_view answer;               // what is awaited
  std::string_view outcome;              // of the message where that does not come; empty: it was not begun
  std::string_view end;                  // of the session then
  Dialect dialect = Dialect::kSmtp;
  TlsUse tls = TlsUse::kNever;
  config::PassClient pass = config::PassClient::kNone;
  bool logs_in = false;
};

const Introduction kFirst{ipc::FirstClient{base::parse_ip("192.0.2.7"), "", "", "hello.example", "ESMTP"}, "id"};

Envelope message() {
  Envelope made;
  made.from = "a@us.example";
  made.recipients.push_back({"r1@example.org", {}, {}});
  made.size = 100;
  made.in_memory = true;
  made.introduction = kFirst;
  return made;
}

Player player_of(const Wait& wait) {
  auto account = wait.logs_in ? std::make_shared<HopAccount>("user", "pencil") : nullptr;
  return Player({message(), message()}, wait.tls, wait.dialect, std::move(account), wait.pass);
}

void hear(Player& player, std::string_view bytes) {
  bytes == kHandshake ? player.agree(true) : player.feed(bytes);
}

std::vector<Wait> waits() {
  using At = ClientState;
  constexpr std::string_view kEhlo = "250 mx\r\n", kPipelining = "250-mx\r\n250 PIPELINING\r\n";
  constexpr std::string_view kSecure = "250-mx\r\n250 STARTTLS\r\n", kOk = "250 ok\r\n";
  constexpr std::string_view kGreeting = "220 mx\r\n", kGo = "354 go\r\n", kNo = "550 no\r\n";
  return {
      {At::kGreeting, minutes(5), {}, kGreeting, "", "deferred greeting"},
      {At::kEhlo, minutes(5), {kGreeting}, kEhlo, "", "deferred greeting"},
      {At::kEhlo, minutes(5), {kGreeting}, kEhlo, "", "deferred greeting", Dialect::kLmtp},
      {At::kHelo, minutes(5), {kGreeting, "502 what\r\n"}, kEhlo, "", "deferred greeting"},
      {At::kStartTls, minutes(1), {kGreeting, kSecure}, kGreeting, "", "deferred tls", Dialect::kSmtp,
       TlsUse::kIfOffered},
      {At::kTls, minutes(1), {kGreeting, kSecure, kGreeting}, kHandshake, "", "deferred tls", Dialect::kSmtp,
       TlsUse::kAlways},
      {At::kTls, minutes(1), {}, kHandshake, "", "deferred tls", Dialect::kSmtp, TlsUse::kFromStart},
      {At::kGreeting, minutes(5), {kHandshake}, kGreeting, "", "deferred greeting", Dialect::kSmtp,
       TlsUse::kFromStart},
      {At::kAuth, minutes(5), {kHandshake, kGreeting, "250-mx\r\n250 AUTH PLAIN\r\n"}, "235 ok\r\n", "",
       "deferred login", Dialect::kSmtp, TlsUse::kFromStart, config::PassClient::kNone, true},
      {At::kXclient, minutes(5), {kGreeting, "250-mx\r\n250 XCLIENT ADDR\r\n"}, kGreeting, "", "deferred policy",
       Dialect::kSmtp, TlsUse::kNever, config::PassClient::kXclient},
      {At::kXforward, minutes(5), {kGreeting, "250-mx\r\n250 XFORWARD ADDR\r\n"}, kOk, "deferred connect",
       "deferred connect", Dialect::kSmtp, TlsUse::kNever, config::PassClient::kXforward},
      {At::kMail, minutes(5), {kGreeting, kEhlo}, kOk, "deferred connect", "deferred connect"},
      {At::kRcpt, minutes(5), {kGreeting, kEhlo, kOk}, kOk, "deferred connect", "deferred connect"},
      {At::kData, minutes(2), {kGreeting, kEhlo, kOk, kOk}, kGo, "deferred data", "deferred data"},
      {At::kDot, minutes(10), {kGreeting, kEhlo, kOk, kOk, kGo}, kOk, "unknown data", "unknown data"},
      {At::kDot, minutes(10), {kGreeting, kPipelining, kOk, kOk, kGo}, kOk, "unknown data", "unknown data"},
      {At::kDot, minutes(10), {kGreeting, "250-mx\r\n250 CHUNKING\r\n", kOk, kOk}, kOk, "unknown data",
       "unknown data"},
      {At::kDot, minutes(10), {kGreeting, kEhlo, kOk, kOk, kGo}, kOk, "unknown data", "unknown data",
       Dialect::kLmtp},
      {At::kEmptyDot, minutes(10), {kGreeting, kPipelining, kOk, kNo, kGo}, kNo, "failed mailbox 550",
       "deferred data"},
      {At::kRset, minutes(5), {kGreeting, kEhlo, kOk, kNo}, kOk, "failed mailbox 550 / deferred connect",
       "deferred connect"},
      {At::kQuit, seconds(5), {kGreeting, kEhlo, kNo, kNo}, "221 bye\r\n",
       "failed policy 550 / failed policy 550", "deferred connect"},
  };
}

std::string outcomes(const Player& player) {
  std::string all;
  for (const auto& line : player.outcomes()) all += (all.empty() ? "" : " / ") + line;
  return all;
}

// Until a millisecond before its end.
void wait_almost(Player& player, const Wait& wait) {
  for (const auto& bytes : wait.before) hear(player, bytes);
  ASSERT_EQ(player.client().state(), wait.state);
  player.wait(wait.time - base::Millis(1));
  ASSERT_FALSE(player.over());
}

TEST(Timeouts, WhatComesJustInTimeCounts) {
  for (const auto& wait : waits()) {
    SCOPED_TRACE(awaited(wait.state));
    auto player = player_of(wait);
    ASSERT_NO_FATAL_FAILURE(wait_almost(player, wait));
    const auto ended = player.ended().size();
    hear(player, wait.answer);
    EXPECT_EQ(player.over(), wait.state == ClientState::kQuit);
    if (wait.state == ClientState::kQuit) continue;
    EXPECT_NE(player.client().state(), wait.state);
    if (wait.state != ClientState::kDot) continue;
    EXPECT_EQ(text(player.ended().at(ended).at(0)), "delivered");
  }
}

TEST(Timeouts, WhatDoesNotComeInTimeIsNotWaitedFor) {
  for (const auto& wait : waits()) {
    SCOPED_TRACE(awaited(wait.state));
    auto player = player_of(wait);
    ASSERT_NO_FATAL_FAILURE(wait_almost(player, wait));
    player.wait(base::Millis(1));
    EXPECT_TRUE(player.over());
    EXPECT_EQ(outcomes(player), wait.outcome);
    EXPECT_EQ(text(player.client().trouble()), wait.end);
    const auto words = player.client().trouble().reply.text();
    EXPECT_NE(words.find("timed out waiting for "), std::string::npos) << words;
    player.feed(wait.answer);
    EXPECT_EQ(outcomes(player), wait.outcome) << "it comes too late";
  }
}

// Nothing was said behind the dot, so the next hop cannot have taken anything else for its end.
TEST(Timeouts, NothingIsSaidWhileTheReplyToAMessageIsAwaited) {
  Player player({message(), message()});
  player.feed("220 mx\r\n250-mx\r\n250 PIPELINING\r\n");
  player.feed("250 ok\r\n250 ok\r\n354 go\r\n");
  while (!player.unread().empty()) static_cast<void>(player.next_line());
  player.wait(minutes(10) - base::Millis(1));
  EXPECT_EQ(player.unread(), "");
  player.wait(base::Millis(1));
  EXPECT_TRUE(player.over());
  EXPECT_EQ(player.unread(), "");
  EXPECT_EQ(player.begun(), 1U) << "the other message is for another session";
}

// Those in which nobody answers a command of a message's.
TEST(Timeouts, OfWhatTheOwnerOfASessionAsks) {
  const auto ready = [](std::string& out) {
    Client client("us.example");
    EXPECT_EQ(client.on_input("220 mx\r\n250 mx\r\n", out).event, Client::Event::kReady);
    EXPECT_EQ(client.timeout(), base::Millis(0)) << "how long it idles is its owner's affair";
    return client;
  };
  std::string out;
  auto alive = ready(out);
  alive.noop(out);
  EXPECT_EQ(alive.timeout(), minutes(1));
  auto turning = ready(out);
  turning.turn({}, out);
  EXPECT_EQ(turning.timeout(), minutes(5));
  auto sending = ready(out);
  static_cast<void>(sending.begin(message(), out));
  ASSERT_EQ(sending.on_input("250 ok\r\n250 ok\r\n354 go\r\n", out).event, Client::Event::kBody);
  EXPECT_EQ(sending.timeout(), minutes(3)) << "for each block (RFC 5321 4.5.3.2.5)";
  sending.timed_out(false);
  EXPECT_EQ(text(sending.verdicts().at(0)), "deferred data") << "its end was not sent";
}

}  // namespace
}  // namespace postern::relay
