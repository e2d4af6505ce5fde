// The store after damage of every kind: it opens at once, names what it finds and sets it aside;
// every message that the damage did not touch is there, byte for byte and once; nothing that ended
// comes back, unless the damage took the record of its end. POSTERN_DAMAGE says how many damaged
// spools are tried.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "common/base/text.h"
#include "tests/unit/figures.h"
#include "tests/unit/queued/spool_files.h"

namespace postern::queued {
namespace {

// What a spool holds, by what was done to it.
struct Truth {
  std::map<base::MessageId, std::string> bodies;  // of all messages that ever were
  std::set<base::MessageId> live;
  std::set<base::MessageId> large;
};

// Where the records stand, by reading a whole spool.
struct Record {
  std::string file;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t sequence = 0;
  base::MessageId message;  // the one that it is about; 0: none
  bool whole = false;       // all of the message is in it
  std::uint64_t segment = 0;
};

std::vector<Record> map_records(const Files& files) {
  std::vector<Record> records;
  for (const auto& [name, bytes] : files) {
    const auto header = decode_header(std::string_view(bytes).substr(0, kBlock));
    if (!header) continue;
    (void)replay_segment(bytes, *header, {}, [&](const Frame& frame, const Place& place) {
      Record record{name,  place.offset, place.offset + place.size, frame.name.sequence.value, {},
                    false, place.segment};
      if (frame.type == RecordType::kAccepted || frame.type == RecordType::kState) {
        record.message = ipc::decode<MessageRecord>(frame.fields)->id;
        record.whole = true;
      }
      if (frame.type == RecordType::kOutcome) {
        const auto outcome = ipc::decode<OutcomeRecord>(frame.fields);
        record.message = outcome->message;
        if (outcome->notice) {
          auto notice = record;
          notice.message = outcome->notice->id;
          notice.whole = true;
          records.push_back(notice);
        }
      }
      records.push_back(record);
      return true;
    });
  }
  std::sort(records.begin(), records.end(),
            [](const Record& a, const Record& b) { return a.sequence < b.sequence; });
  return records;
}

// One damaged spool, and which records are not what they were.
struct Damage {
  Files files;
  std::string what;
  std::mt19937_64 random;

  explicit Damage(Files whole, std::uint64_t seed) : files(std::move(whole)), random(seed) {}

  std::string& any_segment(std::string* name = nullptr) {
    std::vector<std::string> names;
    for (const auto& [path, bytes] : files)
      if (path.starts_with("journal/")) names.push_back(path);
    const auto& chosen = names[random() % names.size()];
    what += " " + chosen;
    if (name != nullptr) *name = chosen;
    return files[chosen];
  }
  void flip_bits() {
    auto& bytes = any_segment();
    for (auto n = random() % 20 + 1; n > 0; --n) flip(bytes, random() % bytes.size(), random());
  }
  void cut_tail() { any_segment().resize(random() % 32768); }
  void overwrite(std::size_t size, bool zeros) {
    auto& bytes = any_segment();
    for (auto n = random() % 3 + 1; n > 0; --n) {
      const auto at = random() % (bytes.size() / size) * size;
      for (std::size_t i = 0; i < size; ++i)
        bytes[at + i] = zeros ? '\0' : static_cast<char>(random());
    }
  }
  void duplicate_page() {
    auto& from = any_segment();
    auto& to = any_segment();
    to.replace(random() % (to.size() / kBlock) * kBlock, kBlock,
               from.substr(random() % (from.size() / kBlock) * kBlock, kBlock));
  }
  void swap_contents() { std::swap(any_segment(), any_segment()); }
  void rename_segment() {
    std::string name;
    auto bytes = std::move(any_segment(&name));
    files.erase(name);
    files["journal/" + std::to_string(random() % 1000) + "-renamed"] = std::move(bytes);
  }
  void remove_segment() {
    std::string name;
    (void)any_segment(&name);
    files.erase(name);
  }
  void add_old_copy(const Files& earlier) {
    auto at = earlier.begin();
    std::advance(at, random() % earlier.size());
    if (!at->first.starts_with("journal/")) at = earlier.find("journal/000001");
    if (at != earlier.end())
      files["journal/" + std::string(random() % 2 == 0 ? "000000" : "zzzz") + ".bak"] = at->second;
  }
  void add_garbage() {
    std::string bytes(random() % 40'000, '\0');
    for (auto& c : bytes) c = static_cast<char>(random());
    files["journal/" + std::to_string(random() % 100'000)] = bytes;
  }

  void strike(std::uint64_t kind, const Files& earlier) {
    switch (kind % 12) {
      case 0:
        what += "flip";
        return flip_bits();
      case 1:
        what += "cut";
        return cut_tail();
      case 2:
        what += "zero page";
        return overwrite(4096, true);
      case 3:
        what += "zero sector";
        return overwrite(512, true);
      case 4:
        what += "duplicate page";
        return duplicate_page();
      case 5:
        what += "swap";
        return swap_contents();
      case 6:
        what += "rename";
        return rename_segment();
      case 7:
        what += "remove";
        return remove_segment();
      case 8:
        what += "old copy";
        return add_old_copy(earlier);
      case 9:
        what += "garbage";
        return add_garbage();
      case 10:
        what += "noise";
        return overwrite(4096, false);
      default:
        what += "flip and page";
        flip_bits();
        return overwrite(4096, true);
    }
  }
};

class DamageTest : public ::testing::Test, protected StoreRig {
 protected:
  // Three lives: mail that is long gone, mail that stays, large bodies.
  void fill() {
    segment_size = 32 * 1024;
    cache = 0;
    std::mt19937_64 random(7);
    for (int round = 0; round < 3; ++round) {
      ASSERT_TRUE(open()) << fatal;
      std::vector<base::MessageId> here;
      for (int n = 0; n < 40; ++n) {
        here.push_back(n % 15 == 4 ? accept_large(n) : accept_small(random));
        if (n % 3 != 0) finish(here, random() % here.size());
        if (n % 10 == 9) store->tick();
      }
      store->pump();
      kill();
      if (round == 1) earlier = take_spool(disk);
    }
    whole = take_spool(disk);
    records = map_records(whole);
    for (const auto& [name, bytes] : whole)
      if (const auto header = decode_header(std::string_view(bytes).substr(0, kBlock));
          header && header->number > newest.number)
        newest = *header;
    ASSERT_GT(truth.live.size(), 30U);
    ASSERT_GT(whole.size(), 8U);
  }
  base::MessageId accept_small(std::mt19937_64& random) {
    std::string text = "body " + std::to_string(truth.bodies.size()) + " ";
    text.append(200 + random() % 2500, static_cast<char>('a' + random() % 26));
    const auto id = accept(text);
    truth.bodies[id] = text;
    truth.live.insert(id);
    return id;
  }
  base::MessageId accept_large(int n) {
    const std::string text = "large " + std::to_string(n) + std::string(5000, 'L');
    const auto id = accept_large_body(text);
    truth.bodies[id] = text;
    truth.live.insert(id);
    truth.large.insert(id);
    return id;
  }
  void finish(std::vector<base::MessageId>& here, std::size_t which) {
    conclude(here[which], Fate::kDelivered);
    truth.live.erase(here[which]);
    here.erase(here.begin() + static_cast<std::ptrdiff_t>(which));
  }

  // Which records of the whole spool are nowhere in the damaged one.
  std::vector<Record> lost(const Files& files) const {
    std::vector<Record> found;
    std::set<std::string> seen;
    for (const auto& record : records) {
      const auto bytes =
          std::string_view(whole.at(record.file)).substr(record.begin, record.end - record.begin);
      bool there = false;
      for (const auto& [name, content] : files)
        there |=
            content.size() >= record.end && content.compare(record.begin, bytes.size(), bytes) == 0;
      if (!there) found.push_back(record);
    }
    return found;
  }

  // Opens what damage left, and compares.
  void expect_the_rest(const Damage& damage) {
    const auto gone = lost(damage.files);
    std::set<base::MessageId> touched, outcome_touched;
    for (const auto& record : gone)
      if (record.message.value != 0)
        (record.whole ? touched : outcome_touched).insert(record.message);
    // The last copy of a message is what counts; an earlier one only where that is gone.
    put_spool(disk, damage.files);
    const auto begun = std::chrono::steady_clock::now();
    ASSERT_TRUE(open()) << fatal;
    const auto there = survey();
    EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
    for (const auto id : truth.live) {
      if (touched.contains(id)) continue;
      const auto at = there.find(id);
      ASSERT_TRUE(at != there.end()) << "untouched, and lost: " << base::to_string(id);
      EXPECT_EQ(at->second, truth.bodies[id]);
    }
    for (const auto& [id, text] : there) {
      ASSERT_TRUE(truth.bodies.contains(id)) << "never sent";
      if (text != "(gone)") {
        EXPECT_EQ(text, truth.bodies[id]);
      } else {
        // Or it had ended, its file with it, and what said so is lost.
        EXPECT_TRUE(touched.contains(id) ||
                    (truth.large.contains(id) && outcome_touched.contains(id)));
      }
      if (!truth.live.contains(id)) {
        EXPECT_TRUE(outcome_touched.contains(id))
            << "ended, and there again: " << base::to_string(id);
      }
    }
    // A loss behind all that is known to have been flushed looks like a power cut's torn tail.
    const bool sure = std::any_of(gone.begin(), gone.end(), [&](const Record& record) {
      return record.sequence + 12 < records.back().sequence &&
             truth.live.contains(record.message) && record.whole &&
             last_of(record.message) == record.sequence;
    });
    if (sure) {
      EXPECT_FALSE(store->health().damage.empty()) << "not told";
    }
  }
  std::uint64_t last_of(base::MessageId id) const {
    std::uint64_t last = 0;
    for (const auto& record : records)
      if (record.message == id && record.whole) last = std::max(last, record.sequence);
    return last;
  }

  Files whole, earlier;
  Truth truth;
  std::vector<Record> records;
  SegmentHeader newest;
};

TEST_F(DamageTest, JournalsOfEveryKindOfDamage) {
  fill();
  if (HasFatalFailure()) return;
  const auto kept_rows = index_rows;
  for (std::uint64_t seed = 0; seed < wished("POSTERN_DAMAGE", 200) && !HasFailure(); ++seed) {
    Damage damage(whole, seed);
    damage.strike(seed, earlier);
    if (seed % 5 == 0) {
      damage.what += " and ";
      damage.strike(seed / 5, earlier);
    }
    // With its index, and without.
    index_rows = seed % 2 == 0 ? copy_of(*kept_rows) : std::make_shared<MemoryRows>();
    expect_the_rest(damage);
    if (HasFailure()) {
      ADD_FAILURE() << "seed " << seed << ": " << damage.what;
      for (const auto& sentence : store ? store->health().damage : std::vector<std::string>())
        std::printf("told: %s\n", sentence.c_str());
      break;
    }
    // The mail goes on, and the next start finds the same.
    const auto before = survey();
    const auto more = accept("after the damage\r\n");
    kill();
    ASSERT_TRUE(open()) << fatal << " " << damage.what;
    auto after = survey();
    EXPECT_EQ(after[more], "after the damage\r\n") << damage.what;
    after.erase(more);
    EXPECT_EQ(after, before) << damage.what << " seed " << seed;
    kill();
  }
  note_figures(std::to_string(wished("POSTERN_DAMAGE", 200)) + " damaged journals: all that the damage left was there, once");
}

}  // namespace
}  // namespace postern::queued
