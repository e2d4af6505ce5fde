// Space: a full disk and used-up descriptors refuse messages and nothing else; a start on a full disk;
// what is given back after a backlog.
#include <gtest/gtest.h>

#include "tests/unit/queued/store_rig.h"

namespace postern::queued {
namespace {

constexpr std::size_t kBody = 20'000;

class SpaceTest : public ::testing::Test, protected StoreRig {
 protected:
  SpaceTest() {
    segment_size = 1 << 20;
    reserve = 4 << 20;  // four segments, and sixteen pieces of 32 KiB
  }

  // All that there is room for; the last one was refused.
  std::vector<base::MessageId> fill() {
    std::vector<base::MessageId> ids;
    for (;;) {
      bool stored = false;
      const auto id = submit(std::string(kBody, 'a'), &stored);
      store->pump();
      if (!stored) return ids;
      ids.push_back(id);
    }
  }
  void tick(int times = 1) {
    for (int n = 0; n < times; ++n) {
      clock.advance(base::Millis(1000));
      store->tick();
      store->pump();
    }
  }
  // A disk on which only `bytes` are left.
  void leave(std::uint64_t bytes) {
    disk.capacity = ~0ULL;
    std::uint64_t used = 0;
    for (const std::string folder : {"journal", "reserve", "large", "damaged"})
      for (const auto& name : disk.files(folder)) used += disk.content(name).size();
    if (disk.has("control.json")) used += disk.content("control.json").size();
    disk.capacity = used + bytes;
  }
  bool save(const std::string& text) {
    bool good = false;
    store->save_blocks(text, [&good](os::Result<void> saved) noexcept { good = saved.has_value(); });
    store->pump();
    return good;
  }
};

TEST_F(SpaceTest, AFullDiskRefusesMessagesAndNothingElse) {
  ASSERT_TRUE(open());
  tick();
  EXPECT_EQ(store->health().lack, "");
  leave(3 * segment_size);
  const auto ids = fill();
  ASSERT_GT(ids.size(), 2 * segment_size / kBody);
  EXPECT_NE(store->health().lack, "");
  EXPECT_TRUE(fatal.empty());
  // Whoever was told so is not there, also not after a crash; the others are.
  EXPECT_EQ(store->count(), ids.size());
  for (const auto id : ids) conclude(id, Fate::kDeferred);
  for (const auto id : ids) conclude(id, Fate::kDeferred);
  store->pump();
  EXPECT_TRUE(save("frozen"));
  kill();
  ASSERT_TRUE(open());
  EXPECT_EQ(store->count(), ids.size());
  EXPECT_EQ(look(ids.front())->recipients[0].tries, 2U);
  EXPECT_EQ(store->blocks_text(), "frozen");
  // It drains, and takes mail again by itself.
  for (const auto id : ids) conclude(id, Fate::kDelivered);
  store->pump();
  tick(65);  // for a minute after a crash tokens may be asked for, so long their segments stay
  EXPECT_EQ(store->health().lack, "");
  EXPECT_GT(fill().size(), ids.size() / 2);
}

TEST_F(SpaceTest, IntakeComesBackWhenSpaceDoes) {
  ASSERT_TRUE(open());
  tick();
  leave(0);
  const auto before = fill().size();
  bool stored = true;
  (void)submit(std::string(kBody, 'a'), &stored);
  store->pump();
  EXPECT_FALSE(stored);
  disk.capacity = ~0ULL;
  tick();
  EXPECT_EQ(store->health().lack, "");
  EXPECT_NE(accept("x").value, 0U);
  EXPECT_EQ(store->count(), before + 1);
}

TEST_F(SpaceTest, AMessageDoesNotWaitForASmallSegmentThatItDoesNotFit) {
  ASSERT_TRUE(open());
  tick();
  (void)accept("x");
  leave(3 * segment_size);
  (void)fill();
  leave(0);
  kill();
  ASSERT_TRUE(open()) << fatal;
  EXPECT_NE(store->health().lack, "");
  disk.capacity = ~0ULL;
  tick();
  EXPECT_EQ(store->health().lack, "");
  EXPECT_NE(accept(std::string(segment_size / 2, 'a')).value, 0U);
}

TEST_F(SpaceTest, ManyStartsOnAFullDiskDoNotUseUpTheReserve) {
  ASSERT_TRUE(open());
  tick();
  const auto id = accept("x");
  leave(3 * segment_size);
  const auto more = fill();
  leave(0);
  for (std::uint32_t start = 1; start <= 12; ++start) {
    kill();
    ASSERT_TRUE(open()) << start << ": " << fatal;
    EXPECT_NE(store->health().lack, "");
    bool stored = true;
    (void)submit("y", &stored);
    store->pump();
    EXPECT_FALSE(stored) << start;
    bool written = false;
    (void)look(id);
    store->outcome(outcome(id, Fate::kDeferred), nullptr, [&written]() noexcept { written = true; },
                   {});
    store->pump();
    EXPECT_TRUE(written) << start;
    EXPECT_EQ(look(id)->recipients[0].tries, start);
    EXPECT_TRUE(save("{}")) << start;
  }
  for (const auto other : more) conclude(other, Fate::kDelivered);
  conclude(id, Fate::kDelivered);
  store->pump();
  EXPECT_EQ(store->count(), 0U);
  disk.capacity = ~0ULL;
  tick(3);
  EXPECT_EQ(store->health().lack, "");
}

TEST_F(SpaceTest, AStartWithoutAnyRoomSucceedsAndTakesUpWorkWhenThereIsSome) {
  reserve = 0;
  leave(0);
  ASSERT_TRUE(open()) << fatal;
  EXPECT_NE(store->health().lack, "");
  bool stored = true;
  (void)submit("y", &stored);
  store->pump();
  EXPECT_EQ(store->count(), 0U);
  disk.capacity = ~0ULL;
  tick();
  EXPECT_EQ(store->health().lack, "");
  EXPECT_NE(accept("x").value, 0U);
}

TEST_F(SpaceTest, TheOperatorsChangesUseTheReserve) {
  ASSERT_TRUE(open());
  tick();
  ASSERT_EQ(disk.files("reserve").size(), Reserve::kPieces);
  ASSERT_TRUE(save(std::string(100, 'a')));
  leave(0);
  EXPECT_TRUE(save(std::string(50'000, 'b')));  // larger than one piece
  EXPECT_EQ(disk.content("control.json"), std::string(50'000, 'b'));
  EXPECT_LT(disk.files("reserve").size(), Reserve::kPieces);
  EXPECT_TRUE(save(std::string(100, 'c')));
  tick();
  EXPECT_NE(store->health().lack, "");  // nothing is accepted before it is whole again
  disk.capacity = ~0ULL;
  tick();
  EXPECT_EQ(disk.files("reserve").size(), Reserve::kPieces);
  EXPECT_EQ(store->health().lack, "");
  // More than there is: nothing has changed, and it is said.
  leave(0);
  EXPECT_FALSE(save(std::string(1'000'000, 'd')));
  EXPECT_EQ(disk.content("control.json"), std::string(100, 'c'));
}

TEST_F(SpaceTest, ACheckpointUsesOfTheReserveWhatOutcomesLeave) {
  ASSERT_TRUE(open());
  tick();
  const auto ids = std::vector{accept("a"), accept("b")};
  store->pump();
  leave(0);
  index_rows->has_room = [this](std::size_t) { return *disk.free_bytes() >= 32 * 1024; };
  conclude(ids[0], Fate::kDeferred);
  store->pump();
  EXPECT_EQ(disk.files("reserve").size(), Reserve::kPieces - 1);
  EXPECT_FALSE(store->health().index_full);
  // However much it wants: half of it is for others. It is no failure, and tried again.
  index_rows->has_room = [](std::size_t) { return false; };
  leave(0);
  conclude(ids[0], Fate::kDeferred);
  tick(12);
  EXPECT_TRUE(store->health().index_full);
  EXPECT_GE(disk.files("reserve").size(), Reserve::kPieces / 2);
  EXPECT_EQ(fatal, "");
  index_rows->has_room = {};
  tick(3);
  EXPECT_FALSE(store->health().index_full);
  EXPECT_EQ(store->health().checkpoint_lag, 0U);
}

TEST_F(SpaceTest, ACheckpointThatFindsNoRoomIsMadeInSmallerPieces) {
  pace = {base::Millis(200), base::Millis(0)};
  ASSERT_TRUE(open());
  std::vector<base::MessageId> ids;
  std::size_t largest = 0;
  index_rows->has_room = [&largest](std::size_t changes) {
    if (changes > 3) return false;
    largest = std::max(largest, changes);
    return true;
  };
  for (int n = 0; n < 40; ++n) ids.push_back(accept("x"));
  tick(120);
  EXPECT_EQ(index_rows->rows.size(), 40U);
  EXPECT_EQ(largest, 2U);
  EXPECT_LE(store->health().checkpoint_lag, 1U);
  EXPECT_EQ(fatal, "");
  kill();
  ASSERT_TRUE(open());
  EXPECT_EQ(store->count(), 40U);
}

// What an earlier life left unsure needs more segments than are ready: those of today are smaller.
TEST_F(SpaceTest, AStartMakesTheSegmentsThatItNeeds) {
  segment_size = 4 << 20;
  ASSERT_TRUE(open());
  std::vector<base::MessageId> ids;
  for (int n = 0; n < 60; ++n) ids.push_back(submit(std::string(kBody, 'a')));
  ids.push_back(submit(std::string(600'000, 'L')));  // more than a segment of today holds
  store->pump();
  kill();
  segment_size = 256 * 1024;
  index_rows = std::make_shared<MemoryRows>();  // which would say that all was flushed
  ASSERT_TRUE(open()) << fatal;
  EXPECT_EQ(store->count(), ids.size());
  for (const auto id : ids) EXPECT_NE(body(id), "(gone)");
  kill();
  disk.cut_power(1);
  index_rows = std::make_shared<MemoryRows>();
  ASSERT_TRUE(open()) << fatal;
  EXPECT_EQ(store->count(), ids.size());
}

// On a disk without room for them it starts all the same; nobody is told of what is not sure.
TEST_F(SpaceTest, AStartThatFindsNoRoomWaitsForIt) {
  segment_size = 4 << 20;
  reserve = 0;
  ASSERT_TRUE(open());
  std::vector<base::MessageId> ids;
  for (int n = 0; n < 60; ++n) ids.push_back(submit(std::string(kBody, 'a')));
  store->pump();
  kill();
  segment_size = 256 * 1024;
  index_rows = std::make_shared<MemoryRows>();
  for (const auto& name : disk.files("journal"))
    if (is_spare(disk.content(name))) (void)disk.unlink(name);
  leave(3 * segment_size);
  ASSERT_TRUE(open()) << fatal;
  EXPECT_EQ(store->count(), ids.size());
  bool sure = false;
  store->when_sure([&sure]() noexcept { sure = true; });
  tick(3);
  EXPECT_FALSE(sure);
  EXPECT_NE(store->health().lack, "");
  EXPECT_EQ(fatal, "");
  disk.capacity = ~0ULL;
  tick(3);
  EXPECT_TRUE(sure);
  EXPECT_EQ(store->health().lack, "");
  EXPECT_NE(accept("x").value, 0U);
}

TEST_F(SpaceTest, UsedUpDescriptorsLoseNothing) {
  ASSERT_TRUE(open());
  tick();
  // A large body, and descriptors for no more than is open now.
  base::MessageId id;
  store->open_large(0, [&id](os::Result<LargeFile> file) noexcept { id = file->id; });
  store->pump();
  disk.content("large/" + base::to_string(id)) = "a large body\r\n";
  std::uint32_t crc = 0;
  store->seal_large(id, 14, [&crc](os::Result<std::uint32_t> sealed) noexcept { crc = *sealed; });
  store->pump();
  auto record = envelope();
  record.id = id;
  record.large = true;
  record.body_size = 14;
  record.body_crc = crc;
  store->accept(std::move(record), nullptr, {});
  store->pump();

  disk.most_open = 0;
  const auto ids = fill();  // new segments cannot be opened
  EXPECT_GT(ids.size(), 0U);
  EXPECT_TRUE(fatal.empty());
  EXPECT_NE(store->health().lack, "");
  bool loaded = false;
  store->load(id, [&loaded](os::Result<LoadedBody> body) noexcept { loaded = body.has_value(); });
  store->pump();
  EXPECT_FALSE(loaded);  // it waits: it is not damaged
  EXPECT_TRUE(store->health().damage.empty());
  bool refused = false;
  store->open_large(0, [&refused](os::Result<LargeFile> file) noexcept { refused = !file; });
  store->pump();
  EXPECT_TRUE(refused);

  disk.most_open = ~0ULL;
  tick();
  EXPECT_EQ(store->health().lack, "");
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!loaded && std::chrono::steady_clock::now() < until) {
    loop->run_once(true);
    store->pump();
  }
  EXPECT_TRUE(loaded);
}

TEST_F(SpaceTest, TheReserveHoldsDescriptorsToo) {
  ASSERT_TRUE(open());
  tick();
  ASSERT_TRUE(save("a"));
  disk.most_open = disk.open_handles();
  EXPECT_TRUE(save("b"));
  disk.most_open -= 1;  // what was given up is taken by somebody else
  tick();
  EXPECT_NE(store->health().lack, "");
  EXPECT_TRUE(save("c"));
  disk.most_open = ~0ULL;
  tick();
  EXPECT_EQ(store->health().lack, "");
}

TEST_F(SpaceTest, WhatABacklogTookIsGivenBack) {
  ASSERT_TRUE(open());
  tick(2);
  const auto before = disk.files("journal").size();
  std::vector<base::MessageId> ids;
  for (int n = 0; n < 1000; ++n) ids.push_back(accept(std::string(kBody, 'a')));
  EXPECT_GT(disk.files("journal").size(), before + 15);
  for (const auto id : ids) conclude(id, Fate::kDelivered);
  store->pump();
  tick(3);
  EXPECT_LE(disk.files("journal").size(), before + 3);
  EXPECT_EQ(store->health().journal_bytes, disk.files("journal").size() * segment_size);
  kill();
  ASSERT_TRUE(open());
  EXPECT_EQ(store->count(), 0U);
}

TEST_F(SpaceTest, AFewThatStayDoNotHoldABacklogsSpace) {
  ASSERT_TRUE(open());
  tick(2);
  const auto before = disk.files("journal").size();
  std::vector<base::MessageId> ids;
  for (int n = 0; n < 1000; ++n) ids.push_back(accept(std::string(kBody, 'a')));
  for (std::size_t n = 0; n < ids.size(); ++n)
    if (n % 100 != 0) conclude(ids[n], Fate::kDelivered);
  store->pump();
  tick(5);
  EXPECT_LE(disk.files("journal").size(), before + 6);
  kill();
  ASSERT_TRUE(open());
  EXPECT_EQ(store->count(), 10U);
  EXPECT_EQ(body(ids[400]), std::string(kBody, 'a'));
}

}  // namespace
}  // namespace postern::queued
