// Connections to next hops, and the mail that goes over them.
#include "pool_rig.h"

namespace postern::relay {
namespace {

using Rig = PoolRig;

// queued counts the connections of a set of hosts, whichever queues lead there.
TEST(Pool, ReportsHostsThatQueuedDoesNotKnowAndWaits) {
  Rig rig;
  rig.queued->goes_ahead = false;
  const auto port = std::to_string(rig.hop.endpoint().port);
  const auto first = rig.queued->grant("example.org");
  rig.until([&] { return !rig.queued->found.empty(); });
  EXPECT_EQ(rig.queued->found[0].grant, first);
  EXPECT_EQ(rig.queued->found[0].next_hop, "one.example>two.example:" + port);
  EXPECT_GT(rig.queued->found[0].ttl, base::Millis(0));
  rig.queued->cancel(first);
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_TRUE(rig.queued->asks.empty());
  const auto second = rig.queued->grant("example.org");
  rig.until([&] { return rig.queued->found.size() == 2; });
  rig.queued->connection().send(ipc::GoAhead{second});
  rig.until_asked();
  // What queued knows already needs no word.
  rig.queued->asks.clear();
  rig.queued->grant("example.org", {}, "one.example>two.example:" + port);
  rig.until_asked();
  EXPECT_EQ(rig.queued->found.size(), 2U);
}

TEST(Pool, DeliversByMx) {
  Rig rig;
  rig.queued->grant("example.org");
  rig.until_asked();
  const auto lease = rig.queued->lease(kBody, {"r@example.org", "s@example.org"});
  rig.until_outcomes(1);
  const auto& outcome = rig.queued->outcomes.at(0);
  EXPECT_EQ(text(outcome), one(kDelivered, 250) + ", " + one(kDelivered, 250, 6));
  EXPECT_EQ(outcome.lease, lease.lease);
  EXPECT_EQ(outcome.epoch, lease.epoch);
  EXPECT_EQ(outcome.message, lease.message);
  EXPECT_EQ(outcome.remote, fmt::format("one.example[127.0.0.1]:{}", rig.hop.endpoint().port));
  EXPECT_EQ(rig.hop.messages.at(0), kOnTheWire);
  EXPECT_EQ(rig.hop.lines, (std::vector<std::string>{
                               "EHLO us.example", "MAIL FROM:<a@us.example> SIZE=40",
                               "RCPT TO:<r@example.org>", "RCPT TO:<s@example.org>", "DATA"}));
  rig.until_asked();
  EXPECT_EQ(rig.hop.reads, 3U) << "EHLO; MAIL, RCPT and DATA; the body with its dot";
}

TEST(Pool, CarriesManyMessagesAndThenEnds) {
  Rig rig;
  rig.queued->grant("example.org", rig.to_hop());
  for (std::size_t i = 1; i <= Pool::kMessagesPerConnection; ++i) {
    rig.until_asked();
    rig.queued->lease(kBody);
    rig.until_outcomes(i);
  }
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(rig.hop.messages.size(), Pool::kMessagesPerConnection);
  EXPECT_EQ(rig.hop.sessions, 1U);
  EXPECT_EQ(rig.hop.lines.back(), "QUIT");
  EXPECT_TRUE(rig.queued->asks.empty());
}

TEST(Pool, QuitsWhenThereIsNoWork) {
  Rig rig;
  rig.queued->grant("example.org");
  rig.until_asked();
  rig.queued->no_work();
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(rig.hop.lines.back(), "QUIT");
  rig.until([&] { return rig.hop.open == 0; });
}

TEST(Pool, CancelEndsAtOnceWhatIsIdle) {
  Rig rig;
  const auto waiting = rig.queued->grant("example.org");
  rig.until_asked();
  rig.queued->cancel(waiting);
  EXPECT_EQ(rig.until_ended(1).grant, waiting);
  const auto asking_dns = rig.queued->grant("slow.example");
  rig.queued->cancel(asking_dns);
  EXPECT_EQ(rig.until_ended(2).grant, asking_dns);
  EXPECT_EQ(rig.queued->ended.back().end, ipc::GrantEnd::kClosed);
  rig.queued->cancel(waiting);  // long gone
  rig.loop.run_once(false);
}

TEST(Pool, CancelLetsAMessageFinish) {
  Rig rig;
  const auto grant = rig.queued->grant("example.org");
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.queued->cancel(grant);
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDelivered, 250));
  EXPECT_TRUE(rig.queued->asks.empty());
}

// The message is in hand while a further host is asked whether it takes mail at all.
TEST(Pool, CancelBeforeMailGivesTheLeaseBack) {
  for (const std::string silent_at : {"<greeting>", "EHLO us.example"}) {
    Rig rig;
    rig.hop.answer([](const std::string& line, bool& close) -> std::optional<std::string> {
      if (!line.starts_with("MAIL")) return std::nullopt;
      close = true;
      return "421 4.3.2 shutting down";
    });
    bool there = false;
    FakeHop second(
        rig.loop,
        [&](const std::string& line, bool&) -> std::optional<std::string> {
          if (line != silent_at) return std::nullopt;
          there = true;
          return "";
        },
        "127.0.0.2", rig.hop.endpoint().port);
    ASSERT_TRUE(second.bound());
    const auto grant = rig.queued->grant("example.org");
    rig.until_asked();
    rig.queued->lease(kBody);
    rig.until([&] { return there; });
    EXPECT_TRUE(rig.queued->outcomes.empty()) << silent_at;
    rig.queued->cancel(grant);
    rig.until_outcomes(1);
    EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kReturned, 0)) << silent_at;
    EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed) << silent_at;
    rig.until([&] { return second.open == 0; });
    EXPECT_TRUE(second.messages.empty());
  }
}

TEST(Pool, IdleConnectionsEndAndGiveBackWhatCrossesTheirEnd) {
  Rig rig;
  rig.restart_pool(base::Millis(50));
  rig.connect();
  rig.hop.answer([](const std::string& line, bool& close) -> std::optional<std::string> {
    if (line != "QUIT") return std::nullopt;
    close = false;
    return "";  // its end takes a while
  });
  rig.queued->grant("example.org");
  rig.until_asked();
  rig.until([&] { return rig.hop.lines.back() == "QUIT"; });
  rig.queued->lease(kBody);
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kReturned, 0));
  EXPECT_TRUE(rig.hop.messages.empty());
}

TEST(Pool, LeaseBehindTheEndIsGivenBack) {
  Rig rig;
  const auto grant = rig.queued->grant("example.org");
  rig.until_asked();
  rig.queued->cancel(grant);
  rig.until_ended();
  rig.queued->lease(kBody);
  rig.until_outcomes(1);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kReturned, 0));
}

TEST(Pool, NobodyAnswers) {
  Rig rig;
  const auto port = static_cast<std::uint16_t>(rig.hop.endpoint().port + 1);
  rig.queued->grant("example.org", {config::HopKind::kHost, "127.0.0.3", port});
  const auto& ended = rig.until_ended();
  EXPECT_EQ(ended.end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(ended.failure, ipc::FailureClass::kConnect);
  EXPECT_EQ(ended.reply.text, "connecting: Connection refused");
  EXPECT_EQ(ended.remote, fmt::format("[127.0.0.3]:{}", port));
}

TEST(Pool, TheNextHostIsTried) {
  Rig rig;
  FakeHop second(rig.loop, {}, "127.0.0.2", rig.hop.endpoint().port);
  ASSERT_TRUE(second.bound());
  rig.hop.answer([](const std::string& line, bool&) -> std::optional<std::string> {
    if (line == "<greeting>") return "554 5.7.1 go away";
    return std::nullopt;
  });
  rig.queued->grant("example.org");
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until_outcomes(1);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDelivered, 250));
  EXPECT_EQ(second.messages.size(), 1U);
  EXPECT_EQ(rig.hop.lines, std::vector<std::string>{"QUIT"});
}

TEST(Pool, AllHostsRefuse) {
  Rig rig;
  const auto refuse = [](const std::string& line, bool&) -> std::optional<std::string> {
    if (line == "<greeting>") return "454 4.7.1 not now";
    return std::nullopt;
  };
  rig.hop.answer(refuse);
  FakeHop second(rig.loop, refuse, "127.0.0.2", rig.hop.endpoint().port);
  rig.queued->grant("example.org");
  const auto& ended = rig.until_ended();
  EXPECT_EQ(ended.end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(ended.failure, ipc::FailureClass::kGreeting);
  EXPECT_EQ(ended.reply.code, 454);
  EXPECT_TRUE(ended.remote.starts_with("two.example"));
}

TEST(Pool, AMessageMovesToTheNextHost) {
  Rig rig;
  FakeHop second(rig.loop, {}, "127.0.0.2", rig.hop.endpoint().port);
  rig.hop.answer([](const std::string& line, bool& close) -> std::optional<std::string> {
    if (!line.starts_with("MAIL")) return std::nullopt;
    close = true;
    return "421 4.3.2 shutting down";
  });
  rig.queued->grant("example.org");
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until_outcomes(1);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDelivered, 250));
  EXPECT_TRUE(rig.queued->outcomes.at(0).remote.starts_with("two.example"));
  EXPECT_EQ(second.messages.at(0), kOnTheWire);
}

TEST(Pool, AMessageThatNobodyTakesIsTheTrouble) {
  Rig rig;
  rig.hop.answer([](const std::string& line, bool& close) -> std::optional<std::string> {
    if (!line.starts_with("MAIL")) return std::nullopt;
    close = true;
    return "421 4.3.2 shutting down";
  });
  rig.queued->grant("example.org", rig.to_hop());
  rig.until_asked();
  rig.queued->lease(kBody);
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDeferred, 421));
}

TEST(Pool, APeerThatGreetsAndGoesIsATrouble) {
  Rig rig;
  rig.hop.answer([](const std::string& line, bool& close) -> std::optional<std::string> {
    if (!line.starts_with("EHLO")) return std::nullopt;
    close = true;
    return "250 hop.example";
  });
  rig.queued->grant("example.org", rig.to_hop());
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kTemporary);
  EXPECT_TRUE(rig.queued->outcomes.empty());
}

TEST(Pool, ThePeersLimitOfMessages) {
  Rig rig;
  rig.hop.answer(
      [n = 0](const std::string& line, bool& close) mutable -> std::optional<std::string> {
        if (!line.starts_with("MAIL") || ++n < 2) return std::nullopt;
        close = true;
        return "421 too many messages";
      });
  rig.queued->grant("example.org");
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until_asked();
  rig.queued->lease(kBody);
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(text(rig.queued->outcomes.at(1)), one(kReturned, 0));
}

TEST(Pool, LostBehindTheDotIsUnknown) {
  Rig rig;
  rig.hop.answer([](const std::string& line, bool& close) -> std::optional<std::string> {
    if (line != "<message>") return std::nullopt;
    close = true;
    return "";
  });
  rig.queued->grant("example.org");
  rig.until_asked();
  rig.queued->lease(kBody);
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kUnknown, 0));
}

TEST(Pool, WhatIsBrokenOffBehindTheDotIsUnknown) {
  Rig rig;
  bool dot = false;
  rig.hop.answer([&](const std::string& line, bool&) -> std::optional<std::string> {
    if (line != "<message>") return std::nullopt;
    dot = true;
    return "";
  });
  rig.queued->grant("example.org");
  rig.until_asked();
  const auto lease = rig.queued->lease(kBody, {"r@example.org", "s@example.org"});
  rig.until([&] { return dot; });
  rig.queued->break_off(lease);
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kUnknown, 0) + ", " + one(kUnknown, 0, 6));
  EXPECT_NE(rig.queued->outcomes[0].results[0].reply.text.find("broken off"), std::string::npos);
  rig.until([&] { return rig.hop.open == 0; });
  EXPECT_TRUE(rig.queued->asks.empty());
}

// Where the session is lost at RCPT, the next host is greeted with the message in hand.
TEST(Pool, WhatIsBrokenOffBeforeTheDotComesBack) {
  for (const std::string at : {"<greeting>", "EHLO", "MAIL", "RCPT", "DATA"}) {
    Rig rig;
    bool there = false;
    const auto silent = [&](const std::string& line, bool&) -> std::optional<std::string> {
      if (!line.starts_with(at)) return std::nullopt;
      there = true;
      return "";
    };
    const bool second_host = at == "<greeting>" || at == "EHLO";
    if (second_host)
      rig.hop.answer([](const std::string& line, bool& close) -> std::optional<std::string> {
        close = line.starts_with("RCPT");
        return close ? std::optional<std::string>("") : std::nullopt;
      });
    else
      rig.hop.answer(silent);
    const FakeHop second(rig.loop, silent, "127.0.0.2", rig.hop.endpoint().port);
    rig.queued->grant("example.org");
    rig.until_asked();
    const auto lease = rig.queued->lease(kBody);
    rig.until([&] { return there; });
    rig.queued->break_off(lease);
    EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed) << at;
    EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kReturned, 0)) << at;
    EXPECT_TRUE(rig.hop.messages.empty() && second.messages.empty()) << at;
    rig.until([&] { return rig.hop.open == 0 && second.open == 0; });
  }
}

TEST(Pool, ALargeBodyIsBrokenOffInItsMiddle) {
  Rig rig;
  rig.hop.slow = true;
  rig.queued->grant("example.org", rig.to_hop());
  rig.until_asked();
  const auto lease = rig.queued->lease_large(std::string(20U << 20, 'x') + "\r\n");
  rig.until([&] { return rig.hop.lines.back() == "DATA"; });
  rig.queued->break_off(lease);
  rig.until_outcomes(1);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kReturned, 0));
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kClosed);
  EXPECT_TRUE(rig.hop.messages.empty());
}

TEST(Pool, WhatIsOverAlreadyIsNotBrokenOff) {
  Rig rig;
  rig.queued->grant("example.org");
  rig.until_asked();
  const auto lease = rig.queued->lease(kBody);
  rig.until_outcomes(1);
  rig.queued->break_off(lease);
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until_outcomes(2);
  EXPECT_EQ(text(rig.queued->outcomes.at(1)), one(kDelivered, 250));
}

TEST(Pool, RefusedRecipientsLeaveTheSessionInOrder) {
  Rig rig;
  rig.hop.answer([n = 0](const std::string& line, bool&) mutable -> std::optional<std::string> {
    if (line.starts_with("RCPT") && ++n == 1) return "550 5.1.1 unknown";
    if (line == "DATA" && n == 1) return "554 5.5.1 no recipients";
    return std::nullopt;
  });
  rig.queued->grant("example.org");
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until_outcomes(2);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kFailed, 550));
  EXPECT_EQ(text(rig.queued->outcomes.at(1)), one(kDelivered, 250));
  EXPECT_EQ(rig.hop.sessions, 1U);
}

TEST(Pool, NoSuchPlace) {
  Rig rig;
  rig.queued->grant("nowhere.example");
  EXPECT_EQ(rig.until_ended(1).end, ipc::GrantEnd::kPermanent);
  EXPECT_EQ(rig.queued->ended.back().reply.text, "no such domain: nowhere.example");
  rig.queued->grant("null.example");
  EXPECT_EQ(rig.until_ended(2).end, ipc::GrantEnd::kPermanent);
  EXPECT_EQ(rig.queued->ended.back().reply.detail, 10);
  rig.queued->grant("slow.example");
  EXPECT_EQ(rig.until_ended(3).end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(rig.queued->ended.back().failure, ipc::FailureClass::kDns);
  rig.queued->grant("not a domain");
  EXPECT_EQ(rig.until_ended(4).end, ipc::GrantEnd::kPermanent);
}

TEST(Pool, OneLookupForManyGrants) {
  Rig rig;
  for (int i = 0; i < 5; ++i) rig.queued->grant("example.org");
  rig.until_asked(5);
  rig.queued->grant("example.org");
  rig.until_asked(6);
  EXPECT_EQ(rig.mx_queries, 1);
  EXPECT_EQ(rig.hop.sessions, 6U);
}

TEST(Pool, ExplicitEnds) {
  Rig rig;
  rig.queued->grant("x.example", {config::HopKind::kRefuse, "", 0});
  EXPECT_EQ(rig.until_ended().end, ipc::GrantEnd::kPermanent);
  EXPECT_EQ(rig.queued->ended.back().failure, ipc::FailureClass::kPolicy);
  rig.queued->grant("y.example", {config::HopKind::kDiscard, "", 0});
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until_outcomes(1);
  EXPECT_EQ(rig.queued->outcomes.at(0).remote, "discard");
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDelivered, 250));
  rig.until_asked();
  rig.queued->no_work();
  EXPECT_EQ(rig.until_ended(2).end, ipc::GrantEnd::kClosed);
}

TEST(Pool, LargeBodiesComeFromTheirFile) {
  for (const bool slow : {false, true}) {
    Rig rig;
    rig.hop.slow = slow;
    rig.queued->grant("example.org");
    rig.until_asked();
    std::string body;
    for (int i = 0; i < 30'000; ++i) body += fmt::format("line {} of a body that is large\r\n", i);
    rig.queued->lease_large(body);
    rig.until_outcomes(1);
    EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDelivered, 250));
    ASSERT_EQ(rig.hop.messages.size(), 1U);
    EXPECT_TRUE(rig.hop.messages[0] == "Received: by us\r\n" + body);
  }
}

TEST(Pool, InlineBodyOfSeveralFrames) {
  Rig rig;
  rig.queued->grant("example.org");
  rig.until_asked();
  std::string body;
  while (body.size() < ipc::kMaxInlineBody - 100) body += "line\r\n";
  rig.queued->lease(body);
  rig.until_outcomes(1);
  EXPECT_TRUE(rig.hop.messages.at(0) == "Received: by us\r\n" + body);
}

TEST(Pool, NewQueuedLearnsWhatIsInHand) {
  Rig rig;
  bool answered = false;
  rig.hop.answer([&](const std::string& line, bool&) -> std::optional<std::string> {
    if (line == "<message>" && !answered) return "";
    return std::nullopt;
  });
  rig.queued->grant("example.org");
  rig.until_asked();
  const auto lease = rig.queued->lease(kBody);
  rig.until([&] { return rig.hop.messages.size() == 1; });
  rig.connect(2);
  rig.until([&] { return !rig.queued->held.empty(); });
  EXPECT_EQ(rig.queued->held.at(0).lease, lease.lease);
  EXPECT_EQ(rig.queued->held.at(0).epoch, base::Epoch(1));
  EXPECT_EQ(rig.queued->held.at(0).recipients, std::vector<std::uint32_t>{5});
  // A grant of the new queued may have the number of an old one.
  rig.queued->grant("example.org");
  rig.until_asked();
  EXPECT_EQ(rig.hop.sessions, 2U);
  EXPECT_TRUE(rig.queued->outcomes.empty());
  EXPECT_TRUE(rig.queued->ended.empty());
}

TEST(Pool, OutcomesOutliveTheChannel) {
  Rig rig;
  rig.queued->saves = false;
  rig.queued->grant("example.org");
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until_outcomes(1);
  const auto first = rig.queued->outcomes.at(0);
  rig.queued.reset();
  rig.until([&] { return rig.pool().slots() == 0; });
  EXPECT_EQ(rig.hop.lines.back(), "QUIT") << "the grant died with its queued";
  rig.connect(2);
  rig.until_outcomes(1);
  EXPECT_EQ(rig.queued->held.at(0).lease, first.lease);
  EXPECT_EQ(rig.queued->outcomes.at(0).lease, first.lease);
  EXPECT_EQ(rig.queued->outcomes.at(0).epoch, base::Epoch(1));
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDelivered, 250));
  // Saved there, it is forgotten.
  for (int i = 0; i < 5; ++i) rig.loop.run_once(false);
  rig.connect(3);
  rig.queued->grant("example.org");
  rig.until_asked();
  EXPECT_TRUE(rig.queued->held.empty());
}

// queued may have handed out again what came back, before it had the rest in its journal.
TEST(Pool, OfAnOutcomeOnlyWhatWasTriedIsHeldAndTheLaterLeaseIsNamedFirst) {
  Rig rig;
  rig.queued->saves = false;
  rig.hop.answer([](const std::string& line, bool&) -> std::optional<std::string> {
    if (line == "RCPT TO:<b@example.org>") return "452 4.5.3 too many recipients";
    return std::nullopt;
  });
  const auto grant = rig.queued->grant("example.org");
  rig.until_asked();
  const auto earlier = rig.queued->lease(kBody, {"a@example.org", "b@example.org"});
  rig.until_asked();
  const auto later = rig.queued->lease(kBody);
  rig.until_asked();
  rig.queued->cancel(grant);
  rig.until_ended();
  rig.queued->lease(kBody);  // crosses the end, so that nobody tries it
  rig.until_outcomes(3);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDelivered, 250) + ", " + one(kReturned, 0, 6));
  EXPECT_EQ(text(rig.queued->outcomes.at(2)), one(kReturned, 0));
  rig.connect(2);
  rig.until_outcomes(2);
  ASSERT_EQ(rig.queued->held.size(), 2U);
  EXPECT_EQ(rig.queued->held[0].lease, later.lease);
  EXPECT_EQ(rig.queued->held[1].lease, earlier.lease);
  EXPECT_EQ(rig.queued->held[1].recipients, std::vector<std::uint32_t>{5});
  EXPECT_EQ(rig.queued->outcomes.size(), 2U);
}

TEST(Pool, AMessageInHandOutlivesItsQueued) {
  Rig rig;
  rig.queued->grant("example.org");
  rig.until_asked();
  rig.hop.answer([&](const std::string& line, bool&) -> std::optional<std::string> {
    if (line == "<message>") rig.queued->connection().channel().close();
    return std::nullopt;
  });
  rig.queued->lease(kBody);
  rig.until([&] { return rig.pool().slots() == 0; });
  rig.connect(2);
  rig.until_outcomes(1);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDelivered, 250));
  EXPECT_EQ(rig.hop.messages.size(), 1U);
}

TEST(Pool, NonsenseClosesTheChannelOnly) {
  Rig rig;
  rig.queued->grant("example.org");
  rig.until_asked();
  const auto lease = rig.queued->make_lease(5, {"r@example.org"});
  rig.queued->connection().send(lease);
  rig.queued->connection().send(ipc::LeaseBody{lease.lease, {"longer than announced"}});
  rig.until([&] { return rig.queued->is_closed; });
  EXPECT_EQ(rig.lost, 1);
  rig.connect(2);
  rig.queued->grant("example.org");
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until_outcomes(1);
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDelivered, 250));
}

TEST(Pool, ALeaseToNobodyAsksAgain) {
  Rig rig;
  rig.queued->grant("example.org");
  rig.until_asked();
  rig.queued->lease(kBody, {});
  rig.until_outcomes(1);
  EXPECT_TRUE(rig.queued->outcomes.at(0).results.empty());
  rig.until_asked();
  rig.queued->lease(kBody);
  rig.until_outcomes(2);
  EXPECT_EQ(text(rig.queued->outcomes.at(1)), one(kDelivered, 250));
}

TEST(Pool, StopFinishesWhatWasBegun) {
  Rig rig;
  rig.queued->saves = false;
  rig.queued->grant("example.org");
  rig.queued->grant("example.org");
  rig.queued->grant("slow.example");
  rig.until_asked(2);
  bool stopped = false;
  rig.hop.answer([&](const std::string& line, bool&) -> std::optional<std::string> {
    if (line == "DATA") rig.pool().stop([&]() noexcept { stopped = true; });
    return std::nullopt;
  });
  rig.queued->lease(kBody);
  rig.until_outcomes(1);
  rig.until_ended(3);
  EXPECT_FALSE(stopped) << "the outcome is not saved";
  rig.queued->connection().send(ipc::OutcomeSaved{rig.queued->outcomes.at(0).request});
  rig.until([&] { return stopped; });
  EXPECT_EQ(text(rig.queued->outcomes.at(0)), one(kDelivered, 250));
}

}  // namespace
}  // namespace postern::relay
