// The key process's own part: signs handshakes with the keys that it has, and nothing else.
#include <gtest/gtest.h>

#include <set>

#include "common/config/roles.h"
#include "common/log/log.h"
#include "common/tls/chain.h"
#include "smtpd/key/daemon.h"
#include "tests/unit/tls/certificates.h"

namespace postern::smtpd::key {
namespace {

using tls::test::Authority;
using tls::test::Issued;

struct FakeHost final : role::Host {
  void set_state(std::string_view text) override { state = text; }
  void peer_lost(ipc::Role) override {}
  void ask_reload(Answer) override {}
  void ask_stop(Answer) override {}
  [[noreturn]] void fatal(const std::string&) override { std::abort(); }
  std::string state;
};

// One smtpd.
struct Client {
  Client(event::Loop& loop, base::UniqueFd fd)
      : connection(std::make_unique<Connection>(loop, std::move(fd), *this)) {}
  using Connection = ipc::Connection<Client, ipc::Role::kSmtpd, ipc::Role::kKey>;
  void on(const ipc::Signed& m) { answers.push_back(m.signature); }
  void on(const ipc::TicketKeys& m) {
    keys = m.keys;
    history.push_back(m.keys);
  }
  void closed() noexcept { ended = true; }
  std::vector<std::string> answers;
  std::vector<ipc::TicketKey> keys;
  std::vector<std::vector<ipc::TicketKey>> history;  // all that were told
  bool ended = false;
  std::unique_ptr<Connection> connection;
};

std::string config_of(std::initializer_list<const Issued*> certificates) {
  config::KeyConfig config;
  for (const auto* certificate : certificates) config.keys.push_back(certificate->key);
  return ipc::encode(config);
}

const std::string& handshake() {
  static const std::string bytes = std::string(64, ' ') +
                                   std::string("TLS 1.3, server CertificateVerify\0", 34) +
                                   std::string(32, 'h');
  return bytes;
}

class KeyDaemon : public testing::Test {
 protected:
  KeyDaemon() { log::set_level(log::Format::kText, log::Level::kError); }
  void start(const std::string& config) {
    ASSERT_TRUE(daemon_->prepare(config, {}, {}));
    daemon_->start(loop_);
  }
  std::unique_ptr<Client> connect(std::uint32_t index) {
    auto ends = ipc::make_channel_pair();
    auto client = std::make_unique<Client>(loop_, std::move(ends.a));
    daemon_->peer({ipc::Role::kSmtpd, index, {}}, std::move(ends.b));
    turn();
    return client;
  }
  void turn() {
    for (int i = 0; i < 6; ++i) loop_.run_once(false);
  }
  void ask(Client& client, const Issued& issued, const std::string& bytes = handshake(),
           tls::Algorithm algorithm = tls::Algorithm::kEcdsa) {
    const auto id = tls::Chain::parse(issued.chain)->key();
    ipc::Sign request;
    request.request = base::RequestId(++last_);
    request.key.assign(reinterpret_cast<const char*>(id.data()), id.size());
    request.algorithm = algorithm;
    request.bytes = bytes;
    client.connection->send(request);
  }
  // The signature that the process gives; empty: none.
  std::string sign(Client& client, const Issued& issued, const std::string& bytes = handshake(),
                   tls::Algorithm algorithm = tls::Algorithm::kEcdsa) {
    ask(client, issued, bytes, algorithm);
    turn();
    EXPECT_FALSE(client.answers.empty());
    return client.answers.empty() ? "" : client.answers.back();
  }

  const Issued& a_ = Authority::instance().issue({"a.example"});
  const Issued& b_ = Authority::instance().issue({"b.example"});
  const Issued& c_ = Authority::instance().issue({"c.example"});
  event::Loop loop_;
  FakeHost host_;
  std::unique_ptr<Daemon> daemon_ = std::make_unique<Daemon>(host_);
  std::uint64_t last_ = 0;
};

TEST_F(KeyDaemon, SignsHandshakesWithItsKeys) {
  start(config_of({&a_, &b_}));
  EXPECT_EQ(host_.state, "2 keys");
  const auto client = connect(0);
  EXPECT_NE(sign(*client, a_), "");
  EXPECT_NE(sign(*client, b_), "");
  EXPECT_EQ(sign(*client, c_), "") << "of another";
  EXPECT_EQ(sign(*client, a_, handshake(), tls::Algorithm::kRsaPss), "") << "does not fit";
}

TEST_F(KeyDaemon, SignsNothingElse) {
  start(config_of({&a_}));
  const auto client = connect(0);
  EXPECT_EQ(sign(*client, a_, "a message"), "");
  EXPECT_EQ(sign(*client, a_, std::string(32, 'd')), "");
  EXPECT_EQ(sign(*client, a_, ""), "");
}

// What is asked for together is answered within one turn: it wakes each of the two processes once, not
// for each handshake.
TEST_F(KeyDaemon, AnswersAtOnceAllThatWaits) {
  start(config_of({&a_}));
  const auto client = connect(0);
  for (int i = 0; i < 8; ++i) ask(*client, a_);
  loop_.run_once(false);  // asked, signed and answered
  EXPECT_TRUE(client->answers.empty());
  loop_.run_once(false);
  EXPECT_EQ(client->answers.size(), 8U);
}

TEST_F(KeyDaemon, TakesNewKeysAndKeepsThoseOfTheGenerationBefore) {
  start(config_of({&a_}));
  const auto client = connect(0);
  ASSERT_TRUE(daemon_->configure(config_of({&b_}), base::Generation(2)));
  EXPECT_EQ(host_.state, "1 keys");
  EXPECT_NE(sign(*client, b_), "");
  EXPECT_NE(sign(*client, a_), "") << "an smtpd that is told later";
  ASSERT_TRUE(daemon_->configure(config_of({&c_}), base::Generation(3)));
  EXPECT_EQ(sign(*client, a_), "");
  EXPECT_NE(sign(*client, b_), "");
}

TEST_F(KeyDaemon, RefusesAConfigurationThatIsNone) {
  start(config_of({&a_}));
  const auto client = connect(0);
  EXPECT_FALSE(daemon_->configure("nonsense", base::Generation(2)));
  config::KeyConfig bad;
  bad.keys = {"nonsense"};
  const auto done = daemon_->configure(ipc::encode(bad), base::Generation(2));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), "key: holds no private key in PEM: unsupported");
  EXPECT_NE(sign(*client, a_), "");
  Daemon other(host_);
  EXPECT_FALSE(other.prepare("nonsense", {}, {}));
}

TEST_F(KeyDaemon, GivesAllTheSameTicketKeys) {
  start(config_of({&a_}));
  const auto one = connect(0), two = connect(1);
  ASSERT_EQ(one->keys.size(), 1U);
  EXPECT_EQ(one->keys[0].name.size(), 16U);
  EXPECT_EQ(one->keys[0].cipher.size(), 32U);
  EXPECT_EQ(one->keys[0].mac.size(), 32U);
  ASSERT_EQ(two->keys.size(), 1U);
  EXPECT_EQ(two->keys[0].cipher, one->keys[0].cipher);
  const auto again = connect(0);
  EXPECT_TRUE(one->ended) << "a fresh channel replaces the former";
  EXPECT_EQ(again->keys.at(0).name, two->keys[0].name);
}

// A ticket is honoured for one more life after its key's own, and then never again.
TEST_F(KeyDaemon, ChangesTheTicketKeysAndKeepsTheFormerOnes) {
  daemon_ = std::make_unique<Daemon>(host_, base::Millis(20));
  start(config_of({&a_}));
  const auto client = connect(0);
  while (client->history.size() < 4) loop_.run_once(true);
  std::set<std::string> names;
  for (std::size_t n = 1; n < client->history.size(); ++n) {
    const auto &now = client->history[n], &before = client->history[n - 1];
    ASSERT_EQ(now.size(), 2U);
    EXPECT_EQ(now[1].name, before[0].name);
    EXPECT_TRUE(names.insert(now[0].name).second);
  }
}

}  // namespace
}  // namespace postern::smtpd::key
