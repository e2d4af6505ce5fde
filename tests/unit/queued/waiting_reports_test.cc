// What waits of reports, and for how long it is known.
#include "queued/waiting_reports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::queued {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const MessageToSender kAnn{base::MessageId(7), "ann@example.org"};
const MessageToSender kOwner{base::MessageId(7), "owner-news@example.org"};
const MessageToSender kOther{base::MessageId(8), "ann@example.org"};

Report late(std::uint32_t number, std::string said = "later") {
  return {number, mail::ReportAction::kDelayed, {451, 4, 2, 0, std::move(said)}, {}, "mx", false};
}
std::vector<std::uint32_t> numbers(const std::vector<Report>& reports) {
  std::vector<std::uint32_t> all;
  for (const auto& report : reports) all.push_back(report.number);
  return all;
}

TEST(LateReports, AreOneForEachRecipientTheNewest) {
  LateReports waiting;
  EXPECT_TRUE(waiting.empty());
  EXPECT_EQ(waiting.oldest(), std::nullopt);
  EXPECT_THAT(waiting.take(kAnn), IsEmpty());
  waiting.add(kAnn, late(3), QueueTime(10));
  waiting.add(kAnn, late(1), QueueTime(20));
  waiting.add(kAnn, late(3, "much later"), QueueTime(30));
  const auto reports = waiting.take(kAnn);
  EXPECT_THAT(numbers(reports), ElementsAre(1, 3));
  EXPECT_EQ(reports[1].reply.text, "much later");
  EXPECT_TRUE(waiting.empty());
}

TEST(LateReports, WaitSinceTheFirstOfTheirSender) {
  LateReports waiting;
  waiting.add(kAnn, late(1), QueueTime(10));
  waiting.add(kOwner, late(2), QueueTime(20));
  waiting.add(kOther, late(1), QueueTime(15));
  waiting.add(kAnn, late(5), QueueTime(40));
  EXPECT_THAT(waiting.of(base::MessageId(7)), ElementsAre(kAnn, kOwner));
  EXPECT_THAT(waiting.of(base::MessageId(9)), IsEmpty());
  EXPECT_THAT(waiting.begun_by(QueueTime(9)), IsEmpty());
  EXPECT_THAT(waiting.begun_by(QueueTime(15)), ElementsAre(kAnn, kOther));
  EXPECT_EQ(waiting.oldest(), QueueTime(10));
  EXPECT_EQ(waiting.begun(kOwner), QueueTime(20));
  EXPECT_TRUE(waiting.has(kOwner, 2));
  EXPECT_FALSE(waiting.has(kOwner, 1));
  waiting.looked(kAnn) = 3;
  EXPECT_EQ(waiting.looked(kAnn), 3U);
  EXPECT_EQ(waiting.looked(kOwner), 0U);
  EXPECT_TRUE(waiting.wait(kAnn));
  (void)waiting.take(kAnn);
  EXPECT_FALSE(waiting.wait(kAnn));
  EXPECT_EQ(waiting.oldest(), QueueTime(15));
}

TEST(LateReports, OfTooManyThoseThatWaitedLongestAreSurplus) {
  LateReports waiting;
  waiting.add(kOther, late(0), QueueTime(20));
  for (std::uint32_t n = 0; n + 1 < kMostWaiting; ++n) waiting.add(kAnn, late(n), QueueTime(10));
  EXPECT_EQ(waiting.surplus(), std::nullopt);
  waiting.add(kAnn, late(0), QueueTime(30));  // no further one
  EXPECT_EQ(waiting.surplus(), std::nullopt);
  waiting.add(kOther, late(1), QueueTime(30));
  EXPECT_EQ(waiting.surplus(), kAnn);
  EXPECT_EQ(waiting.take(kAnn).size(), kMostWaiting - 1);
  EXPECT_EQ(waiting.surplus(), std::nullopt);
}

const MessageInQueue kFar{base::MessageId(7), "far.example", "ann@example.org"};
const MessageInQueue kNear{base::MessageId(7), "near.example", "ann@example.org"};

EarlyNotices::Notice notice(std::uint64_t id, std::size_t reports) {
  EarlyNotices::Notice made{base::MessageId(id), {}};
  for (std::uint32_t n = 0; n < reports; ++n)
    made.reports.push_back({n, mail::ReportAction::kDelivered, {}, {}, {}});
  return made;
}

TEST(EarlyNotices, TheNewestComesFirstUnlessItIsTooLarge) {
  EarlyNotices waiting;
  EXPECT_EQ(waiting.begun(kFar, QueueTime(5)), QueueTime(5));
  EXPECT_FALSE(waiting.take_newest(kFar, EarlyNotices::kAny));
  waiting.add(kFar, notice(1, 9), QueueTime(5));
  waiting.add(kFar, notice(2, 4), waiting.begun(kFar, QueueTime(8)));
  EXPECT_EQ(waiting.begun(kFar, QueueTime(9)), QueueTime(5));
  EXPECT_FALSE(waiting.take_newest(kFar, 3));
  EXPECT_FALSE(waiting.take_newest(kNear, EarlyNotices::kAny));
  EXPECT_EQ(waiting.take_newest(kFar, 4)->id, base::MessageId(2));
  EXPECT_FALSE(waiting.take_newest(kFar, 8));
  EXPECT_EQ(waiting.take_newest(kFar, EarlyNotices::kAny)->id, base::MessageId(1));
  EXPECT_TRUE(waiting.empty());
}

TEST(EarlyNotices, ThoseThatCanBeFoundAreKnown) {
  EarlyNotices waiting;
  waiting.add(kFar, notice(1, 9), QueueTime(5));
  waiting.add(kFar, notice(2, 4), QueueTime(5));
  waiting.add(kNear, notice(3, 1), QueueTime(6));
  EXPECT_THAT(waiting.flushed(base::MessageId(7)), IsEmpty());
  EXPECT_TRUE(waiting.note_flushed(kFar, base::MessageId(1)));
  EXPECT_TRUE(waiting.note_flushed(kNear, base::MessageId(3)));
  EXPECT_FALSE(waiting.note_flushed(kNear, base::MessageId(2)));
  EXPECT_THAT(waiting.flushed(base::MessageId(7)), ElementsAre(base::MessageId(1), base::MessageId(3)));
  EXPECT_THAT(waiting.flushed(base::MessageId(8)), IsEmpty());
  EXPECT_THAT(waiting.of(base::MessageId(7)), ElementsAre(kFar, kNear));
  EXPECT_THAT(waiting.begun_by(QueueTime(5)), ElementsAre(kFar));
  EXPECT_EQ(waiting.oldest(), QueueTime(5));
  const auto taken = waiting.take(kFar);
  ASSERT_EQ(taken.size(), 2U);
  EXPECT_FALSE(taken[0].flushed);
  EXPECT_TRUE(taken[1].flushed);
  EXPECT_FALSE(waiting.note_flushed(kFar, base::MessageId(2)));
}

TEST(EarlyNotices, OfTooManyThoseThatWaitedLongestAreSurplus) {
  EarlyNotices waiting;
  waiting.add(kNear, notice(1, kMostWaiting / 2), QueueTime(6));
  waiting.add(kFar, notice(2, kMostWaiting / 2), QueueTime(5));
  EXPECT_EQ(waiting.surplus(), std::nullopt);
  waiting.add(kNear, notice(3, 1), QueueTime(6));
  EXPECT_EQ(waiting.surplus(), kFar);
  (void)waiting.take(kFar);
  EXPECT_EQ(waiting.surplus(), std::nullopt);
}

}  // namespace
}  // namespace postern::queued
