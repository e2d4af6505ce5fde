#include "common/config/policy.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/mail/spelled.h"

namespace postern::config {
namespace {

using enum PolicySubject;

// The number of the rule that denies; "-": none does.
std::string asked(const PolicyIndex& index, std::string_view client, std::string_view hello,
                  std::string_view sender, std::string_view recipient) {
  const auto address = ip(client);
  const auto* reply = index.refusal(
      {.client = address, .hello = hello, .sender = sender, .recipient = recipient});
  return reply == nullptr ? "-" : *reply;
}

TEST(Policy, ServesEverybodyUnlessItSaysWhom) {
  EXPECT_TRUE(PolicyIndex(Policy{}).serves(ip("192.0.2.1")));
  Policy only;
  only.clients = {*base::parse_network("10.0.0.0/8"), *base::parse_network("2001:db8::/32")};
  const PolicyIndex some(only);
  EXPECT_TRUE(some.serves(ip("10.1.2.3")));
  EXPECT_TRUE(some.serves(ip("2001:db8::1")));
  EXPECT_FALSE(some.serves(ip("11.1.2.3")));
  EXPECT_FALSE(some.serves(ip("2001:db9::1")));
  Policy without;
  without.not_clients = {*base::parse_network("192.0.2.0/24")};
  const PolicyIndex most(without);
  EXPECT_FALSE(most.serves(ip("192.0.2.1")));
  EXPECT_TRUE(most.serves(ip("192.0.3.1")));
  only.not_clients = {*base::parse_network("10.9.0.0/16")};
  const PolicyIndex both(only);
  EXPECT_TRUE(both.serves(ip("10.8.0.1")));
  EXPECT_FALSE(both.serves(ip("10.9.0.1")));
}

TEST(Policy, AsksForEachPartByItsPatterns) {
  struct {
    PolicySubject subject;
    const char* pattern;
    bool matches[4];
  } const cases[] = {
      // The four questions below.
      {kClient, "192.0.2.1/32", {true, false, false, false}},
      {kClient, "192.0.2.0/24", {true, true, false, false}},
      {kClient, "0.0.0.0/0", {true, true, false, true}},
      {kClient, "2001:db8::/33", {false, false, true, false}},
      {kHello, "host.example.net", {true, false, false, false}},
      {kHello, "*.example.net", {true, true, false, false}},
      {kHello, "*.net", {true, true, false, false}},
      {kHello, "example.net", {false, false, false, false}},
      {kHello, "*", {true, true, true, false}},
      {kSender, "ann@a.example", {true, false, false, false}},
      {kSender, "*@a.example", {true, true, false, false}},
      {kSender, "*@*.example", {true, true, false, false}},
      {kSender, "*@example", {false, false, false, false}},
      {kSender, "ann@*", {true, false, true, false}},
      {kSender, "*", {true, true, true, false}},
      {kSender, "<>", {false, false, false, true}},
      {kRecipient, "bob@example.org", {true, true, false, false}},
      {kRecipient, "*@*.example.org", {false, false, true, false}},
      {kRecipient, "postmaster@*", {false, false, false, true}},
      {kRecipient, "*", {true, true, true, true}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.pattern);
    Policy policy;
    policy.deny = {{c.subject, c.pattern, "no"}};
    const PolicyIndex index(policy);
    EXPECT_EQ(asked(index, "192.0.2.1", "Host.Example.NET", "Ann@A.example", "bob@example.org"),
              c.matches[0] ? "no" : "-");
    EXPECT_EQ(asked(index, "192.0.2.200", "a.b.example.net", "x@a.example", "BOB@example.org"),
              c.matches[1] ? "no" : "-");
    EXPECT_EQ(asked(index, "2001:db8::1", "[192.0.2.1]", "ann@b.test", "x@sub.example.org"),
              c.matches[2] ? "no" : "-");
    EXPECT_EQ(asked(index, "198.51.100.1", "", "", "postmaster"), c.matches[3] ? "no" : "-");
  }
}

TEST(Policy, LocalPartsAreComparedAsTheyAreWritten) {
  Policy policy;
  policy.deny = {{kSender, "\"x@y\"@*", "no"}};
  const PolicyIndex index(policy);
  EXPECT_EQ(asked(index, "192.0.2.1", "", "\"X@y\"@a.example", "x@b.example"), "no");
  EXPECT_EQ(asked(index, "192.0.2.1", "", "x@y.example", "x@b.example"), "-");
}

TEST(Policy, NamesBeyondAsciiAreFolded) {
  Policy policy;
  policy.deny = {{kSender, "b\xc3\xb6" "b@a.example", "no"}, {kRecipient, "j\xc3\xbcrg@*", "no"}};
  const PolicyIndex index(policy);
  EXPECT_EQ(asked(index, "192.0.2.1", "", "BO\xcc\x88" "B@A.example", "x@b.example"), "no");
  EXPECT_EQ(asked(index, "192.0.2.1", "", "bob@a.example", "x@b.example"), "-");
  EXPECT_EQ(asked(index, "192.0.2.1", "", "bob@a.example", "J\xc3\x9crg@b.example"), "no");
}

TEST(Policy, TheFirstRuleAnswersWhateverItIsAbout) {
  Policy policy;
  policy.deny = {{kRecipient, "bob@example.org", "1"},
                 {kClient, "192.0.2.0/24", "2"},
                 {kClient, "192.0.2.1/32", "3"},
                 {kSender, "*@a.example", "4"},
                 {kSender, "ann@a.example", "5"},
                 {kClient, "192.0.2.0/24", "6"}};
  const PolicyIndex index(policy);
  EXPECT_EQ(asked(index, "192.0.2.1", "h", "ann@a.example", "bob@example.org"), "1");
  EXPECT_EQ(asked(index, "192.0.2.1", "h", "ann@a.example", "x@example.org"), "2");
  EXPECT_EQ(asked(index, "192.0.3.1", "h", "ann@a.example", "x@example.org"), "4");
  EXPECT_EQ(asked(index, "192.0.3.1", "h", "ann@b.example", "x@example.org"), "-");
}

TEST(Policy, WhatIsAllowedIsNotDenied) {
  Policy policy;
  policy.deny = {{kSender, "*", "no"}};
  policy.allow = {{kRecipient, "abuse@*", ""}, {kClient, "10.0.0.0/8", ""}};
  const PolicyIndex index(policy);
  EXPECT_EQ(asked(index, "192.0.2.1", "h", "ann@a.example", "bob@example.org"), "no");
  EXPECT_EQ(asked(index, "192.0.2.1", "h", "ann@a.example", "Abuse@example.org"), "-");
  EXPECT_EQ(asked(index, "10.0.0.1", "h", "ann@a.example", "bob@example.org"), "-");
}

}  // namespace
}  // namespace postern::config
