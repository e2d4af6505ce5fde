// Hosts that keep our mail: called, turned round, and lent to another process.
#include "pool_rig.h"

namespace postern::relay {
namespace {

class Collecting : public testing::Test, protected PoolRig {
 protected:
  Collecting() {
    hop.answer([this](const std::string& line, bool&) -> std::optional<std::string> {
      if (line.starts_with("ATRN")) return to_atrn;
      if (turned()) return "";  // what comes now is said by the server that we lend it to
      return std::nullopt;
    });
  }
  [[nodiscard]] bool turned() const {
    return !queued->turned.empty();
  }
  const ipc::Collected& until_collected(std::size_t n = 1) {
    until([&] { return queued->collected.size() >= n; });
    static const ipc::Collected kNone;
    return queued->collected.empty() ? kNone : queued->collected.back();
  }
  std::string read_session() {
    std::string got(4'096, '\0');
    ssize_t size = 0;
    until([&] {
      size = ::read(queued->sessions.at(0).get(), got.data(), got.size());
      return size >= 0;
    });
    got.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    return got;
  }
  void say(const std::string& text) {
    ASSERT_EQ(::write(queued->sessions.at(0).get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  std::string to_atrn = "250 now reversing";
};

TEST_F(Collecting, LendsTheSessionThatWasTurnedRound) {
  queued->collect(to_hop(), {mail::Domain::parse("a.example").value(), mail::Domain::parse("b.example").value()});
  until([&] { return turned(); });
  EXPECT_EQ(hop.lines.back(), "ATRN a.example,b.example");
  EXPECT_EQ(base::to_string(queued->turned[0].client), "127.0.0.1");
  ASSERT_EQ(queued->sessions.size(), 1U);
  say("220 inner.example\r\n");
  until([&] { return hop.lines.back() == "220 inner.example"; });
  hop.interrupt("EHLO outer.example");
  EXPECT_EQ(read_session(), "EHLO outer.example\r\n");
  queued->sessions.clear();  // the server has said goodbye
  const auto& end = until_collected();
  EXPECT_EQ(end.end, ipc::CollectEnd::kServed);
  EXPECT_EQ(end.received, 20U);
  EXPECT_EQ(end.sent, 19U);
  until([&] { return hop.open == 0; });
}

// Of one in clear text there is nothing to tell.
TEST_F(Collecting, TellsHowTheSessionIsKeptFromOthers) {
  queued->collect(to_hop());
  until([&] { return turned(); });
  EXPECT_EQ(queued->turned[0].tls + queued->turned[0].tls_peer, "");
  queued->sessions.clear();
  until_collected();

  hop.answer([](const std::string& line, bool&) -> std::optional<std::string> {
    if (line.starts_with("EHLO")) return "250-fake\r\n250 STARTTLS";
    if (line.starts_with("ATRN")) return "250 now reversing";
    return std::nullopt;
  });
  auto by_name = to_hop();
  by_name.host = "one.example";
  by_name.tls = config::HopTls::kRequired;
  for (const auto* name : {"one.example", "other.example"}) {
    const auto& issued = tls::test::Authority::instance().issue({name});
    PromptSigner signer(loop, issued.key);
    hop.secure(*tls::ServerContext::make({.certificates = {{{}, issued.chain}}}, std::make_shared<tls::TicketKeys>()),
               signer);
    queued->turned.clear();
    queued->collected.clear();
    queued->collect(by_name);
    until([&] { return turned(); });
    ASSERT_TRUE(turned());
    EXPECT_EQ(queued->turned[0].tls, "TLSv1.3 TLS_AES_256_GCM_SHA384");
    // Whom nobody could verify is not named.
    EXPECT_EQ(queued->turned[0].tls_peer, name == by_name.host ? name : "");
    queued->sessions.clear();
    until_collected();
    until([&] { return hop.open == 0; });
  }
}

TEST_F(Collecting, HandsOnWhatTheHostSaysAtOnce) {
  to_atrn = "250 ok\r\nEHLO outer.example";
  queued->collect(to_hop());
  until([&] { return turned(); });
  EXPECT_EQ(hop.lines.back(), "ATRN");
  EXPECT_EQ(read_session(), "EHLO outer.example\r\n");
}

TEST_F(Collecting, TellsWhyThereIsNoSession) {
  for (const auto& [reply, end] : {std::pair("453 You have no mail", ipc::CollectEnd::kNothing),
                                   {"450 4.7.1 busy", ipc::CollectEnd::kFailed},
                                   {"530 5.7.0 who are you", ipc::CollectEnd::kFailed},
                                   {"421 4.3.2 going", ipc::CollectEnd::kFailed}}) {
    to_atrn = reply;
    queued->collected.clear();
    queued->collect(to_hop());
    const auto& collected = until_collected();
    EXPECT_EQ(collected.end, end) << reply;
    EXPECT_EQ(collected.reply.code, std::stoi(reply));
    EXPECT_NE(collected.remote, "");
  }
  EXPECT_TRUE(queued->turned.empty());
}

TEST_F(Collecting, TellsThatNobodyIsThere) {
  auto nobody = to_hop();
  nobody.host = "127.0.0.9";
  queued->collect(nobody);
  EXPECT_EQ(until_collected().end, ipc::CollectEnd::kFailed);
  // A password that is not known here is for nobody.
  auto unknown = to_hop();
  unknown.login = "ann";
  queued->collect(unknown);
  EXPECT_EQ(until_collected(2).end, ipc::CollectEnd::kFailed);
  queued->collect({.kind = config::HopKind::kMx});
  EXPECT_EQ(until_collected(3).end, ipc::CollectEnd::kFailed);
}

TEST_F(Collecting, EndsWhenItIsNotWanted) {
  queued->collect(to_hop());
  until([&] { return turned(); });
  queued->end_collect();
  EXPECT_EQ(until_collected().end, ipc::CollectEnd::kServed);
  EXPECT_EQ(read_session(), "");
  until([&] { return hop.open == 0; });
}

TEST_F(Collecting, ASessionOutlivesQueuedAndIsTheNextCall) {
  queued->collect(to_hop());
  until([&] { return turned(); });
  auto session = std::move(queued->sessions[0]);
  connect(2);
  queued->collect(to_hop());
  hop.interrupt("EHLO outer.example");
  queued->sessions.push_back(std::move(session));
  EXPECT_EQ(read_session(), "EHLO outer.example\r\n");
  EXPECT_TRUE(queued->turned.empty());
  EXPECT_EQ(hop.sessions, 1U);
  queued->sessions.clear();
  EXPECT_EQ(until_collected().end, ipc::CollectEnd::kServed);
}

TEST_F(Collecting, StopsWhenTheSessionIsOver) {
  queued->collect(to_hop());
  until([&] { return turned(); });
  bool stopped = false;
  pool().stop([&]() noexcept { stopped = true; });
  loop.run_once(false);
  EXPECT_FALSE(stopped);
  queued->sessions.clear();
  until([&] { return stopped; });
}

}  // namespace
}  // namespace postern::relay
