// The check of the index's file: it accepts whatever LMDB writes, and of damaged copies only those
// that answer right. POSTERN_DAMAGE=N tries N copies.
#include "queued/index_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "queued/index_row.h"
#include "tests/unit/figures.h"
#include "tests/unit/queued/index_rig.h"

namespace postern::queued {
namespace {

constexpr std::size_t kPage = 4096;

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string bytes(std::filesystem::file_size(path), '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}
void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

class IndexCheck : public IndexRig {
 protected:
  IndexCheck() { options_.ahead = 64U << 10; }

  ::testing::AssertionResult accepted() {
    const auto facts = check_index(*disk_, "index", options_.map);
    if (!facts) return ::testing::AssertionFailure() << facts.error().text();
    facts_ = *facts;
    return ::testing::AssertionSuccess();
  }

  // Some commits of everything: new rows, changed ones, removed ones, short and long.
  void churn(std::uint64_t seed, int commits, std::size_t changes_each) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < commits; ++i) {
      std::vector<IndexChange> changes;
      for (std::size_t n = 0; n < changes_each; ++n) {
        const auto size = random() % 25 == 0 ? random() % 9'000 : random() % 400;
        auto at = wanted_.lower_bound(number_key(random() % (next_ + 1)));
        if (random() % 2 == 0 || at == wanted_.end())
          changes.push_back(put(number_key(next_++), noise(size, random())));
        else
          changes.push_back(random() % 3 == 0 ? put(at->first, noise(size, random()))
                                              : drop(at->first));
      }
      commit(changes, "mark " + std::to_string(i));
      for (const auto& change : changes) {
        wanted_.erase(change.key);
        if (change.value) wanted_[change.key] = *change.value;
      }
    }
  }

  std::uint64_t next_ = 1;
  Rows wanted_;
  IndexFacts facts_;
};

TEST_F(IndexCheck, AcceptsAnEmptyIndex) {
  open();
  EXPECT_TRUE(accepted());
  EXPECT_EQ(facts_.rows, 2U);
}

TEST_F(IndexCheck, AcceptsEveryCommit) {
  open();
  for (std::uint64_t round = 0; round < 60; ++round) {
    churn(round, 1, round % 10 == 0 ? 1'000 : 60);
    ASSERT_TRUE(accepted()) << round;
    if (round % 20 == 19) open();
  }
  EXPECT_GT(facts_.free, 0U);
}

// Long lists of free pages are LMDB's only long values here.
TEST_F(IndexCheck, AcceptsABacklogThatComesAndGoes) {
  open();
  for (int times = 0; times < 2; ++times) {
    std::vector<IndexChange> changes;
    for (std::uint64_t i = 0; i < 20'000; ++i) changes.push_back(put(number_key(i), noise(250, i)));
    commit(changes);
    ASSERT_TRUE(accepted());
    for (auto& change : changes) change.value = std::nullopt;
    std::vector<IndexChange> half(changes.begin(), changes.begin() + 10'000);
    commit(half);
    ASSERT_TRUE(accepted());
    commit(changes);
    ASSERT_TRUE(accepted());
    EXPECT_GT(facts_.free, 1'000U);
    for (int i = 0; i < 5; ++i) {
      commit({}, "small");
      ASSERT_TRUE(accepted());
    }
  }
}

TEST_F(IndexCheck, AcceptsWhatACompactionLeaves) {
  options_.compact_above = 0;
  open();
  churn(1, 5, 1'000);
  std::vector<IndexChange> changes;
  for (const auto& [key, value] : wanted_) changes.push_back(drop(key));
  commit(changes);
  open();
  EXPECT_TRUE(accepted());
  EXPECT_EQ(facts_.rows, 2U);
  EXPECT_LT(facts_.pages, 12U);
}

TEST_F(IndexCheck, AcceptsAFileAfterAFullMap) {
  options_.map = 1U << 20;
  open();
  churn(1, 3, 100);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(index_->commit({put(number_key(next_), noise(2'000'000, 1))}, "full"));
    EXPECT_TRUE(accepted());
    churn(2, 1, 20);
    EXPECT_TRUE(accepted());
  }
}

// --- Damage
// -------------------------------------------------------------------------------------------

class IndexDamage : public IndexCheck {
 protected:
  static std::uint64_t copies() { return wished("POSTERN_DAMAGE", 150); }
  void prepare() {
    open();
    // Transaction 42, whose second bit makes it 40: then 41 would look like the newest.
    churn(42, 41, 60);
    index_.reset();
    ASSERT_TRUE(accepted());
    whole_ = read_file(file());
    used_ = static_cast<std::size_t>(facts_.pages) * kPage;
  }
  std::size_t page(std::mt19937_64& random) const { return random() % (used_ / kPage) * kPage; }

  std::string damage(std::mt19937_64& random) const {
    auto bytes = whole_;
    const auto flip = [&](std::size_t at) { bytes[at] ^= static_cast<char>(1U << random() % 8); };
    switch (random() % 9) {
      case 0:  // anywhere
        for (auto left = random() % 4 + 1; left > 0; --left) flip(random() % used_);
        break;
      case 1:  // in a head
        flip(random() % 2 * kPage + random() % 168);
        break;
      case 2:  // in the header of a page, or among its offsets
        flip(page(random) + random() % 40);
        break;
      case 3:  // among its nodes
        flip(page(random) + kPage - 1 - random() % 2'000);
        break;
      case 4:
        bytes.resize(random() % used_);
        break;
      case 5:
        for (auto left = random() % 3 + 1; left > 0; --left)
          bytes.replace(page(random), kPage, kPage, '\0');
        break;
      case 6:  // a sector
        bytes.replace(random() % (used_ / 512) * 512, 512, noise(512, random()));
        break;
      case 7: {  // two pages, the heads often, in each other's place
        const auto a = random() % 3 == 0 ? 0 : page(random), b = a == 0 ? kPage : page(random);
        std::swap_ranges(bytes.begin() + static_cast<std::ptrdiff_t>(a),
                         bytes.begin() + static_cast<std::ptrdiff_t>(a + kPage),
                         bytes.begin() + static_cast<std::ptrdiff_t>(b));
        break;
      }
      default:  // one page over another
        bytes.replace(page(random), kPage, whole_, page(random), kPage);
        break;
    }
    return bytes;
  }

  // Is the file accepted with this bit turned?
  bool accepted_with(std::size_t at, unsigned bit) {
    std::fstream stream(file(), std::ios::binary | std::ios::in | std::ios::out);
    const auto place = static_cast<std::streamoff>(at);
    stream.seekp(place).put(static_cast<char>(whole_[at] ^ (1 << bit))).flush();
    const bool yes = static_cast<bool>(accepted());
    stream.seekp(place).put(whole_[at]).flush();
    return yes;
  }

  // Opens the file and uses it: true if it works, false if it was found to be damaged.
  bool works() {
    auto opened = LmdbIndex::open(*disk_, options_);
    if (!opened) {
      EXPECT_EQ(opened.error().number, EBADMSG) << opened.error().text();
      return false;
    }
    index_ = *std::move(opened);
    EXPECT_EQ(all(), wanted_);
    EXPECT_EQ(*index_->mark(), "mark 40");
    for (const auto& [key, value] : wanted_) EXPECT_EQ(get(key), value);
    std::vector<IndexChange> changes{put(number_key(next_), "new")};
    for (const auto& [key, value] : wanted_) changes.push_back(drop(key));
    commit(changes);
    EXPECT_EQ(all(), (Rows{{number_key(next_), "new"}}));
    index_.reset();
    EXPECT_TRUE(accepted());
    return true;
  }

  std::string whole_;
  std::size_t used_ = 0;
};

TEST_F(IndexDamage, OpensOnlyWhatAnswersRight) {
  prepare();
  std::uint64_t worked = 0;
  for (std::uint64_t seed = 0; seed < copies(); ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const auto bytes = damage(random);
    write_file(file(), bytes);
    write_file(file() + "-lock", noise(random() % 20'000, seed));
    worked += works() ? 1 : 0;
    if (HasFailure()) return;
  }
  // Bits that nobody looks at: in free pages, in gaps, beyond the end.
  EXPECT_GT(worked, 0U);
  EXPECT_LT(worked, copies() / 2);
  RecordProperty("worked", static_cast<int>(worked));
}

TEST_F(IndexDamage, EveryBitOfTheHeadsIsLookedAt) {
  prepare();
  // Fields that nothing depends on: padding, what other pages have there, address and size of the
  // map.
  const auto free = [](std::size_t at) {
    return at == 8 || at == 9 || (at >= 12 && at < 16) || (at >= 24 && at < 40);
  };
  for (std::size_t head = 0; head < 2; ++head) {
    const auto transaction = whole_[head * kPage + 16 + 128];
    const bool newest = transaction > whole_[(1 - head) * kPage + 16 + 128];
    for (std::size_t at = 0; at < 16 + 136; ++at) {
      // Of the older head only what tells which one is the newer.
      if (free(at) || (!newest && at >= 40 && at < 144)) continue;
      for (unsigned bit = 0; bit < 8; ++bit) {
        EXPECT_FALSE(accepted_with(head * kPage + at, bit)) << head << " " << at << " " << bit;
      }
    }
  }
}

TEST_F(IndexDamage, EveryBitOfAPagesHeaderIsLookedAt) {
  prepare();
  int looked_at = 0;
  for (auto page = 2 * kPage; page < used_ && looked_at < 6; page += kPage) {
    constexpr std::size_t kKind = 10;
    if (accepted_with(page + kKind, 3)) continue;  // it is free
    ++looked_at;
    for (std::size_t at = 0; at < 16; ++at)
      for (unsigned bit = 0; bit < 8 && at != 8 && at != 9; ++bit)
        EXPECT_FALSE(accepted_with(page + at, bit)) << page << " " << at << " " << bit;
  }
  EXPECT_EQ(looked_at, 6);
}

TEST_F(IndexDamage, SaysWhatIsWrongAndWhere) {
  prepare();
  const auto said = [&] {
    const auto facts = check_index(*disk_, "index", options_.map);
    return facts ? std::string("nothing") : facts.error().text();
  };
  EXPECT_EQ(said(), "nothing");
  auto bytes = whole_;
  const auto key = wanted_.begin()->first;
  const auto at = bytes.rfind(wanted_.rbegin()->second);
  ASSERT_NE(at, std::string::npos);
  bytes[at] ^= 1;
  write_file(file(), bytes);
  EXPECT_NE(said().find("the checksum of row messages/000000"), std::string::npos) << said();
  write_file(file(), whole_.substr(0, 3 * kPage));
  EXPECT_NE(said().find("the file ends before it"), std::string::npos) << said();
  write_file(file(), "");
  EXPECT_NE(said().find("page 0"), std::string::npos) << said();
}

}  // namespace
}  // namespace postern::queued
