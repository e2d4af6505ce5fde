// One disk operation fails, for every operation of a run of 200 messages over two lives: reads,
// writes, opens, renames, lists, unlinks and flushes alike. A life ends or goes on as store.h says;
// whatever was acknowledged is there in the next one, byte for byte, whatever was refused is not,
// what ended stays ended, and blocks stand. POSTERN_LONG tries every operation with every error,
// else every n-th.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <map>
#include <set>

#include "tests/unit/figures.h"
#include "tests/unit/queued/store_rig.h"

namespace postern::queued {
namespace {

constexpr int kMessages = 200;
constexpr int kStarts = 40;           // one fault may spoil one start, a full disk many
constexpr std::uint64_t kStride = 29;  // of operations tried in a short run

class Story {
 public:
  explicit Story(StoreRig& rig) : rig_(rig) {
    rig_.segment_size = 32 * 1024;
    rig_.cache = 0;
  }

  // Two lives of a hundred messages each; a life that a fault ends is followed by another.
  void live() {
    if (!start()) return;
    for (int step = 0; step < kMessages; ++step) {
      if (step == kMessages / 2) rig_.kill();
      if ((!rig_.store || !rig_.fatal.empty()) && !start()) return;
      turn(step);
    }
    drain();
  }

  // A life begins.
  bool start() {
    if (!rig_.fatal.empty()) why_ended.push_back(rig_.fatal);
    if (rig_.store) rig_.kill();
    for (int attempt = 0; attempt < kStarts; ++attempt) {
      if (rig_.open()) {
        if (rig_.fatal.empty()) return check();
        rig_.kill();
      }
      why_ended.push_back(rig_.fatal);
    }
    ADD_FAILURE() << "no start succeeds: " << rig_.fatal;
    return false;
  }

  // What is there is what should be.
  bool check() {
    const auto& damage = rig_.store->health().damage;
    EXPECT_TRUE(damage.empty()) << damage.front();
    const auto calls = rig_.disk.calls;  // looking is no part of the run
    const auto fault = std::exchange(rig_.disk.fail_call, ~0ULL);
    const auto there = rig_.survey();
    rig_.disk.calls = calls;
    rig_.disk.fail_call = fault;
    for (const auto& [id, text] : acknowledged) {
      if (there.contains(id) || concluded.contains(id)) continue;
      ADD_FAILURE() << "lost: message " << id.value;
    }
    for (const auto id : ended) EXPECT_FALSE(there.contains(id)) << "ended, and there again";
    for (const auto id : refused) EXPECT_FALSE(there.contains(id)) << "refused, and there";
    for (const auto& [message, notice] : notices)
      if (ended.contains(message) && !concluded.contains(notice)) {
        EXPECT_TRUE(there.contains(notice)) << "lost: a notice";
      }
    for (const auto& [id, text] : there) {
      if (!submitted.contains(id)) {
        ADD_FAILURE() << "nobody sent message " << id.value;
      } else if (text != submitted[id]) {
        ADD_FAILURE() << "changed: message " << id.value;
      }
      // Whoever asks by its token hears 250 from now on.
      acknowledged[id] = submitted[id];
    }
    const auto blocks = rig_.store->blocks_text().value_or("");
    EXPECT_TRUE(blocks == saved_blocks || (!pending_blocks.empty() && blocks == pending_blocks))
        << "blocks are '" << blocks << "', saved were '" << saved_blocks << "'";
    saved_blocks = blocks;
    pending_blocks.clear();
    open_.clear();
    for (const auto& [id, text] : there) open_.push_back(id);
    return true;
  }

  // All that waits is done.
  void drain() {
    if (!rig_.store) return;
    rig_.store->tick();
    rig_.store->pump();
  }

  std::map<base::MessageId, std::string> submitted;
  std::map<base::MessageId, std::string> acknowledged;
  std::set<base::MessageId> refused;
  std::set<base::MessageId> concluded;  // an outcome that ends it was given to the store
  std::set<base::MessageId> ended;      // and flushed
  std::map<base::MessageId, base::MessageId> notices;
  std::string saved_blocks, pending_blocks;
  std::vector<std::string> why_ended;
  std::uint64_t blocks_refused = 0;
  std::uint64_t unread = 0;  // bodies

 private:
  void turn(int step) {
    submit(step);
    if (step % 2 == 1 && open_.size() > 6) conclude(step);
    if (step % 13 == 5) note_wait(step);
    if (step % 9 == 4 && !open_.empty()) load(open_[open_.size() / 2]);
    if (step % 17 == 3 && !open_.empty()) hold_and_release();
    if (step % 23 == 7) save_blocks(step);
    if (step % 3 == 0) rig_.store->pump();
    if (step % 10 == 0) drain();
  }

  void answer(base::MessageId id, bool accepted) {
    EXPECT_TRUE(rig_.fatal.empty()) << "answered after the end";
    if (!accepted) {
      refused.insert(id);
      return;
    }
    acknowledged[id] = submitted[id];
    open_.push_back(id);
  }

  void submit(int step) {
    auto text =
        "body " + std::to_string(step) + " " +
        std::string(300 + static_cast<std::size_t>(step) * 7, static_cast<char>('a' + step % 26));
    if (step % 20 == 9) return submit_large(std::move(text));
    auto record = rig_.envelope();
    record.body_size = text.size();
    submitted[record.id] = text;
    refused.erase(record.id);  // a later life may give away again what never was in the journal
    rig_.store->accept(record, std::make_shared<const std::string>(std::move(text)),
                       [this, id = record.id](bool yes) noexcept { answer(id, yes); });
  }

  void submit_large(std::string text) {
    rig_.store->open_large(0, [this, text](os::Result<LargeFile> file) noexcept {
      if (!file) return;
      const auto id = file->id;
      refused.insert(id);  // until it is sealed
      auto inode = rig_.disk.inode("large/" + base::to_string(id));
      inode->now = text;
      inode->unflushed.emplace_back(0, text);
      submitted[id] = text;
      rig_.store->seal_large(
          id, text.size(), [this, id, text](os::Result<std::uint32_t> crc) noexcept {
            if (!crc) return rig_.store->drop_large(id);
            refused.erase(id);
            auto record = rig_.envelope();
            record.id = id;
            record.large = true;
            record.body_size = text.size();
            record.body_crc = *crc;
            rig_.store->accept(record, nullptr, [this, id](bool yes) noexcept { answer(id, yes); });
          });
    });
  }

  void conclude(int step) {
    const auto id = open_[static_cast<std::size_t>(step) % open_.size()];
    if (rig_.look(id) == nullptr) return;
    if (step % 7 == 0) return rig_.conclude(id, Fate::kDeferred);
    std::erase(open_, id);
    concluded.insert(id);
    auto record = rig_.outcome(id, step % 11 == 0 ? Fate::kFailed : Fate::kDelivered);
    Bytes body;
    notices.erase(id);  // that of an outcome which a fault took
    if (step % 11 == 0) {
      record.notice = rig_.envelope();
      record.notice->notice = true;
      body = std::make_shared<const std::string>("a notice about " + std::to_string(id.value));
      record.notice->body_size = body->size();
      submitted[record.notice->id] = *body;
      notices[id] = record.notice->id;
    }
    rig_.store->outcome(std::move(record), std::move(body), {}, [this, id]() noexcept {
      EXPECT_TRUE(rig_.fatal.empty()) << "an outcome was flushed after the end";
      ended.insert(id);
    });
  }

  // A body that cannot be read is no other one.
  void load(base::MessageId id) {
    rig_.store->load(id, [this, id](os::Result<LoadedBody> loaded) noexcept {
      if (loaded && loaded->bytes) {
        EXPECT_EQ(*loaded->bytes, submitted[id]);
      }
      if (!loaded) ++unread;
    });
  }

  void note_wait(int step) {
    QueueRecord wait;
    wait.queue = "q" + std::to_string(step % 4) + ".example";
    wait.clock = rig_.store->clock().now();
    wait.until = wait.clock + base::Millis(60'000);
    wait.failures = step % 2 == 0 ? 2 : 0;
    rig_.store->note(std::move(wait));
  }

  void hold_and_release() {
    (void)rig_.look(open_.front());
    rig_.store->note(HoldRecord{open_.front(), "by a test"});
    rig_.store->note(HoldRecord{open_.front(), {}, rig_.store->clock().now()});
    RetryRecord retry;
    retry.clock = rig_.store->clock().now();
    retry.messages = {open_.front()};
    rig_.store->note(std::move(retry), {});
  }

  void save_blocks(int step) {
    pending_blocks = "blocks of step " + std::to_string(step);
    rig_.store->save_blocks(pending_blocks, [this](os::Result<void> saved) noexcept {
      EXPECT_TRUE(rig_.fatal.empty()) << "blocks were answered after the end";
      if (saved)
        saved_blocks = pending_blocks;
      else
        ++blocks_refused;
      pending_blocks.clear();
    });
  }

  StoreRig& rig_;
  std::deque<base::MessageId> open_;
};

// How many operations a run without faults makes.
std::uint64_t count_calls() {
  StoreRig rig;
  Story story(rig);
  story.live();
  EXPECT_TRUE(story.why_ended.empty()) << story.why_ended.front();
  EXPECT_EQ(story.blocks_refused, 0U);
  EXPECT_EQ(story.submitted.size(), static_cast<std::size_t>(kMessages) + story.notices.size());
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
    Story story(rig);
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
  Story(whole).live();
  const auto commits = whole.index_rows->commits;
  EXPECT_GT(commits, 20U);
  // When the last one fails the story is over, and nobody hears of it.
  for (std::uint64_t at = 0; at + 1 < commits;
       at += std::getenv("POSTERN_LONG") != nullptr ? 1 : 19) {
    StoreRig rig;
    rig.index_rows->error = error;
    rig.index_rows->fail_at = at;
    Story story(rig);
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
    Story story(rig);
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
