// The parameters of RFC 3461, rule by rule.
#include "common/mail/dsn.h"

#include <gtest/gtest.h>

namespace postern::mail {
namespace {

TEST(Xtext, EncodesWhatMayNotStandInAParameter) {
  EXPECT_EQ(to_xtext("bob+tag=x y@example.org"), "bob+2Btag+3Dx+20y@example.org");
  EXPECT_EQ(from_xtext("bob+2Btag+3Dx+20y@example.org"), "bob+tag=x y@example.org");
  EXPECT_EQ(from_xtext("a+2bc"), "a+c");  // RFC 3461 wants capitals; others send these
}

TEST(Xtext, RefusesWhatIsNone) {
  for (const char* bad : {"a+", "a+2", "a+2G", "a=b", "a b", "+0A", "+0D+0A", "+7F", "+00", "+FF",
                          "b\xC3\xB6", "a\tb"})
    EXPECT_FALSE(from_xtext(bad)) << bad;
}

TEST(Ret, IsFullOrHeaders) {
  EXPECT_EQ(parse_return("FULL"), Return::kFull);
  EXPECT_EQ(parse_return("hdrs"), Return::kHeaders);
  for (const char* bad : {"", "HEADERS", "FULL,HDRS", "NEVER"}) EXPECT_FALSE(parse_return(bad));
}

TEST(Notify, ReadsEachListInAnyCase) {
  const struct {
    const char* value;
    std::uint8_t bits;
    const char* text;
  } kCases[] = {
      {"NEVER", Notify::kNever, "NEVER"},
      {"never", Notify::kNever, "NEVER"},
      {"SUCCESS", Notify::kSuccess, "SUCCESS"},
      {"failure", Notify::kFailure, "FAILURE"},
      {"DELAY,SUCCESS", Notify::kDelay | Notify::kSuccess, "SUCCESS,DELAY"},
      {"Success,Failure,Delay", 7, "SUCCESS,FAILURE,DELAY"},
      {"DELAY,DELAY", Notify::kDelay, "DELAY"},
  };
  for (const auto& c : kCases) {
    const auto notify = Notify::parse(c.value);
    ASSERT_TRUE(notify) << c.value;
    EXPECT_EQ(notify->bits(), c.bits) << c.value;
    EXPECT_EQ(notify->text(), c.text) << c.value;
  }
}

TEST(Notify, RefusesNeverBesideOthersAndWhatItDoesNotKnow) {
  for (const char* bad : {"", "NEVER,SUCCESS", "SUCCESS,NEVER", "NEVER,NEVER", "SUCCESS,", ",SUCCESS",
                          "SUCCESS,,DELAY", "SUCCESS DELAY", "RELAYED", "SUCCESS,HDRS"})
    EXPECT_FALSE(Notify::parse(bad)) << bad;
}

TEST(Notify, SilenceMeansFailuresAndDelays) {
  const Notify silence;
  EXPECT_FALSE(silence.said());
  EXPECT_TRUE(silence.failure());
  EXPECT_TRUE(silence.delay());
  EXPECT_FALSE(silence.success());
  EXPECT_EQ(silence.text(), "");
  const auto never = Notify::parse("NEVER").value();
  EXPECT_FALSE(never.failure() || never.delay() || never.success());
}

TEST(Notify, OnlyRealValuesHaveBits) {
  for (unsigned bits = 0; bits < 256; ++bits)
    EXPECT_EQ(Notify::from_bits(static_cast<std::uint8_t>(bits)).has_value(), bits <= 8) << bits;
}

TEST(Notify, ARecipientNamedTwiceGetsWhatEitherAsksFor) {
  const auto never = Notify::parse("NEVER").value();
  const auto success = Notify::parse("SUCCESS").value();
  EXPECT_EQ(Notify::both(never, success), success);
  EXPECT_EQ(Notify::both(success, never), success);
  EXPECT_EQ(Notify::both(never, Notify()), Notify());
  EXPECT_EQ(Notify::both(Notify(), Notify()), Notify());
  EXPECT_EQ(Notify::both(Notify(), success).text(), "SUCCESS,FAILURE,DELAY");
}

TEST(EnvelopeId, IsXtextOfAtMost100Characters) {
  const auto id = EnvelopeId::parse("QQ314159+2B26");
  ASSERT_TRUE(id);
  EXPECT_EQ(id->text(), "QQ314159+26");
  EXPECT_EQ(id->xtext(), "QQ314159+2B26");
  EXPECT_TRUE(EnvelopeId::parse(std::string(100, 'x')));
  EXPECT_FALSE(EnvelopeId::parse(std::string(101, 'x')));
  std::string encoded;
  for (int i = 0; i < 33; ++i) encoded += "+20";
  EXPECT_TRUE(EnvelopeId::parse(encoded + 'x'));
  EXPECT_FALSE(EnvelopeId::parse(encoded + "+20"));  // its written form counts
  for (const char* bad : {"", "a=b", "a+0Ab", "a+"}) EXPECT_FALSE(EnvelopeId::parse(bad)) << bad;
  EXPECT_EQ(EnvelopeId::from_text(id->text()), id);
  EXPECT_TRUE(EnvelopeId::from_text("")->empty());
  EXPECT_FALSE(EnvelopeId::from_text("a\nb"));
}

TEST(OriginalRecipient, IsATypeAndXtextOfAtMost500Characters) {
  const auto orcpt = OriginalRecipient::parse("rfc822;bob+2Btag@example.org");
  ASSERT_TRUE(orcpt);
  EXPECT_EQ(orcpt->text(), "rfc822;bob+tag@example.org");
  EXPECT_EQ(orcpt->type(), "rfc822");
  EXPECT_EQ(orcpt->address(), "bob+tag@example.org");
  for (const bool smtputf8 : {false, true})
    EXPECT_EQ(orcpt->parameter(smtputf8), "rfc822;bob+2Btag@example.org");
  for (const bool utf8 : {false, true})
    EXPECT_EQ(orcpt->field(utf8), "rfc822; bob+tag@example.org");
  EXPECT_EQ(OriginalRecipient::from_text(orcpt->text()), orcpt);
  EXPECT_TRUE(OriginalRecipient::from_text("")->empty());
  const std::string type = "rfc822;";
  EXPECT_TRUE(OriginalRecipient::parse(type + std::string(493, 'x')));
  EXPECT_FALSE(OriginalRecipient::parse(type + std::string(494, 'x')));
  for (const char* bad : {"", ";", "rfc822", ";a@b", "rfc 822;a@b", "rfc822;a b",
                          "rfc822;a+0D+0Ab", "rfc822;a=b", "(c);a@b", "rfc822;b\xC3\xB6"})
    EXPECT_FALSE(OriginalRecipient::parse(bad)) << bad;
}

// RFC 6533 3: utf-8-addr-xtext, utf-8-addr-unitext and utf-8-address are one address.
TEST(OriginalRecipient, TakesUtf8InItsThreeForms) {
  const auto orcpt = OriginalRecipient::parse("utf-8;b\\x{F6}b\\x{2B}tag@ex\\x{1F600}mple.org");
  ASSERT_TRUE(orcpt);
  EXPECT_EQ(orcpt->text(), "utf-8;b\xC3\xB6" "b+tag@ex\xF0\x9F\x98\x80mple.org");
  EXPECT_EQ(OriginalRecipient::parse("utf-8;b\xC3\xB6" "b\\x{2B}tag@ex\xF0\x9F\x98\x80mple.org"), orcpt);
  EXPECT_EQ(OriginalRecipient::parse("utf-8;b\\x{f6}b+2Btag@ex\\x{01F600}mple.org"), orcpt);
  EXPECT_EQ(OriginalRecipient::parse("utf-8;b\xC3\xB6" "b@example.org")->text(),
            "utf-8;b\xC3\xB6" "b@example.org");
  EXPECT_EQ(orcpt->parameter(true), "utf-8;b\xC3\xB6" "b\\x{2B}tag@ex\xF0\x9F\x98\x80mple.org");
  EXPECT_EQ(orcpt->parameter(false), "utf-8;b\\x{F6}b\\x{2B}tag@ex\\x{1F600}mple.org");
  EXPECT_EQ(orcpt->field(true), "utf-8; b\xC3\xB6" "b+tag@ex\xF0\x9F\x98\x80mple.org");
  EXPECT_EQ(orcpt->field(false), "utf-8; b\\x{F6}b\\x{2B}tag@ex\\x{1F600}mple.org");
  EXPECT_EQ(OriginalRecipient::from_text(orcpt->text()), orcpt);
}

TEST(OriginalRecipient, RefusesWhatIsNoUtf8) {
  for (const char* bad : {"utf-8;b\xC3", "utf-8;b\\\xC3\xB6", "utf-8;b\xC2\x85", "utf-8;b\xE2\x80\xAE", "utf-8;b+0A",
                          "utf-8;b+C3", "utf-8;b+"})
    EXPECT_FALSE(OriginalRecipient::parse(bad)) << bad;
  EXPECT_TRUE(OriginalRecipient::parse("rfc822;back\\slash@example.org"));
}

// RFC 3461 4.2: nothing holds an address to the syntax of its type.
TEST(OriginalRecipient, CopiesWhatDoesNotConform) {
  for (const char* odd : {"rfc822;", "utf-8;", "utf-8;a\\b@x", "utf-8;b\\", "utf-8;b\\xF6", "utf-8;b\\x{}",
                          "utf-8;b\\x{F6}\\x{6}x{", "utf-8;\\x{G6}", "UTF-8;\\x{1234567}+2B", "utf-8;\\x{D800}",
                          "utf-8;\\x{110000}", "utf-8;a\\b+20+3D"}) {
    const auto orcpt = OriginalRecipient::parse(odd);
    ASSERT_TRUE(orcpt) << odd;
    EXPECT_FALSE(orcpt->empty());
    for (const bool smtputf8 : {false, true}) EXPECT_EQ(orcpt->parameter(smtputf8), odd);
    EXPECT_EQ(OriginalRecipient::from_text(orcpt->text()), orcpt) << odd;
  }
  const auto orcpt = OriginalRecipient::parse("utf-8;a\\b+20c@x");
  for (const bool utf8 : {false, true}) EXPECT_EQ(orcpt->field(utf8), "utf-8; a\\b c@x");
}

// What could end a line, or be taken for an escape, stays escaped wherever it goes.
TEST(OriginalRecipient, KeepsEscapesThatAreNeeded) {
  const auto orcpt = OriginalRecipient::parse("utf-8;\"a\\x{5C}\\x{20}\\x{0d}\\x{0A}b\"@x.example");
  ASSERT_TRUE(orcpt);
  EXPECT_EQ(orcpt->text(), "utf-8;\"a\\x{5C} \\x{0D}\\x{0A}b\"@x.example");
  EXPECT_EQ(orcpt->parameter(true), "utf-8;\"a\\x{5C}\\x{20}\\x{0D}\\x{0A}b\"@x.example");
  EXPECT_EQ(orcpt->parameter(false), orcpt->parameter(true));
  EXPECT_EQ(orcpt->field(true), "utf-8; \"a\\ \\x{0D}\\x{0A}b\"@x.example");
  EXPECT_EQ(OriginalRecipient::from_text(orcpt->text()), orcpt);
}

TEST(OriginalRecipient, IsLeftOutWhereItsEscapesMakeItTooLong) {
  std::string address;
  while (address.size() < 150) address += "\xE4\xB8\xAD";
  const auto orcpt = OriginalRecipient::parse("utf-8;" + address + "@x.example");
  ASSERT_TRUE(orcpt);
  EXPECT_EQ(orcpt->parameter(true), "utf-8;" + address + "@x.example");
  EXPECT_LT(orcpt->parameter(false).size(), OriginalRecipient::kMaxLength);
  const auto longer = OriginalRecipient::parse("utf-8;" + address + address + "@x.example");
  ASSERT_TRUE(longer);
  EXPECT_EQ(longer->parameter(false), "");
}

// Earlier versions kept it as it came.
TEST(OriginalRecipient, IsReadFromItsOldText) {
  EXPECT_EQ(OriginalRecipient::from_text("utf-8;b\\x{F6}b@example.org"),
            OriginalRecipient::parse("utf-8;b\xC3\xB6" "b@example.org"));
}

TEST(Utf8Xtext, IsPrintableAscii) {
  EXPECT_EQ(to_utf8_xtext("b\xC3\xB6" "b+\"\\ =\"@x.example"), "b\\x{F6}b\\x{2B}\"\\x{5C}\\x{20}\\x{3D}\"@x.example");
}

}  // namespace
}  // namespace postern::mail
