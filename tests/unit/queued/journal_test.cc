// The flusher with its thread: order, group commit, delays, failure.
#include "queued/journal.h"

#include <gtest/gtest.h>

#include <condition_variable>

#include "tests/unit/queued/fake_disk.h"

namespace postern::queued {
namespace {

using namespace std::chrono_literals;

class JournalTest : public ::testing::Test {
 protected:
  JournalTest() {
    journal = std::make_unique<Journal>(JournalStart{.epoch = base::Epoch(3)}, true, [this]() noexcept {
      const std::lock_guard lock(mutex);
      ++told;
      changed.notify_one();
    });
  }
  SegmentFile spare(const std::string& name, std::uint64_t size = 64 * 1024) {
    disk.put_file("journal/" + name, std::string(size, '\0'));
    auto file = disk.open("journal/" + name, os::OpenMode::kReadWrite);
    return {name, std::move(*file), size};
  }
  void append(bool urgent, std::size_t body = 100) {
    journal->append({RecordType::kClock, ipc::encode(ClockRecord{}),
                     std::make_shared<const std::string>(body, 'b'), urgent});
  }
  // Collects until `enough` says so, at most five seconds.
  bool wait(const std::function<bool()>& enough) {
    const auto until = std::chrono::steady_clock::now() + 5s;
    for (;;) {
      auto news = journal->collect();
      seen.placed.insert(seen.placed.end(), news.placed.begin(), news.placed.end());
      for (auto& opened : news.opened) seen.opened.push_back(opened);
      seen.written = news.written;
      seen.flushed = news.flushed;
      if (news.error) seen.error = news.error;
      if (enough()) return true;
      std::unique_lock lock(mutex);
      if (!changed.wait_until(lock, until, [this] { return told > 0; })) return false;
      told = 0;
    }
  }
  FakeDisk disk;
  std::mutex mutex;
  std::condition_variable changed;
  int told = 0;
  Progress seen;
  std::unique_ptr<Journal> journal;
};

TEST_F(JournalTest, UrgentEntriesAreFlushedAtOnce) {
  journal->give(spare("1"));
  for (int n = 0; n < 10; ++n) append(true);
  journal->kick();
  ASSERT_TRUE(wait([&] { return seen.flushed == 10; }));
  EXPECT_EQ(seen.placed.size(), 10U);
  EXPECT_EQ(seen.opened.size(), 1U);
  EXPECT_EQ(seen.placed[0].offset, kBlock);
  // The header and its flush, the batch and its flush.
  ASSERT_EQ(disk.log.size(), 4U);
  EXPECT_TRUE(disk.log[3].starts_with("flush"));
}

TEST_F(JournalTest, WithoutAThreadWhatIsNotUrgentMayStayUnflushed) {
  journal = std::make_unique<Journal>(JournalStart{.epoch = base::Epoch(3)}, false, []() noexcept {});
  journal->give(spare("1"));
  append(false);
  journal->kick();
  EXPECT_TRUE(journal->pump(false));
  EXPECT_FALSE(journal->pump(false));
  auto news = journal->collect();
  EXPECT_EQ(news.written, 1U);
  EXPECT_EQ(news.flushed, 0U);
  EXPECT_TRUE(journal->pump());
  EXPECT_EQ(journal->collect().flushed, 1U);
  append(true);
  journal->kick();
  EXPECT_TRUE(journal->pump(false));
  EXPECT_EQ(journal->collect().flushed, 2U);
}

TEST_F(JournalTest, OthersAreWrittenSoonAndFlushedWithinATenthOfASecond) {
  journal->give(spare("1"));
  const auto begun = std::chrono::steady_clock::now();
  append(false);
  journal->kick();
  ASSERT_TRUE(wait([&] { return seen.written == 1; }));
  EXPECT_EQ(seen.flushed, 0U);
  ASSERT_TRUE(wait([&] { return seen.flushed == 1; }));
  EXPECT_GE(std::chrono::steady_clock::now() - begun, Journal::kCoalesce);
}

TEST_F(JournalTest, ABatchNeverRewritesABlock) {
  journal->give(spare("1"));
  std::uint64_t last = 0;
  for (int n = 0; n < 5; ++n) {
    append(true);
    journal->kick();
    ASSERT_TRUE(wait([&] { return seen.flushed == static_cast<std::uint64_t>(n) + 1; }));
    EXPECT_EQ(seen.placed.back().offset % kBlock, 0U);
    EXPECT_GT(seen.placed.back().offset, last);
    last = seen.placed.back().offset;
  }
}

TEST_F(JournalTest, WaitsForASpareAndTellsWhatIsSafeBefore) {
  journal->give(spare("1"));
  for (int n = 0; n < 15; ++n) append(true, 10'000);
  journal->kick();
  ASSERT_TRUE(wait([&] { return seen.flushed > 0; }));
  EXPECT_LT(seen.flushed, 15U);
  EXPECT_FALSE(seen.error);
  journal->give(spare("2"));
  journal->give(spare("3"));
  ASSERT_TRUE(wait([&] { return seen.flushed == 15; }));
  EXPECT_EQ(seen.opened.size(), 3U);
  EXPECT_EQ(seen.opened[1].number, 2U);
}

TEST_F(JournalTest, FinishAsksForTheSparesThatItNeeds) {
  journal->give(spare("1"));
  for (int n = 0; n < 15; ++n) append(true, 10'000);
  append(true, 100'000);
  std::vector<std::uint64_t> asked;
  const auto finished = journal->finish([&](std::uint64_t capacity) -> os::Result<bool> {
    asked.push_back(capacity);
    journal->give(spare(std::to_string(asked.size() + 1), std::max<std::uint64_t>(capacity, 64 * 1024)));
    return true;
  });
  ASSERT_TRUE(finished);
  EXPECT_TRUE(*finished);
  EXPECT_EQ(journal->collect().flushed, 16U);
  EXPECT_EQ(asked.size(), 3U);
  EXPECT_GT(asked.back(), 100'000U);
  EXPECT_EQ(journal->wanted(), 0U);
}

TEST_F(JournalTest, FinishDoesNotWaitForASpareThatCannotBeMade) {
  journal->give(spare("1"));
  for (int n = 0; n < 15; ++n) append(true, 10'000);
  const auto finished =
      journal->finish([](std::uint64_t) -> os::Result<bool> { return false; });
  ASSERT_TRUE(finished);
  EXPECT_FALSE(*finished);
  EXPECT_GT(journal->wanted(), 10'000U);
  const auto failed = journal->finish(
      [](std::uint64_t) -> os::Result<bool> { return os::failure("make a segment", EIO); });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().number, EIO);
  journal->give(spare("2"));
  journal->give(spare("3"));
  ASSERT_TRUE(wait([&] { return seen.flushed == 15; }));
}

// Outcomes alone, one after the other without a pause.
TEST_F(JournalTest, WhatIsNotUrgentIsFlushedAtMostTenTimesASecond) {
  journal->give(spare("1", 64 << 20));
  const auto begun = std::chrono::steady_clock::now();
  std::size_t flushes = 0;
  std::uint64_t count = 0;
  const auto note = [&] {
    const auto news = journal->collect();
    flushes += news.flushes.size();
    return news.written == count;
  };
  while (std::chrono::steady_clock::now() - begun < 600ms) {
    append(false);
    ++count;
    journal->kick();
    while (!note()) std::this_thread::yield();
  }
  const auto took = std::chrono::steady_clock::now() - begun;
  EXPECT_LE(flushes, static_cast<std::size_t>(took / Journal::kBetweenFlushes) + 1);
  EXPECT_GE(flushes, 1U);
}

TEST_F(JournalTest, AFailedFlushEndsItForGood) {
  journal->give(spare("1"));
  append(true);
  journal->kick();
  ASSERT_TRUE(wait([&] { return seen.flushed == 1; }));
  disk.fail_at = disk.operations + 1;
  append(true);
  journal->kick();
  ASSERT_TRUE(wait([&] { return seen.error.has_value(); }));
  EXPECT_EQ(seen.flushed, 1U);
  const auto operations = disk.operations;
  append(true);
  journal->kick();
  std::this_thread::sleep_for(30ms);
  EXPECT_EQ(journal->collect().flushed, 1U);
  EXPECT_EQ(disk.operations, operations);
}

TEST_F(JournalTest, ItsEndFlushesWhatWasAppended) {
  journal->give(spare("1"));
  append(false);
  journal.reset();
  EXPECT_TRUE(disk.log.back().starts_with("flush"));
  EXPECT_EQ(disk.log.size(), 4U);
}

}  // namespace
}  // namespace postern::queued
