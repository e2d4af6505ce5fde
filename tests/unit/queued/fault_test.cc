// One disk operation fails, for every operation of a run of 200 messages over two lives: reads,
// writes, opens, renames, lists, unlinks and flushes alike. A life ends or goes on as store.h says;
// whatever was acknowledged is there in the next one, byte for byte, whatever was refused is not,
// what ended stays ended, and blocks stand. POSTERN_LONG tries every operation with every error,
// else every n-th.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>

#include "tests/unit/figures.h"
#include "tests/unit/queued/fault_story.h"

namespace postern::queued {
namespace {

constexpr std::uint64_t kStride = 29;  // of operations tried in a short run

// How many operations a run without faults makes.
std::uint64_t count_calls() {
  StoreRig rig;
  FaultStory story(rig);
  story.live();
  EXPECT_TRUE(story.why_ended.empty()) << story.why_ended.front();
  EXPECT_EQ(story.blocks_refused, 0U);
  EXPECT_EQ(story.submitted.size(), static_cast<std::size_t>(FaultStory::kMessages) + story.notices.size());
  for (const auto& [message, notice] : story.notices) story.acknowledged.try_emplace(notice);
  EXPECT_EQ(story.acknowledged.size(), story.submitted.size());
  EXPECT_GT(story.notices.size(), 3U);
  EXPECT_GT(rig.store->segments_held(), 2U);
  return rig.disk.calls;
}

class FaultTest : public ::testing::TestWithParam<std::tuple<int, bool>> {};

// Of every kind of operation, whether it ended a life.
class Ways {
 public:
  void note(const std::string& what, bool ended) {
    ways_[what.substr(0, what.find_first_of("0123456789"))].insert(ended);
  }
  [[nodiscard]] std::size_t kinds() const { return ways_.size(); }
  [[nodiscard]] bool always_ends(const std::string& what) const {
    return ways_.contains(what) && !ways_.at(what).contains(false);
  }

 private:
  std::map<std::string, std::set<bool>> ways_;
};

TEST_P(FaultTest, OneFailedOperationLosesNothing) {
  const auto [error, power_cut] = GetParam();
  const auto calls = count_calls();
  const std::uint64_t stride = std::getenv("POSTERN_LONG") != nullptr ? 1 : kStride;
  Ways ways;
  std::uint64_t runs = 0;
  for (std::uint64_t at = static_cast<std::uint64_t>(error) % stride; at < calls; at += stride) {
    StoreRig rig;
    rig.disk.error = error;
    rig.disk.fail_call = at;
    rig.disk.forget_failed_flush = power_cut;
    FaultStory story(rig);
    story.live();
    ways.note(rig.disk.failed, !story.why_ended.empty());
    ++runs;
    for (int life = 0; life < 2; ++life) {
      if (rig.store) rig.kill();
      if (power_cut) rig.disk.cut_power(at);
      (void)story.start();
    }
    ASSERT_FALSE(HasFailure()) << "call " << at << " of " << calls << ": " << rig.disk.failed;
  }
  note_figures("one operation fails with " + std::string(error == EIO ? "EIO" : "ENOSPC") +
               (power_cut ? ", then the power: " : ": ") + std::to_string(runs) + " of " +
               std::to_string(calls) + " operations of a run of 200 messages, " +
               std::to_string(ways.kinds()) + " kinds of them; nothing lost, changed or repeated");
  for (const auto* what : {"write recovering", "unlink large/", "statfs"})
    EXPECT_FALSE(ways.always_ends(what)) << what;
  if (error == EIO) {
    EXPECT_TRUE(ways.always_ends("rename control.json.new control.json") || stride > 1);
  }
}

TEST_P(FaultTest, OneFailedCommitLosesNothing) {
  const auto [error, power_cut] = GetParam();
  StoreRig whole;
  FaultStory(whole).live();
  const auto commits = whole.index_rows->commits;
  EXPECT_GT(commits, 20U);
  // When one of the last two fails, of which drain() makes one, the story is over, and nobody hears of it.
  for (std::uint64_t at = 0; at + 2 < commits;
       at += std::getenv("POSTERN_LONG") != nullptr ? 1 : 19) {
    StoreRig rig;
    rig.index_rows->error = error;
    rig.index_rows->fail_at = at;
    FaultStory story(rig);
    story.live();
    EXPECT_EQ(story.why_ended.empty(), error == ENOSPC);
    if (rig.store) rig.kill();
    if (power_cut) rig.disk.cut_power(at);
    (void)story.start();
    ASSERT_FALSE(HasFailure()) << "commit " << at << " of " << commits;
  }
}

// Space ends at every operation and comes back a while later: nobody dies of it while it runs,
// nothing is lost, and all that waited goes on.
TEST(Fault, ADiskThatIsFullForAWhile) {
  const auto calls = count_calls();
  const std::uint64_t stride = std::getenv("POSTERN_LONG") != nullptr ? 1 : 2 * kStride;
  for (std::uint64_t at = 0; at < calls; at += stride) {
    StoreRig rig;
    rig.disk.full_call = at;
    rig.disk.full_until = at + 150;
    FaultStory story(rig);
    story.live();
    rig.disk.full_until = 0;
    story.drain();
    for (const auto& why : story.why_ended)
      EXPECT_NE(why.find("No space"), std::string::npos) << why;
    if (rig.store) rig.kill();
    (void)story.start();
    ASSERT_FALSE(HasFailure()) << "full at call " << at;
  }
  note_figures("a disk that is full for a while, from each " + std::to_string(stride) + ". of " +
               std::to_string(calls) + " operations on: nothing lost, changed or repeated");
}

INSTANTIATE_TEST_SUITE_P(Errors, FaultTest,
                         ::testing::Combine(::testing::Values(EIO, ENOSPC), ::testing::Bool()));

}  // namespace
}  // namespace postern::queued
