// The SASL machines: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677).
#include "smtpd/auth/exchange.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "common/base/base64.h"
#include "common/tls/digest.h"
#include "smtpd/auth/accounts.h"

namespace postern::smtpd::auth {
namespace {

using sasl::Mechanism;
using std::string_literals::operator""s;

constexpr std::string_view kClientNonce = "rOprNGfwEbeRWgbNEkqO";

std::string text(const Step& step) {
  if (const auto* challenge = std::get_if<Challenge>(&step)) return "challenge " + challenge->bytes;
  if (const auto* check = std::get_if<CheckPassword>(&step))
    return "check " + check->account + " " + check->password;
  if (const auto* convinced = std::get_if<Convinced>(&step))
    return "convinced " + convinced->account + " " + convinced->bytes;
  if (const auto* proven = std::get_if<Proven>(&step)) return "proven " + proven->account;
  const auto& rejected = std::get<Rejected>(step);
  return "rejected " + rejected.account + ": " + std::string(rejected.reason);
}

// "user" with "pencil", as in RFC 7677 3.
ExchangeContext context() {
  ExchangeContext made;
  made.nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
  made.look_up = [](const std::string& account) {
    const auto salt = *base::parse_base64("W22ZaJ0SNY7soEsUEjb6gQ==");
    return Looked{sasl::ScramVerifier::make("pencil", salt, 4096), account == "user"};
  };
  return made;
}

std::string run(Mechanism mechanism, const std::vector<std::string>& said) {
  auto exchange = make_exchange(mechanism, context());
  auto step = exchange->begin(said.front());
  for (std::size_t i = 1; i < said.size(); ++i) {
    if (!std::holds_alternative<Challenge>(step)) return "early " + text(step);
    step = exchange->respond(said[i]);
  }
  return text(step);
}

TEST(Plain, AsInRfc4616) {
  EXPECT_EQ(run(Mechanism::kPlain, {"\0tim\0tanstaaftanstaaf"s}), "check tim tanstaaftanstaaf");
  EXPECT_EQ(run(Mechanism::kPlain, {"Tim\0tim\0secret"s}), "check tim secret");
  auto exchange = make_exchange(Mechanism::kPlain, context());
  EXPECT_EQ(text(exchange->begin(std::nullopt)), "challenge ");
  EXPECT_EQ(text(exchange->respond("\0Tim\0secret"s)), "check tim secret");
}

TEST(Plain, MalformedOnesAreRejected) {
  for (const auto& bad : {""s, "tim"s, "tim\0secret"s, "\0tim\0"s, "\0\0secret"s, "\0tim\0sec\0ret"s,
                          "\0\0"s, "\0"s + std::string(2000, 'a') + "\0x"s})
    EXPECT_TRUE(run(Mechanism::kPlain, {bad}).starts_with("rejected")) << bad;
  EXPECT_EQ(run(Mechanism::kPlain, {"Ursel\0Kurt\0xipj3plmq"s}),
            "rejected kurt: wants to act for another account");
}

TEST(Login, AsksForNameAndPassword) {
  auto exchange = make_exchange(Mechanism::kLogin, context());
  EXPECT_EQ(text(exchange->begin(std::nullopt)), "challenge Username:");
  EXPECT_EQ(text(exchange->respond("Tim")), "challenge Password:");
  EXPECT_EQ(text(exchange->respond("secret")), "check tim secret");
  EXPECT_EQ(run(Mechanism::kLogin, {"tim", "secret"}), "check tim secret");
  EXPECT_TRUE(run(Mechanism::kLogin, {"tim", ""}).starts_with("rejected"));
  EXPECT_TRUE(run(Mechanism::kLogin, {"", "secret"}).starts_with("rejected"));
  EXPECT_TRUE(run(Mechanism::kLogin, {"t\0m"s}).starts_with("rejected"));
}

TEST(Scram, AsInRfc7677) {
  auto exchange = make_exchange(Mechanism::kScramSha256, context());
  EXPECT_EQ(text(exchange->begin("n,,n=user,r=rOprNGfwEbeRWgbNEkqO")),
            "challenge r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
  EXPECT_EQ(text(exchange->respond("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                   "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")),
            "convinced user v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
  EXPECT_EQ(text(exchange->respond("")), "proven user");
}

// A client, to say what an honest one would, or nearly so.
struct Client {
  std::string header = "n,,";
  std::string binding;
  std::string name = "user";
  std::string password = "pencil";

  [[nodiscard]] std::string first() const {
    return fmt::format("{}n={},r={}", header, name, kClientNonce);
  }
  [[nodiscard]] std::string last(const std::string& server_first) const {
    const auto salt_at = server_first.find(",s=") + 3;
    const auto salt = base::parse_base64(
        server_first.substr(salt_at, server_first.find(",i=") - salt_at));
    const auto nonce = server_first.substr(2, salt_at - 5);
    const auto salted = tls::pbkdf2_sha256(password, *salt, 4096);
    const auto client_key = tls::hmac_sha256(salted, "Client Key");
    const auto without =
        fmt::format("c={},r={}", base::to_base64(header + binding), nonce);
    const auto message =
        fmt::format("n={},r={},{},{}", name, kClientNonce, server_first, without);
    auto proof = tls::hmac_sha256(tls::sha256(client_key), message);
    for (std::size_t i = 0; i < proof.size(); ++i)
      proof[i] = static_cast<char>(proof[i] ^ client_key[i]);
    return fmt::format("{},p={}", without, base::to_base64(proof));
  }
};

std::string talk(Mechanism mechanism, ExchangeContext with, const Client& client) {
  auto exchange = make_exchange(mechanism, std::move(with));
  auto step = exchange->begin(client.first());
  const auto* challenge = std::get_if<Challenge>(&step);
  if (challenge == nullptr) return text(step);
  step = exchange->respond(client.last(challenge->bytes));
  if (!std::holds_alternative<Convinced>(step)) return text(step);
  return text(exchange->respond(""));
}

TEST(Scram, WrongPasswordAndUnknownAccountLookAlike) {
  EXPECT_EQ(talk(Mechanism::kScramSha256, context(), {}), "proven user");
  EXPECT_EQ(talk(Mechanism::kScramSha256, context(), {.name = "USER"}), "proven user");
  EXPECT_EQ(talk(Mechanism::kScramSha256, context(), {.password = "pencils"}),
            "rejected user: wrong password");
  // Even with what fits: the account does not exist.
  EXPECT_EQ(talk(Mechanism::kScramSha256, context(), {.name = "usher"}),
            "rejected usher: no such account for SCRAM");
}

TEST(Scram, NothingFollowsItsLastWord) {
  auto exchange = make_exchange(Mechanism::kScramSha256, context());
  const Client client;
  const auto first = exchange->begin(client.first());
  ASSERT_TRUE(std::holds_alternative<Convinced>(exchange->respond(client.last(std::get<Challenge>(first).bytes))));
  EXPECT_EQ(text(exchange->respond("x")), "rejected user: something behind the server's last word");
}

TEST(Scram, BindsToTheChannel) {
  auto bound = context();
  bound.binding = {"exported", "unique"};
  bound.plus_offered = true;
  const Client exporter{.header = "p=tls-exporter,,", .binding = "exported"};
  EXPECT_EQ(talk(Mechanism::kScramSha256Plus, bound, exporter), "proven user");
  EXPECT_EQ(talk(Mechanism::kScramSha256Plus, bound, {.header = "p=tls-unique,,", .binding = "unique"}),
            "proven user");
  // Somebody in the middle has another one.
  EXPECT_EQ(talk(Mechanism::kScramSha256Plus, bound,
                 {.header = "p=tls-exporter,,", .binding = "exporteD"}),
            "rejected user: another channel");
  EXPECT_EQ(talk(Mechanism::kScramSha256Plus, bound, {.header = "p=tls-server-end-point,,"}),
            "rejected : a channel binding that is not there");
  EXPECT_EQ(talk(Mechanism::kScramSha256Plus, context(), exporter),
            "rejected : a channel binding that is not there");
  EXPECT_EQ(talk(Mechanism::kScramSha256Plus, bound, {}),
            "rejected : no channel binding in a -PLUS mechanism");
  EXPECT_EQ(talk(Mechanism::kScramSha256, bound, exporter),
            "rejected : malformed channel binding flag");
}

TEST(Scram, NoticesThatPlusWasTakenOut) {
  auto offered = context();
  EXPECT_EQ(talk(Mechanism::kScramSha256, offered, {.header = "y,,"}), "proven user");
  offered.plus_offered = true;
  EXPECT_EQ(talk(Mechanism::kScramSha256, offered, {.header = "n,,"}), "proven user");
  EXPECT_EQ(talk(Mechanism::kScramSha256, offered, {.header = "y,,"}),
            "rejected : channel binding was taken out");
}

TEST(Scram, ActsForNobodyElse) {
  EXPECT_EQ(talk(Mechanism::kScramSha256, context(), {.header = "n,a=user,"}), "proven user");
  EXPECT_EQ(talk(Mechanism::kScramSha256, context(), {.header = "n,a=root,"}),
            "rejected user: wants to act for another account");
}

TEST(Scram, MalformedMessagesAreRejected) {
  for (const char* bad :
       {"", "n", "n,", "n,,", "n,,n=user", "n,,n=user,r=", "n,,r=abc,n=user", "x,,n=user,r=abc",
        "n,,m=ext,n=user,r=abc", "n,,n=us=er,r=abc", "n,,n=us=2cer,r=abc", "n,,n=,r=abc",
        "n,a,n=user,r=abc", "n=user,r=abc", "n,,n=user,r=a b", "p=,,n=user,r=abc"})
    EXPECT_TRUE(run(Mechanism::kScramSha256, {bad}).starts_with("rejected")) << bad;
  EXPECT_TRUE(run(Mechanism::kScramSha256, {"n,,n=user,r=" + std::string(600, 'x')})
                  .starts_with("rejected"));
  const auto nonce = std::string(kClientNonce) + context().nonce;
  for (const auto& bad :
       {""s, "c=biws"s, "c=biws,r=" + nonce, "c=biws,r=" + nonce + ",p=", "r=" + nonce + ",c=biws,p=QQ==",
        "c=biws,r=" + nonce + ",p=QQ==", "c=biws,r=" + std::string(kClientNonce) + ",p=" +
            base::to_base64(std::string(32, 'p')),
        "c=bi,r=" + nonce + ",p=" + base::to_base64(std::string(32, 'p'))})
    EXPECT_TRUE(run(Mechanism::kScramSha256, {"n,,n=user,r=" + std::string(kClientNonce), bad})
                    .starts_with("rejected"))
        << bad;
}

TEST(Scram, NamesAreUnescaped) {
  auto made = context();
  std::string asked;
  made.look_up = [&](const std::string& account) {
    asked = account;
    return Looked{};
  };
  (void)make_exchange(Mechanism::kScramSha256, std::move(made))->begin("n,,n=a=2Cb=3Dc,r=abc");
  EXPECT_EQ(asked, "a,b=c");
}

using Entries = std::vector<config::AccountEntry>;

// --- The table ----------------------------------------------------------------------------------

TEST(Accounts, StrangersLookLikeEverybodyElse) {
  const auto verifier = sasl::ScramVerifier::make("secret", "0123456789abcdef", 4096);
  const Accounts accounts(Entries{{"bob", {}, verifier.text()}});
  EXPECT_TRUE(accounts.stored("bob").accepts("secret"));
  EXPECT_FALSE(accounts.stored("bob").accepts("Secret"));
  EXPECT_FALSE(accounts.stored("eve").accepts("secret"));
  const auto bob = accounts.look_up("bob"), eve = accounts.look_up("eve");
  EXPECT_TRUE(bob.exists);
  EXPECT_FALSE(eve.exists);
  EXPECT_EQ(eve.verifier.iterations, bob.verifier.iterations);
  EXPECT_EQ(eve.verifier.salt.size(), bob.verifier.salt.size());
  EXPECT_NE(eve.verifier.salt, bob.verifier.salt);
  EXPECT_NE(eve.verifier.salt, accounts.look_up("eva").verifier.salt);
  // The same at each asking, and after a restart.
  EXPECT_EQ(eve.verifier.salt,
            Accounts(Entries{{"bob", {}, verifier.text()}}).look_up("eve").verifier.salt);
}

TEST(Accounts, OfOneKindAStrangerTakesItsHash) {
  const Accounts accounts(Entries{{"bob", "$y$of-bob", {}}, {"amy", "$y$of-amy", {}}});
  EXPECT_EQ(accounts.stored("eve").hash, "$y$of-bob");
  EXPECT_FALSE(accounts.stored("eve").exists);
  EXPECT_FALSE(accounts.look_up("bob").exists);  // it has no verifier
}

TEST(Accounts, KnowWhatChanged) {
  const Accounts before(Entries{{"bob", "$y$1", {}}, {"amy", "$y$2", {}}, {"joe", "$y$3", {}}});
  const Accounts after(Entries{{"bob", "$y$1", {}}, {"amy", "$y$other", {}}});
  EXPECT_TRUE(after.same(before, "bob"));
  EXPECT_FALSE(after.same(before, "amy"));
  EXPECT_FALSE(after.same(before, "joe"));
}

}  // namespace
}  // namespace postern::smtpd::auth
