// smtpd's link to auth: every step of a login gets exactly one answer, also where auth dies or is silent.
#include "smtpd/auth_link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "common/base/random.h"
#include "tests/unit/smtpd/rig.h"

namespace postern::smtpd::test {
namespace {

using Result = LoginStep::Result;

// One life of auth. It says nothing by itself.
struct FakeAuth {
  using Connection = ipc::Connection<FakeAuth, ipc::Role::kAuth, ipc::Role::kSmtpd>;
  FakeAuth(event::Loop& loop, base::UniqueFd fd)
      : connection(std::make_unique<Connection>(loop, std::move(fd), *this)) {}
  void on(const ipc::Login& m) { logins.push_back(m); }
  void on(const ipc::LoginResponse& m) { responses.push_back(m); }
  void on(const ipc::UserLogin& m, ipc::Descriptors descriptors) {
    users.push_back(m);
    connections = std::move(descriptors);
  }
  void on(const ipc::EndLogin& m) { ended.push_back(m.session); }
  void closed() noexcept {}
  void answer(base::RequestId request, ipc::LoginResult result, const std::string& challenge,
              const std::string& account = {}) {
    connection->send(ipc::LoginAnswer{request, result, challenge, account});
  }
  std::unique_ptr<Connection> connection;
  std::vector<ipc::Login> logins;
  std::vector<ipc::LoginResponse> responses;
  std::vector<ipc::UserLogin> users;
  ipc::Descriptors connections;
  std::vector<base::Token> ended;
};

struct AuthLinkTest : testing::Test {
  AuthLinkTest() { log::set_level(log::Format::kText, log::Level::kError); }
  void connect() {
    auto ends = ipc::make_channel_pair();
    auth = std::make_unique<FakeAuth>(loop, std::move(ends.a));
    link.connect(std::move(ends.b));
    turn();
  }
  void turn() {
    for (int i = 0; i < 8; ++i) loop.run_once(false);
  }
  AuthLink::Answered note() {
    return [this](LoginStep step) noexcept { steps.push_back(std::move(step)); };
  }
  void log_in() {
    ipc::Login login;
    login.session = session;
    link.log_in(std::move(login), note());
    turn();
  }

  event::Loop loop;
  FakeClock clock;
  int lost = 0;
  AuthLink link{loop, clock, [this]() noexcept { ++lost; }};
  std::unique_ptr<FakeAuth> auth;
  base::Token session = base::random_token();
  std::vector<LoginStep> steps;
};

TEST_F(AuthLinkTest, CarriesAnExchange) {
  connect();
  log_in();
  ASSERT_EQ(auth->logins.size(), 1U);
  EXPECT_EQ(auth->logins[0].session, session);
  auth->answer(auth->logins[0].request, ipc::LoginResult::kChallenge, "who?");
  turn();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].result, Result::kChallenge);
  EXPECT_EQ(steps[0].text, "who?");
  link.respond(session, "bob", note());
  turn();
  ASSERT_EQ(auth->responses.size(), 1U);
  EXPECT_EQ(auth->responses[0].response, "bob");
  auth->answer(auth->responses[0].request, ipc::LoginResult::kAccepted, "", "bob");
  turn();
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[1].result, Result::kAccepted);
  EXPECT_EQ(steps[1].text, "bob");
  link.end(session);
  turn();
  EXPECT_EQ(auth->ended, std::vector{session});
}

TEST_F(AuthLinkTest, NobodyIsLoggedInWithoutAName) {
  connect();
  log_in();
  auth->answer(auth->logins[0].request, ipc::LoginResult::kAccepted, "");
  turn();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].result, Result::kUnavailable);
}

TEST_F(AuthLinkTest, WithoutAuthALoginIsForLater) {
  log_in();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].result, Result::kUnavailable);
  connect();
  log_in();
  auth.reset();  // it dies
  turn();
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[1].result, Result::kUnavailable);
  EXPECT_EQ(lost, 1);
}

TEST_F(AuthLinkTest, AUsersConnectionGoesAlong) {
  connect();
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const auto far = base::UniqueFd::adopt(ends[1]);
  link.log_in_user(session, base::UniqueFd::adopt(ends[0]),
                   [this](LoginStep step) noexcept { steps.push_back(std::move(step)); });
  turn();
  ASSERT_EQ(auth->users.size(), 1U);
  EXPECT_EQ(auth->users[0].session, session);
  ASSERT_EQ(auth->connections.size(), 1U);
  EXPECT_EQ(::send(auth->connections[0].get(), "x", 1, 0), 1);
  char byte = 0;
  EXPECT_EQ(::recv(far.get(), &byte, 1, 0), 1);
  auth->answer(auth->users[0].request, ipc::LoginResult::kAccepted, "", "www-data");
  turn();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].result, Result::kAccepted);
  EXPECT_EQ(steps[0].text, "www-data");
}

TEST_F(AuthLinkTest, ASilentAuthIsNotWaitedForLongerThanTheDeadline) {
  connect();
  log_in();
  clock.advance(AuthLink::kDeadline + base::Millis(1));
  while (steps.empty()) loop.run_once(true);
  EXPECT_EQ(steps[0].result, Result::kUnavailable);
  auth->answer(auth->logins[0].request, ipc::LoginResult::kAccepted, "", "bob");
  turn();
  EXPECT_EQ(steps.size(), 1U);  // too late
}

TEST_F(AuthLinkTest, WhatEndsWithoutAuthIsToldToTheNext) {
  link.end(session);
  connect();
  turn();
  EXPECT_EQ(auth->ended, std::vector{session});
}

TEST_F(AuthLinkTest, HearsWhichAccountsEnd) {
  std::vector<std::string> ended;
  link.on_account_ended([&](const std::string& account) noexcept { ended.push_back(account); });
  connect();
  auth->connection->send(ipc::EndAccount{"bob"});
  turn();
  EXPECT_EQ(ended, std::vector<std::string>{"bob"});
}

}  // namespace
}  // namespace postern::smtpd::test
