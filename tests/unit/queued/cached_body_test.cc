// Bodies that are not in memory, but in the page cache: they are read on the loop. Whatever is not as it should be is
// left to the reader thread.
#include <gtest/gtest.h>

#include "tests/unit/queued/store_rig.h"

namespace postern::queued {
namespace {

class CachedBodyTest : public ::testing::Test, protected StoreRig {
 protected:
  CachedBodyTest() {
    cache = 0;
    most_residents = 100;
    disk.in_cache = true;
  }
  // What load() has said: "(waits)" until it says something, "(gone)" for an error.
  std::shared_ptr<std::string> load(base::MessageId id) {
    auto said = std::make_shared<std::string>("(waits)");
    store->load(id, [this, id, said](os::Result<LoadedBody> body) noexcept {
      *said = body ? store->find(id)->prefix + *body->bytes : "(gone)";
    });
    return said;
  }
  void damage(std::string_view text) {
    for (const auto& name : disk.files("journal")) {
      auto& bytes = disk.content(name);
      if (const auto at = bytes.find(text); at != std::string::npos) bytes[at] = '?';
    }
  }
  const std::string whole = "Received: by test\r\ncold\r\n";
};

TEST_F(CachedBodyTest, WhatThePageCacheHasIsReadAtOnce) {
  ASSERT_TRUE(open());
  const auto id = accept("cold\r\n");
  EXPECT_EQ(look(id)->body, nullptr);
  EXPECT_EQ(*load(id), whole);
}

TEST_F(CachedBodyTest, WhatWouldWaitForTheDiskIsReadByTheThread) {
  ASSERT_TRUE(open());
  const auto id = accept("cold\r\n");
  disk.in_cache = false;
  const auto said = load(id);
  EXPECT_EQ(*said, "(waits)");
  store->pump_reads();
  EXPECT_EQ(*said, whole);
  EXPECT_TRUE(store->health().damage.empty());
}

TEST_F(CachedBodyTest, WhatLeftMemoryComesWithItsPrefix) {
  most_residents = 0;
  ASSERT_TRUE(open());
  const auto id = accept("cold\r\n");
  store->tick();
  store->pump();
  ASSERT_EQ(store->find(id), nullptr);
  const auto said = load(id);
  EXPECT_EQ(*said, "(waits)") << "for its row";
  store->pump_reads();
  EXPECT_EQ(*said, whole);
}

TEST_F(CachedBodyTest, ALongOneIsReadByTheThread) {
  segment_size = 1 << 20;
  ASSERT_TRUE(open());
  const std::string body(64 * 1024, 'x');
  const auto id = accept(body);
  const auto said = load(id);
  EXPECT_EQ(*said, "(waits)");
  store->pump_reads();
  EXPECT_EQ(*said, "Received: by test\r\n" + body);
}

TEST_F(CachedBodyTest, ADamagedOneIsReportedOnce) {
  ASSERT_TRUE(open());
  const auto id = accept("a body that will be damaged\r\n");
  damage("will be damaged");
  const auto said = load(id);
  EXPECT_EQ(*said, "(waits)");
  EXPECT_TRUE(store->health().damage.empty());
  store->pump_reads();
  EXPECT_EQ(*said, "(gone)");
  ASSERT_EQ(store->health().damage.size(), 1U);
  EXPECT_NE(store->health().damage[0].find("checksum of a journal record"), std::string::npos);
}

TEST_F(CachedBodyTest, OneThatTheDiskRefusesIsReported) {
  ASSERT_TRUE(open());
  const auto id = accept("cold\r\n");
  kill();  // a segment that is made in this life is open under another name than it has
  ASSERT_TRUE(open());
  for (const auto& name : disk.files("journal"))
    for (std::uint64_t block = 0; block < segment_size / 4096; ++block) disk.bad_blocks.emplace(name, block);
  const auto said = load(id);
  EXPECT_EQ(*said, "(waits)");
  store->pump_reads();
  EXPECT_EQ(*said, "(gone)");
  EXPECT_EQ(store->health().damage.size(), 1U);
}

TEST_F(CachedBodyTest, WhatFailsOnTheLoopMaySucceedInTheThread) {
  ASSERT_TRUE(open());
  const auto id = accept("cold\r\n");
  disk.fail_call = disk.calls;
  const auto said = load(id);
  EXPECT_EQ(*said, "(waits)");
  store->pump_reads();
  EXPECT_EQ(*said, whole);
  EXPECT_TRUE(store->health().damage.empty());
}

// The bytes are whole, but no message of this size: what a row says of it is wrong.
TEST_F(CachedBodyTest, OneOfAnotherSizeIsReported) {
  most_residents = 0;
  ASSERT_TRUE(open());
  const auto id = accept("cold\r\n");
  store->tick();
  store->pump();
  ASSERT_EQ(store->find(id), nullptr);
  auto row = decode_row(id, index_rows->rows.at({Table::kMessages, message_key(id)}));
  ASSERT_TRUE(row.has_value());
  ++row->body_size;
  index_rows->rows.at({Table::kMessages, message_key(id)}) = encode_row(*row);
  const auto said = load(id);
  store->pump_reads();
  EXPECT_EQ(*said, "(gone)");
  EXPECT_EQ(store->health().damage.size(), 1U);
}

}  // namespace
}  // namespace postern::queued
