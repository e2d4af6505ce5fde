// The store where a notice takes the place of an earlier one: both, or neither, whatever was on disk when.
#include <gtest/gtest.h>

#include "tests/unit/queued/store_rig.h"

namespace postern::queued {
namespace {

struct ReplacingRig : StoreRig {
  // A message of three recipients, of which one is delivered, then another.
  void begin() {
    ASSERT_TRUE(open());
    mail_ = accept("x\r\n", 3);
  }
  void first() { first_ = deliver(0, {}); }
  void second() { second_ = deliver(1, {first_}); }
  base::MessageId deliver(std::uint32_t number, std::vector<base::MessageId> replaces) {
    auto record = outcome(mail_, Fate::kDelivered, number);
    auto notice = envelope();
    notice.notice = true;
    notice.from = {};
    notice.body_size = 10;
    const auto id = notice.id;
    record.notice = std::move(notice);
    record.replaces = std::move(replaces);
    (void)look(mail_);
    for (const auto replaced : record.replaces) (void)look(replaced);
    store->outcome(std::move(record), std::make_shared<const std::string>("notice " + std::to_string(number) + "\r\n"),
                   {}, {});
    return id;
  }
  void expect_second_alone() {
    EXPECT_EQ(survey(), (std::map<base::MessageId, std::string>{{mail_, "x\r\n"}, {second_, "notice 1\r\n"}}));
    EXPECT_EQ(store->count(), 2U);
    ASSERT_NE(look(mail_), nullptr);
    EXPECT_EQ(look(mail_)->open, 1U);
  }
  // What the message says of its recipients is what the notices say.
  void expect_one_of_both() {
    ASSERT_NE(look(mail_), nullptr);
    const auto& recipients = look(mail_)->recipients;
    const auto ended = [&](std::uint32_t number) {
      return std::ranges::none_of(recipients, [&](const Recipient& r) { return r.number == number && r.open(); });
    };
    std::map<base::MessageId, std::string> expected{{mail_, "x\r\n"}};
    if (ended(1))
      expected[second_] = "notice 1\r\n";
    else if (ended(0))
      expected[first_] = "notice 0\r\n";
    EXPECT_EQ(survey(), expected);
  }
  void forget_index() { index_rows = std::make_shared<MemoryRows>(); }

  base::MessageId mail_, first_, second_;
};

enum class Between : std::uint8_t { kNothing, kWritten, kFlushed };

class ReplacedAfter : public ::testing::TestWithParam<Between>, protected ReplacingRig {};

TEST_P(ReplacedAfter, IsGoneInThisLifeAndTheNext) {
  begin();
  first();
  if (GetParam() == Between::kWritten) store->pump(false);
  if (GetParam() == Between::kFlushed) store->pump();
  second();
  EXPECT_EQ(look(first_), nullptr);
  store->pump();
  expect_second_alone();
  kill();
  ASSERT_TRUE(open());
  expect_second_alone();
  EXPECT_TRUE(store->health().damage.empty());
  conclude(mail_, Fate::kDelivered, 2);
  conclude(second_, Fate::kDelivered);
  store->pump();
  EXPECT_EQ(store->count(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Each, ReplacedAfter,
                         ::testing::Values(Between::kNothing, Between::kWritten, Between::kFlushed));

// The process dies, or the power fails, at each operation from the first of the two on.
TEST(ReplacedInStore, ACrashAtAnyOperationLeavesOneOfBoth) {
  for (const bool power : {false, true})
    for (std::uint64_t at = 0; at < 24; ++at) {
      SCOPED_TRACE(std::to_string(at) + (power ? " power" : " process"));
      ReplacingRig rig;
      rig.begin();
      rig.disk.halt_at = rig.disk.operations + at;
      rig.first();
      if (at % 2 == 0) rig.store->pump();
      if (rig.fatal.empty()) rig.second();
      if (rig.fatal.empty()) rig.store->pump();
      rig.kill();
      if (power) rig.disk.cut_power(at);
      for (int life = 0; life < 2; ++life) {
        ASSERT_TRUE(rig.open()) << rig.fatal;
        rig.expect_one_of_both();
        rig.kill();
      }
    }
}

// The second record was never flushed, and is written again by a start for which the flush of the old segment fails;
// then the power goes, and what was written again is all there is.
TEST(ReplacedInStore, WhatIsWrittenAgainSaysItToo) {
  int unflushed = 0;
  for (std::uint64_t at = 0; at < 60; ++at) {
    SCOPED_TRACE(at);
    ReplacingRig rig;
    rig.begin();
    rig.first();
    rig.store->pump();
    rig.second();
    rig.store->pump(false);
    rig.kill();
    const auto failing = rig.disk.operations + at;
    rig.disk.forget_failed_flush = true;
    rig.disk.fail_at = failing;
    const bool starts = rig.open() && rig.fatal.empty();
    const auto& log = rig.disk.log;
    if (starts && failing < log.size() && log[failing].starts_with("flush journal/")) ++unflushed;
    rig.kill();
    rig.disk.cut_power(at);
    rig.forget_index();
    ASSERT_TRUE(rig.open()) << rig.fatal;
    if (starts)
      rig.expect_second_alone();
    else
      rig.expect_one_of_both();
  }
  EXPECT_GT(unflushed, 0);
}

}  // namespace
}  // namespace postern::queued
