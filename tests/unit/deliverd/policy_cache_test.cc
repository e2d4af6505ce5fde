// What is remembered of policies, for how long, and over a restart.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "common/base/crc32c.h"
#include "deliverd/fetch/cache.h"
#include "deliverd/fetch/vault.h"

namespace postern::fetch {
namespace {

constexpr base::WallTime kNow{1'700'000'000'000};
constexpr base::Millis kAnHour{3'600'000};
constexpr base::Millis kDay = 24 * kAnHour;

Held held(std::string id, base::Millis age = 7 * kDay, StsMode mode = StsMode::kEnforce) {
  return {std::move(id), {mode, age, {"mx.example.org", "*.example.net"}}, kNow, kNow};
}

TEST(PolicyCache, HoldsAPolicyForItsTime) {
  Cache cache;
  EXPECT_EQ(cache.find("a.example", kNow), nullptr);
  cache.put("a.example", held("1"));
  ASSERT_NE(cache.find("a.example", kNow), nullptr);
  EXPECT_EQ(cache.find("a.example", kNow)->policy.hosts.size(), 2U);
  EXPECT_NE(cache.find("a.example", kNow + 7 * kDay - base::Millis(1)), nullptr);
  EXPECT_EQ(cache.find("a.example", kNow + 7 * kDay), nullptr);
  cache.put("a.example", held("2"));
  EXPECT_EQ(cache.find("a.example", kNow)->id, "2");
  EXPECT_EQ(cache.size(), 1U);
  cache.put("b.example", held("1", base::Millis(0)));
  EXPECT_NE(cache.find("b.example", kNow + Cache::kLeastAge - base::Millis(1)), nullptr) << "or it were fetched all the time";
  EXPECT_EQ(cache.find("b.example", kNow + Cache::kLeastAge), nullptr);
  cache.drop_expired(kNow + kDay);
  EXPECT_EQ(cache.size(), 1U);
}

TEST(PolicyCache, IsTheSameBehindARestart) {
  Cache cache;
  cache.put("a.example", held("1"));
  cache.put("b.example", held("2", kDay, StsMode::kTesting));
  cache.put("c.example", held("3", kAnHour));
  const auto back = Cache::decode(cache.encode(), Vault::kVersion, kNow + 2 * kAnHour);
  EXPECT_EQ(back.size(), 2U) << "one's time is over";
  ASSERT_NE(back.find("a.example", kNow), nullptr);
  EXPECT_EQ(back.find("a.example", kNow)->policy, held("1").policy);
  EXPECT_EQ(back.find("a.example", kNow)->id, "1");
  EXPECT_EQ(back.find("b.example", kNow)->policy.mode, StsMode::kTesting);
  EXPECT_EQ(back.find("a.example", kNow + 7 * kDay), nullptr) << "its time does not begin anew";
}

TEST(PolicyCache, WhatADamagedFileSaysIsNotBelieved) {
  Cache cache;
  cache.put("a.example", held("1"));
  const auto bytes = cache.encode();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_LE(Cache::decode(bytes.substr(0, i), Vault::kVersion, kNow).size(), 0U) << i;
    auto damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x80);
    EXPECT_LE(Cache::decode(damaged, Vault::kVersion, kNow).size(), 1U) << i;
  }
}

TEST(PolicyCache, AClockThatWasAheadGivesNoPolicyMoreTime) {
  Cache cache;
  cache.put("a.example", held("1", kDay));
  const auto before = kNow - 365 * kDay;
  const auto back = Cache::decode(cache.encode(), Vault::kVersion, before);
  EXPECT_NE(back.find("a.example", before + kDay - base::Millis(1)), nullptr);
  EXPECT_EQ(back.find("a.example", before + kDay), nullptr);
}

// RFC 8461 3.3: before its time is over, at least once a day.
TEST(PolicyCache, SaysWhatIsToBeFetchedAgain) {
  Cache cache;
  cache.put("week.example", held("1"));
  cache.put("hour.example", held("1", kAnHour));
  cache.put("none.example", held("1", kAnHour, StsMode::kNone));
  EXPECT_TRUE(cache.due(kNow + kAnHour / 2 - base::Millis(1), 10).empty());
  EXPECT_EQ(cache.due(kNow + kAnHour / 2, 10), std::vector<std::string>{"hour.example"});
  EXPECT_TRUE(cache.due(kNow + kAnHour / 2, 10).empty()) << "it is under way";
  EXPECT_EQ(cache.due(kNow + kAnHour, 10), std::vector<std::string>{"hour.example"}) << "it failed";
  EXPECT_EQ(cache.due(kNow + kDay - base::Millis(1), 10).size(), 1U);
  cache.drop_expired(kNow + kDay);
  EXPECT_EQ(cache.due(kNow + kDay, 10), std::vector<std::string>{"week.example"});
  EXPECT_TRUE(cache.due(kNow + kDay + Cache::kAgain - base::Millis(1), 10).empty());
  EXPECT_EQ(cache.due(kNow + kDay + Cache::kAgain, 10).size(), 1U);
  EXPECT_TRUE(cache.due(kNow + 3 * kDay, 0).empty());
}

TEST(PolicyCache, WhatNoMailNeedsIsNotFetchedAgain) {
  Cache cache;
  cache.put("a.example", held("1", 90 * kDay));
  EXPECT_TRUE(cache.due(kNow + Cache::kKeepAlive, 10).empty());
  cache.note_use("a.example", kNow + 2 * kDay);
  EXPECT_EQ(cache.due(kNow + Cache::kKeepAlive, 10).size(), 1U);
}

TEST(PolicyCache, KnowsWhenItIsToBeWritten) {
  Cache cache;
  EXPECT_FALSE(cache.take_changed());
  cache.put("a.example", held("1"));
  EXPECT_TRUE(cache.take_changed());
  EXPECT_FALSE(cache.take_changed());
  cache.note_use("a.example", kNow + kAnHour);
  EXPECT_FALSE(cache.take_changed()) << "not for each message";
  cache.note_use("a.example", kNow + kDay);
  EXPECT_TRUE(cache.take_changed());
  cache.drop_expired(kNow + kDay);
  EXPECT_FALSE(cache.take_changed());
  cache.drop_expired(kNow + 8 * kDay);
  EXPECT_TRUE(cache.take_changed());
}

TEST(PolicyCache, HasRoomForSoManyBytes) {
  Cache cache;
  auto large = held("1");
  for (std::size_t i = 0; i < kMaxStsHosts - 2; ++i)
    large.policy.hosts.push_back(std::to_string(i) + std::string(50, 'x') + ".example");
  const std::size_t most = Cache::kMaxBytes / ipc::encode(large).size();
  for (std::size_t i = 0; i < most + 10; ++i) {
    large.used = kNow + base::Millis(static_cast<std::int64_t>(i));
    cache.put(std::to_string(i) + ".example", large);
  }
  EXPECT_LE(cache.encode().size(), Cache::kMaxBytes);
  EXPECT_GT(cache.size(), most / 2);
  EXPECT_EQ(cache.find("0.example", kNow), nullptr) << "mail went by it least lately";
  EXPECT_NE(cache.find(std::to_string(most + 9) + ".example", kNow), nullptr);
  static_assert(Cache::kMaxBytes <= Vault::kMost);
}

// --- Vault ----------------------------------------------------------------------------------------------

// A file in memory, whose writes may be cut off.
class MemoryFile final : public os::File {
 public:
  explicit MemoryFile(std::string& bytes, std::size_t& left) : bytes_(bytes), left_(left) {}
  os::Result<void> write_at(std::uint64_t offset, std::string_view bytes) override {
    const auto size = std::min(bytes.size(), left_);
    left_ -= size;
    bytes_.resize(std::max<std::size_t>(bytes_.size(), offset + size));
    bytes_.replace(offset, size, bytes, 0, size);
    if (size < bytes.size()) return os::failure("write", EIO);
    return {};
  }
  os::Result<std::string> read_at(std::uint64_t offset, std::size_t size) override {
    return offset < bytes_.size() ? bytes_.substr(offset, size) : std::string();
  }
  os::Result<void> flush_data() override { return {}; }
  os::Result<void> flush() override { return {}; }
  os::Result<std::uint64_t> size() override { return bytes_.size(); }
  os::Result<void> set_modified(base::WallTime) override { return {}; }
  os::Result<base::UniqueFd> duplicate() override { return os::failure("duplicate", EBADF); }
  os::Result<void> set_lease_read() override { return {}; }

 private:
  std::string& bytes_;
  std::size_t& left_;
};

struct Kept {
  std::string bytes;
  std::size_t left = ~std::size_t{0};  // that can still be written
  [[nodiscard]] Vault open() { return Vault(std::make_unique<MemoryFile>(bytes, left)); }
  [[nodiscard]] std::string read() {
    const auto content = open().read();
    return content ? content->bytes : "error: " + content.error().text();
  }
};

TEST(Vault, HoldsWhatWasWrittenLast) {
  Kept kept;
  EXPECT_EQ(kept.read(), "");
  for (const auto* text : {"one", "the second", "3", "", "five"}) {
    auto vault = kept.open();
    ASSERT_TRUE(vault.read());
    ASSERT_TRUE(vault.write(text));
    EXPECT_EQ(kept.read(), text);
  }
  auto vault = kept.open();
  ASSERT_TRUE(vault.read());
  ASSERT_TRUE(vault.write("six"));
  ASSERT_TRUE(vault.write("seven"));
  EXPECT_EQ(kept.read(), "seven");
}

TEST(Vault, HoldsTheOldOrTheNewWhereverAWriteIsCutOff) {
  Kept before;
  {
    auto vault = before.open();
    ASSERT_TRUE(vault.read());
    ASSERT_TRUE(vault.write("much older and longer than the others"));
    ASSERT_TRUE(vault.write("old"));
  }
  const std::size_t whole = Vault::kHead + 3;
  for (std::size_t cut = 0; cut <= whole; ++cut) {
    Kept kept = before;
    auto vault = kept.open();
    ASSERT_TRUE(vault.read());
    kept.left = cut;
    EXPECT_EQ(vault.write("new").has_value(), cut == whole);
    EXPECT_EQ(kept.read(), cut == whole ? "new" : "old") << cut;
    kept.left = ~std::size_t{0};
    ASSERT_TRUE(vault.write("next"));
    EXPECT_EQ(kept.read(), "next") << cut;
  }
}

TEST(Vault, BelievesNoDamagedHalf) {
  Kept good;
  {
    auto vault = good.open();
    ASSERT_TRUE(vault.read());
    ASSERT_TRUE(vault.write("first"));
    ASSERT_TRUE(vault.write("second"));
  }
  const auto second = good.bytes.find("second") - Vault::kHead;
  for (std::size_t i = 0; i < Vault::kHead + 6; ++i) {
    Kept kept = good;
    kept.bytes[second + i] = static_cast<char>(kept.bytes[second + i] ^ 1);
    EXPECT_EQ(kept.read(), "first") << i;
  }
}

TEST(Vault, ReadsNothingOfALaterVersion) {
  Kept kept;
  std::string half = "postern policies";
  base::Writer writer(half);
  writer.integer(Vault::kVersion + 1);
  writer.integer(std::uint64_t{9});
  writer.integer(std::uint32_t{4});
  writer.integer(base::crc32c("text", base::crc32c(half)));
  kept.bytes = half + "text";
  EXPECT_TRUE(kept.read().starts_with("error: read the policies, which a later version of Postern wrote"));
}

}  // namespace
}  // namespace postern::fetch
