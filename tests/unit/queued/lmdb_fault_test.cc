// One call of LMDB fails, for every call of a run of 200 messages: its writes, its flushes, of the pages
// and of the page that names the newest tree, its files made and made longer. What fault_test.cc says
// of the disk's operations holds: nothing is lost, changed or repeated. POSTERN_LONG tries every call,
// else every n-th.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "tests/unit/figures.h"
#include "tests/unit/queued/fault_story.h"
#include "tests/unit/queued/lmdb_calls.h"
#include "tests/unit/queued/lmdb_rig.h"

namespace postern::queued {
namespace {

constexpr std::uint64_t kStride = 29;  // of calls tried in a short run

struct Trial {
  StoreRig rig;
  LmdbRig index{rig};
  FaultStory story{rig};

  explicit Trial(std::uint64_t fail_call = ~0ULL, int error = EIO) {
    g_lmdb_calls = {.directory = index.directory(), .fail_call = fail_call, .error = error};
    story.may_be_damaged = "the index is set aside and rebuilt";
  }
  ~Trial() { g_lmdb_calls = {}; }
};

class LmdbFault : public ::testing::TestWithParam<int> {};

TEST_P(LmdbFault, OneFailedCallLosesNothing) {
  std::uint64_t calls = 0;
  {
    Trial run;
    run.story.live();
    calls = g_lmdb_calls.calls;
    ASSERT_TRUE(run.story.why_ended.empty()) << run.story.why_ended.front();
    EXPECT_EQ(run.index.set_aside(), 0);
  }
  const std::uint64_t stride = std::getenv("POSTERN_LONG") != nullptr ? 1 : kStride;
  std::uint64_t runs = 0, ended = 0, rebuilt = 0;
  std::set<std::string> kinds;
  for (auto at = static_cast<std::uint64_t>(GetParam()) % stride; at < calls; at += stride) {
    Trial run(at, GetParam());
    run.story.live();
    EXPECT_FALSE(g_lmdb_calls.failed.empty()) << "it was never made";
    kinds.insert(g_lmdb_calls.failed);
    ++runs;
    ended += !run.story.why_ended.empty();
    for (int life = 0; life < 2; ++life) {
      if (run.rig.store) run.rig.kill();
      (void)run.story.start();
    }
    rebuilt += run.index.set_aside() > 0;
    ASSERT_FALSE(HasFailure()) << "call " << at << " of " << calls << ": " << g_lmdb_calls.failed;
  }
  EXPECT_TRUE(kinds.contains("pwrite index"));
  EXPECT_TRUE(kinds.contains("fdatasync index"));
  note_figures("one call of LMDB fails with " + std::string(GetParam() == EIO ? "EIO" : "ENOSPC") +
               ": " + std::to_string(runs) + " of " + std::to_string(calls) +
               " calls of a run of 200 messages, " + std::to_string(kinds.size()) + " kinds of them; " +
               std::to_string(ended) + " ended a life, after " + std::to_string(rebuilt) +
               " the index was rebuilt; nothing lost, changed or repeated");
}

INSTANTIATE_TEST_SUITE_P(Errors, LmdbFault, ::testing::Values(EIO, ENOSPC));

}  // namespace
}  // namespace postern::queued
