// Blocks beside a list of all that was ever said, which is asked the slow way: whatever is frozen,
// excepted and let go, in whatever order, both say the same of every queue, now and of the time
// before. POSTERN_BLOCKS_STEPS sets how long.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>

#include "queued/blocks.h"
#include "tests/unit/figures.h"

namespace postern::queued {
namespace {

const Destination kByMx{.via = {config::HopSpec{}}};

// What stands for a name at one time.
struct Said {
  bool frozen = false;  // or an exception
  bool keep_clock = false;
  base::WallTime until;
};

struct Model {
  std::map<std::string, Said> said;
  std::map<std::string, std::int64_t> stood;  // of each queue

  // Longest first, an exact name before all: by hand, without the code's own idea of what fits.
  [[nodiscard]] const Said* deciding(const std::string& queue) const {
    if (const auto exact = said.find(queue); exact != said.end()) return &exact->second;
    const Said* best = nullptr;
    std::size_t length = 0;
    for (const auto& [name, one] : said) {
      const bool fits =
          name == "*" || (name.starts_with("*.") && queue.size() >= name.size() &&
                          queue.substr(queue.size() - name.size() + 1) == name.substr(1));
      if (!fits || name.size() <= length) continue;
      best = &one;
      length = name.size();
    }
    return best;
  }
  [[nodiscard]] bool frozen(const std::string& queue) const {
    const Said* one = deciding(queue);
    return one != nullptr && one->frozen;
  }
  [[nodiscard]] bool excepted(const std::string& name) const {
    const auto at = said.find(name);
    return at != said.end() && !at->second.frozen;
  }
  // An exception of which no freeze is left.
  void tidy() {
    std::erase_if(said, [this](const auto& entry) {
      if (entry.second.frozen) return false;
      Model others;
      for (const auto& [name, one] : said)
        if (one.frozen) others.said[name] = one;
      return !others.frozen(entry.first);
    });
  }
};

class BlocksModel : public ::testing::Test {
 protected:
  std::size_t dice(std::size_t sides) { return random() % sides; }

  void freeze() {
    const auto& name = names.at(dice(names.size()));
    const Said said{true, dice(3) == 0,
                    dice(3) == 0 ? base::WallTime{wall.ms + 1 + static_cast<int>(dice(300))}
                                 : base::WallTime{}};
    ASSERT_TRUE(blocks.freeze(
        {.queue = name, .from = now, .until = said.until, .keep_clock = said.keep_clock}));
    model.said[name] = said;
  }
  void unfreeze() {
    const auto& name = names.at(dice(names.size()));
    const bool pattern = is_pattern(name);
    const bool was_frozen = model.said.contains(name) && model.said[name].frozen;
    if (was_frozen) model.said.erase(name);
    model.tidy();
    const bool still = !model.excepted(name) && model.frozen(name);
    const bool excepts = still && !pattern;
    const bool good = was_frozen || excepts;
    if (excepts) model.said[name] = {};
    EXPECT_EQ(blocks.unfreeze(name, false, "anna", wall, now).has_value(), good) << name;
  }
  void pass() {
    const auto time = static_cast<int>(dice(100));
    for (const auto& queue : queues)
      if (const Said* one = model.deciding(queue);
          one != nullptr && one->frozen && !one->keep_clock)
        model.stood[queue] += time;
    now += base::Millis(time);
    wall.ms += static_cast<std::int64_t>(dice(200)) - 20;  // it jumps
    std::erase_if(model.said, [this](const auto& entry) {
      return entry.second.until.ms != 0 && entry.second.until <= wall;
    });
    model.tidy();
    const bool due = blocks.any_due(wall);
    EXPECT_EQ(blocks.end_due(wall, now).empty(), !due);
  }
  void compare() {
    for (const auto& queue : queues) {
      ASSERT_EQ(blocks.frozen(queue) != nullptr, model.frozen(queue)) << queue;
      ASSERT_EQ(covered(blocks.standstills(queue, kByMx, now), QueueTime(0), now).count(),
                model.stood[queue])
          << queue;
    }
  }

  const std::vector<std::string> queues{"example.org", "a.example.org", "b.example.org",
                                        "x.a.example.org", "example.net"};
  const std::vector<std::string> names{"*",
                                       "*.example.org",
                                       "*.a.example.org",
                                       "example.org",
                                       "a.example.org",
                                       "b.example.org",
                                       "x.a.example.org",
                                       "example.net"};
  std::mt19937 random{7};
  Blocks blocks;
  Model model;
  QueueTime now{0};
  base::WallTime wall{1'000'000};
};

TEST_F(BlocksModel, BothSayTheSame) {
  const auto steps = wished("POSTERN_BLOCKS_STEPS", 3'000);
  for (std::uint64_t step = 0; step < steps && !HasFatalFailure(); ++step) {
    switch (dice(4)) {
      case 0:
        freeze();
        break;
      case 1:
        unfreeze();
        break;
      default:
        pass();
        break;
    }
    compare();
    if (dice(20) != 0) continue;
    auto read = Blocks::from_text(blocks.to_text());
    ASSERT_TRUE(read) << read.error();
    blocks = *std::move(read);
  }
}

}  // namespace
}  // namespace postern::queued
