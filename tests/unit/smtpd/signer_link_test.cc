// smtpd's link to key: what is asked is answered once, also when the channel or the key process is
// gone.
#include "smtpd/signer_link.h"

#include <gtest/gtest.h>

#include "common/log/log.h"

namespace postern::smtpd::test {
namespace {

struct FakeKey {
  explicit FakeKey(event::Loop& loop, base::UniqueFd fd)
      : connection(std::make_unique<Connection>(loop, std::move(fd), *this)) {}
  void on(const ipc::Sign& m) { asked.push_back(m); }
  void closed() noexcept {}
  using Connection = ipc::Connection<FakeKey, ipc::Role::kKey, ipc::Role::kSmtpd>;
  std::vector<ipc::Sign> asked;
  std::unique_ptr<Connection> connection;
};

struct Rig {
  Rig() { log::set_level(log::Format::kText, log::Level::kError); }
  void connect() {
    auto ends = ipc::make_channel_pair();
    key = std::make_unique<FakeKey>(loop, std::move(ends.b));
    link.connect(std::move(ends.a));
    turn();
  }
  void turn() {
    for (int i = 0; i < 20; ++i) loop.run_once(false);
  }
  void sign() {
    link.sign({.scheme = {tls::Algorithm::kEcdsa, tls::Digest::kSha384}, .bytes = "bytes"},
              [this](std::optional<std::string> signature) noexcept {
                answers.push_back(std::move(signature));
              });
  }
  event::Loop loop;
  int lost = 0;
  std::shared_ptr<tls::TicketKeys> tickets = std::make_shared<tls::TicketKeys>();
  SignerLink link{loop, tickets, [this]() noexcept { ++lost; }};
  std::unique_ptr<FakeKey> key;
  std::vector<std::optional<std::string>> answers;
};

TEST(SignerLink, AsksAndIsAnswered) {
  Rig rig;
  rig.connect();
  rig.sign();
  rig.sign();
  rig.turn();
  ASSERT_EQ(rig.key->asked.size(), 2U);
  EXPECT_EQ(rig.key->asked[0].key, std::string(32, '\0'));
  EXPECT_EQ(rig.key->asked[0].algorithm, tls::Algorithm::kEcdsa);
  EXPECT_EQ(rig.key->asked[0].digest, tls::Digest::kSha384);
  EXPECT_EQ(rig.key->asked[0].bytes, "bytes");
  rig.key->connection->send(ipc::Signed{rig.key->asked[1].request, "second"});
  rig.key->connection->send(ipc::Signed{rig.key->asked[0].request, {}});
  rig.turn();
  EXPECT_EQ(rig.answers, (std::vector<std::optional<std::string>>{"second", std::nullopt}));
}

TEST(SignerLink, HasNoSignatureWithoutAKeyProcessAndSaysSoLater) {
  Rig rig;
  rig.sign();
  EXPECT_TRUE(rig.answers.empty()) << "never from within";
  rig.turn();
  EXPECT_EQ(rig.answers, (std::vector<std::optional<std::string>>{std::nullopt}));
}

TEST(SignerLink, ALostChannelAnswersWhatWasAskedOnIt) {
  Rig rig;
  rig.connect();
  rig.sign();
  rig.turn();
  rig.key.reset();
  rig.turn();
  EXPECT_EQ(rig.answers, (std::vector<std::optional<std::string>>{std::nullopt}));
  EXPECT_EQ(rig.lost, 1);
  rig.connect();
  rig.sign();
  rig.turn();
  ASSERT_EQ(rig.key->asked.size(), 1U);
  rig.connect();  // and one that is replaced
  EXPECT_EQ(rig.answers.size(), 2U);
}

TEST(SignerLink, WaitsForNoMoreThanItsCredit) {
  Rig rig;
  rig.connect();
  for (std::uint32_t i = 0; i < ipc::Sign::kWindow.requests + 2; ++i) rig.sign();
  rig.turn();
  EXPECT_EQ(rig.answers.size(), 2U);
  EXPECT_EQ(rig.key->asked.size(), ipc::Sign::kWindow.requests);
}

TEST(SignerLink, TakesTheKeysOfTickets) {
  Rig rig;
  rig.connect();
  const std::string name(16, 'n'), secret(32, 's');
  rig.key->connection->send(ipc::TicketKeys{{{name, secret, secret}}});
  rig.turn();
  ASSERT_NE(rig.tickets->newest(), nullptr);
  EXPECT_EQ(rig.tickets->newest()->name[0], 'n');
  rig.key->connection->send(ipc::TicketKeys{{{"short", secret, secret}}});
  rig.turn();
  EXPECT_EQ(rig.tickets->newest()->name[0], 'n') << "a key of the wrong size is none";
}

}  // namespace
}  // namespace postern::smtpd::test
