#include "queued/fresh_segment.h"

#include "queued/journal_files.h"
#include "queued/segment.h"
#include "tests/unit/queued/store_rig.h"

namespace postern::queued {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

TEST(FreshSegment, IsMadeInPiecesThatAreOnDisk) {
  FakeDisk disk;
  ASSERT_TRUE(disk.make_directory("journal"));
  FreshSegment fresh(disk, "000001", 2 * kMiB + 4096);
  for (int piece = 1; piece <= 2; ++piece) {
    const auto made = fresh.write_piece();
    ASSERT_TRUE(made);
    EXPECT_FALSE(made->has_value());
    EXPECT_EQ(disk.inode("journal/000001.new")->durable.size(), piece * kMiB);
  }
  const auto made = fresh.write_piece();
  ASSERT_TRUE(made && *made);
  EXPECT_EQ((*made)->capacity, 2 * kMiB + 4096);
  EXPECT_FALSE(disk.has("journal/000001.new"));
  disk.cut_power(1);
  const auto& bytes = disk.content("journal/000001");
  EXPECT_EQ(bytes.size(), 2 * kMiB + 4096);
  EXPECT_TRUE(is_spare(bytes.substr(0, kBlock)));
  EXPECT_EQ(bytes.find_first_not_of('\0', spare_block().size()), std::string::npos);
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
  EXPECT_EQ(under_way(), kMiB);  // the reserve is whole
  fill(3 * kMiB);
  EXPECT_GE(under_way(), 5 * kMiB);
  EXPECT_LE(under_way(), 8 * kMiB);
  const auto files = disk.files("journal").size();
  fill(6 * kMiB);
  EXPECT_EQ(under_way(), 0U);
  EXPECT_EQ(disk.files("journal").size(), files);
}

}  // namespace
}  // namespace postern::queued
