// The patterns of `senders`, and whom they allow.
#include "common/config/senders.h"

#include <gtest/gtest.h>

namespace postern::config {
namespace {

std::string name_of(std::string_view text) {
  const auto address = mail::Address::parse(text).value();
  return sender_name(address.local_part(), address.domain());
}

// Does this one pattern let the account send as that address?
bool may(std::string_view pattern, std::string_view account, std::string_view sender, std::string_view domain = "example.org") {
  const auto parsed = parse_sender(pattern);
  EXPECT_TRUE(parsed) << pattern;
  return parsed && may_send_as({*parsed}, account, domain.empty() ? mail::Domain() : mail::Domain::parse(domain).value(),
                               name_of(sender));
}

TEST(Senders, AnAccountHasItsOwnAddress) {
  EXPECT_TRUE(may("{account}", "ann", "ann@example.org"));
  EXPECT_TRUE(may("{account}", "ann", "Ann@EXAMPLE.org"));
  EXPECT_TRUE(may("{account}", "ann@example.net", "ann@example.net"));
  EXPECT_TRUE(may("{account}", "b\xc3\xb6" "b", "B\xc3\x96" "B@example.org"));
  EXPECT_FALSE(may("{account}", "ann", "bob@example.org"));
  EXPECT_FALSE(may("{account}", "ann", "ann@example.net"));
  EXPECT_FALSE(may("{account}", "ann@example.net", "ann@example.org"));
  EXPECT_FALSE(may("{account}", "ann", "ann@example.org", "")) << "there is no domain for it";
  EXPECT_FALSE(may("{account}", "a@b@c", "ann@example.org"));
}

TEST(Senders, AddressesDomainsAndAll) {
  EXPECT_TRUE(may("*", "ann", "eve@anywhere.example"));
  EXPECT_TRUE(may("*@example.net", "ann", "eve@Example.NET"));
  EXPECT_FALSE(may("*@example.net", "ann", "eve@sub.example.net"));
  EXPECT_FALSE(may("*@example.net", "ann", "eve@notexample.net"));
  EXPECT_FALSE(may("*@example.net", "ann", "\"eve@example.net\"@far.example"));
  EXPECT_TRUE(may("Info@example.net", "ann", "info@example.net"));
  EXPECT_FALSE(may("info@example.net", "ann", "info@example.org"));
  EXPECT_TRUE(may("*@b\xc3\xbc" "cher.example", "ann", "eve@xn--bcher-kva.example"));
  EXPECT_FALSE(may_send_as({}, "ann", {}, name_of("ann@example.org")));
}

TEST(Senders, Mistakes) {
  for (const auto* bad : {"", "ann", "{user}", "*@", "*@*.example.org", "@example.org", "ann@", "a b@example.org", "postmaster"})
    EXPECT_EQ(parse_sender(bad).error(), "expected an address, \"*@example.org\", \"{account}\" or \"*\"") << bad;
}

}  // namespace
}  // namespace postern::config
