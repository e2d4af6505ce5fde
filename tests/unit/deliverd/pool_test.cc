#include "deliverd/relay/pool.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>

#include "fake_hop.h"
#include "fake_queued.h"
#include "tls_rig.h"
#include "tests/unit/dns/fake_server.h"
#include "tests/unit/dns/packet.h"

namespace postern::relay {
namespace {

using namespace std::string_literals;

using deliverd::FakeQueued;
using Queued = FakeQueued<ipc::Role::kRelay>;

const std::string kBody = "Subject: x\r\n\r\n..hello\r\n";
const std::string kOnTheWire = "Received: by us\r\nSubject: x\r\n\r\n..hello\r\n";

// example.org: MX 10 one.example, 20 two.example, at 127.0.0.1 and 127.0.0.2. null.example: null
// MX. slow.example: no answer. Else: nothing.
class Rig {
 public:
  Rig()
      : names_([this](const std::string& q, bool) { return answer(q); }),
        resolver_(dns::Resolver::make({names_.endpoint()}, {base::Millis(100), 1}).value()),
        directory_(loop, *resolver_, base::system_clock(), [] { return 0U; }),
        tls_(loop),
        hop(loop) {
    resolver_->attach(loop);
    restart_pool(base::Millis(60'000));
    connect();
  }
  void restart_pool(base::Millis idle) {
    pool_.emplace(loop, Reach{&directory_, nullptr, resolver_.get()}, tls_.desk, Pool::Settings{"us.example", hop.endpoint().port, {}, idle},
                  [this]() noexcept { ++lost; });
  }
  void connect(std::uint64_t epoch = 1) {
    auto pair = ipc::make_channel_pair();
    queued = std::make_unique<Queued>(loop, std::move(pair.a), epoch);
    pool_->connect(std::move(pair.b));
  }
  // Runs the loop until `done`, at most 5 s.
  template <class Done>
  void until(Done done) {
    bool late = false;
    event::Timer timer(loop, [&]() noexcept { late = true; });
    timer.start(base::Millis(5'000));
    loop.run_once(false);
    while (!done() && !late) loop.run_once(true);
    EXPECT_FALSE(late) << "waited in vain";
  }
  void until_asked(std::size_t n = 1) {
    until([&] { return queued->asks.size() >= n; });
  }
  void until_outcomes(std::size_t n) {
    until([&] { return queued->outcomes.size() >= n; });
  }
  const ipc::GrantEnded& until_ended(std::size_t n = 1) {
    until([&] { return queued->ended.size() >= n; });
    static const ipc::GrantEnded kNone;
    return queued->ended.empty() ? kNone : queued->ended.back();
  }
  config::HopSpec to_hop() const {
    return {config::HopKind::kHost, "127.0.0.1", hop.endpoint().port};
  }
  Pool& pool() { return *pool_; }

  event::Loop loop;

 private:
  std::optional<std::string> answer(const std::string& query) {
    std::string name;
    std::size_t at = 12;
    while (query[at] != '\0') {
      const auto size = static_cast<std::size_t>(query[at]);
      name += (name.empty() ? "" : ".") + query.substr(at + 1, size);
      at += size + 1;
    }
    const auto type = static_cast<unsigned>(query[at + 2]);
    if (name == "slow.example") return std::nullopt;
    if (name == "example.org" && type == dns::kMx) ++mx_queries;
    return dns::FakeServer::as_answer(query, packet(name, type).bytes());
  }
  static dns::Packet packet(const std::string& name, unsigned type) {
    dns::Packet p(name, type);
    if (type == dns::kMx && name == "example.org")
      return p.mx(name, 10, "one.example").mx(name, 20, "two.example");
    if (type == dns::kMx && name == "null.example") return p.mx(name, 0, "");
    // 192.0.2.1 has two names, of which one leads back to it; 192.0.2.2 has one that does not.
    if (type == dns::kPtr && name == "1.2.0.192.in-addr.arpa")
      return p.ptr(name, "liar.example", 90).ptr(name, "true.example", 90);
    if (type == dns::kPtr && name == "2.2.0.192.in-addr.arpa") return p.ptr(name, "liar.example");
    if (type == dns::kPtr && name == "3.2.0.192.in-addr.arpa") return p.ptr(name, "slow.example");
    if (type == dns::kA && name == "true.example") return p.a(name, "\xc0\x00\x02\x01"s, 70);
    if (type == dns::kA && name == "liar.example") return p.a(name, "\xc0\x00\x02\x63"s);
    if (name == "one.example")
      return type == dns::kA ? p.a(name, std::string_view("\x7f\0\0\1", 4)) : p;
    if (name == "two.example")
      return type == dns::kA ? p.a(name, std::string_view("\x7f\0\0\2", 4)) : p;
    return {name, type, 0x8183};
  }

  dns::FakeServer names_;
  std::unique_ptr<dns::Resolver> resolver_;
  Directory directory_;
  TlsRig tls_;

 public:
  FakeHop hop;
  std::unique_ptr<Queued> queued;
  std::atomic<int> mx_queries = 0;
  int lost = 0;  // channels

 private:
  std::optional<Pool> pool_;
};

std::string text(const ipc::Outcome& outcome) {
  std::string all;
  for (const auto& r : outcome.results)
    all += fmt::format("{}{} {} {}", all.empty() ? "" : ", ", r.number, static_cast<int>(r.result),
                       r.reply.code);
  return all;
}
// As text() says it.
constexpr int kDelivered = 0, kDeferred = 1, kFailed = 2, kUnknown = 3, kReturned = 4;
std::string one(int result, int code, int number = 5) {
  return fmt::format("{} {} {}", number, result, code);
}

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

// --- Probes -----------------------------------------------------------------------------------------

class Probes : public testing::Test {
 protected:
  void probe(const std::string& to, config::HopSpec at, const char* queue = "in.example") {
    rig.queued->connection().send(ipc::Probe{base::RequestId(++request_), queue, std::move(at),
                                             mail::Address::parse(to).value()});
  }
  void until_probed(std::size_t n) {
    rig.until([&] { return rig.queued->probed.size() >= n; });
  }
  std::string said(std::size_t n) {
    const auto& p = rig.queued->probed.at(n);
    return fmt::format("{} {} {}", p.request.value, static_cast<int>(p.result), p.reply.code);
  }
  Rig rig;

 private:
  std::uint64_t request_ = 0;
};

TEST_F(Probes, ShareAConnectionAndSendNothing) {
  rig.hop.answer([](const std::string& line, bool&) -> std::optional<std::string> {
    if (line == "RCPT TO:<x@in.example>") return "550 5.1.1 unknown";
    return std::nullopt;
  });
  for (const auto* to : {"a@in.example", "x@in.example", "b@in.example"}) probe(to, rig.to_hop());
  until_probed(3);
  EXPECT_EQ(said(0), "1 0 0");
  EXPECT_EQ(said(1), "2 2 550");
  EXPECT_EQ(said(2), "3 0 0");
  EXPECT_EQ(rig.queued->probed[1].reply.text, "unknown");
  EXPECT_TRUE(rig.queued->probed[1].remote.starts_with("[127.0.0.1]"));
  probe("c@in.example", rig.to_hop());
  until_probed(4);
  EXPECT_EQ(rig.hop.sessions, 1U);
  EXPECT_TRUE(rig.hop.messages.empty());
  EXPECT_EQ(rig.hop.lines,
            (std::vector<std::string>{"EHLO us.example", "MAIL FROM:<>", "RCPT TO:<a@in.example>",
                                      "RCPT TO:<x@in.example>", "RCPT TO:<b@in.example>", "RSET",
                                      "MAIL FROM:<>", "RCPT TO:<c@in.example>"}));
  EXPECT_TRUE(rig.queued->ended.empty());  // they are no grants
}

TEST_F(Probes, OfANextHopOutOfReachSaySo) {
  probe("a@in.example", {config::HopKind::kHost, "127.0.0.1", 1});
  probe("b@in.example", {config::HopKind::kHost, "127.0.0.1", 1});
  probe("c@null.example", {}, "null.example");
  until_probed(3);
  for (std::size_t n = 0; n < 3; ++n) {
    EXPECT_EQ(rig.queued->probed[n].result, ipc::Result::kDeferred);
    EXPECT_EQ(rig.queued->probed[n].reply.code, 0);
  }
}

TEST_F(Probes, AreRepeatedOnAnotherConnectionWhereOneWasEnded) {
  int answered = 0;
  rig.hop.answer([&](const std::string& line, bool& close) -> std::optional<std::string> {
    if (line.starts_with("RCPT") && ++answered == 1) {
      close = true;
      return "250 ok";
    }
    return std::nullopt;
  });
  probe("a@in.example", rig.to_hop());
  until_probed(1);
  probe("b@in.example", rig.to_hop());
  until_probed(2);
  EXPECT_EQ(said(1), "2 0 0");
  EXPECT_EQ(rig.hop.sessions, 2U);
}

TEST_F(Probes, EndWithTheChannelAndWithTheProcess) {
  rig.hop.answer([](const std::string& line, bool&) -> std::optional<std::string> {
    return line.starts_with("RCPT") ? std::optional("") : std::nullopt;
  });
  probe("a@in.example", rig.to_hop());
  rig.until([&] { return rig.hop.lines.size() == 3; });
  rig.connect(2);
  rig.until([&] { return rig.hop.open == 0; });
  probe("b@in.example", rig.to_hop());
  rig.until([&] { return rig.hop.lines.size() == 6; });
  bool stopped = false;
  rig.pool().stop([&]() noexcept { stopped = true; });
  rig.until([&] { return stopped; });
  EXPECT_TRUE(rig.queued->probed.empty());
}

// --- Names of addresses -----------------------------------------------------------------------------

TEST(Names, LeadBackOrCountForNothing) {
  Rig rig;
  const auto ask = [&](std::uint64_t request, std::string_view address) {
    rig.queued->connection().send(ipc::AskName{base::RequestId(request), base::parse_ip(address).value()});
    const auto count = rig.queued->named.size();
    rig.until([&] { return rig.queued->named.size() > count; });
    EXPECT_EQ(rig.queued->named.back().request, base::RequestId(request));
    return rig.queued->named.back();
  };
  const auto good = ask(1, "192.0.2.1");
  EXPECT_EQ(good.state, ipc::NameState::kConfirmed);
  EXPECT_EQ(good.name, "true.example");
  EXPECT_EQ(good.ttl, base::Millis(70'000));
  EXPECT_EQ(ask(2, "192.0.2.2").state, ipc::NameState::kNone);
  EXPECT_EQ(rig.queued->named.back().name, "");
  EXPECT_EQ(ask(3, "192.0.2.3").state, ipc::NameState::kUnclear);  // nobody answers for that name
  EXPECT_EQ(ask(4, "192.0.2.4").state, ipc::NameState::kNone);
}

}  // namespace
}  // namespace postern::relay
