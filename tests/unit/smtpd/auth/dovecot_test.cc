// Dovecot's authentication protocol, as its design documents write it.
#include "smtpd/auth/dovecot.h"

#include <gtest/gtest.h>

namespace postern::smtpd::auth {
namespace {

using Result = Verdict::Result;
constexpr std::string_view kHello =
    "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t7\nCUID\t1\nCOOKIE\tabc\nDONE\n";

base::IpAddress client() { return base::parse_ip("192.0.2.1").value(); }

TEST(Dovecot, GreetsAndAsks) {
  Dovecot dovecot(42);
  EXPECT_EQ(dovecot.take_output(), "VERSION\t1\t1\nCPID\t42\n");
  for (const char c : kHello) ASSERT_TRUE(dovecot.input({&c, 1})) << dovecot.trouble();
  EXPECT_TRUE(dovecot.ready());
  EXPECT_EQ(dovecot.ask("bob", "secret", client()), 1U);
  EXPECT_EQ(dovecot.take_output(),
            "AUTH\t1\tPLAIN\tservice=smtp\tnologin\tsecured\trip=192.0.2.1\tresp=AGJvYgBzZWNyZXQ=\n");
}

TEST(Dovecot, AnswersInAnyOrder) {
  Dovecot dovecot(42);
  ASSERT_TRUE(dovecot.input(kHello));
  for (int i = 0; i < 4; ++i) (void)dovecot.ask("bob", "secret", client());
  ASSERT_TRUE(dovecot.input("FAIL\t3\tuser=bob\ttemp\nOK\t2\tuser=Bob@Example.org\textra\n"
                            "FAIL\t1\tuser=bob\nCONT\t4\tdGVzdA==\n"));
  const auto answers = dovecot.take_answers();
  ASSERT_EQ(answers.size(), 4U);
  EXPECT_EQ(answers[0].id, 3U);
  EXPECT_EQ(answers[0].verdict.result, Result::kUnavailable);
  EXPECT_EQ(answers[1].verdict.result, Result::kRight);
  EXPECT_EQ(answers[1].verdict.account, "bob@example.org");
  EXPECT_EQ(answers[2].verdict.result, Result::kWrong);
  EXPECT_EQ(answers[3].verdict.result, Result::kUnavailable);
}

TEST(Dovecot, WhoHasNoNameIsNotLoggedIn) {
  Dovecot dovecot(42);
  ASSERT_TRUE(dovecot.input(kHello));
  (void)dovecot.ask("bob", "secret", client());
  ASSERT_TRUE(dovecot.input("OK\t1\n"));
  EXPECT_EQ(dovecot.take_answers().front().verdict.result, Result::kWrong);
}

TEST(Dovecot, WhatIsNotItIsRefused) {
  for (const std::string bad :
       {"HTTP/1.1 400 Bad Request\n", "VERSION\t2\t0\n", "VERSION\n",
        "VERSION\t1\t2\nMECH\tCRAM-MD5\nDONE\n", "VERSION\t1\t2\nOK\t1\tuser=bob\n"}) {
    Dovecot dovecot(42);
    EXPECT_FALSE(dovecot.input(bad)) << bad;
    EXPECT_FALSE(dovecot.ready());
    EXPECT_FALSE(dovecot.trouble().empty());
  }
  Dovecot endless(42);
  EXPECT_FALSE(endless.input(std::string(10'000, 'x')));
}

TEST(Dovecot, AnswersOnlyOnce) {
  Dovecot dovecot(42);
  ASSERT_TRUE(dovecot.input(kHello));
  (void)dovecot.ask("bob", "secret", client());
  EXPECT_FALSE(dovecot.input("FAIL\t1\nOK\t1\tuser=bob\n"));
}

}  // namespace
}  // namespace postern::smtpd::auth
