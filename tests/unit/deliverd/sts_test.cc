// The words of RFC 8461, as they should be, and as they should not.
#include "deliverd/fetch/sts.h"

#include <gtest/gtest.h>

namespace postern::fetch {
namespace {

std::string id_in(const std::vector<std::string>& texts) {
  return read_sts_record(texts).value_or("none");
}

TEST(Sts, OneRecordNamesThePolicy) {
  EXPECT_EQ(id_in({"v=STSv1; id=20160831085700Z;"}), "20160831085700Z");
  EXPECT_EQ(id_in({"v=STSv1;id=1"}), "1");
  EXPECT_EQ(id_in({"v=STSv1 ; x=y ;  id = 1 ; z=1"}), "1");
  EXPECT_EQ(id_in({"v=spf1 -all", "v=STSv1; id=7;"}), "7");
}

TEST(Sts, WhatIsNoRecordNamesNone) {
  const std::string longest(32, '1');
  EXPECT_EQ(id_in({"v=STSv1; id=" + longest}), longest);
  for (const auto* text : {"", "v=STSv1", "v=STSv1;", "v=STSv1; id=", "v=STSv1; id=a-b", "v=STSv2; id=1",
                           "v=stsv1; id=1", "id=1; v=STSv1", "xv=STSv1; id=1"})
    EXPECT_EQ(id_in({text}), "none") << text;
  EXPECT_EQ(id_in({"v=STSv1; id=" + longest + "1"}), "none");
  EXPECT_EQ(id_in({}), "none");
  EXPECT_EQ(id_in({"v=STSv1; id=1", "v=STSv1; id=1"}), "none") << "RFC 8461 3.1";
}

std::string policy(const std::string& text) {
  const auto read = read_sts_policy(text);
  if (!read) return read.error();
  std::string all = std::to_string(static_cast<int>(read->mode)) + " " +
                    std::to_string(read->max_age.count() / 1000);
  for (const auto& host : read->hosts) all += " " + host;
  return all;
}

TEST(Sts, APolicyIsRead) {
  EXPECT_EQ(policy("version: STSv1\r\nmode: enforce\r\nmx: Mail.Example.com\r\nmx: *.example.net\r\n"
                   "mx: backupmx.example.com\r\nmax_age: 604800\r\n"),
            "2 604800 mail.example.com *.example.net backupmx.example.com");
  EXPECT_EQ(policy("version:STSv1\nmode:testing\nmx:a.example\nmax_age:0"), "1 0 a.example");
  EXPECT_EQ(policy("max_age: 1\nx: y\n\nmode: none\nversion: STSv1\n"), "0 1");
  EXPECT_EQ(policy("version: STSv1\nmode: none\nmode: enforce\nmax_age: 9999999999\nmax_age: 1"),
            "0 31557600")
      << "the first counts, and a year is the most";
}

TEST(Sts, WhatIsNoPolicyIsNone) {
  const std::string rest = "mx: a.example\nmax_age: 1\n";
  EXPECT_EQ(policy(""), "not of version STSv1");
  EXPECT_EQ(policy("mode: enforce\n" + rest), "not of version STSv1");
  EXPECT_EQ(policy("version: STSv2\nmode: enforce\n" + rest), "not of version STSv1");
  EXPECT_EQ(policy("version: STSv1\n" + rest), "no mode");
  EXPECT_EQ(policy("version: STSv1\nmode: Enforce\n" + rest), "no such mode: Enforce");
  EXPECT_EQ(policy("version: STSv1\nmode: enforce\nmx: a.example\n"), "no max_age");
  EXPECT_EQ(policy("version: STSv1\nmode: enforce\nmax_age: 1\n"), "no mx");
  for (const auto* age : {"", "-1", "1d", "99999999999"})
    EXPECT_TRUE(policy(std::string("version: STSv1\nmode: none\nmax_age: ") + age)
                    .starts_with("no such max_age"));
  for (const auto* mx : {"", "*", "*.", "a.*.example", "*a.example", "[192.0.2.1]", "a b", "a..b"})
    EXPECT_TRUE(policy("version: STSv1\nmode: none\nmx: " + std::string(mx) + "\nmax_age: 1")
                    .starts_with("no such mx"))
        << mx;
  EXPECT_EQ(policy("version: STSv1\n" + std::string(kMaxStsPolicy, 'x')), "longer than 64 KiB");
  std::string many = "version: STSv1\nmode: enforce\nmax_age: 1\n";
  for (std::size_t i = 0; i <= kMaxStsHosts; ++i) many += "mx: a.example\n";
  EXPECT_EQ(policy(many), "too many mx");
  std::string long_ones = "version: STSv1\nmode: enforce\nmax_age: 1\n";
  for (std::size_t i = 0; i < 60; ++i)
    long_ones += "mx: " + std::string(60, 'a') + "." + std::string(60, 'b') + "." + std::string(30, 'c') + ".example\n";
  EXPECT_EQ(policy(long_ones), "too many mx");
}

// RFC 8461 4.1.
TEST(Sts, AStarIsOneLabel) {
  const StsPolicy policy{StsMode::kEnforce, base::Millis(1), {"mx.example.org", "*.example.net"}};
  for (const auto* host : {"mx.example.org", "MX.Example.ORG", "a.example.net"})
    EXPECT_TRUE(names_host(policy, host)) << host;
  for (const auto* host : {"example.org", "a.mx.example.org", "example.net", "a.b.example.net",
                           ".example.net", "aexample.net", "example", ""})
    EXPECT_FALSE(names_host(policy, host)) << host;
}

}  // namespace
}  // namespace postern::fetch
