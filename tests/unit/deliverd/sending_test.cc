// A connection and its race against real sockets: who is connected to, and what leaves.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/mail/chunk_reader.h"
#include "fake_hop.h"
#include "sender.h"

namespace postern::relay {
namespace {

using namespace std::string_literals;

// A port whose queue of connections is full: the kernel answers nobody.
class BlackHole {
 public:
  explicit BlackHole(std::string_view address) {
    listener_ = base::UniqueFd::adopt(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    sockaddr_storage where{};
    auto size = base::to_sockaddr({base::parse_ip(address).value(), 0}, where);
    auto* generic = reinterpret_cast<sockaddr*>(&where);
    EXPECT_EQ(::bind(listener_.get(), generic, size), 0);
    EXPECT_EQ(::listen(listener_.get(), 0), 0);
    ::getsockname(listener_.get(), generic, &size);
    endpoint_ = base::from_sockaddr(where).value();
    for (int i = 0; i < 4; ++i) {
      fill_.push_back(base::UniqueFd::adopt(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)));
      ::connect(fill_.back().get(), generic, size);
    }
  }
  [[nodiscard]] const base::Endpoint& endpoint() const { return endpoint_; }

 private:
  base::UniqueFd listener_;
  std::vector<base::UniqueFd> fill_;
  base::Endpoint endpoint_;
};

struct Runner final : RaceOwner {
  void on_attempt_failed(std::size_t number, std::string_view) noexcept override {
    failed.push_back(number);
  }
  void on_connected(std::size_t number, base::UniqueFd) noexcept override { winner = number; }
  void on_nobody() noexcept override { nobody = true; }
  std::vector<std::size_t> failed;
  std::optional<std::size_t> winner;
  bool nobody = false;
};

base::Endpoint refusing(const FakeHop& hop) {
  return {base::parse_ip("127.0.0.9").value(), hop.endpoint().port};
}

TEST(Race, TheFirstInOrderWinsWhereItAnswers) {
  event::Loop loop;
  FakeHop first(loop), second(loop);
  Runner runner;
  Race race(loop, {first.endpoint(), second.endpoint()}, runner);
  until(loop, [&] { return runner.winner.has_value(); });
  EXPECT_EQ(*runner.winner, 0U);
  for (int i = 0; i < 3; ++i) loop.run_once(false);
  EXPECT_EQ(second.sessions, 0U) << "it had its head start";
}

TEST(Race, OneThatDoesNotAnswerCostsItsHeadStart) {
  event::Loop loop;
  BlackHole hole("127.0.0.8");
  FakeHop second(loop);
  Runner runner;
  Race race(loop, {hole.endpoint(), second.endpoint()}, runner);
  const auto begin = base::system_clock().steady();
  until(loop, [&] { return runner.winner.has_value(); });
  EXPECT_EQ(*runner.winner, 1U);
  EXPECT_GE(base::system_clock().steady() - begin, Race::kHeadStart);
  EXPECT_TRUE(runner.failed.empty());
}

TEST(Race, OneThatRefusesCostsNothing) {
  event::Loop loop;
  FakeHop hop(loop);
  Runner runner;
  Race race(loop, {refusing(hop), refusing(hop), hop.endpoint()}, runner);
  const auto begin = base::system_clock().steady();
  until(loop, [&] { return runner.winner.has_value(); });
  EXPECT_EQ(*runner.winner, 2U);
  EXPECT_EQ(runner.failed, (std::vector<std::size_t>{0, 1}));
  EXPECT_LT(base::system_clock().steady() - begin, Race::kHeadStart * 2);
}

TEST(Race, NobodyWins) {
  event::Loop loop;
  FakeHop hop(loop);
  Runner runner;
  Race race(loop, {refusing(hop), refusing(hop)}, runner);
  until(loop, [&] { return runner.nobody; });
  EXPECT_FALSE(runner.winner);
  EXPECT_EQ(runner.failed, (std::vector<std::size_t>{0, 1}));
}

TEST(Race, AttemptsAreBounded) {
  event::Loop loop;
  BlackHole hole("127.0.0.8");
  const auto descriptors = [] {
    std::size_t count = 0;
    for (int fd = 0; fd < 1000; ++fd)
      if (::fcntl(fd, F_GETFD) >= 0) ++count;
    return count;
  };
  const auto before = descriptors();
  Runner runner;
  std::optional<Race> race;
  race.emplace(loop, std::vector<base::Endpoint>(20, hole.endpoint()), runner);
  bool late = false;
  event::Timer timer(loop, [&]() noexcept { late = true; });
  timer.start(Race::kHeadStart * (Race::kAtOnce + 2));
  while (!late) loop.run_once(true);
  EXPECT_EQ(descriptors() - before, Race::kAtOnce);
  race.reset();
  EXPECT_EQ(descriptors(), before) << "the losers are closed";
}

std::vector<Target> to(const FakeHop& hop) {
  return {{"mx.example", hop.endpoint()}};
}

FakeHop::Answer offering(std::string features) {
  return [features](const std::string& line, bool&) -> std::optional<std::string> {
    if (line.starts_with("EHLO")) return "250-fake\r\n" + features;
    return std::nullopt;
  };
}

TEST(Sending, TheLosersOfTheRaceAreStillTried) {
  event::Loop loop;
  FakeHop good(loop, {}, "127.0.0.3");
  FakeHop bad(
      loop,
      [](const std::string& line, bool&) -> std::optional<std::string> {
        if (line == "<greeting>") return "554 go away";
        return std::nullopt;
      },
      "127.0.0.2", good.endpoint().port);
  Sender sender(loop, {{"mx.example", bad.endpoint()}, {"mx.example", good.endpoint()}});
  sender.add("Subject: x\r\n");
  sender.start();
  until(loop, [&] { return sender.gone; });
  EXPECT_EQ(good.messages.size(), 1U);
  EXPECT_EQ(bad.sessions, 1U);
}

// A worse host is not asked only because a better one is slow.
TEST(Sending, HostsDoNotRaceEachOther) {
  event::Loop loop;
  BlackHole better("127.0.0.8");
  FakeHop worse(loop);
  Sender sender(loop, {{"better.example", better.endpoint()}, {"worse.example", worse.endpoint()}});
  sender.start();
  bool late = false;
  event::Timer timer(loop, [&]() noexcept { late = true; });
  timer.start(Race::kHeadStart * 3);
  while (!late) loop.run_once(true);
  EXPECT_EQ(worse.sessions, 0U);
}

TEST(Sending, NoMoreThanMailmaxOnOneConnection) {
  event::Loop loop;
  FakeHop hop(loop, offering("250 LIMITS MAILMAX=2"));
  Sender sender(loop, to(hop));
  for (int i = 0; i < 3; ++i) sender.add("Subject: x\r\n");
  sender.start();
  until(loop, [&] { return sender.gone; });
  EXPECT_EQ(hop.messages.size(), 2U);
  EXPECT_EQ(sender.done.size(), 2U);
  EXPECT_EQ(hop.lines.back(), "QUIT");
}

TEST(Sending, RecipientsBeyondTheLimitComeBackUntried) {
  event::Loop loop;
  FakeHop hop(loop, offering("250-PIPELINING\r\n250 LIMITS RCPTMAX=2"));
  Sender sender(loop, to(hop));
  sender.add("Subject: x\r\n", {"a@example.org", "b@example.org", "c@example.org"});
  sender.start();
  until(loop, [&] { return sender.gone; });
  EXPECT_EQ(sender.done.at(0), "0 250 2.0.0 taken;0 250 2.0.0 taken;4 ;");
}

TEST(Sending, EightBitsGoOnlyWhereTheyAreTaken) {
  const std::string body = "Subject: x\r\n\r\ngr\xc3\xbc\xc3\x9f\r\n";
  for (const bool large : {false, true}) {
    event::Loop loop;
    FakeHop seven(loop);
    Sender refused(loop, to(seven));
    refused.add(body, {"r@example.org"}, large);
    refused.add("Subject: 7\r\n", {"r@example.org"}, large);
    refused.start();
    until(loop, [&] { return refused.gone; });
    EXPECT_TRUE(refused.done.at(0).starts_with("2 5.6.3 ")) << refused.done.at(0);
    EXPECT_EQ(seven.messages.size(), 1U);
    EXPECT_EQ(seven.messages.at(0).find('\xc3'), std::string::npos);
  }
  event::Loop loop;
  FakeHop eight(loop, offering("250 8BITMIME"));
  Sender taken(loop, to(eight));
  taken.add(body);
  taken.add("Subject: 7\r\n");
  taken.start();
  until(loop, [&] { return taken.gone; });
  EXPECT_EQ(eight.messages.at(0), "Received: by us\r\n" + body);
  EXPECT_EQ(eight.lines.at(1), "MAIL FROM:<a@us.example> BODY=8BITMIME")
      << "its client had not said so";
  EXPECT_EQ(eight.lines.at(4), "MAIL FROM:<a@us.example>");
}

// RFC 1870 5
TEST(Sending, StuffedDotsMakeNoMessageTooLarge) {
  const std::string body = "\r\n..a\r\n..\r\n..b\r\n", prefix = "Received: by us\r\n";
  const auto size = prefix.size() + body.size() - 3;
  for (const bool large : {false, true}) {
    event::Loop loop;
    FakeHop hop(loop, offering(fmt::format("250 SIZE {}", size)));
    Sender sender(loop, to(hop));
    sender.add(body, {"r@example.org"}, large);
    sender.add(body + "c", {"r@example.org"}, large);
    sender.start();
    until(loop, [&] { return sender.gone; });
    EXPECT_TRUE(sender.done.at(0).starts_with("0 ")) << sender.done.at(0);
    EXPECT_EQ(hop.lines.at(1), fmt::format("MAIL FROM:<a@us.example> SIZE={}", size));
    EXPECT_TRUE(sender.done.at(1).starts_with("2 5.3.4 ")) << sender.done.at(1);
  }
}

// A message needs SMTPUTF8 where its client said so and its header, not its body alone, is beyond ASCII.
TEST(Sending, TheHeaderTellsWhetherSmtpUtf8IsNeeded) {
  const std::string wide = "Subject: gr\xc3\xbc\xc3\x9f\r\n\r\nhi\r\n";
  const std::string narrow = "Subject: x\r\n\r\ngr\xc3\xbc\xc3\x9f\r\n";
  const std::string late = "X-Filler: " + std::string(100'000, 'x') + "\r\n" + wide;  // in a later chunk
  for (const bool large : {false, true}) {
    event::Loop loop;
    FakeHop hop(loop, offering("250-SMTPUTF8\r\n250 8BITMIME"));
    Sender sender(loop, to(hop));
    for (const auto& body : {wide, narrow, late}) {
      sender.add(body, {"r@example.org"}, large);
      sender.say_smtputf8();
    }
    sender.add(wide, {"r@example.org"}, large);
    sender.add("Subject: x\r\n", {"b\xc3\xb6" "b@b\xc3\xbc" "cher.example"}, large);
    sender.start();
    until(loop, [&] { return sender.gone; });
    std::vector<std::string> said;
    for (const auto& line : hop.lines)
      if (line.starts_with("MAIL") || line.starts_with("RCPT TO:<b")) said.push_back(line);
    EXPECT_EQ(said, (std::vector<std::string>{"MAIL FROM:<a@us.example> BODY=8BITMIME SMTPUTF8",
                                              "MAIL FROM:<a@us.example> BODY=8BITMIME",
                                              "MAIL FROM:<a@us.example> BODY=8BITMIME SMTPUTF8",
                                              // Of a large one what was noted when it came counts.
                                              large ? "MAIL FROM:<a@us.example>"
                                                    : "MAIL FROM:<a@us.example> BODY=8BITMIME",
                                              "MAIL FROM:<a@us.example> SMTPUTF8",
                                              "RCPT TO:<b\xc3\xb6" "b@xn--bcher-kva.example>"}));
    EXPECT_EQ(hop.messages.size(), 5U);
  }
  event::Loop loop;
  FakeHop hop(loop, offering("250 8BITMIME"));
  Sender sender(loop, to(hop));
  sender.add(wide);
  sender.say_smtputf8();
  sender.add(narrow);
  sender.say_smtputf8();
  sender.start();
  until(loop, [&] { return sender.gone; });
  EXPECT_TRUE(sender.done.at(0).starts_with("2 5.6.9 ")) << sender.done.at(0);
  EXPECT_TRUE(sender.done.at(1).starts_with("0 ")) << sender.done.at(1);
  EXPECT_EQ(hop.messages.size(), 1U);
}

// Of what could end a message early, or be taken for an end of line, nothing leaves.
TEST(Sending, DamagedBodiesNeverLeave) {
  const std::string bodies[] = {"Subject: x\r\n\r\na\nb\r\n",
                                "Subject: x\r\n\r\na\rb\r\n",
                                "a\r\n.\r\nMAIL FROM:<evil@x>\r\n",
                                ".\r\nRSET\r\n",
                                "a\n.\r\nb\r\n",
                                "a\r\n.\nb\r\n",
                                "a\r",
                                "a\r\n."};
  for (const auto* features : {"250 SIZE", "250 CHUNKING"}) {
    for (const bool large : {false, true}) {
      for (const auto& body : bodies) {
        event::Loop loop;
        FakeHop hop(loop, offering(features));
        Sender sender(loop, to(hop));
        sender.add(body, {"r@example.org"}, large);
        sender.start();
        until(loop, [&] { return sender.gone; });
        ASSERT_EQ(sender.done.size(), 1U);
        EXPECT_TRUE(sender.done[0].starts_with("2 5.6.0 "))
            << sender.done[0] << testing::PrintToString(body);
        until(loop, [&] { return hop.open == 0; });
        EXPECT_TRUE(hop.messages.empty()) << testing::PrintToString(body);
        for (const auto& line : hop.lines) EXPECT_FALSE(line.starts_with("BDAT")) << line;
      }
    }
  }
}

// It cannot have a message of which some is still here.
TEST(Sending, AReplyIntoTheBodyIsNoneToTheMessage) {
  std::string body = "Subject: x\r\n\r\n";
  while (body.size() < 16'000'000) body += std::string(70, 'x') + "\r\n";
  for (const auto& [reply, expected] : {std::pair("250 2.0.0 taken", "1 250 2.0.0 taken;"),
                                        std::pair("552 5.3.4 too big", "2 552 5.3.4 too big;")}) {
    for (const bool large : {false, true}) {
      event::Loop loop;
      FakeHop hop(loop);
      hop.slow = true;
      hop.interruption = reply;
      Sender sender(loop, to(hop));
      sender.add(body, {"r@example.org"}, large);
      sender.add("Subject: another\r\n");
      sender.start();
      until(loop, [&] { return sender.gone; });
      EXPECT_EQ(sender.done, std::vector<std::string>{expected});
      EXPECT_TRUE(hop.messages.empty());
    }
  }
}

// The kernel tells us of the broken connection when we write; what the next hop said before is there to be read.
TEST(Sending, ARefusalIntoTheBodyIsHeardThoughTheConnectionBreaks) {
  std::string body = "Subject: x\r\n\r\n";
  while (body.size() < 16'000'000) body += std::string(70, 'x') + "\r\n";
  for (const bool large : {false, true}) {
    event::Loop loop;
    FakeHop hop(loop);
    hop.slow = hop.hangs_up = true;
    hop.interruption = "552 5.3.4 too big";
    Sender sender(loop, to(hop));
    sender.add(body, {"r@example.org"}, large);
    sender.start();
    until(loop, [&] { return sender.gone; });
    EXPECT_EQ(sender.done, std::vector<std::string>{"2 552 5.3.4 too big;"});
    EXPECT_TRUE(hop.messages.empty());
  }
}

TEST(Sending, ChunksAreCountedInPlainLines) {
  event::Loop loop;
  bool in_body = false;
  FakeHop hop(loop, [&](const std::string& line, bool&) -> std::optional<std::string> {
    if (line.starts_with("EHLO")) return "250-fake\r\n250 CHUNKING";
    if (line.starts_with("BDAT")) in_body = true;
    if (!in_body) return std::nullopt;
    if (line != "x") return "";
    in_body = false;  // the last line
    return "250 2.0.0 taken";
  });
  Sender sender(loop, to(hop));
  sender.add("Subject: x\r\n\r\n..dot\r\nx\r\n");
  sender.start();
  until(loop, [&] { return sender.gone; });
  EXPECT_EQ(hop.lines.at(3), "BDAT 40 LAST");
  EXPECT_EQ(hop.lines.at(4), "Received: by us");
  EXPECT_EQ(hop.lines.at(7), ".dot");
  EXPECT_EQ(sender.done.at(0), "0 250 2.0.0 taken;");
}

std::string as_stored(std::string_view plain) {
  mail::ChunkReader reader;
  std::string stored;
  while (!plain.empty()) {
    const auto step = reader.scan(plain);
    stored += step.body;
    plain.remove_prefix(step.consumed);
  }
  return stored;
}

// RFC 3030 3: any bytes, to whom has said that it takes them, and as they came.
TEST(Sending, BinaryGoesOnlyWhereItIsTaken) {
  std::string plain = "Subject: x\r\n\r\n.\n.\r.\0..\r\n"s;
  for (std::size_t i = 0; i < 40'000; ++i)  // lines and dots at every place of a piece that is read at once
    plain += ".\r" + std::string(i % 7, '.') + "\n";
  const auto stuffed = as_stored(plain);
  for (const bool large : {false, true}) {
    event::Loop loop;
    FakeHop hop(loop, offering("250-PIPELINING\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250 8BITMIME"));
    hop.chunks = true;
    Sender sender(loop, to(hop));
    sender.add(stuffed, {"r@example.org"}, large, ipc::BodyForm::kBinary);
    sender.add("Subject: text\r\n");
    sender.start();
    until(loop, [&] { return sender.gone; });
    EXPECT_EQ(sender.done, (std::vector<std::string>{"0 250 2.0.0 taken;", "0 250 2.0.0 taken;"}));
    ASSERT_EQ(hop.messages.size(), 2U);
    EXPECT_TRUE(hop.messages[0] == "Received: by us\r\n" + plain) << "not the bytes that came";
    EXPECT_EQ(hop.messages[1], "Received: by us\r\nSubject: text\r\n");
    EXPECT_EQ(hop.lines.at(1), "MAIL FROM:<a@us.example> BODY=BINARYMIME");
    EXPECT_EQ(hop.lines.at(4), "MAIL FROM:<a@us.example>");
  }
}

TEST(Sending, BinaryIsReturnedWhereItIsNotTaken) {
  for (const auto* features : {"250 8BITMIME", "250-CHUNKING\r\n250 8BITMIME", "250-BINARYMIME\r\n250 8BITMIME"}) {
    for (const bool large : {false, true}) {
      event::Loop loop;
      FakeHop hop(loop, offering(features));
      Sender sender(loop, to(hop));
      sender.add("Subject: x\r\n\r\na\nb\r\n", {"r@example.org"}, large, ipc::BodyForm::kBinary);
      sender.start();
      until(loop, [&] { return sender.gone; });
      ASSERT_EQ(sender.done.size(), 1U);
      EXPECT_TRUE(sender.done[0].starts_with("2 5.6.3 ")) << sender.done[0];
      EXPECT_EQ(hop.lines, (std::vector<std::string>{"EHLO us.example", "QUIT"}));
    }
  }
}

// A count that was said holds: the rest would be taken for commands.
TEST(Sending, ABinaryBodyThatIsShorterThanItWasIsNotEnded) {
  event::Loop loop;
  FakeHop hop(loop, offering("250-CHUNKING\r\n250 BINARYMIME"));
  hop.chunks = true;
  Sender sender(loop, to(hop));
  sender.add(std::string(200'000, '\n'), {"r@example.org"}, true, ipc::BodyForm::kBinary);
  sender.shorten_last(150'000);
  sender.start();
  until(loop, [&] { return sender.gone; });
  ASSERT_EQ(sender.done.size(), 1U);
  EXPECT_TRUE(sender.done[0].starts_with("1 4.3.0 ")) << sender.done[0];
  EXPECT_TRUE(hop.messages.empty());
}

}  // namespace
}  // namespace postern::relay
