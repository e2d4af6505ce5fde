// Damage to what is not the journal: control.json, and the large bodies' files. POSTERN_DAMAGE says how many
// of the first are tried.
#include <gtest/gtest.h>

#include <random>

#include "common/base/text.h"
#include "tests/unit/figures.h"
#include "tests/unit/queued/engine_rig.h"
#include "tests/unit/queued/spool_files.h"

namespace postern::queued {
namespace {

class BlocksDamageTest : public ::testing::Test, protected EngineRig {};

TEST_F(BlocksDamageTest, DamagedBlocksStartWithOutboundDisabledAndAreKept) {
  begin();
  engine->change_blocks(
      [](Blocks& blocks) noexcept {
        return blocks.freeze({.queue = "far.example", .reason = "x"});
      },
      [](Blocks::Said) noexcept {});
  turn();
  end();
  const auto whole = disk.content("control.json");
  std::mt19937_64 random(5);
  for (std::uint64_t round = 0; round < wished("POSTERN_DAMAGE", 200); ++round) {
    auto text = whole;
    switch (round % 6) {
      case 0:
        for (auto n = random() % 4 + 1; n > 0; --n) flip(text, random() % text.size(), random());
        break;
      case 1:
        text.resize(random() % text.size());
        break;
      case 2:
        text.replace(random() % text.size(), 512, 512, '\0');
        break;
      case 3:
        text = std::string(random() % 200'000, '[');
        break;
      case 4:
        text = R"({"v":1,"sum":"0","blocks":)" + std::string(random() % 200'000, '[');
        break;
      default:
        text.clear();
        for (auto n = random() % 5000; n > 0; --n) text += static_cast<char>(random());
    }
    disk.put_file("control.json", text);
    const auto kept = disk.files("damaged").size();
    begin();
    if (engine->blocks().frozen("far.example") != nullptr) {
      // Only what means the same is not damage.
      EXPECT_EQ(engine->blocks().to_text(), whole) << round;
      EXPECT_EQ(disk.files("damaged").size(), kept);
    } else {
      EXPECT_TRUE(engine->blocks().outbound().disabled) << round;
      EXPECT_EQ(engine->blocks().outbound().who, "recovery");
      const auto path = "damaged/control.json." + std::to_string(kept + 1);
      ASSERT_TRUE(disk.has(path)) << round;
      EXPECT_EQ(disk.content(path), text);
      EXPECT_TRUE(Blocks::from_text(disk.content("control.json")));
    }
    end();
    if (round % 50 == 49)
      for (const auto& name : disk.files("damaged")) (void)disk.unlink(name);
  }
  note_figures(std::to_string(wished("POSTERN_DAMAGE", 200)) +
               " damaged control files: each found and kept, outbound disabled");
}

// --- large bodies ---

class LargeDamageTest : public ::testing::Test, protected StoreRig {};

TEST_F(LargeDamageTest, AFileThatNothingNamesGoesButNotAfterDamage) {
  cache = 0;
  ASSERT_TRUE(open());
  const auto id = accept_large_body("a large body\r\n");
  const auto small = accept("a small body\r\n");
  const auto other = accept("another one\r\n");
  kill();
  disk.put_file("large/0000000000007", "nobody's");
  disk.put_file("large/no id at all", "nobody's either");
  ASSERT_TRUE(open());
  EXPECT_FALSE(disk.has("large/0000000000007"));
  EXPECT_FALSE(disk.has("large/no id at all"));
  EXPECT_EQ(body(id), "a large body\r\n");
  kill();
  disk.put_file("large/0000000000007", "somebody's");
  for (const auto& name : disk.files("journal"))
    if (const auto at = disk.content(name).find("a small body"); at != std::string::npos)
      disk.content(name)[at] = 'A';
  index_rows = std::make_shared<MemoryRows>();
  ASSERT_TRUE(open());
  EXPECT_FALSE(store->health().damage.empty());
  EXPECT_FALSE(disk.has("large/0000000000007"));
  EXPECT_EQ(disk.content("orphans/0000000000007"), "somebody's");
  EXPECT_EQ(body(id), "a large body\r\n");
  EXPECT_EQ(body(other), "another one\r\n");
  EXPECT_EQ(look(small), nullptr);
}

TEST_F(LargeDamageTest, AFileThatCannotBeSweptStopsNothing) {
  ASSERT_TRUE(open());
  kill();
  disk.put_file("large/0000000000007", "nobody's");
  const auto calls = disk.calls;
  ASSERT_TRUE(open());
  kill();
  for (auto at = calls; at < calls + 60; ++at) {
    disk.put_file("large/0000000000007", "nobody's");
    disk.fail_call = disk.calls + (at - calls);
    if (!open()) {
      EXPECT_EQ(disk.failed.find("unlink large"), std::string::npos) << disk.failed;
    }
    if (store) kill();
  }
}

TEST_F(LargeDamageTest, EveryDamageToAFileIsFound) {
  cache = 0;
  ASSERT_TRUE(open());
  const std::string text(5'000, 'L');
  const auto id = accept_large_body(text);
  const auto small = accept("a small body\r\n");
  kill();
  const auto path = "large/" + base::to_string(id);
  std::mt19937_64 random(3);
  for (std::uint64_t round = 0; round < wished("POSTERN_DAMAGE", 200) / 4; ++round) {
    auto bytes = text;
    if (round % 4 == 0) flip(bytes, random() % bytes.size(), 2);
    if (round % 4 == 1) bytes.resize(random() % bytes.size());
    if (round % 4 == 2) bytes.replace(random() % bytes.size(), 512, 512, '\0');
    if (round % 4 == 3) bytes += "more";
    disk.put_file(path, bytes);
    ASSERT_TRUE(open());
    EXPECT_EQ(body(id), "(gone)") << round;
    EXPECT_EQ(body(small), "a small body\r\n");
    EXPECT_FALSE(store->health().damage.empty());
    EXPECT_TRUE(disk.has(path));
    kill();
  }
  disk.put_file(path, text);
  ASSERT_TRUE(open());
  EXPECT_EQ(body(id), text);
}

}  // namespace
}  // namespace postern::queued
