// What relays ask of fetch, and what they hear where it is not there; and what becomes of it on the way to a
// domain's MX hosts.
#include "deliverd/relay/policy_link.h"

#include <gtest/gtest.h>

#include "deliverd/relay/lookup.h"
#include "tests/unit/dns/fake_server.h"
#include "tests/unit/dns/packet.h"

namespace postern::relay {
namespace {

struct FakeFetch {
  FakeFetch(event::Loop& loop, base::UniqueFd fd)
      : connection(std::make_unique<Connection>(loop, std::move(fd), *this)) {}
  void on(const ipc::AskPolicy& ask) { asked.push_back(ask); }
  void closed() noexcept {}
  void say(std::size_t i, ipc::StsMode mode, std::vector<std::string> strangers = {}) {
    connection->send(ipc::PolicySaid{asked.at(i).request, true, mode, std::move(strangers)});
  }
  using Connection = ipc::Connection<FakeFetch, ipc::Role::kFetch, ipc::Role::kRelay>;
  std::vector<ipc::AskPolicy> asked;
  std::unique_ptr<Connection> connection;
};

class HandClock final : public base::Clock {
 public:
  base::WallTime wall() const noexcept override { return {}; }
  base::SteadyTime steady() const noexcept override { return {now}; }
  std::int64_t now = 1;
};

class PolicyLinkTest : public testing::Test {
 protected:
  void connect() {
    auto ends = ipc::make_channel_pair();
    fetch = std::make_unique<FakeFetch>(loop, std::move(ends.b));
    link.connect(std::move(ends.a));
    turn();
  }
  void turn() {
    for (int i = 0; i < 20; ++i) loop.run_once(false);
  }
  [[nodiscard]] dns::Query ask(const std::string& domain) {
    return link.ask(domain, {"mx.example"}, [this, domain](std::optional<ipc::PolicySaid> said) noexcept {
      answers.push_back(domain + (said ? " " + std::to_string(static_cast<int>(said->mode)) : " unknown"));
    });
  }

  event::Loop loop;
  HandClock clock;
  int lost = 0;
  PolicyLink link{loop, clock, [this]() noexcept { ++lost; }};
  std::unique_ptr<FakeFetch> fetch;
  std::vector<std::string> answers;
};

TEST_F(PolicyLinkTest, AsksAndIsAnswered) {
  connect();
  const auto a = ask("a.example");
  const auto b = ask("b.example");
  turn();
  ASSERT_EQ(fetch->asked.size(), 2U);
  EXPECT_EQ(fetch->asked[0].domain, "a.example");
  EXPECT_EQ(fetch->asked[0].hosts, std::vector<std::string>{"mx.example"});
  fetch->say(1, ipc::StsMode::kEnforce);
  fetch->say(0, ipc::StsMode::kTesting);
  turn();
  EXPECT_EQ(answers, (std::vector<std::string>{"b.example 2", "a.example 1"}));
}

TEST_F(PolicyLinkTest, AQuestionOutlivesTheChannel) {
  const auto early = ask("early.example");
  turn();
  connect();
  ASSERT_EQ(fetch->asked.size(), 1U);
  const auto second = ask("second.example");
  turn();
  fetch->say(0, ipc::StsMode::kNone);
  turn();
  fetch.reset();
  turn();
  EXPECT_EQ(lost, 1);
  EXPECT_EQ(answers, std::vector<std::string>{"early.example 0"});
  connect();
  ASSERT_EQ(fetch->asked.size(), 1U);
  EXPECT_EQ(fetch->asked[0].domain, "second.example");
  fetch->say(0, ipc::StsMode::kEnforce);
  turn();
  EXPECT_EQ(answers.size(), 2U);
}

TEST_F(PolicyLinkTest, WhoeverIsGoneHearsNothing) {
  connect();
  { const auto gone = ask("gone.example"); }
  const auto left = ask("left.example");
  turn();
  ASSERT_EQ(fetch->asked.size(), 2U);
  fetch->say(0, ipc::StsMode::kEnforce);
  fetch->say(1, ipc::StsMode::kEnforce);
  turn();
  EXPECT_EQ(answers, std::vector<std::string>{"left.example 2"});
}

TEST_F(PolicyLinkTest, MoreQuestionsThanTheWindowWait) {
  connect();
  std::vector<dns::Query> all;
  const std::size_t most = ipc::AskPolicy::kWindow.requests;
  for (std::size_t i = 0; i < most + 2; ++i) all.push_back(ask(std::to_string(i)));
  turn();
  ASSERT_EQ(fetch->asked.size(), most);
  fetch->say(5, ipc::StsMode::kNone);
  turn();
  EXPECT_EQ(fetch->asked.size(), most + 1);
  EXPECT_EQ(fetch->asked.back().domain, std::to_string(most));
}

// --- On the way to the hosts ------------------------------------------------------------------------------

// example.org: MX 10 a.example, 20 b.example.
class PolicyLookup : public PolicyLinkTest {
 protected:
  PolicyLookup()
      : names_([](const std::string& asked, bool) -> std::optional<std::string> {
          std::string name;
          std::size_t at = 12;
          for (; asked[at] != '\0'; at += static_cast<std::size_t>(asked[at]) + 1)
            name += (name.empty() ? "" : ".") + asked.substr(at + 1, static_cast<std::size_t>(asked[at]));
          const auto type = static_cast<unsigned>(asked[at + 2]);
          dns::Packet packet(name, type);
          if (type == dns::kMx) packet.mx(name, 10, "a.example").mx(name, 20, "b.example");
          if (type == dns::kA) packet.a(name, std::string("\xc0\x00\x02", 3) + name[0]);
          return dns::FakeServer::as_answer(asked, packet.bytes());
        }),
        resolver_(dns::Resolver::make({names_.endpoint()}, {base::Millis(200), 1, true}).value()),
        directory_(loop, *resolver_, base::system_clock(), [] { return 0U; }) {
    resolver_->attach(loop);
    connect();
  }
  void look(config::HopTls tls = config::HopTls::kOptional) {
    place.reset();
    const Reach reach{.directory = &directory_, .resolver = resolver_.get(), .policies = &link};
    query = look_up(reach, "example.org", {.kind = config::HopKind::kMx, .tls = tls}, 25, {},
                    [this](Place found) noexcept { place = std::move(found); });
  }
  // Until fetch was asked; what it says then, and what comes of it.
  void until_asked() {
    turn();  // what is remembered comes at its end
    while (fetch->asked.empty()) loop.run_once(true);
  }
  void says(ipc::StsMode mode, std::vector<std::string> strangers = {}) {
    look();
    until_asked();
    fetch->say(0, mode, std::move(strangers));
    fetch->asked.clear();
    turn();
  }
  [[nodiscard]] std::string words() const {
    if (!place) return "nothing yet";
    if (!place->targets) return place->targets.error().reply.text();
    std::string all;
    for (const auto& target : *place->targets) {
      all += (all.empty() ? "" : ", ") + target.host;
      if (target.policy) all += std::string(target.policy->enforced ? " enforced" : " tested") +
                                (target.policy->named ? " named" : " stranger");
    }
    return all;
  }

  dns::Query query;
  std::optional<Place> place;

 private:
  dns::FakeServer names_;
  std::unique_ptr<dns::Resolver> resolver_;
  Directory directory_;
};

TEST_F(PolicyLookup, AsksOfAllHostsAtOnce) {
  look();
  until_asked();
  ASSERT_EQ(fetch->asked.size(), 1U);
  EXPECT_EQ(fetch->asked[0].domain, "example.org");
  EXPECT_EQ(fetch->asked[0].hosts, (std::vector<std::string>{"a.example", "b.example"}));
  EXPECT_FALSE(place);
}

// What is demanded of a session is in the next hop's name, lest others' sessions carry the mail.
TEST_F(PolicyLookup, SaysOfEachHostWhatThePolicySays) {
  says(ipc::StsMode::kNone);
  EXPECT_EQ(words(), "a.example, b.example");
  EXPECT_EQ(place->next_hop, "a.example>b.example:25");
  says(ipc::StsMode::kEnforce);
  EXPECT_EQ(words(), "a.example enforced named, b.example enforced named");
  EXPECT_EQ(place->next_hop, "a.example>b.example:25/mta-sts");
  says(ipc::StsMode::kEnforce, {"a.example"});
  EXPECT_EQ(words(), "a.example enforced stranger, b.example enforced named");
  EXPECT_EQ(place->next_hop, "a.example>b.example:25/mta-sts-1");
  says(ipc::StsMode::kEnforce, {"b.example"});
  EXPECT_EQ(place->next_hop, "a.example>b.example:25/mta-sts-2");
  says(ipc::StsMode::kEnforce, {"b.example", "a.example"});
  EXPECT_EQ(place->next_hop, "a.example>b.example:25/mta-sts-3");
  says(ipc::StsMode::kTesting, {"b.example"});
  EXPECT_EQ(words(), "a.example tested named, b.example tested stranger");
  EXPECT_EQ(place->next_hop, "a.example>b.example:25");
}

TEST_F(PolicyLookup, NobodyIsAskedWhereTheWayDoesNotHeedIt) {
  for (const auto tls : {config::HopTls::kOff, config::HopTls::kDane}) {
    look(tls);
    turn();
    while (!place) loop.run_once(true);
    EXPECT_EQ(words(), "a.example, b.example");
  }
  EXPECT_TRUE(fetch->asked.empty());
  for (const auto tls : {config::HopTls::kRequired, config::HopTls::kVerified}) {
    fetch->asked.clear();
    look(tls);
    until_asked();
  }
}

TEST_F(PolicyLookup, WithoutAnAnswerTheMailWaits) {
  look();
  until_asked();
  clock.now += PolicyLink::kPatience.count();
  link.give_up_late();
  turn();
  EXPECT_EQ(words(),
            "4.3.0 nobody says which MTA-STS policy example.org has: the process fetch does not answer");
  EXPECT_EQ(place->targets.error().end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(place->targets.error().failure, ipc::FailureClass::kTls);
}

TEST_F(PolicyLookup, WhoNoLongerWantsToKnowHearsNothing) {
  look();
  until_asked();
  query = {};
  fetch->say(0, ipc::StsMode::kEnforce);
  turn();
  EXPECT_FALSE(place);
}

}  // namespace
}  // namespace postern::relay
