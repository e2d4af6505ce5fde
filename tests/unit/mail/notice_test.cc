#include "common/mail/notice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/mail/data_reader.h"
#include "tests/unit/mail/notice_sample.h"

namespace postern::mail {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Notice, IsALegalBodyOfShortAsciiLines) {
  const auto text = build_notice(test::sample_notice());
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

TEST(Notice, SaysWhoFailedAndWhy) {
  const auto text = build_notice(test::sample_notice());
  EXPECT_THAT(text, HasSubstr("Final-Recipient: rfc822; carol@far.example\r\nAction: failed\r\n"
                              "Status: 5.1.1\r\n"));
  EXPECT_THAT(text, HasSubstr("Final-Recipient: rfc822; \"d d\"@far.example\r\nAction: failed\r\n"
                              "Status: 4.4.7\r\n"));
  EXPECT_THAT(text, HasSubstr("Diagnostic-Code: smtp; 550 5.1.1 no such user"));
  EXPECT_THAT(text, HasSubstr("Last-Attempt-Date: Mon, 23 Nov 2026 03:22:40 +0000\r\n"));
  EXPECT_THAT(text, HasSubstr("\r\nAuto-Submitted: auto-replied\r\n"));
}

TEST(Notice, ForeignTextStaysInItsLine) {
  const auto text = build_notice(test::sample_notice());
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
  EXPECT_THAT(build_notice(notice), HasSubstr("boundary=\"0000000000007.1795404165000.2\""));
}

TEST(Notice, AHugeHeaderIsCutAtALine) {
  auto notice = test::sample_notice();
  std::string original;
  while (original.size() < 2 * Notice::kMaxHeader) original += "X-Filler: some text\r\n";
  notice.original = original;
  const auto text = build_notice(notice);
  EXPECT_LT(text.size(), Notice::kMaxHeader + 8192);
  EXPECT_THAT(text, HasSubstr("X-Filler: some text\r\n\r\n--"));
}

}  // namespace
}  // namespace postern::mail
