// What a relay is asked without mail: for recipients, and for names of addresses.
#include "pool_rig.h"

namespace postern::relay {
namespace {

using Rig = PoolRig;

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

// RFC 9422, and RFC 5321 4.5.3.1.10: who is one too many was not refused, and is asked for in the next transaction.
TEST_F(Probes, ObeyTheLimitsOfTheNextHop) {
  rig.hop.answer([](const std::string& line, bool&) -> std::optional<std::string> {
    if (line.starts_with("EHLO")) return "250-fake\r\n250 LIMITS RCPTMAX=2 MAILMAX=2";
    if (line == "RCPT TO:<x@in.example>") return "550 5.1.1 unknown";
    return std::nullopt;
  });
  for (const auto* to : {"a@in.example", "b@in.example", "x@in.example", "c@in.example", "d@in.example"})
    probe(to, rig.to_hop());
  until_probed(5);
  for (const auto* answer : {"1 0 0", "2 0 0", "3 2 550", "4 0 0", "5 0 0"}) {
    const auto n = static_cast<std::size_t>(answer[0] - '1');
    EXPECT_EQ(said(n), answer);
  }
  EXPECT_EQ(rig.hop.sessions, 2U);
  EXPECT_EQ(rig.hop.lines, (std::vector<std::string>{
                               "EHLO us.example", "MAIL FROM:<>", "RCPT TO:<a@in.example>", "RCPT TO:<b@in.example>",
                               "RSET", "MAIL FROM:<>", "RCPT TO:<x@in.example>", "RCPT TO:<c@in.example>", "QUIT",
                               "EHLO us.example", "MAIL FROM:<>", "RCPT TO:<d@in.example>"}));
}

TEST_F(Probes, AreAskedAgainWhereTheyWereTooMany) {
  std::size_t taken = 0;
  rig.hop.answer([&](const std::string& line, bool&) -> std::optional<std::string> {
    if (line.starts_with("MAIL")) taken = 0;
    if (line.starts_with("RCPT") && ++taken > 1) return "452 too many recipients";
    return std::nullopt;
  });
  for (const auto* to : {"a@in.example", "b@in.example", "c@in.example"}) probe(to, rig.to_hop());
  until_probed(3);
  EXPECT_EQ(said(0) + ", " + said(1) + ", " + said(2), "1 0 0, 2 0 0, 3 0 0");
  EXPECT_EQ(rig.hop.sessions, 1U);
}

// Else they would be asked for ever.
TEST_F(Probes, AreDeferredWhereOneAloneIsTooMany) {
  rig.hop.answer([](const std::string& line, bool&) -> std::optional<std::string> {
    return line.starts_with("RCPT") ? std::optional("452 4.5.3 too many recipients") : std::nullopt;
  });
  for (const auto* to : {"a@in.example", "b@in.example"}) probe(to, rig.to_hop());
  until_probed(2);
  EXPECT_EQ(said(0) + ", " + said(1), "1 1 452, 2 1 452");
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
