#include "queued/fresh_segment.h"

#include "queued/journal_files.h"
#include "queued/segment.h"
#include "tests/unit/queued/store_rig.h"

namespace postern::queued {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

TEST(FreshSegment, IsMadeInPiecesThatAreOnDisk) {
  constexpr std::uint64_t kSize = 160 << 10, kPiece = 64 << 10;
  ASSERT_EQ(FreshSegment::piece_of(kSize), kPiece);
  FakeDisk disk;
  ASSERT_TRUE(disk.make_directory("journal"));
  FreshSegment fresh(disk, "000001", kSize);
  for (std::uint64_t piece = 1; piece <= 2; ++piece) {
    const auto made = fresh.write_piece();
    ASSERT_TRUE(made);
    EXPECT_FALSE(made->has_value());
    EXPECT_EQ(disk.inode("journal/000001.new")->durable.size(), piece * kPiece);
  }
  const auto made = fresh.write_piece();
  ASSERT_TRUE(made && *made);
  EXPECT_EQ((*made)->capacity, kSize);
  EXPECT_FALSE(disk.has("journal/000001.new"));
  disk.cut_power(1);
  const auto& bytes = disk.content("journal/000001");
  EXPECT_EQ(bytes.size(), kSize);
  EXPECT_TRUE(is_spare(bytes.substr(0, kBlock)));
  EXPECT_EQ(bytes.find_first_not_of('\0', spare_block().size()), std::string::npos);
}

TEST(FreshSegment, PiecesAreNeitherTinyNorHuge) {
  EXPECT_EQ(FreshSegment::piece_of(4096), 64U << 10);
  EXPECT_EQ(FreshSegment::piece_of(5 << 20), 80U << 10);
  EXPECT_EQ(FreshSegment::piece_of(64 << 20), 1U << 20);
  EXPECT_EQ(FreshSegment::piece_of(1 << 30), 1U << 20);
}

TEST(FreshSegment, LeavesNothingWhenTheDiskFillsUpMeanwhile) {
  FakeDisk disk;
  ASSERT_TRUE(disk.make_directory("journal"));
  FreshSegment fresh(disk, "000001", 3 * kMiB);
  ASSERT_TRUE(fresh.write_piece());
  disk.full = true;
  EXPECT_EQ(fresh.write_piece().error().number, ENOSPC);
  EXPECT_TRUE(disk.files("journal").empty());
}

TEST(FreshSegment, LeavesNothingWhenItsNameCannotBeFlushed) {
  FakeDisk disk;
  ASSERT_TRUE(disk.make_directory("journal"));
  FreshSegment fresh(disk, "000001", 4096);
  disk.fail_at = disk.operations + 4;  // create, write, flush, rename, and then that
  EXPECT_FALSE(fresh.finish());
  EXPECT_EQ(disk.log.at(disk.log.size() - 2), "flush_directory journal");
  EXPECT_TRUE(disk.files("journal").empty());
}

class SpareAhead : public StoreRig, public testing::Test {
 protected:
  SpareAhead() {
    segment_size = 16 * kMiB;
    cache = 0;
  }
  // Of the spare that is not whole yet, how much is on disk; 0: all are whole.
  std::uint64_t under_way() {
    for (const auto& name : disk.files("journal"))
      if (name.ends_with(kUnfinished)) return disk.inode(name)->durable.size();
    return 0;
  }
  void fill(std::uint64_t bytes) {
    for (; bytes > 0; bytes -= kMiB) (void)accept(std::string(kMiB - 8192, 'x'));
  }
};

TEST_F(SpareAhead, IsMadeTwiceAsFastAsTheJournalFills) {
  ASSERT_TRUE(open());
  EXPECT_EQ(under_way(), FreshSegment::piece_of(segment_size));  // the reserve is whole
  fill(3 * kMiB);
  EXPECT_GE(under_way(), 5 * kMiB);
  EXPECT_LE(under_way(), 8 * kMiB);
  const auto files = disk.files("journal").size();
  fill(6 * kMiB);
  EXPECT_EQ(under_way(), 0U);
  EXPECT_EQ(disk.files("journal").size(), files);
}

TEST_F(SpareAhead, AShortageThatIsOverIsOverAtTheNextTick) {
  ASSERT_TRUE(open());
  disk.full = true;
  fill(kMiB);
  store->tick();
  store->pump();
  EXPECT_EQ(store->health().lack, "no room for the next journal segment");
  disk.full = false;
  store->tick();
  store->pump();
  EXPECT_EQ(store->health().lack, "");
  EXPECT_EQ(under_way(), 0U);
}

}  // namespace
}  // namespace postern::queued
