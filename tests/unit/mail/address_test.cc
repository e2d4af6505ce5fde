#include "common/mail/address.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace postern::mail {
namespace {

std::string parsed(std::string_view text) {
  const auto address = Address::parse(text);
  return address ? address->text() : "error: " + address.error().text;
}

std::string domain(std::string_view text) {
  const auto parsed_domain = Domain::parse(text);
  return parsed_domain ? parsed_domain->text() : "error: " + parsed_domain.error().text;
}

TEST(Domain, IsHeldInLowerCase) {
  EXPECT_EQ(domain("Example.ORG"), "example.org");
  EXPECT_EQ(domain("localhost"), "localhost");
  EXPECT_EQ(domain("my_host.example"), "my_host.example");
  EXPECT_EQ(domain("xn--bcher-kva.example"), "xn--bcher-kva.example");
  EXPECT_EQ(domain("a"), "a");
}

TEST(Domain, LiteralsAreCanonical) {
  EXPECT_EQ(domain("[192.0.2.1]"), "[192.0.2.1]");
  EXPECT_EQ(domain("[ipv6:2001:DB8:0:0::1]"), "[IPv6:2001:db8::1]");
  EXPECT_EQ(domain("[IPv6:::ffff:192.0.2.1]"), "[192.0.2.1]");  // one host has one name
  EXPECT_TRUE(Domain::parse("[192.0.2.1]")->is_literal());
  EXPECT_EQ(domain("[127.000.000.001]"), "[127.0.0.1]");  // decimal, not octal
  EXPECT_EQ(domain("[010.0.2.01]"), "[10.0.2.1]");
  EXPECT_EQ(domain("[IPv6:64:FF9B::192.000.2.001]"), domain("[IPv6:64:ff9b::192.0.2.1]"));
  for (const auto* bad : {"[", "[]", "[192.0.2.1", "[192.0.2]", "[2001:db8::1]", "[IPv6:192.0.2.1]",
                          "[IPv6:]", "[tag:text]", "[192.0.2.1]x", "[192.0.2.1]]", "[192.0.2.1.]", "[192.0.2..1]",
                          "[192.0.2.0001]", "[192.0.2.256]"})
    EXPECT_EQ(domain(bad), "error: bad address literal") << bad;
}

TEST(Domain, RefusesWhatIsNoDomain) {
  EXPECT_EQ(domain(""), "error: empty domain");
  EXPECT_EQ(domain("example.org."), "error: domain ends with a dot");
  EXPECT_EQ(domain(".example.org"), "error: empty label in domain");
  EXPECT_EQ(domain("a..b"), "error: empty label in domain");
  EXPECT_EQ(domain("-a.example"), "error: label begins with a hyphen");
  EXPECT_EQ(domain("a-.example"), "error: label ends with a hyphen");
  EXPECT_EQ(domain("a.example-"), "error: label ends with a hyphen");
  EXPECT_EQ(domain("a b"), "error: bad character in domain");
  EXPECT_EQ(domain(std::string(63, 'a') + ".example"), std::string(63, 'a') + ".example");
  EXPECT_EQ(domain(std::string(64, 'a')), "error: label longer than 63 characters");
}

TEST(Domain, ULabelsAreHeldAsALabels) {
  EXPECT_EQ(domain("B\xc3\xbc" "cher.Example"), "xn--bcher-kva.example");
  EXPECT_EQ(domain("BU\xcc\x88" "CHER.example"), "xn--bcher-kva.example");  // composed otherwise
  EXPECT_EQ(domain("stra\xc3\x9f" "e.example"), "xn--strae-oqa.example");  // no transitional forms
  EXPECT_EQ(domain("my_host.b\xc3\xbc" "cher.example"), "my_host.xn--bcher-kva.example");
  EXPECT_EQ(domain("\xe4\xbe\x8b\xe3\x81\x88\xe3\x80\x82\xe4\xbe\x8b"), "xn--r8jz45g.xn--fsq");
  EXPECT_EQ(Domain::parse("xn--bcher-kva.example"), Domain::parse("b\xc3\xbc" "cher.example"));
}

TEST(Domain, RefusesWhatIsNoULabel) {
  for (const std::string_view bad :
       {"b\xc3.example", "b\xfc" "cher.example", "\xc2\x85.example", "b\xc3\xbc\ncher.example",
        "b\xe2\x80\xae" "cher.example", "\xc2\xad", "b\xc3\xbc cher.example", "\xe2\x84\x80.example",
        "[\xef\xbc\x91.2.3.4]", "\xcc\x88" "a.example", "\xc3\xbc..example", "\xc3\xbc.example."})
    EXPECT_FALSE(Domain::parse(bad)) << bad;
  EXPECT_FALSE(Domain::parse(std::string("b\xc3\xbc\0" "cher.example", 14)));
  std::string wide;
  while (wide.size() < 60) wide += "\xc3\xbc";
  EXPECT_TRUE(Domain::parse(wide + ".example"));
  EXPECT_FALSE(Domain::parse(wide + wide + wide + ".example"));
  EXPECT_FALSE(Domain::parse(std::string(2000, 'a') + "\xc3\xbc"));
}

TEST(Domain, SaysItsULabelsToPeople) {
  EXPECT_EQ(Domain::parse("xn--bcher-kva.example")->unicode(), "b\xc3\xbc" "cher.example");
  EXPECT_EQ(Domain::parse("example.org")->unicode(), "example.org");
  EXPECT_EQ(Domain::parse("[192.0.2.1]")->unicode(), "[192.0.2.1]");
  // What is not the A-label of anything stays as it is.
  for (const char* text : {"xn--a.example", "xn--.example", "xn--99999999.example", "xn--abc-.example"})
    if (const auto parsed_domain = Domain::parse(text)) {
      EXPECT_EQ(parsed_domain->unicode(), text);
    }
}

TEST(Domain, LengthIsLimited) {
  std::string longest;
  while (longest.size() < 254) longest += "a.";
  longest += 'a';
  ASSERT_EQ(longest.size(), 255U);
  EXPECT_EQ(domain(longest), longest);
  EXPECT_EQ(domain(longest + 'a'), "error: domain longer than 255 characters");
}

TEST(Domain, NoControlByteEverPasses) {
  for (int c = 0; c < 256; ++c) {
    const auto text = std::string("a") + static_cast<char>(c) + "b";
    if (c <= ' ' || c >= 0x7F) {
      EXPECT_FALSE(Domain::parse(text)) << c;
    }
  }
}

TEST(HelloName, IsReadGenerously) {
  EXPECT_TRUE(is_hello_name("client"));
  EXPECT_TRUE(is_hello_name("[IPv6:2001:db8::1]"));
  EXPECT_TRUE(is_hello_name("my_pc.-"));
  EXPECT_FALSE(is_hello_name(""));
  EXPECT_FALSE(is_hello_name("two words"));
  EXPECT_FALSE(is_hello_name("a(b)"));
  EXPECT_FALSE(is_hello_name("a\r\nb"));
  EXPECT_TRUE(is_hello_name(std::string(255, 'a')));
  EXPECT_FALSE(is_hello_name(std::string(256, 'a')));
}

TEST(Address, KeepsTheLocalPart) {
  EXPECT_EQ(parsed("Ann.Lee@Example.ORG"), "Ann.Lee@example.org");
  EXPECT_EQ(parsed("a!#$%&'*+-/=?^_`{|}~@b.example"), "a!#$%&'*+-/=?^_`{|}~@b.example");
  EXPECT_EQ(parsed("ann@[192.0.2.1]"), "ann@[192.0.2.1]");
}

TEST(Address, QuotesWhereNeededOnly) {
  EXPECT_EQ(parsed("\"ann\"@b.example"), "ann@b.example");
  EXPECT_EQ(parsed("\"a\\nn\"@b.example"), "ann@b.example");
  EXPECT_EQ(parsed("\"an n\"@b.example"), "\"an n\"@b.example");
  EXPECT_EQ(parsed("\"a@b\"@c.example"), "\"a@b\"@c.example");
  EXPECT_EQ(parsed("\"a\\\"\\\\b\"@c.example"), "\"a\\\"\\\\b\"@c.example");
  EXPECT_EQ(parsed("\"\\\xc3\xb6\"@c.example"), "error: bad character in local part");
  EXPECT_EQ(parsed("\".a\"@c.example"), "\".a\"@c.example");
  EXPECT_EQ(parsed("\"a..b\"@c.example"), "\"a..b\"@c.example");
  EXPECT_EQ(Address::parse("\"an n\"@b.example")->local_part(), "an n");
  EXPECT_EQ(Address::parse("\"ann\"@b.example"), Address::parse("ann@b.example"));
}

TEST(Address, BarePostmasterHasNoDomain) {
  const auto address = Address::parse("PostMaster");
  ASSERT_TRUE(address);
  EXPECT_TRUE(address->is_postmaster());
  EXPECT_TRUE(address->domain().empty());
  EXPECT_EQ(address->text(), "PostMaster");
  EXPECT_EQ(parsed("ann"), "error: no domain");
  EXPECT_TRUE(Address::parse("postmaster@example.org")->is_postmaster());
}

TEST(Address, RefusesWhatIsNoAddress) {
  EXPECT_EQ(parsed(""), "error: empty address");
  EXPECT_EQ(parsed("@b.example"), "error: empty local part");
  EXPECT_EQ(parsed("\"\"@b.example"), "error: empty local part");
  EXPECT_EQ(parsed("ann@"), "error: empty domain");
  EXPECT_EQ(parsed("a..b@c.example"), "error: dot out of place in local part");
  EXPECT_EQ(parsed("a.@c.example"), "error: dot out of place in local part");
  EXPECT_EQ(parsed("a b@c.example"), "error: bad character in local part");
  EXPECT_EQ(parsed("a\"b@c.example"), "error: bad character in local part");
  EXPECT_EQ(parsed("\"ab@c.example"), "error: quote is not closed");
  EXPECT_EQ(parsed("\"ab\\"), "error: quote is not closed");
  EXPECT_EQ(parsed("\"ab\"c@d.example"), "error: text after the quote");
  EXPECT_EQ(parsed("\xc3@b.example"), "error: local part is not plain UTF-8");
  EXPECT_EQ(parsed("\xc2\x85@b.example"), "error: local part is not plain UTF-8");
  EXPECT_EQ(parsed("a\xe2\x80\xae@b.example"), "error: local part is not plain UTF-8");
  EXPECT_EQ(parsed("\"\xed\xa0\x80\"@b.example"), "error: local part is not plain UTF-8");
  EXPECT_EQ(parsed("<a@b.example>"), "error: bad character in local part");
  EXPECT_EQ(parsed(" a@b.example"), "error: bad character in local part");
  EXPECT_EQ(parsed("a@b.example "), "error: bad character in domain");
}

TEST(Address, NoControlByteEverPasses) {
  for (int c = 0; c < 256; ++c) {
    if (c >= ' ' && c <= '~') continue;
    const std::string byte(1, static_cast<char>(c));
    for (const auto& text : {"a" + byte + "b@c.example", "\"a" + byte + "\"@c.example",
                             "\"\\" + byte + "\"@c.example", "a@c" + byte + "d.example", byte})
      EXPECT_FALSE(Address::parse(text)) << c;
  }
}

TEST(Address, LengthsAreLimited) {
  EXPECT_TRUE(Address::parse(std::string(64, 'a') + "@b.example"));
  EXPECT_EQ(parsed(std::string(65, 'a') + "@b.example"),
            "error: local part longer than 64 characters");
  std::string longest = std::string(64, 'a') + '@';
  while (longest.size() < 252) longest += "b.";
  longest += longest.size() == 252 ? "bb" : "b";
  ASSERT_EQ(longest.size(), 254U) << longest;
  EXPECT_TRUE(Address::parse(longest));
  EXPECT_EQ(parsed(longest + "b"), "error: address longer than 254 characters");
  // Quotes count: what is accepted can be said again.
  EXPECT_FALSE(Address::parse('"' + std::string(63, 'a') + " \"" + longest.substr(64)));
}

TEST(Address, HoldsUtf8AsItCame) {
  EXPECT_EQ(parsed("B\xc3\x96" "b@B\xc3\xbc" "cher.example"), "B\xc3\x96" "b@xn--bcher-kva.example");
  EXPECT_EQ(parsed("Bo\xcc\x88" "b@b.example"), "Bo\xcc\x88" "b@b.example");  // not composed anew
  EXPECT_EQ(parsed("\"b\xc3\xb6 b\"@b.example"), "\"b\xc3\xb6 b\"@b.example");
  EXPECT_EQ(parsed("\"b\xc3\xb6\"@b.example"), "b\xc3\xb6@b.example");
  EXPECT_EQ(Address::parse("b\xc3\xb6@xn--bcher-kva.example")->unicode(),
            "b\xc3\xb6@b\xc3\xbc" "cher.example");
  std::string wide;
  while (wide.size() < 64) wide += "\xc3\xb6";
  EXPECT_TRUE(Address::parse(wide + "@b.example"));
  EXPECT_EQ(parsed("a" + wide + "@b.example"), "error: local part longer than 64 characters");
}

TEST(Address, OnlyALocalPartNeedsUtf8) {
  EXPECT_FALSE(Address::parse("ann@b.example")->needs_utf8());
  EXPECT_FALSE(Address::parse("ann@b\xc3\xbc" "cher.example")->needs_utf8());
  EXPECT_TRUE(Address::parse("b\xc3\xb6@b.example")->needs_utf8());
  EXPECT_TRUE(ReversePath(Address::parse("b\xc3\xb6@b.example").value()).needs_utf8());
  EXPECT_FALSE(ReversePath().needs_utf8());
}

TEST(Address, IsFoundAsPeopleWriteIt) {
  const auto address = Address::parse("B\xc3\xb6" "b@b\xc3\xbc" "cher.example").value();
  for (const auto* part : {"", "b\xc3\xb6" "b@", "B\xc3\x96" "B", "bo\xcc\x88" "b", "@b\xc3\xbc" "ch", "XN--BCHER",
                           "@b\xc3\x9c" "CHER.example", "b\xc3\xb6" "b@xn--bcher-kva.example"})
    EXPECT_TRUE(address.mentions(part)) << part;
  for (const auto* part : {"bob", "b\xc3\xbc" "b@", "@b\xc3\xb6", "buecher"})
    EXPECT_FALSE(address.mentions(part)) << part;
  EXPECT_TRUE(ReversePath().mentions(""));
  EXPECT_FALSE(ReversePath().mentions("a"));
}

TEST(Address, TextParsesBack) {
  for (const auto* text : {"b\xc3\xb6@b\xc3\xbc" "cher.example", "\"\xc3\xb6 \xc3\xb6\"@c.example", "ann@b.example", "\"a b\"@c.example", "\"\\\\\"@c.example", "postmaster",
                           "a@[IPv6:::1]", "\"post master\"@b.example"}) {
    const auto address = Address::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(Address::parse(address->text()), address) << text;
  }
}

TEST(ReversePath, MayBeNull) {
  EXPECT_TRUE(ReversePath().is_null());
  EXPECT_EQ(ReversePath().text(), "");
  const ReversePath path(Address::parse("a@b.example").value());
  EXPECT_FALSE(path.is_null());
  EXPECT_EQ(path.text(), "a@b.example");
}

}  // namespace
}  // namespace postern::mail
