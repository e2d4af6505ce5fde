// The desk of the auth process: exchanges of many sessions, tickets to queued, and who is logged out
// when.
#include "smtpd/auth/desk.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/base64.h"
#include "common/log/log.h"
#include "common/sasl/scram_text.h"
#include "common/tls/digest.h"
#include "smtpd/auth/hasher.h"

namespace postern::smtpd::auth {
namespace {

using ipc::LoginResult;
using std::string_literals::operator""s;

struct FakeClock final : base::Clock {
  base::WallTime wall() const noexcept override { return {now.ms}; }
  base::SteadyTime steady() const noexcept override { return now; }
  base::SteadyTime now{1'000'000};
};

struct FakeChecker final : Checker {
  void check(const std::string& account, std::string password, const base::IpAddress&,
             Checked checked) override {
    asked.push_back(account + ' ' + password);
    answers.push_back(std::move(checked));
  }
  void answer(std::size_t which, Verdict::Result result) {
    const auto account = asked.at(which).substr(0, asked.at(which).find(' '));
    answers.at(which)({result, result == Verdict::Result::kRight ? account : std::string()});
  }
  std::vector<std::string> asked;
  std::vector<Checked> answers;
};

struct FakeWire final : Desk::Wire {
  void answer(std::uint32_t, const ipc::LoginAnswer& answer) override { answers.push_back(answer); }
  void end_account(const std::string& account) override { ended.push_back(account); }
  bool give(const ipc::Ticket& ticket) override {
    if (queue_is_there) tickets.push_back(ticket);
    return queue_is_there;
  }
  void drop(const base::Token& session) override { dropped.push_back(session); }
  std::vector<ipc::LoginAnswer> answers;
  std::vector<std::string> ended;
  std::vector<ipc::Ticket> tickets;
  std::vector<base::Token> dropped;
  bool queue_is_there = true;
};

base::Token token(std::uint8_t number) {
  base::Token made;
  made.bytes.fill(number);
  return made;
}

struct DeskTest : testing::Test {
  DeskTest() {
    log::set_level(log::Format::kText, log::Level::kError);
    desk.use(accounts, checker);
  }
  void log_in(std::uint8_t session, const std::string& password = "secret", std::uint32_t smtpd = 0) {
    ipc::Login login;
    login.request = base::RequestId(session);
    login.session = token(session);
    login.client = base::parse_ip("192.0.2.1").value();
    login.initial = "\0bob\0"s + password;
    desk.begin(smtpd, login);
  }
  // As far as queued has the ticket.
  void logged_in(std::uint8_t session) {
    log_in(session);
    checker.answer(checker.answers.size() - 1, Verdict::Result::kRight);
    desk.taken({wire.tickets.back().request, true});
    ASSERT_EQ(wire.answers.back().result, LoginResult::kAccepted);
  }
  static std::shared_ptr<const Accounts> table(const std::string& hash) {
    return std::make_shared<const Accounts>(std::vector<config::AccountEntry>{{"bob", hash, {}}});
  }

  event::Loop loop;
  FakeClock clock;
  FakeWire wire;
  FakeChecker checker;
  std::shared_ptr<const Accounts> accounts = table("$y$1");
  Desk desk{loop, clock, wire};
};

TEST_F(DeskTest, AUserOfThisHostNeedsNothingButTheTicket) {
  desk.admit(2, {base::RequestId(7), token(1)}, "www-data");
  ASSERT_EQ(wire.tickets.size(), 1U);
  EXPECT_EQ(wire.tickets[0].account, "www-data");
  EXPECT_EQ(wire.tickets[0].smtpd, 2U);
  EXPECT_TRUE(checker.asked.empty());
  EXPECT_TRUE(wire.answers.empty());
  desk.taken({wire.tickets[0].request, true});
  ASSERT_EQ(wire.answers.size(), 1U);
  EXPECT_EQ(wire.answers[0].request, base::RequestId(7));
  EXPECT_EQ(wire.answers[0].result, LoginResult::kAccepted);
  EXPECT_EQ(wire.answers[0].account, "www-data");
  desk.use(table("$y$2"), checker);  // of which accounts there are it is none
  EXPECT_TRUE(wire.ended.empty());
  EXPECT_EQ(desk.logged_in(), 1U);
  desk.end(2, token(1));
  EXPECT_EQ(wire.dropped, std::vector{token(1)});
}

TEST_F(DeskTest, AUserOfThisHostWhoIsLockedSlowsDownNobody) {
  for (std::uint8_t session = 1; session <= 50; ++session) {
    desk.admit(0, {base::RequestId(session), token(session)}, "bob");
    desk.taken({wire.tickets.back().request, false});
    ASSERT_EQ(wire.answers.back().result, LoginResult::kRefused);
  }
  log_in(100);
  EXPECT_EQ(checker.asked.size(), 1U);  // at once
}

TEST_F(DeskTest, ASessionIsAdmittedOnce) {
  logged_in(1);
  desk.admit(0, {base::RequestId(2), token(1)}, "root");
  EXPECT_EQ(wire.answers.back().result, LoginResult::kUnavailable);
  EXPECT_EQ(wire.tickets.size(), 1U);
}

TEST_F(DeskTest, NobodyIsLoggedInBeforeQueuedHasTheTicket) {
  log_in(1, "secret", 3);
  EXPECT_EQ(checker.asked, std::vector{"bob secret"s});
  EXPECT_TRUE(wire.tickets.empty());
  checker.answer(0, Verdict::Result::kRight);
  ASSERT_EQ(wire.tickets.size(), 1U);
  EXPECT_EQ(wire.tickets[0].account, "bob");
  EXPECT_EQ(wire.tickets[0].smtpd, 3U);
  EXPECT_EQ(wire.tickets[0].session, token(1));
  EXPECT_TRUE(wire.answers.empty());
  desk.taken({wire.tickets[0].request, true});
  ASSERT_EQ(wire.answers.size(), 1U);
  EXPECT_EQ(wire.answers[0].result, LoginResult::kAccepted);
  EXPECT_EQ(wire.answers[0].account, "bob");
  EXPECT_EQ(desk.logged_in(), 1U);
  desk.end(3, token(1));
  EXPECT_EQ(wire.dropped, std::vector{token(1)});
  EXPECT_EQ(desk.logged_in(), 0U);
}

TEST_F(DeskTest, WrongOnesAndLockedOnesAreRefused) {
  log_in(1);
  checker.answer(0, Verdict::Result::kWrong);
  EXPECT_EQ(wire.answers.back().result, LoginResult::kRefused);
  EXPECT_TRUE(wire.tickets.empty());
  log_in(2);
  checker.answer(1, Verdict::Result::kRight);
  desk.taken({wire.tickets.back().request, false});
  EXPECT_EQ(wire.answers.back().result, LoginResult::kRefused);
  EXPECT_EQ(desk.logged_in(), 0U);
}

TEST_F(DeskTest, WhoCannotBeJudgedIsToldLater) {
  log_in(1);
  checker.answer(0, Verdict::Result::kUnavailable);
  EXPECT_EQ(wire.answers.back().result, LoginResult::kUnavailable);
  wire.queue_is_there = false;
  log_in(2);
  checker.answer(1, Verdict::Result::kRight);
  EXPECT_EQ(wire.answers.back().result, LoginResult::kUnavailable);
  wire.queue_is_there = true;
  log_in(3);
  checker.answer(2, Verdict::Result::kRight);
  desk.queued_gone();
  EXPECT_EQ(wire.answers.back().result, LoginResult::kUnavailable);
  desk.taken({wire.tickets.back().request, true});  // too late
  EXPECT_EQ(wire.answers.size(), 3U);
  EXPECT_EQ(desk.logged_in(), 0U);
}

TEST_F(DeskTest, AnAnswerForAClientThatLeftCountsForNobody) {
  log_in(1);
  desk.end(0, token(1));
  ASSERT_EQ(wire.answers.size(), 1U);  // no request stays unanswered: smtpd has only so many
  EXPECT_EQ(wire.answers[0].result, LoginResult::kUnavailable);
  checker.answer(0, Verdict::Result::kRight);
  EXPECT_TRUE(wire.tickets.empty());
  log_in(2);
  desk.smtpd_gone(0);
  log_in(2);  // by chance the same session, of another life
  checker.answer(1, Verdict::Result::kRight);
  EXPECT_TRUE(wire.tickets.empty());
  checker.answer(2, Verdict::Result::kRight);
  EXPECT_EQ(wire.tickets.size(), 1U);
}

TEST_F(DeskTest, OneSmtpdDoesNotEndTheSessionsOfAnother) {
  logged_in(1);
  desk.end(7, token(1));
  EXPECT_TRUE(wire.dropped.empty());
  EXPECT_EQ(desk.logged_in(), 1U);
  ipc::LoginResponse response{base::RequestId(9), token(1), "x"};
  desk.respond(7, response);
  EXPECT_EQ(wire.answers.back().result, LoginResult::kUnavailable);
  desk.smtpd_gone(7);
  EXPECT_EQ(desk.logged_in(), 1U);
}

TEST_F(DeskTest, AnotherQueuedIsToldWhoIsLoggedIn) {
  logged_in(1);
  logged_in(2);
  const auto before = wire.tickets.size();
  desk.queued_gone();
  desk.queued_came();
  ASSERT_EQ(wire.tickets.size(), before + 2);
  desk.taken({wire.tickets[before].request, true});
  desk.taken({wire.tickets[before + 1].request, false});  // locked meanwhile
  EXPECT_EQ(wire.ended, std::vector{"bob"s});
  EXPECT_EQ(desk.logged_in(), 1U);
}

TEST_F(DeskTest, AnotherPasswordLogsOut) {
  logged_in(1);
  desk.use(table("$y$1"), checker);
  EXPECT_TRUE(wire.ended.empty());
  desk.use(table("$y$2"), checker);
  EXPECT_EQ(wire.ended, std::vector{"bob"s});
  EXPECT_EQ(wire.dropped, std::vector{token(1)});
}

// Nobody knows that an account of the one is the same as that of the other.
TEST_F(DeskTest, AnotherCheckerLogsOut) {
  FakeChecker other;
  logged_in(1);
  log_in(2);
  desk.use(nullptr, other);
  EXPECT_EQ(wire.ended, std::vector{"bob"s});
  EXPECT_EQ(wire.answers.back().result, LoginResult::kUnavailable) << "the former one will not answer";
  EXPECT_EQ(desk.logged_in(), 0U);
  log_in(3);
  other.answer(0, Verdict::Result::kRight);
  desk.taken({wire.tickets.back().request, true});
  desk.use(nullptr, other);  // a reload that leaves it as it is
  EXPECT_EQ(desk.logged_in(), 1U);
  desk.use(accounts, checker);
  EXPECT_EQ(desk.logged_in(), 0U);
}

// Who guesses by many connections at once is judged no faster than by one.
TEST_F(DeskTest, PasswordsThatAreBeingCheckedAreWaitedFor) {
  for (std::uint8_t session = 1; session <= 10; ++session) log_in(session, "guess");
  EXPECT_EQ(checker.asked.size(), Throttle::kFreeFailures);
  for (std::size_t which = 0; which < Throttle::kFreeFailures; ++which) checker.answer(which, Verdict::Result::kWrong);
  for (int turn = 0; turn < 1'000 && checker.asked.size() == Throttle::kFreeFailures; ++turn) loop.run_once(true);
  EXPECT_EQ(checker.asked.size(), Throttle::kFreeFailures + 1);
  for (std::uint8_t session = 1; session <= 10; ++session) desk.end(0, token(session));
  clock.now = clock.now + Throttle::kForgetAfter * Throttle::kMostFailures;
  log_in(20);
  EXPECT_EQ(checker.asked.size(), Throttle::kFreeFailures + 2) << "who left is not waited for";
}

TEST_F(DeskTest, NobodyWaitsForOthersForLong) {
  for (std::uint8_t session = 1; session <= 4; ++session) log_in(session, "guess");
  clock.now = clock.now + Throttle::kMostWait + base::Millis(1);
  for (int turn = 0; turn < 1'000 && wire.answers.empty(); ++turn) loop.run_once(true);
  ASSERT_EQ(wire.answers.size(), 1U);
  EXPECT_EQ(wire.answers[0].result, LoginResult::kUnavailable);
}

// Whoever began before it must not come in behind it with what counts no more.
TEST_F(DeskTest, AnotherPasswordCountsForWhoLogsInMeanwhile) {
  log_in(1);
  desk.use(table("$y$2"), checker);
  checker.answer(0, Verdict::Result::kRight);  // the old one was
  EXPECT_EQ(wire.answers.back().result, LoginResult::kRefused);
  EXPECT_TRUE(wire.tickets.empty());

  log_in(2);
  checker.answer(1, Verdict::Result::kRight);
  ASSERT_EQ(wire.tickets.size(), 1U);
  desk.use(table("$y$3"), checker);
  EXPECT_EQ(wire.answers.back().result, LoginResult::kRefused);
  EXPECT_EQ(wire.dropped, std::vector{token(2)});
  desk.taken({wire.tickets[0].request, true});  // too late
  EXPECT_EQ(wire.answers.size(), 2U);
  EXPECT_EQ(desk.logged_in(), 0U);

  log_in(3);
  desk.use(table("$y$3"), checker);  // a reload that leaves it as it is
  checker.answer(2, Verdict::Result::kRight);
  desk.taken({wire.tickets.back().request, true});
  EXPECT_EQ(wire.answers.back().result, LoginResult::kAccepted);
}

// A client's proof in SCRAM, behind what the server has said first.
std::string proof(const std::string& password, const std::string& server_first) {
  std::string_view rest = server_first;
  const auto nonce = *sasl::value_of(sasl::take_attribute(rest), 'r');
  const auto salt = *base::parse_base64(*sasl::value_of(sasl::take_attribute(rest), 's'));
  const auto keys = sasl::ScramKeys::make(password, salt, 4096);
  const auto without = "c=biws,r=" + std::string(nonce);
  const auto message = "n=bob,r=abc," + server_first + ',' + without;
  return without + ",p=" + base::to_base64(sasl::exclusive_or(keys.client, tls::hmac_sha256(keys.stored, message)));
}

struct ScramDesk : DeskTest {
  ScramDesk() { desk.use(with("secret"), checker); }
  static std::shared_ptr<const Accounts> with(const std::string& password) {
    const auto verifier = sasl::ScramVerifier::make(password, "0123456789abcdef", 4096).text();
    return std::make_shared<const Accounts>(std::vector<config::AccountEntry>{{"bob", {}, verifier}});
  }
  // As far as the server's first word, which it returns.
  std::string begin(std::uint8_t session) {
    ipc::Login login;
    login.request = base::RequestId(session);
    login.session = token(session);
    login.mechanism = sasl::Mechanism::kScramSha256;
    login.client = base::parse_ip("192.0.2.1").value();
    login.initial = "n,,n=bob,r=abc";
    desk.begin(0, login);
    EXPECT_EQ(wire.answers.back().result, LoginResult::kChallenge);
    return wire.answers.back().challenge;
  }
  void respond(std::uint8_t session, const std::string& response) {
    desk.respond(0, {base::RequestId(session), token(session), response});
  }
  void prove(std::uint8_t session, const std::string& password) {
    const auto first = begin(session);
    respond(session, proof(password, first));
  }
};

TEST_F(ScramDesk, TheServersLastWordIsAnsweredBeforeTheTicket) {
  prove(1, "secret");
  EXPECT_EQ(wire.answers.back().result, LoginResult::kChallenge);
  EXPECT_TRUE(wire.answers.back().challenge.starts_with("v="));
  EXPECT_TRUE(wire.tickets.empty());
  respond(1, "");
  ASSERT_EQ(wire.tickets.size(), 1U);
  EXPECT_EQ(wire.tickets[0].account, "bob");
  desk.taken({wire.tickets[0].request, true});
  EXPECT_EQ(wire.answers.back().result, LoginResult::kAccepted);
  EXPECT_EQ(wire.answers.back().account, "bob");
}

TEST_F(ScramDesk, WhatFollowsTheLastWordIsRefused) {
  prove(1, "secret");
  respond(1, "x");
  EXPECT_EQ(wire.answers.back().result, LoginResult::kRefused);
  respond(1, "");
  EXPECT_EQ(wire.answers.back().result, LoginResult::kUnavailable);
  EXPECT_TRUE(wire.tickets.empty());
}

// Or who guesses would wait for the wrong ones alone, and need not wait for these.
TEST_F(ScramDesk, ARightProofIsJudgedNoSoonerThanAWrongOne) {
  for (std::uint8_t i = 1; i <= 3; ++i) {
    prove(i, "guess");
    ASSERT_EQ(wire.answers.back().result, LoginResult::kRefused);
  }
  const auto first = begin(4);
  const auto before = wire.answers.size();
  respond(4, proof("secret", first));
  EXPECT_EQ(wire.answers.size(), before);
  while (wire.answers.size() == before) loop.run_once(true);
  EXPECT_TRUE(wire.answers.back().challenge.starts_with("v="));
  respond(4, "");  // was judged, and waits no more
  EXPECT_EQ(wire.tickets.size(), 1U);
}

TEST_F(ScramDesk, BeyondTheLongestWaitRightAndWrongAreToldTheSame) {
  for (std::uint8_t i = 1; i <= 200; ++i) prove(i, "guess");  // most of them wait for those before
  prove(201, "secret");
  clock.now = clock.now + Throttle::kMostWait + base::Millis(1);
  const auto told = [&](std::uint8_t session) {
    return std::ranges::find_if(wire.answers, [&](const ipc::LoginAnswer& answer) {
      return answer.request == base::RequestId(session) && answer.result != LoginResult::kChallenge;
    });
  };
  for (int turn = 0; turn < 1'000 && (told(200) == wire.answers.end() || told(201) == wire.answers.end()); ++turn)
    loop.run_once(true);
  for (const auto session : {std::uint8_t{200}, std::uint8_t{201}}) {
    ASSERT_NE(told(session), wire.answers.end());
    EXPECT_EQ(told(session)->result, LoginResult::kUnavailable);
  }
}

TEST_F(ScramDesk, AnExchangeThatIsHalfDoneEndsWithTheOldPassword) {
  const auto first = begin(1);
  desk.use(with("another"), checker);
  respond(1, proof("secret", first));
  respond(1, "");
  EXPECT_EQ(wire.answers.back().result, LoginResult::kRefused);
  EXPECT_TRUE(wire.tickets.empty());
  prove(2, "another");
  respond(2, "");
  EXPECT_EQ(wire.tickets.size(), 1U);
}

TEST_F(DeskTest, GuessersAreRefusedUnheard) {
  for (std::uint8_t i = 1; i <= 3; ++i) {
    log_in(i, "guess");
    checker.answer(i - 1U, Verdict::Result::kWrong);
  }
  log_in(4, "guess");
  EXPECT_EQ(checker.asked.size(), 3U);  // waits
  clock.now = clock.now + base::Millis(10'000);
  log_in(5, "guess");
  EXPECT_EQ(checker.asked.size(), 4U);
}

TEST_F(DeskTest, AClientThatRespondsWithoutEndIsRefused) {
  ipc::Login login;
  login.session = token(1);
  login.mechanism = sasl::Mechanism::kScramSha256;
  login.client = base::parse_ip("192.0.2.1").value();
  desk.begin(0, login);
  EXPECT_EQ(wire.answers.back().result, LoginResult::kChallenge);
  desk.respond(0, {base::RequestId(2), token(1), "n,,n=bob,r=abc"});
  EXPECT_EQ(wire.answers.back().result, LoginResult::kChallenge);
  desk.respond(0, {base::RequestId(3), token(1), "n,,n=bob,r=abc"});
  EXPECT_EQ(wire.answers.back().result, LoginResult::kRefused);
  desk.respond(0, {base::RequestId(4), token(1), "n,,n=bob,r=abc"});
  EXPECT_EQ(wire.answers.back().result, LoginResult::kUnavailable);
}

TEST(Hasher, ChecksInItsThreadsAndNeverBlocksTheLoop) {
  const auto verifier = sasl::ScramVerifier::make("secret", "0123456789abcdef", 4096).text();
  event::Loop loop;
  Hasher hasher(loop, std::make_shared<const Accounts>(
                          std::vector<config::AccountEntry>{{"bob", {}, verifier}}));
  std::vector<std::string> seen;
  const auto client = base::parse_ip("192.0.2.1").value();
  for (const auto* password : {"secret", "wrong"})
    hasher.check("bob", password, client, [&, password](Verdict verdict) noexcept {
      seen.push_back(std::string(password) +
                     (verdict.result == Verdict::Result::kRight ? " right" : " wrong"));
    });
  EXPECT_TRUE(seen.empty());
  while (seen.size() < 2) loop.run_once(true);
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector{"secret right"s, "wrong wrong"s}));
}

TEST(Hasher, AFloodIsNotAnswered) {
  const auto verifier = sasl::ScramVerifier::make("secret", "0123456789abcdef", 4096).text();
  event::Loop loop;
  Hasher hasher(loop, std::make_shared<const Accounts>(
                          std::vector<config::AccountEntry>{{"bob", {}, verifier}}));
  std::size_t unavailable = 0, answered = 0;
  constexpr std::size_t kAsked = 3 * Hasher::kMostWaiting;
  for (std::size_t i = 0; i < kAsked; ++i)
    hasher.check("bob", "secret", base::parse_ip("192.0.2.1").value(), [&](Verdict verdict) noexcept {
      ++answered;
      unavailable += verdict.result == Verdict::Result::kUnavailable;
    });
  while (answered < kAsked) loop.run_once(true);
  EXPECT_GT(unavailable, 0U);
  EXPECT_LT(unavailable, kAsked);
}

}  // namespace
}  // namespace postern::smtpd::auth
