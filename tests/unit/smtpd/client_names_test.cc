// Names of clients' addresses: asked for once, remembered for a while, and waited for by nobody.
#include "smtpd/client_names.h"

#include <gtest/gtest.h>

#include "tests/unit/smtpd/rig.h"

namespace postern::smtpd::test {
namespace {

const base::IpAddress kAsked = base::parse_ip("192.0.2.1").value();

struct Names : testing::Test, LinkRig {
  Names() {
    connect();
    names.use(true);
  }
  void answer(std::size_t which, ipc::NameState state, const std::string& name = {},
              base::Millis ttl = base::Millis(0)) {
    queued->say(ipc::NameKnown{queued->names_asked.at(which).request, state, name, ttl});
    turn();
  }
  void look_up(const base::IpAddress& client = kAsked) {
    names.look_up(client);
    turn();
  }
  ClientNames names{link, clock};
};

TEST_F(Names, AreAskedForOnceAndRemembered) {
  look_up();
  look_up();
  ASSERT_EQ(queued->names_asked.size(), 1U);
  EXPECT_EQ(queued->names_asked[0].client, kAsked);
  EXPECT_EQ(names.find(kAsked), nullptr);
  answer(0, ipc::NameState::kConfirmed, "c.example", base::Millis(120'000));
  ASSERT_NE(names.find(kAsked), nullptr);
  EXPECT_EQ(names.find(kAsked)->name, "c.example");
  clock.advance(base::Millis(119'000));
  look_up();
  EXPECT_EQ(queued->names_asked.size(), 1U);
  clock.advance(base::Millis(2'000));
  look_up();
  EXPECT_EQ(queued->names_asked.size(), 2U);
}

TEST_F(Names, HoldUntilTheNextAnswer) {
  look_up();
  answer(0, ipc::NameState::kConfirmed, "c.example", base::Millis(60'000));
  clock.advance(base::Millis(900'000));
  look_up();
  ASSERT_NE(names.find(kAsked), nullptr) << "it is asked for anew meanwhile";
  EXPECT_EQ(names.find(kAsked)->name, "c.example");
  answer(1, ipc::NameState::kUnclear);
  EXPECT_EQ(names.find(kAsked)->state, ipc::NameState::kConfirmed);
  clock.advance(ClientNames::kUnclear + base::Millis(1));
  look_up();
  answer(2, ipc::NameState::kNone);
  EXPECT_EQ(names.find(kAsked)->state, ipc::NameState::kNone);
}

TEST_F(Names, AreRememberedNeitherTooShortNorTooLong) {
  look_up();
  answer(0, ipc::NameState::kNone);
  clock.advance(base::Millis(59'000));
  look_up();
  EXPECT_EQ(queued->names_asked.size(), 1U);
  clock.advance(base::Millis(2'000));
  look_up();
  answer(1, ipc::NameState::kConfirmed, "c.example", base::Millis(7LL * 24 * 3'600'000));
  clock.advance(base::Millis(3'601'000));
  look_up();
  EXPECT_EQ(queued->names_asked.size(), 3U);
}

TEST_F(Names, OfThisHostAndOfNobodyAreNotAskedFor) {
  look_up(base::parse_ip("127.0.0.1").value());
  look_up(base::parse_ip("::1").value());
  look_up(config::kUnknownClient);
  names.use(false);
  look_up();
  EXPECT_TRUE(queued->names_asked.empty());
}

TEST_F(Names, ThatNobodyTellsAreUnclear) {
  look_up();
  clock.advance(QueueLink::kAskDeadline + base::Millis(1));
  link.check_deadlines();
  ASSERT_NE(names.find(kAsked), nullptr);
  EXPECT_EQ(names.find(kAsked)->state, ipc::NameState::kUnclear);
  clock.advance(ClientNames::kUnclear + base::Millis(1));
  look_up();
  EXPECT_EQ(queued->names_asked.size(), 2U);
}

TEST_F(Names, AreAskedForSoManyAtOnce) {
  for (unsigned i = 0; i < ClientNames::kMostOpen + 10; ++i) {
    auto client = kAsked;
    client.bytes[2] = static_cast<std::uint8_t>(i / 250);
    client.bytes[3] = static_cast<std::uint8_t>(i % 250);
    names.look_up(client);
  }
  turn();
  EXPECT_EQ(queued->names_asked.size(), ClientNames::kMostOpen);
}

}  // namespace
}  // namespace postern::smtpd::test
