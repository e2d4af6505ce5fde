// A damaged LMDB file under a whole store: it opens, an index that cannot be believed is named and set
// aside, and every message is delivered from the journal, byte for byte and once; never another one's
// body. POSTERN_DAMAGE says how many damaged files are tried.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "common/base/text.h"
#include "tests/unit/figures.h"
#include "tests/unit/queued/delivering.h"
#include "tests/unit/queued/lmdb_rig.h"
#include "tests/unit/queued/spool_files.h"

namespace postern::queued {
namespace {

constexpr std::size_t kPage = 4096;
constexpr int kMessages = 60;

struct Spool {
  Files files;
  std::string index;
  std::map<base::MessageId, std::string> bodies;  // of what is queued
  std::int64_t wall = 0;
};

void configure(EngineRig& rig) {
  rig.config.retry.expire = base::Millis(1'000'000'000);
  rig.config.retry.notify = base::Millis(0);
}

// Two lives: some of it was delivered, the rest stands in rows.
Spool make_spool() {
  EngineRig rig;
  LmdbRig index(rig);
  configure(rig);
  Spool spool;
  rig.begin();
  for (int n = 0; n < kMessages; ++n) {
    std::string text = "Subject: " + std::to_string(n) + "\r\n\r\n" +
                       std::string(static_cast<std::size_t>(n * 37), static_cast<char>('a' + n % 26)) +
                       "\r\n";
    const auto id = rig.mail("r" + std::to_string(n) + "@far" + std::to_string(n % 5) + ".example", text);
    spool.bodies[id] = std::move(text);
    if (n % 3 != 0) continue;
    (void)rig.look(id);
    rig.store->outcome(rig.outcome(id, n % 2 == 0 ? Fate::kDelivered : Fate::kDeferred), nullptr, {},
                       {});
    if (n % 2 == 0) spool.bodies.erase(id);
    rig.turn();
    if (n == kMessages / 2) {
      rig.end();
      rig.begin();
    }
  }
  rig.store->tick();
  rig.turn();
  rig.end();
  spool.files = take_spool(rig.disk);
  spool.index = index.bytes();
  spool.wall = rig.clock.wall_ms;
  return spool;
}

class Damage {
 public:
  Damage(std::string bytes, std::uint64_t seed) : bytes_(std::move(bytes)), random_(seed) {
    switch (seed % 6) {
      case 0:
        what = "bits flipped";
        for (auto n = draw(20) + 1; n > 0; --n) flip(bytes_, draw(bytes_.size()), random_());
        break;
      case 1:
        what = "tail cut";
        bytes_.resize(draw(bytes_.size()));
        break;
      case 2:
        what = "pages zeroed";
        for (auto n = draw(4) + 1; n > 0; --n) bytes_.replace(page(), kPage, kPage, '\0');
        break;
      case 3:
        what = "meta pages swapped";
        std::swap_ranges(bytes_.begin(), bytes_.begin() + kPage, bytes_.begin() + kPage);
        if (draw(2) == 0) flip(bytes_, draw(2 * kPage), random_());
        break;
      case 4: {
        what = "pages in each other's place";
        const auto from = bytes_.substr(page(), kPage);
        bytes_.replace(page(), kPage, from);
        break;
      }
      default:
        what = "garbage";
        for (auto at = page(), end = at + kPage; at < end; ++at)
          bytes_[at] = static_cast<char>(random_());
        break;
    }
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  std::string what;

 private:
  std::uint64_t draw(std::uint64_t below) { return random_() % below; }
  std::size_t page() { return draw(bytes_.size() / kPage) * kPage; }

  std::string bytes_;
  std::mt19937_64 random_;
};

TEST(IndexDamage, IsNamedAndSetAsideAndEverythingIsDelivered) {
  const auto spool = make_spool();
  ASSERT_GT(spool.index.size(), 8 * kPage);
  ASSERT_GT(spool.bodies.size(), 40U);
  std::uint64_t set_aside = 0;
  for (std::uint64_t seed = 0; seed < wished("POSTERN_DAMAGE", 60); ++seed) {
    const Damage damage(spool.index, seed);
    EngineRig rig;
    LmdbRig index(rig);
    configure(rig);
    put_spool(rig.disk, spool.files);
    index.put(damage.bytes());
    rig.clock.wall_ms = spool.wall;
    rig.life = 1'000;
    rig.begin();
    ASSERT_FALSE(::testing::Test::HasFailure()) << seed << ": " << damage.what;
    const auto found = rig.store->health().damage;
    EXPECT_EQ(index.set_aside() > 0, !found.empty()) << (found.empty() ? "" : found.front());
    for (const auto& sentence : found)
      EXPECT_TRUE(sentence.starts_with("the index is set aside and rebuilt")) << sentence;
    set_aside += index.set_aside() > 0;
    Delivering delivering(rig);
    EXPECT_TRUE(delivering.deliver_all()) << rig.store->count() << " stay";
    EXPECT_EQ(delivering.repeated(), 0U);
    EXPECT_EQ(delivering.bodies().size(), spool.bodies.size());
    EXPECT_TRUE(delivering.bodies() == spool.bodies) << "other bodies";
    EXPECT_TRUE(rig.fatal.empty()) << rig.fatal;
    ASSERT_FALSE(::testing::Test::HasFailure()) << seed << ": " << damage.what;
  }
  EXPECT_GT(set_aside, wished("POSTERN_DAMAGE", 60) / 3);
  note_figures(std::to_string(wished("POSTERN_DAMAGE", 60)) + " damaged LMDB files under a store: " +
               std::to_string(set_aside) +
               " named and set aside, the others not needed or harmless; all mail delivered");
}

}  // namespace
}  // namespace postern::queued
