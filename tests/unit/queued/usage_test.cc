// What accounts have sent: counted, limited, kept as text; and the file in which that text outlives a restart.
#include "queued/usage.h"

#include <gtest/gtest.h>

#include "queued/usage_file.h"
#include "tests/unit/queued/fake_disk.h"

namespace postern::queued {
namespace {

constexpr QueueTime kMinute{60'000};
constexpr QueueTime kHour{3'600'000};
constexpr QueueTime kDay{24 * 3'600'000};

config::AccountLimits limits(std::vector<config::Rate> messages, std::vector<config::Rate> recipients) {
  return {"*", std::move(messages), std::move(recipients)};
}

class UsageTest : public testing::Test {
 protected:
  // "", or the code of the reply.
  std::string send(std::uint32_t recipients, QueueTime now, const std::string& account = "bob") {
    const auto no = usage_.refusal(limits_, account, recipients, now);
    if (!no) usage_.add(account, recipients, now);
    return no ? std::to_string(no->code) : "";
  }
  Usage usage_;
  config::AccountLimits limits_;
};

TEST_F(UsageTest, MessagesOfAnHour) {
  limits_ = limits({{3, 3600}}, {});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(send(1'000'000, i * kMinute), "");
  EXPECT_EQ(send(1, 3 * kMinute), "452");
  EXPECT_EQ(send(1, 3 * kMinute, "amy"), "");  // each for itself
  EXPECT_EQ(send(1, kHour), "452");            // the first one's minute counts whole
  EXPECT_EQ(send(1, kHour + kMinute), "");
  EXPECT_EQ(send(1, kHour + kMinute), "452");
}

TEST_F(UsageTest, RecipientsOfAnHourAndADay) {
  limits_ = limits({}, {{10, 3600}, {25, 86'400}});
  EXPECT_EQ(send(6, QueueTime(0)), "");
  EXPECT_EQ(send(5, QueueTime(0)), "452");
  EXPECT_EQ(send(4, QueueTime(0)), "");
  EXPECT_EQ(send(10, 2 * kHour), "");
  EXPECT_EQ(send(6, 4 * kHour), "452");  // of the day
  EXPECT_EQ(send(5, 4 * kHour), "");
  EXPECT_EQ(send(1, 12 * kHour), "452");
  EXPECT_EQ(send(1, kDay + kHour), "");
}

TEST_F(UsageTest, WhatCanNeverBeSentIsRefusedForGood) {
  limits_ = limits({}, {{10, 3600}});
  const auto no = usage_.refusal(limits_, "bob", 11, QueueTime(0));
  ASSERT_TRUE(no);
  EXPECT_EQ(no->code, 550);
  EXPECT_EQ(no->enhanced, (mail::EnhancedCode{5, 7, 1}));
  EXPECT_EQ(no->lines.front(), "Account bob may send to 10 recipients in an hour, never to so many at once");
  usage_.add("bob", 10, QueueTime(0));
  const auto later = usage_.refusal(limits_, "bob", 1, QueueTime(0));
  ASSERT_TRUE(later);
  EXPECT_EQ(later->enhanced, (mail::EnhancedCode{4, 7, 1}));
  EXPECT_EQ(later->lines.front(), "Account bob has sent its 10 recipients in an hour, try again later");
}

// No hour, wherever it begins, sees more than the limit.
TEST_F(UsageTest, NoTimeOfThatLengthSeesMore) {
  limits_ = limits({{5, 3600}}, {});
  std::vector<QueueTime> sent;
  for (QueueTime now{0}; now < 5 * kHour; now += QueueTime(7'001))
    if (send(1, now).empty()) sent.push_back(now);
  EXPECT_GE(sent.size(), 5U * 4);
  for (std::size_t i = 5; i < sent.size(); ++i) EXPECT_GE((sent[i] - sent[i - 5]).count(), kHour.count());
}

TEST_F(UsageTest, WhatWasNotSentAfterAllIsTakenBack) {
  limits_ = limits({{1, 3600}}, {{5, 3600}});
  EXPECT_EQ(send(5, QueueTime(0)), "");
  EXPECT_EQ(send(1, kMinute), "452");
  usage_.take_back("bob", 5, QueueTime(0));
  EXPECT_EQ(send(5, kMinute), "");
  usage_.take_back("eve", 5, QueueTime(0));  // nobody
  usage_.take_back("bob", 5, 9 * kDay);
  EXPECT_EQ(send(1, kMinute), "452");
}

TEST_F(UsageTest, TextKeepsWhatStillCounts) {
  limits_ = limits({{2, 3600}}, {{10, 86'400}});
  EXPECT_EQ(send(4, QueueTime(0)), "");
  EXPECT_TRUE(usage_.take_changed());
  EXPECT_FALSE(usage_.take_changed());
  EXPECT_EQ(send(3, kMinute, "amy@example.org"), "");
  EXPECT_EQ(send(3, kMinute), "");
  const auto text = usage_.text(2 * kMinute);
  auto again = Usage::from_text(text);
  ASSERT_TRUE(again) << again.error();
  EXPECT_FALSE(again->take_changed());
  EXPECT_EQ(again->text(2 * kMinute).size(), text.size());
  usage_ = *std::move(again);
  EXPECT_EQ(send(1, 2 * kMinute), "452");
  EXPECT_EQ(send(1, 2 * kMinute, "amy@example.org"), "");
  EXPECT_EQ(send(4, 3 * kHour), "452");  // ten of the day
  EXPECT_EQ(usage_.text(2 * kDay), Usage().text(QueueTime(0)));  // nothing of it
}

TEST_F(UsageTest, WhatLiesAheadIsForgotten) {
  limits_ = limits({{2, 3600}}, {});
  EXPECT_EQ(send(1, 9 * kDay), "");
  EXPECT_EQ(send(1, 9 * kDay), "");
  EXPECT_EQ(send(1, kMinute), "452");
  usage_.forget_behind(kMinute);
  EXPECT_EQ(send(1, kMinute), "");
}

TEST_F(UsageTest, DamagedTextIsNone) {
  usage_.add("bob", 4, QueueTime(0));
  const auto text = usage_.text(QueueTime(0));
  for (std::size_t i = 0; i < text.size(); ++i) {
    EXPECT_FALSE(Usage::from_text(text.substr(0, i))) << i;
    auto flipped = text;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    EXPECT_FALSE(Usage::from_text(flipped)) << i;
  }
}

class UsageFileTest : public testing::Test {
 protected:
  struct Life {
    Life(event::Loop& loop, FakeDisk& disk)
        : worker(loop, false), file(worker, disk, usage, [] { return QueueTime(0); }) {
      file.load();
    }
    Usage usage;
    Worker worker;
    UsageFile file;
  };
  [[nodiscard]] bool knows_bob(const Life& life) const {
    return life.usage.refusal(limits({{1, 3600}}, {}), "bob", 1, QueueTime(0)).has_value();
  }
  event::Loop loop_;
  FakeDisk disk_;
};

TEST_F(UsageFileTest, OutlivesALife) {
  {
    Life life(loop_, disk_);
    EXPECT_FALSE(knows_bob(life));
    life.usage.add("bob", 1, QueueTime(0));
    life.file.tick();
    life.worker.pump();
    EXPECT_TRUE(disk_.has("accounts"));
    EXPECT_FALSE(disk_.has("accounts.new"));
  }
  Life life(loop_, disk_);
  EXPECT_TRUE(knows_bob(life));
  const auto operations = disk_.operations;
  life.file.tick();  // nothing has changed
  life.worker.pump();
  EXPECT_EQ(disk_.operations, operations);
}

TEST_F(UsageFileTest, AnOrderlyEndForgetsNothing) {
  Life life(loop_, disk_);
  life.usage.add("bob", 1, QueueTime(0));
  bool done = false;
  life.file.settle([&]() noexcept { done = true; });
  life.worker.pump();
  EXPECT_TRUE(done);
  EXPECT_TRUE(knows_bob(Life(loop_, disk_)));
}

TEST_F(UsageFileTest, WhatCannotBeReadOrWrittenStopsNothing) {
  disk_.put_file("accounts", "postern accounts 1\nbob 0 0 1 1\ncrc32c 00000000\n");
  Life life(loop_, disk_);
  EXPECT_FALSE(knows_bob(life));
  disk_.full = true;
  life.usage.add("bob", 1, QueueTime(0));
  life.file.tick();
  life.worker.pump();
  disk_.full = false;
  life.usage.add("bob", 1, QueueTime(0));
  life.file.tick();
  life.worker.pump();
  EXPECT_TRUE(knows_bob(Life(loop_, disk_)));
}

}  // namespace
}  // namespace postern::queued
