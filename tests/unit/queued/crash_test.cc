// The store under crashes at every disk operation, and under damage: I1, I2 and I4 as far as the store
// goes. What was acknowledged is there, byte for byte; what ended stays ended.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "tests/unit/queued/store_rig.h"

namespace postern::queued {
namespace {

struct Story {
  std::map<base::MessageId, std::string> acknowledged;
  std::map<base::MessageId, std::string> submitted;
  std::set<base::MessageId> concluded;    // an outcome was given to the store
  std::set<base::MessageId> ended;        // and flushed
};

// A short life that crosses segments: accepts, delivers, copies forward.
void live(StoreRig& rig, Story& story) {
  std::deque<base::MessageId> open;
  for (int i = 0; i < 30; ++i) {
    const std::string body(1500 + static_cast<std::size_t>(i) * 37, static_cast<char>('a' + i % 26));
    bool acknowledged = false;
    const auto id = rig.submit(body, &acknowledged);
    story.submitted[id] = body;
    bool flushed = false;
    base::MessageId done;
    if (open.size() > 3) {
      done = i % 5 == 0 ? open.back() : open[open.size() / 2];
      std::erase(open, done);
      story.concluded.insert(done);
      (void)rig.look(done);
      rig.store->outcome(rig.outcome(done, Fate::kDelivered), nullptr, {},
                         [&]() noexcept { flushed = true; });
    }
    rig.store->pump();
    if (acknowledged) {
      story.acknowledged[id] = body;
      open.push_back(id);
    }
    if (flushed) story.ended.insert(done);
    if (!rig.fatal.empty()) return;
  }
}

class CrashTest : public ::testing::TestWithParam<bool> {};

TEST_P(CrashTest, EveryAcknowledgedMessageSurvivesACrashAfterEveryOperation) {
  const bool power_cut = GetParam();
  std::uint64_t steps = 0;
  {
    StoreRig rig;
    rig.segment_size = 16 * 1024;
    rig.cache = 0;
    ASSERT_TRUE(rig.open());
    Story story;
    live(rig, story);
    ASSERT_EQ(story.acknowledged.size(), 30U);
    steps = rig.disk.operations;
    EXPECT_GT(steps, 100U);
  }
  for (std::uint64_t at = 0; at <= steps; ++at) {
    StoreRig rig;
    rig.segment_size = 16 * 1024;
    rig.cache = 0;
    rig.disk.halt_at = at;
    Story story;
    if (rig.open()) live(rig, story);
    rig.kill();
    if (power_cut) rig.disk.cut_power(at);
    // Twice: what the first recovery decided, the second one finds again.
    std::map<base::MessageId, std::string> first;
    for (int life = 0; life < 2; ++life) {
      ASSERT_TRUE(rig.open()) << rig.fatal << " after operation " << at;
      EXPECT_TRUE(rig.store->health().damage.empty())
          << at << ": " << rig.store->health().damage.front();
      std::map<base::MessageId, std::string> there;
      for (const auto& message : rig.messages()) there[message.id] = {};
      for (auto& [id, text] : there) text = rig.body(id);
      for (const auto& [id, text] : story.acknowledged) {
        if (there.contains(id)) {
          EXPECT_EQ(there[id], text) << at;
        } else {
          EXPECT_TRUE(story.concluded.contains(id)) << "lost after operation " << at;
        }
      }
      for (const auto id : story.ended) EXPECT_FALSE(there.contains(id)) << "undone " << at;
      for (const auto& [id, text] : there) {
        ASSERT_TRUE(story.submitted.contains(id));
        EXPECT_EQ(text, story.submitted[id]);
      }
      if (life == 0) first = there;
      EXPECT_EQ(first, there) << at;
      rig.kill();
      if (power_cut) rig.disk.cut_power(at + 1);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, CrashTest, ::testing::Bool());

// Bursts: much is appended before anything is written, so that segments change, are released and reused
// in the middle of it. A message that failed is there, or its notice is.
struct Bursts {
  std::map<base::MessageId, std::string> acknowledged;
  std::map<base::MessageId, base::MessageId> notices;  // of failed messages
  std::set<base::MessageId> delivered;

  void run(StoreRig& rig) {
    std::mt19937_64 random(3);
    std::deque<base::MessageId> open;
    for (int burst = 0; burst < 12 && rig.fatal.empty(); ++burst) {
      std::deque<std::pair<base::MessageId, bool>> submitted;
      for (int n = 0; n < 9; ++n) {
        if (random() % 3 != 0) {
          auto& [id, acknowledged_now] = submitted.emplace_back();
          id = rig.submit(std::string(2500, static_cast<char>('a' + n)), &acknowledged_now);
        }
        if (!open.empty() && random() % 2 == 0) fail(rig, open);
        if (random() % 3 == 0) {
          rig.loop->run_once(false);
          rig.store->tick();
        }
      }
      rig.store->tick();
      rig.store->pump();
      for (const auto& [id, yes] : submitted) {
        if (!yes) continue;
        acknowledged[id] = {};
        open.push_back(id);
      }
    }
  }
  void fail(StoreRig& rig, std::deque<base::MessageId>& open) {
    const auto id = open.front();
    open.pop_front();
    if (notices.size() % 3 == 2) {
      delivered.insert(id);
      return rig.conclude(id, Fate::kDelivered);
    }
    auto record = rig.outcome(id, Fate::kFailed);
    auto notice = rig.envelope();
    notice.notice = true;
    notice.body_size = 1000;
    notices[id] = notice.id;
    record.notice = std::move(notice);
    (void)rig.look(id);
    rig.store->outcome(std::move(record), std::make_shared<const std::string>(1000, 'n'), {}, {});
  }
};

TEST(Crash, AFailedMessageOrItsNoticeIsThereAfterEveryOperation) {
  std::uint64_t steps = 0;
  for (std::uint64_t at = ~0ULL;; at = at == ~0ULL ? 0 : at + 1) {
    if (steps != 0 && at > steps) break;
    StoreRig rig;
    rig.segment_size = 16 * 1024;
    rig.disk.halt_at = at;
    Bursts bursts;
    if (rig.open()) bursts.run(rig);
    if (at == ~0ULL) steps = rig.disk.operations;
    rig.kill();
    rig.disk.cut_power(at);
    ASSERT_TRUE(rig.open()) << rig.fatal << " after operation " << at;
    EXPECT_TRUE(rig.store->health().damage.empty()) << at << ": " << rig.store->health().damage[0];
    for (const auto& [id, nothing] : bursts.acknowledged) {
      if (rig.look(id) != nullptr || bursts.delivered.contains(id)) continue;
      const auto notice = bursts.notices.find(id);
      ASSERT_TRUE(notice != bursts.notices.end()) << "lost after operation " << at;
      EXPECT_NE(rig.look(notice->second), nullptr) << "notice lost after operation " << at;
    }
  }
  EXPECT_GT(steps, 60U);
}

// The process dies with a failure that is written and not flushed; then the power fails during the start.
TEST(Crash, AFailureAndItsNoticeStayTogetherThroughACrashAndAPowerCutDuringTheStart) {
  for (std::uint64_t at = 0; at < 40; ++at) {
    StoreRig rig;
    ASSERT_TRUE(rig.open());
    const auto id = rig.accept(std::string(2500, 'a'), 2);
    auto record = rig.outcome(id, Fate::kFailed);
    auto notice = rig.envelope();
    const auto notice_id = notice.id;
    notice.notice = true;
    notice.body_size = 1000;
    record.notice = std::move(notice);
    (void)rig.look(id);
    rig.store->outcome(std::move(record), std::make_shared<const std::string>(1000, 'n'), {}, {});
    rig.store->pump(false);
    rig.kill();
    rig.disk.halt_at = rig.disk.operations + at / 2;
    (void)rig.open();
    rig.kill();
    rig.disk.cut_power(at);
    ASSERT_TRUE(rig.open()) << rig.fatal;
    const Message* message = rig.look(id);
    ASSERT_NE(message, nullptr);
    EXPECT_EQ(message->open == 1, rig.look(notice_id) != nullptr) << at;
  }
}

class DamageTest : public ::testing::Test, protected StoreRig {
 protected:
  // Ten segments' worth of mail that all lives.
  void fill() {
    segment_size = 16 * 1024;
    cache = 0;
    ASSERT_TRUE(open());
    for (int i = 0; i < 60; ++i) {
      const std::string text = "body " + std::to_string(i) + std::string(1500, 'x') + "\r\n";
      bodies[accept(text)] = text;
    }
    kill();
    index_rows = std::make_shared<MemoryRows>();  // lost: the journal says it all
  }
  std::size_t intact() {
    std::size_t count = 0;
    for (const auto& [id, text] : bodies)
      if (look(id) != nullptr && body(id) == text) ++count;
    return count;
  }
  std::string& file_with(const std::string& text) {
    for (const auto& name : disk.files("journal"))
      if (disk.content(name).find(text) != std::string::npos) return disk.content(name);
    ADD_FAILURE() << "no file holds " << text;
    return disk.content(disk.files("journal").front());
  }
  // A later life finds the rest, and no damage any more: what was damaged has been left behind.
  void expect_clean_later(std::size_t left) {
    for (int i = 0; i < 20; ++i) {
      for (int n = 0; n < 5; ++n) conclude(accept(std::string(2000, 'z')), Fate::kDelivered);
      clock.advance(kAskedFor / 10);  // for a minute tokens in it may be asked for
      store->tick();
      store->pump();
    }
    kill();
    ASSERT_TRUE(open());
    EXPECT_TRUE(store->health().damage.empty());
    EXPECT_EQ(intact(), left);
    EXPECT_FALSE(disk.files("damaged").empty());
  }
  std::map<base::MessageId, std::string> bodies;
};

TEST_F(DamageTest, AFlippedBitCostsOneMessageAndIsTold) {
  fill();
  auto& bytes = file_with("body 31x");
  bytes[bytes.find("body 31x")] = 'B';
  ASSERT_TRUE(open());
  ASSERT_EQ(store->health().damage.size(), 1U);
  EXPECT_NE(store->health().damage[0].find("lost 1 records"), std::string::npos);
  EXPECT_EQ(intact(), 59U);
  expect_clean_later(59);
}

TEST_F(DamageTest, AFlippedBitInTheNewestSegmentIsToldToo) {
  fill();
  auto& bytes = file_with("body 58x");
  bytes[bytes.find("body 58x")] = 'B';
  ASSERT_TRUE(open());
  EXPECT_EQ(store->health().damage.size(), 1U);
  EXPECT_EQ(intact(), 59U);
}

TEST_F(DamageTest, ADamagedHeaderCostsNothing) {
  for (const auto* where : {"body 20x", "body 59x"}) {
    bodies.clear();
    disk.~FakeDisk();
    new (&disk) FakeDisk;
    fill();
    file_with(where)[40] = '!';
    ASSERT_TRUE(open()) << fatal;
    EXPECT_FALSE(store->health().damage.empty());
    EXPECT_EQ(intact(), 60U) << where;
    expect_clean_later(60);
    kill();
  }
}

TEST_F(DamageTest, AMissingSegmentCostsWhatItHeld) {
  fill();
  auto& bytes = file_with("body 31x");
  std::size_t held = 0;
  for (const auto& [id, text] : bodies) held += bytes.find(text) != std::string::npos;
  for (const auto& name : disk.files("journal"))
    if (&disk.content(name) == &bytes) {
      (void)disk.unlink(name);
      break;
    }
  ASSERT_TRUE(open());
  ASSERT_FALSE(store->health().damage.empty());
  EXPECT_EQ(intact(), 60U - held);
}

TEST_F(DamageTest, ANewerVersionIsRefused) {
  ASSERT_TRUE(open());
  (void)accept("x\r\n");
  kill();
  for (const auto& name : disk.files("journal")) {
    auto& bytes = disk.content(name);
    if (header_version(bytes) != 0) bytes[16] = kFormatVersion + 1;
  }
  EXPECT_FALSE(open());
  EXPECT_NE(fatal.find("newer version"), std::string::npos) << fatal;
}

TEST_F(DamageTest, AHundredRandomFlipsNeverLoseMoreThanTheyHit) {
  fill();
  std::map<std::string, std::string> whole;
  for (const auto& name : disk.files("journal")) whole[name] = disk.content(name);
  std::mt19937_64 random(11);
  for (int round = 0; round < 60; ++round) {
    disk.~FakeDisk();
    new (&disk) FakeDisk;
    for (const auto& [name, bytes] : whole) disk.put_file(name, bytes);
    const auto name = std::next(whole.begin(), static_cast<std::ptrdiff_t>(random() % whole.size()))->first;
    auto& bytes = disk.content(name);
    const auto at = random() % bytes.size();
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    index_rows = std::make_shared<MemoryRows>();
    ASSERT_TRUE(open()) << fatal;
    const auto left = intact();
    EXPECT_GE(left, 59U) << name << " " << at;
    EXPECT_TRUE(left == 60 || !store->health().damage.empty()) << name << " " << at;
    kill();
  }
}

}  // namespace
}  // namespace postern::queued
