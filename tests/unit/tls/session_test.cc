// Two sessions in memory: every kind of key in both versions, a signer that takes its time or
// fails, and every way to end.
#include "common/tls/session.h"

#include <gtest/gtest.h>

#include "tests/unit/tls/pair.h"

namespace postern::tls::test {
namespace {

using State = event::Filter::State;

const Issued& certificate(const std::string& kind = "P-256") {
  return Authority::instance().issue({"mx.example.org"}, kind);
}

class EachKey : public testing::TestWithParam<std::pair<const char*, Scheme>> {};
INSTANTIATE_TEST_SUITE_P(
    Session, EachKey,
    testing::Values(std::pair{"rsa:2048", Scheme{Algorithm::kRsaPss, Digest::kSha256}},
                    std::pair{"rsa:3072", Scheme{Algorithm::kRsaPss, Digest::kSha256}},
                    std::pair{"P-256", Scheme{Algorithm::kEcdsa, Digest::kSha256}},
                    std::pair{"P-384", Scheme{Algorithm::kEcdsa, Digest::kSha384}},
                    std::pair{"ed25519", Scheme{Algorithm::kEd25519, Digest::kNone}}));

TEST_P(EachKey, AnswersAHandshakeThatTheClientBelieves) {
  const auto& [kind, scheme] = GetParam();
  const auto& issued = certificate(kind);
  Pair pair({.certificates = {{{"mx.example.org"}, issued.chain}}, .minimum = Version::k13},
            {issued.key}, "mx.example.org",
            {.minimum = Version::k13, .roots = Authority::instance().root()});
  pair.run();
  ASSERT_TRUE(pair.both_open()) << pair.client.session->trouble() << pair.server.session->trouble();
  EXPECT_EQ(pair.signer.schemes, std::vector{scheme});
  const auto facts = pair.server.session->facts();
  EXPECT_EQ(facts.version, "TLSv1.3");
  EXPECT_EQ(facts.cipher, "TLS_AES_256_GCM_SHA384");
  EXPECT_EQ(facts.name, "mx.example.org");
  EXPECT_EQ(facts.peer, "");
  EXPECT_FALSE(facts.resumed);
  EXPECT_EQ(pair.client.session->facts().peer, "mx.example.org");
}

TEST(Session, CarriesBytesBothWaysHoweverTheyAreCut) {
  for (const std::size_t most : {1U, 2U, 5U, 100U, 70'000U}) {
    auto pair = Pair::of(certificate());
    pair.run(most);
    ASSERT_TRUE(pair.both_open());
    const std::string much(50'000, 'x');
    pair.client.send("EHLO client.example\r\n");
    pair.server.send(much);
    pair.client.send(much);
    pair.run(most);
    EXPECT_EQ(pair.server.plain, "EHLO client.example\r\n" + much);
    EXPECT_EQ(pair.client.plain, much);
    EXPECT_LT(pair.client.out.size(), 100U);
  }
}

// RFC 9266: both ends have the same, and no other session has it.
TEST(Session, ALoginCanBeBoundToIt) {
  auto pair = Pair::of(certificate()), other = Pair::of(certificate());
  pair.run();
  other.run();
  const auto binding = pair.server.session->exporter_binding();
  EXPECT_EQ(binding.size(), 32U);
  EXPECT_EQ(binding, pair.client.session->exporter_binding());
  EXPECT_NE(binding, other.server.session->exporter_binding());
  EXPECT_EQ(pair.server.session->unique_binding(), "");  // there is none in TLS 1.3
}

TEST(Session, WaitsForItsSignature) {
  auto pair = Pair::of(certificate());
  pair.run(~std::size_t{0}, false);
  ASSERT_EQ(pair.signer.waiting.size(), 1U);
  EXPECT_EQ(pair.server.state(), State::kOpening);
  EXPECT_EQ(pair.client.state(), State::kOpening);
  EXPECT_TRUE(pair.server.out.empty());
  pair.run();
  EXPECT_TRUE(pair.both_open());
}

TEST(Session, FailsWithoutASignatureAndSaysSo) {
  auto pair = Pair::of(certificate());
  pair.run(~std::size_t{0}, false);
  pair.signer.answer(true);
  EXPECT_TRUE(pair.server.ready);
  pair.server.receive({});
  EXPECT_EQ(pair.server.state(), State::kFailed);
  EXPECT_FALSE(pair.server.out.empty()) << "an alert";
  pair.client.receive(pair.server.out);
  EXPECT_EQ(pair.client.state(), State::kFailed);
  EXPECT_NE(pair.client.session->trouble(), "");
}

TEST(Session, MayEndWhileItsSignatureIsMade) {
  auto pair = Pair::of(certificate());
  pair.run(~std::size_t{0}, false);
  ASSERT_EQ(pair.signer.waiting.size(), 1U);
  pair.server.session.reset();  // its fibre comes to its end: the leak check looks
  pair.signer.answer();         // too late, and nobody minds
}

TEST(Session, MayEndBetweenItsSignatureAndItsNextStep) {
  auto pair = Pair::of(certificate());
  pair.run(~std::size_t{0}, false);
  pair.signer.answer();
  EXPECT_TRUE(pair.server.ready);
  pair.server.session.reset();  // no receive() came
}

TEST(Session, KeepsWhatComesDuringTheSignatureUpToALimit) {
  auto pair = Pair::of(certificate());
  pair.run(~std::size_t{0}, false);
  pair.server.receive(std::string(60'000, 'x'));
  EXPECT_EQ(pair.server.state(), State::kOpening);
  pair.server.receive(std::string(6'000, 'x'));
  EXPECT_EQ(pair.server.state(), State::kFailed);
}

TEST(Session, IsOneOfMany) {
  std::vector<std::unique_ptr<Pair>> pairs;
  for (int i = 0; i < 20; ++i) {
    pairs.push_back(std::make_unique<Pair>(
        ServerSettings{.certificates = {{{"mx.example.org"}, certificate().chain}}},
        std::vector{certificate().key}));
    pairs.back()->run(~std::size_t{0}, false);
  }
  for (auto i = pairs.rbegin(); i != pairs.rend(); ++i) (*i)->run();  // the last one first
  for (const auto& pair : pairs) EXPECT_TRUE(pair->both_open());
}

TEST(Session, EndsWithCloseNotify) {
  auto pair = Pair::of(certificate());
  pair.run();
  pair.client.send("QUIT\r\n");
  pair.client.session->end(pair.client.out);
  pair.run();
  EXPECT_EQ(pair.server.plain, "QUIT\r\n");
  EXPECT_EQ(pair.server.state(), State::kEnded);
  pair.server.send("221\r\n");  // its own direction still stands
  pair.run();
  EXPECT_EQ(pair.client.plain, "221\r\n");
}

TEST(Session, FailsOnGarbageAndOnClearText) {
  for (const std::string_view bytes :
       {"MAIL FROM:<a@b.example>\r\n", "\x16\x03\x01\x00\x00", "\0\0\0\0\0\0"}) {
    auto pair = Pair::of(certificate());
    pair.server.receive(std::string(bytes) + std::string(20, 'x'));
    EXPECT_EQ(pair.server.state(), State::kFailed);
    EXPECT_EQ(pair.server.plain, "");
    EXPECT_NE(pair.server.session->trouble(), "");

    auto later = Pair::of(certificate());
    later.run();
    later.server.receive(std::string(bytes) + std::string(20, 'x'));
    EXPECT_EQ(later.server.state(), State::kFailed);
    EXPECT_EQ(later.server.plain, "");
    later.server.receive("again");
    EXPECT_EQ(later.server.state(), State::kFailed) << "for good";
  }
}

TEST(Session, ABitThatIsWrongEndsIt) {
  auto pair = Pair::of(certificate());
  pair.run();
  pair.client.send("DATA\r\n");
  pair.client.out[pair.client.out.size() / 2] ^= 1;
  pair.run();
  EXPECT_EQ(pair.server.state(), State::kFailed);
  EXPECT_EQ(pair.server.plain, "");
}

TEST(Session, TheClientRefusesAnotherName) {
  Pair pair({.certificates = {{{"mx.example.org"}, certificate().chain}}}, {certificate().key},
            "other.example", {.roots = Authority::instance().root()});
  pair.run();
  EXPECT_EQ(pair.client.state(), State::kFailed);
  EXPECT_EQ(pair.client.session->trouble(), "handshake: certificate verify failed (hostname mismatch)");
  EXPECT_EQ(pair.server.state(), State::kFailed);
}

// The name in the certificate that the server chose for a client that asks for `name`.
std::string chosen(const ServerSettings& settings, const std::vector<std::string>& keys,
                   const std::string& name) {
  Pair pair(settings, keys, name, {.roots = Authority::instance().root()});
  pair.run();
  return pair.client.state() == State::kOpen ? pair.client.session->facts().peer : "none";
}

TEST(Session, ChoosesTheCertificateByName) {
  auto& authority = Authority::instance();
  const auto& mx = authority.issue({"mx.example.org"});
  const auto& other = authority.issue({"other.example", "www.other.example"});
  const auto& any = authority.issue({"*.any.example"});
  const ServerSettings settings{
      .certificates = {{{"mx.example.org"}, mx.chain},
                       {{"other.example", "www.other.example"}, other.chain},
                       {{"*.any.example"}, any.chain}}};
  const std::vector keys{mx.key, other.key, any.key};
  EXPECT_EQ(chosen(settings, keys, "mx.example.org"), "mx.example.org");
  EXPECT_EQ(chosen(settings, keys, "www.other.example"), "other.example");
  EXPECT_EQ(chosen(settings, keys, "WWW.other.EXAMPLE"), "other.example");
  EXPECT_EQ(chosen(settings, keys, "a.any.example"), "*.any.example");
  EXPECT_EQ(chosen(settings, keys, "a.b.any.example"), "none") << "one label; it gets the first";
  EXPECT_EQ(chosen(settings, keys, "unknown.example"), "none");
}

TEST(Session, ChoosesAmongCertificatesOfOneNameByTheClient) {
  auto& authority = Authority::instance();
  const auto& rsa = authority.issue({"mx.example.org"}, "rsa:2048");
  const auto& ec = authority.issue({"mx.example.org"}, "P-256");
  Pair pair({.certificates = {{{"mx.example.org"}, rsa.chain}, {{"mx.example.org"}, ec.chain}}},
            {rsa.key, ec.key});
  pair.run();
  ASSERT_TRUE(pair.both_open());
  EXPECT_EQ(pair.signer.schemes, (std::vector{Scheme{Algorithm::kEcdsa, Digest::kSha256}}));
}

TEST(Session, KeepsItsContextOverAChange) {
  const auto& issued = certificate();
  auto tickets = std::make_shared<TicketKeys>();
  tickets->replace({random_ticket_key()});
  TestSigner signer({issued.key});
  End server, client;
  {
    auto context =
        ServerContext::make({.certificates = {{{"mx.example.org"}, issued.chain}}}, tickets);
    ASSERT_TRUE(context);
    server.make(Session::accept(*context, signer));
  }
  tickets.reset();
  client.make(Session::connect(*ClientContext::make({}), {.host = "mx.example.org"}));
  client.receive({});
  for (int i = 0; i < 10; ++i) {
    if (!client.out.empty()) server.receive(std::exchange(client.out, {}));
    if (!signer.waiting.empty()) signer.answer();
    if (server.ready) server.receive({});
    if (!server.out.empty()) client.receive(std::exchange(server.out, {}));
  }
  EXPECT_EQ(server.state(), State::kOpen);
  EXPECT_EQ(client.state(), State::kOpen);
}

TEST(ServerContext, SaysWhatIsWrong) {
  const auto tickets = std::make_shared<TicketKeys>();
  const auto wrong = [&](const ServerSettings& settings) {
    const auto made = ServerContext::make(settings, tickets);
    return made ? "" : made.error();
  };
  EXPECT_EQ(wrong({.certificates = {{{"a"}, "nonsense"}}}),
            "a certificate holds no certificate in PEM: no start line");
  EXPECT_EQ(wrong({.certificates = {{{"a"}, certificate().chain}}, .client_ca = "nonsense"}),
            "use tls.client_ca");
  EXPECT_EQ(wrong({.certificates = {{{}, certificate().chain}}}), "");
}

}  // namespace
}  // namespace postern::tls::test
