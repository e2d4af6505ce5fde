#include "common/mail/notice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/utf8.h"
#include "common/mail/data_reader.h"
#include "tests/unit/mail/notice_sample.h"

namespace postern::mail {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Notice, IsALegalBodyOfShortAsciiLines) {
  const auto text = build_notice(test::sample_notice()).text;
  DataReader reader;
  const auto wire = text + ".\r\n";
  const auto step = reader.scan(wire);
  EXPECT_TRUE(step.end);
  EXPECT_EQ(step.consumed, wire.size());
  EXPECT_FALSE(reader.bare());
  EXPECT_TRUE(reader.stuffed());
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find("\r\n", begin);
    ASSERT_NE(end, std::string::npos);
    EXPECT_LE(end - begin, 999U);
    begin = end + 2;
  }
  for (const char c : text)
    EXPECT_TRUE((c >= ' ' && c <= '~') || c == '\t' || c == '\r' || c == '\n');
}

// As that of a binary message may.
TEST(Notice, AHeaderWithLineEndsThatStandAloneIsEncoded) {
  auto notice = test::sample_notice();
  notice.original = "Subject: a\nb\rc\r\nFrom: x\r\n\r\nbody\n";
  for (const bool whole : {false, true}) {
    notice.whole = whole;
    const auto text = build_notice(notice).text;
    EXPECT_THAT(text, HasSubstr("Subject: a=0Ab=0Dc\r\nFrom: x\r\n"));
    DataReader reader;
    const auto wire = text + ".\r\n";
    EXPECT_EQ(reader.scan(wire).consumed, wire.size());
    EXPECT_FALSE(reader.bare());
  }
}

TEST(Notice, SaysWhoFailedAndWhy) {
  const auto text = build_notice(test::sample_notice()).text;
  EXPECT_THAT(text, HasSubstr("Final-Recipient: rfc822; carol@far.example\r\nAction: failed\r\n"
                              "Status: 5.1.1\r\n"));
  EXPECT_THAT(text, HasSubstr("Final-Recipient: rfc822; \"d d\"@far.example\r\nAction: failed\r\n"
                              "Status: 4.4.7\r\n"));
  EXPECT_THAT(text, HasSubstr("Diagnostic-Code: smtp; 550 5.1.1 no such user"));
  EXPECT_THAT(text, HasSubstr("Last-Attempt-Date: Mon, 23 Nov 2026 03:22:40 +0000\r\n"));
  EXPECT_THAT(text, HasSubstr("\r\nAuto-Submitted: auto-replied\r\n"));
}

TEST(Notice, AHostWithoutADomainIsNoneOfTheDns) {
  auto notice = test::sample_notice();
  EXPECT_THAT(build_notice(notice).text, HasSubstr("\r\nReporting-MTA: dns; mx.example.org\r\n"));
  notice.hostname = "mailhub";
  EXPECT_THAT(build_notice(notice).text, HasSubstr("\r\nReporting-MTA: x-local-hostname; mailhub\r\n"));
}

TEST(Notice, PutsNoWordsIntoAHostsMouth) {
  auto notice = test::whole_notice();
  notice.recipients.front().remote = "mx.far.example";
  EXPECT_THAT(build_notice(notice).text, HasSubstr("\r\n    mx.far.example said: 550 5.1.1 no such user\r\n"));
  notice.recipients.front().reason = {0, {4, 4, 1}, {"connecting: refused"}};
  EXPECT_THAT(build_notice(notice).text, HasSubstr("\r\n    mx.far.example: 4.4.1 connecting: refused\r\n"));
}

// RFC 3464 2.2: extension fields are the last of a message's.
TEST(Notice, OurOwnFieldIsTheLastOfTheMessages) {
  EXPECT_THAT(build_notice(test::sample_notice()).text,
              HasSubstr("\r\nX-Postern-Message-ID: 0000000000007\r\n\r\nFinal-Recipient: "));
}

// It cannot be folded, and a line has at most 998 characters.
TEST(Notice, LeavesOutAnOriginalRecipientThatGrewTooLong) {
  std::string wide;
  while (wide.size() < 480) wide += "\xE4\xB8\xAD";
  for (const auto* to : {"ann@a.example", "b\xc3\xb6" "b@a.example"}) {
    auto notice = test::utf8_notice(to);
    notice.recipients.front().original = OriginalRecipient::parse("utf-8;" + wide + "@x.example").value();
    const auto built = build_notice(notice);
    EXPECT_EQ(built.text.find("Original-Recipient") != std::string::npos, built.utf8);
    for (std::size_t begin = 0; begin < built.text.size();) {
      const auto end = built.text.find("\r\n", begin);
      EXPECT_LE(end - begin, 999U);
      begin = end + 2;
    }
  }
}

TEST(Notice, SaysWhatTheSenderCanDo) {
  auto notice = test::sample_notice();
  notice.recipients.resize(1);
  auto& failed = notice.recipients.front();
  const auto people = [&](EnhancedCode code) {
    failed.status = code;
    const auto text = build_notice(notice).text;
    return text.substr(0, text.find("message/delivery-status"));
  };
  EXPECT_THAT(people({5, 1, 1}), HasSubstr("\r\n    Please check how the address is spelt"));
  EXPECT_THAT(people({5, 2, 2}), HasSubstr("The mailbox is full"));
  EXPECT_THAT(people({5, 3, 4}), HasSubstr("too large for them"));
  EXPECT_THAT(people({5, 4, 7}), HasSubstr("Please try again later"));
  EXPECT_THAT(people({5, 7, 26}), HasSubstr("A rule of theirs forbids it"));
  EXPECT_THAT(people({5, 0, 0}), Not(HasSubstr("Please")));
  failed.action = ReportAction::kDelayed;  // who is asked to do nothing gets no advice
  EXPECT_THAT(people({4, 1, 1}), Not(HasSubstr("Please")));
}

TEST(Notice, ForeignTextStaysInItsLine) {
  const auto text = build_notice(test::sample_notice()).text;
  EXPECT_THAT(text, Not(HasSubstr("\nStatus: 2.0.0")));
  EXPECT_THAT(text, Not(HasSubstr("\nX: y")));
  EXPECT_THAT(text, Not(HasSubstr("the body is not wanted")));
  EXPECT_THAT(text, HasSubstr("\r\n..dotted: yes\r\n"));
}

TEST(Notice, TheBoundaryStandsInNoPart) {
  auto notice = test::sample_notice();
  // The sender guessed the first two candidates.
  const std::string original =
      "X: 0000000000007.1795404165000.0\r\nY: 0000000000007.1795404165000.1\r\n\r\n";
  notice.original = original;
  EXPECT_THAT(build_notice(notice).text, HasSubstr("boundary=\"0000000000007.1795404165000.2\""));
}

TEST(Notice, AHugeHeaderIsCutAtALine) {
  auto notice = test::sample_notice();
  std::string original;
  while (original.size() < 2 * Notice::kMaxHeader) original += "X-Filler: some text\r\n";
  notice.original = original;
  const auto text = build_notice(notice).text;
  EXPECT_LT(text.size(), Notice::kMaxHeader + 8192);
  EXPECT_THAT(text, HasSubstr("X-Filler: some text\r\n\r\n--"));
}

TEST(Notice, TheWholeMessageGoesBackAsItWas) {
  const auto notice = build_notice(test::whole_notice());
  EXPECT_TRUE(notice.eight_bit);
  auto stuffed = test::kEightBits;
  stuffed.replace(stuffed.find(".a dot"), 1, "..");
  EXPECT_THAT(notice.text, HasSubstr("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: "
                                     "8bit\r\n\r\n" +
                                     stuffed + "\r\n--"));
  EXPECT_THAT(notice.text, HasSubstr("\r\nYour message is attached.\r\n"));
}

TEST(Notice, AWholeMessageIsTakenOutAgain) {
  const auto whole = build_notice(test::whole_notice()).text;
  auto bare = test::whole_notice();
  bare.whole = false;
  const auto header = build_notice(bare).text;
  EXPECT_EQ(with_header_alone(whole), header);
  EXPECT_EQ(with_header_alone(header), std::nullopt);
  EXPECT_EQ(with_header_alone(build_notice(test::utf8_notice("b\xc3\xb6" "b@a.example")).text), std::nullopt);
  EXPECT_EQ(with_header_alone("Subject: x\r\n\r\nhello\r\n"), std::nullopt);
  EXPECT_EQ(with_header_alone(""), std::nullopt);
  // Whatever stands in the message, even a notice.
  auto nested = test::whole_notice();
  nested.original = whole;
  bare.original = whole;
  EXPECT_EQ(with_header_alone(build_notice(nested).text), build_notice(bare).text);
  // A header of bytes that nobody explained.
  nested.original = bare.original = "Subject: gr\xc3\xbc\xc3\x9f\r\n\r\nbody\r\n";
  EXPECT_EQ(with_header_alone(build_notice(nested).text), build_notice(bare).text);
}

TEST(Notice, AMessageThatCannotBeSentAsItIsGoesBackAsItsHeader) {
  auto notice = test::whole_notice();
  for (const auto& body : {std::string(999, 'x') + "\r\n", std::string("a\0b\r\n", 5), std::string("cut")}) {
    const auto original = "Subject: plain\r\n\r\n" + body;
    notice.original = original;
    const auto built = build_notice(notice);
    EXPECT_FALSE(built.eight_bit);
    EXPECT_THAT(built.text, HasSubstr("Content-Type: text/rfc822-headers\r\n\r\nSubject: plain\r\n"));
    EXPECT_THAT(built.text, Not(HasSubstr(body)));
  }
}

// RFC 6533: what is beyond ASCII is said as it is to who has such an address, and escaped to others.
TEST(Notice, SpeaksUtf8ToWhoeverDoes) {
  const auto wide = build_notice(test::utf8_notice("b\xc3\xb6" "b@a.example"));
  EXPECT_TRUE(wide.utf8);
  EXPECT_TRUE(wide.eight_bit);
  EXPECT_THAT(wide.text, HasSubstr("\r\nTo: <b\xc3\xb6" "b@a.example>\r\n"));
  EXPECT_THAT(wide.text, HasSubstr("Content-Type: message/global-delivery-status\r\n"
                                   "Content-Transfer-Encoding: 8bit\r\n"));
  EXPECT_THAT(wide.text, HasSubstr("\r\nOriginal-Recipient: utf-8; J\xc3\xb6rg+x@b\xc3\xbc" "cher.example\r\n"
                                   "Final-Recipient: utf-8; j\xc3\xb6rg+x@xn--bcher-kva.example\r\n"));
  EXPECT_THAT(wide.text, HasSubstr("\r\nFinal-Recipient: rfc822; ann@far.example\r\n"));
  EXPECT_THAT(wide.text, HasSubstr("Content-Type: message/global-headers\r\n"
                                   "Content-Transfer-Encoding: 8bit\r\n\r\nFrom: b\xc3\xb6"));
  const auto narrow = build_notice(test::utf8_notice("ann@a.example"));
  EXPECT_FALSE(narrow.utf8);
  EXPECT_FALSE(narrow.eight_bit);
  EXPECT_TRUE(base::is_ascii(narrow.text));
  EXPECT_THAT(narrow.text, HasSubstr("\r\nOriginal-Recipient: utf-8; J\\x{F6}rg\\x{2B}x@b\\x{FC}cher.example\r\n"
                                     "Final-Recipient: utf-8; j\\x{F6}rg\\x{2B}x@xn--bcher-kva.example\r\n"));
  EXPECT_THAT(narrow.text, HasSubstr("Content-Type: message/delivery-status\r\n\r\n"));
}

TEST(Notice, IsPlainWhereNothingIsBeyondAscii) {
  auto notice = test::whole_notice();
  const std::string original = "Subject: plain\r\n\r\nbody\r\n";
  notice.original = original;
  notice.smtputf8 = true;
  const auto built = build_notice(notice);
  EXPECT_TRUE(base::is_ascii(built.text));
  EXPECT_THAT(built.text, HasSubstr("Content-Type: message/rfc822\r\n\r\n"));
  EXPECT_THAT(built.text, Not(HasSubstr("global")));
}

// RFC 6532 3.7: it is what message/global is for, and only that may be encoded.
TEST(Notice, AMessageWithAPartWhoseHeaderIsUtf8IsGlobal) {
  auto notice = test::utf8_notice("ann@a.example");
  notice.whole = true;
  const std::string original =
      "Subject: plain\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
      "Content-Disposition: attachment; filename=\"gr\xc3\xbc\xc3\x9f\"\r\n\r\nbody\r\n--b--\r\n";
  notice.original = original;
  const auto narrow = build_notice(notice);
  EXPECT_FALSE(narrow.utf8);
  EXPECT_TRUE(base::is_ascii(narrow.text));
  EXPECT_THAT(narrow.text, HasSubstr("Content-Type: message/global\r\n"
                                     "Content-Transfer-Encoding: quoted-printable\r\n"));
  EXPECT_THAT(narrow.text, HasSubstr("filename=3D\"gr=C3=BC=C3=9F\"\r\n\r\nbody\r\n"));
  notice.whole = false;  // nothing in what goes back then is beyond ASCII
  EXPECT_THAT(build_notice(notice).text, HasSubstr("Content-Type: text/rfc822-headers\r\n\r\nSubject: plain"));
}

// A header that is no UTF-8, whatever its client said, is no global one.
TEST(Notice, AHeaderOfOtherBytesIsNotGlobal) {
  for (const auto* to : {"b\xc3\xb6" "b@a.example", "ann@a.example"}) {
    auto notice = test::utf8_notice(to);
    notice.original = "Subject: gr\xfc\xdf\r\n\r\nbody\r\n";
    for (const bool whole : {false, true}) {
      notice.whole = whole;
      EXPECT_THAT(build_notice(notice).text, HasSubstr("Content-Type: text/rfc822-headers\r\n"
                                                       "Content-Transfer-Encoding: quoted-printable\r\n"));
    }
  }
}

TEST(Notice, TheGravestActionNamesTheSubject) {
  auto notice = test::mixed_notice();
  const char* const kSubjects[] = {"Undelivered mail", "Delayed mail", "Mail relayed",
                                   "Mail delivered"};
  for (const auto* subject : kSubjects) {
    EXPECT_THAT(build_notice(notice).text, HasSubstr(std::string("\r\nSubject: ") + subject));
    notice.recipients.pop_back();
  }
}

TEST(Notice, SaysWhenADelayedRecipientIsGivenUp) {
  const auto text = build_notice(test::mixed_notice()).text;
  EXPECT_THAT(text, HasSubstr("Action: delayed\r\nStatus: 4.7.1\r\n"));
  EXPECT_THAT(text, HasSubstr("\r\nWill-Retry-Until: Sat, 28 Nov 2026 03:21:45 +0000\r\n"));
  EXPECT_THAT(text, HasSubstr("It is given up on Sat, 28 Nov 2026 03:21:45 +0000."));
}

}  // namespace
}  // namespace postern::mail
