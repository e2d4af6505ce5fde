// The backlog beside a std::map that does the same slowly.
#include "queued/backlog.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace postern::queued {
namespace {

using Key = Backlog::Key;
using Entry = Backlog::Entry;

constexpr Key kEnd{~0U, base::MessageId(~0ULL), ~0U};

class BacklogTest : public ::testing::Test {
 protected:
  Key random_key() {
    return {static_cast<std::uint32_t>(random() % 5), base::MessageId(1 + random() % 2000),
            static_cast<std::uint32_t>(random() % 3)};
  }
  void put(const Key& key) {
    const Entry entry{key, static_cast<Stage>(random() % 4), random() % 1000, 7};
    if (model.contains(key))
      backlog.update(entry);
    else
      backlog.insert(entry);
    model[key] = entry;
  }
  void erase(const Key& key) {
    backlog.erase(key);
    model.erase(key);
  }
  static void same(const std::optional<Entry>& found, const Entry* expected) {
    ASSERT_EQ(found.has_value(), expected != nullptr);
    if (expected == nullptr) return;
    EXPECT_EQ(found->key, expected->key);
    EXPECT_EQ(found->stage, expected->stage);
    EXPECT_EQ(found->rank, expected->rank);
    EXPECT_EQ(found->size, expected->size);
  }
  void compare(const Key& a, const Key& b) {
    const auto& [from, to] = std::minmax(a, b);
    const auto at = model.lower_bound(from);
    same(backlog.at_or_after(from), at == model.end() ? nullptr : &at->second);
    same(backlog.before(from), at == model.begin() ? nullptr : &std::prev(at)->second);
    const auto known = model.find(from);
    same(backlog.find(from), known == model.end() ? nullptr : &known->second);
    for (const auto stage : {Stage::kReady, Stage::kWaiting, Stage::kHeld}) {
      const Entry* first = nullptr;
      const Entry* least = nullptr;
      for (auto it = at; it != model.end() && it->first < to; ++it) {
        const Entry& entry = it->second;
        if (entry.stage != stage) continue;
        if (first == nullptr && entry.rank <= 100) first = &entry;
        if (least == nullptr || entry.rank < least->rank) least = &entry;
      }
      same(backlog.first(stage, from, to, 100), first);
      same(backlog.least(stage, from, to), least);
    }
    EXPECT_EQ(backlog.size(), model.size());
    const auto least = backlog.least(Stage::kHeld, {}, kEnd);
    EXPECT_EQ(backlog.least_rank(Stage::kHeld), least ? std::optional(least->rank) : std::nullopt);
  }
  std::mt19937_64 random{4};
  Backlog backlog;
  std::map<Key, Entry> model;
};

TEST_F(BacklogTest, DoesWhatAMapDoes) {
  // It grows to some 20,000 entries, shrinks to none, grows again.
  for (int step = 0; step < 60'000; ++step) {
    const auto key = random_key();
    const bool grow = step / 20'000 != 1;
    if (random() % 10 < (grow ? 8 : 3)) {
      put(key);
    } else if (const auto at = model.lower_bound(key); at != model.end()) {
      erase(Key(at->first));
    }
    if (step % 16 == 0) compare(key, random_key());
    if (HasFatalFailure()) return;
  }
  compare({}, kEnd);
  while (!model.empty()) erase(Key(model.begin()->first));
  compare({}, kEnd);
}

TEST_F(BacklogTest, TakesKeysInTheirOrder) {
  for (std::uint64_t m = 1; m <= 10'000; ++m) put({1, base::MessageId(m), 0});
  compare({}, kEnd);
  for (std::uint64_t m = 1; m <= 10'000; ++m) {
    erase({1, base::MessageId(m), 0});
    if (m % 100 == 0) compare({}, kEnd);
  }
  for (std::uint64_t m = 10'000; m > 0; --m) put({1, base::MessageId(m), 0});
  compare({}, kEnd);
}

}  // namespace
}  // namespace postern::queued
