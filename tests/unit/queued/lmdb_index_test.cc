// The index on a real file: rows short and long, all or nothing, full disks and maps, what stays
// after a restart, what is refused.
#include "queued/lmdb_index.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <thread>

#include "common/os/sandbox.h"
#include "queued/index_check.h"
#include "queued/index_row.h"
#include "tests/unit/queued/index_rig.h"

namespace postern::queued {
namespace {

namespace fs = std::filesystem;

class LmdbIndexTest : public IndexRig {};

TEST_F(LmdbIndexTest, BeginsEmptyForItsOwnerOnly) {
  open();
  EXPECT_EQ(*index_->mark(), "");
  EXPECT_EQ(get(number_key(1)), std::nullopt);
  EXPECT_TRUE(all().empty());
  struct stat info {};
  ASSERT_EQ(::stat(file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_FALSE(fs::exists(file() + ".new"));
  EXPECT_FALSE(fs::exists(file() + ".new-lock"));
}

TEST_F(LmdbIndexTest, KeepsRowsAndMarkOverARestart) {
  open();
  commit({put(number_key(2), "two"), put(number_key(1), "one"),
          put("example.com", "wait", Table::kWaits)},
         "at 7");
  open();
  EXPECT_EQ(*index_->mark(), "at 7");
  EXPECT_EQ(all(), (Rows{{number_key(1), "one"}, {number_key(2), "two"}}));
  EXPECT_EQ(all(Table::kWaits), (Rows{{"example.com", "wait"}}));
  commit({drop(number_key(1)), drop(number_key(9)), put(number_key(2), "zwei")}, "at 8");
  EXPECT_EQ(all(), (Rows{{number_key(2), "zwei"}}));
  EXPECT_EQ(*index_->mark(), "at 8");
}

TEST_F(LmdbIndexTest, OfOneRowTheLastChangeWins) {
  open();
  commit({put("a", "1"), put("a", "2"), put("b", "1"), drop("b"), drop("c"), put("c", "3")});
  EXPECT_EQ(all(), (Rows{{"a", "2"}, {"c", "3"}}));
}

TEST_F(LmdbIndexTest, TakesKeysAndValuesOfEverySize) {
  open();
  Rows wanted;
  std::vector<IndexChange> changes;
  for (const std::size_t key_size : {1U, 8U, 254U, 255U})
    for (const std::size_t size :
         {0U, 1U, 1700U, 1730U, 1983U, 1984U, 2000U, 3900U, 4096U, 70'000U, 1'000'000U}) {
      auto key = noise(key_size, key_size * 1'000'003 + size);
      if (key_size == 1) key[0] = static_cast<char>(changes.size());
      wanted[key] = noise(size, size);
      changes.push_back(put(key, wanted[key]));
    }
  // The room of the first and of each further piece, to the byte.
  for (std::size_t size = 1'970; size < 2'000; ++size) {
    wanted[number_key(size)] = noise(size, size);
    changes.push_back(put(number_key(size), wanted[number_key(size)]));
    wanted[number_key(size * 2)] = noise(size * 2, size);
    changes.push_back(put(number_key(size * 2), wanted[number_key(size * 2)]));
  }
  commit(changes);
  open();
  EXPECT_EQ(all(), wanted);
  for (const auto& [key, value] : wanted) EXPECT_EQ(get(key), value);
  for (auto& change : changes) change.value = std::nullopt;
  commit(changes);
  EXPECT_TRUE(all().empty());
  EXPECT_LT(index_->use().used, 64U << 10);
}

// Keys that begin with each other, and end with bytes that look like a piece's number.
TEST_F(LmdbIndexTest, DoesNotMixUpTheirPieces) {
  open();
  Rows wanted;
  std::vector<IndexChange> changes;
  using namespace std::string_literals;
  for (const auto& key :
       {"a"s, "a\0"s, "a\0\1"s, "a\0\1\0\1"s, "a\0\1\0\2"s, "aa"s, "\0\1"s, "\0"s})
    for (const auto table : {Table::kMessages, Table::kWaits}) {
      const auto value = noise(9'000, changes.size());
      changes.push_back(put(key, value, table));
      if (table == Table::kMessages) wanted[key] = value;
    }
  commit(changes);
  EXPECT_EQ(all(), wanted);
  commit({drop("a\0"s), put("a\0\1"s, "short")});
  wanted.erase("a\0"s);
  wanted["a\0\1"s] = "short";
  EXPECT_EQ(all(), wanted);
  EXPECT_EQ(all(Table::kWaits).size(), 8U);
}

TEST_F(LmdbIndexTest, ScansFromAnyKeyAndStopsAtItsTable) {
  open();
  commit({put("b", "1"), put("d", "2"), put("f", "3"), put("zz", "wait", Table::kWaits)});
  const auto keys = [&](std::string_view after, std::size_t limit, Table table = Table::kMessages) {
    std::string found;
    const auto rows = index_->scan(table, after, limit);
    EXPECT_TRUE(rows);
    for (const auto& row : *rows) found += row.key;
    return found;
  };
  EXPECT_EQ(keys("", 10), "bdf");
  EXPECT_EQ(keys("", 2), "bd");
  EXPECT_EQ(keys("b", 10), "df");
  EXPECT_EQ(keys("c", 1), "d");
  EXPECT_EQ(keys("f", 10), "");
  EXPECT_EQ(keys("", 0), "");
  EXPECT_EQ(keys("", 10, Table::kWaits), "zz");
  EXPECT_EQ(keys("zz", 10, Table::kWaits), "");
}

TEST_F(LmdbIndexTest, WritesOnlyThePiecesThatChanged) {
  open();
  auto value = noise(1'000'000, 1);
  commit({put(number_key(1), value)});
  const auto written = [&] {
    std::ifstream io("/proc/self/io");
    for (std::string name; io >> name;)
      if (name == "wchar:") {
        std::uint64_t bytes = 0;
        io >> bytes;
        return bytes;
      }
    return std::uint64_t{0};
  };
  const auto before = written();
  value[500'000] ^= 1;
  commit({put(number_key(1), value)});
  EXPECT_LT(written() - before, 64U << 10);
  EXPECT_EQ(get(number_key(1)), value);
  value.resize(200'000);
  commit({put(number_key(1), value)});
  open();
  EXPECT_EQ(get(number_key(1)), value);
}

TEST_F(LmdbIndexTest, FullMapChangesNothingAndCanBeTriedAgain) {
  options_.map = 1U << 20;
  open();
  commit({put(number_key(1), "kept"), put(number_key(2), noise(100'000, 2))}, "before");
  const auto full =
      index_->commit({put(number_key(3), noise(2'000'000, 3)), drop(number_key(1))}, "no");
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().number, ENOMEM);
  EXPECT_EQ(*index_->mark(), "before");
  EXPECT_EQ(get(number_key(1)), "kept");
  EXPECT_EQ(all().size(), 2U);
  commit({drop(number_key(2))}, "after");
  commit({put(number_key(3), noise(100'000, 3))}, "after");
  EXPECT_EQ(all().size(), 2U);
}

// A disk that is full from some byte of the file on.
class FullFrom {
 public:
  explicit FullFrom(std::uint64_t size) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before_), 0);
    rlimit limit = before_;
    limit.rlim_cur = size;
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FullFrom() {
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before_), 0);
    ::signal(SIGXFSZ, handler_);
  }
  FullFrom(const FullFrom&) = delete;
  FullFrom& operator=(const FullFrom&) = delete;

 private:
  sighandler_t handler_;
  rlimit before_{};
};

// Also when it gets full in the middle of a write, which LMDB does not tell from a broken disk.
TEST_F(LmdbIndexTest, FullDiskChangesNothingAndCanBeTriedAgain) {
  options_.ahead = 64U << 10;
  open();
  commit({put(number_key(1), "kept"), put(number_key(2), noise(100'000, 2))}, "before");
  const auto large = put(number_key(3), noise(1'000'000, 3));
  for (const std::uint64_t more : {0U, 4'096U, 10'000U, 100'001U, 262'144U, 300'300U}) {
    const FullFrom full(fs::file_size(file()) + more);
    const auto done = index_->commit({large, drop(number_key(1))}, "no");
    ASSERT_FALSE(done) << more;
    EXPECT_EQ(done.error().number, ENOSPC) << done.error().text();
    EXPECT_EQ(*index_->mark(), "before");
    EXPECT_EQ(get(number_key(1)), "kept");
    EXPECT_EQ(all().size(), 2U);
    EXPECT_TRUE(check_index(*disk_, "index", options_.map));
  }
  commit({large}, "after");
  EXPECT_EQ(all().size(), 3U);
  EXPECT_TRUE(check_index(*disk_, "index", options_.map));
}

TEST_F(LmdbIndexTest, WritesIntoItsReserveWhenTheDiskIsFull) {
  options_.ahead = 2U << 20;
  open();
  const FullFrom full(fs::file_size(file()));
  std::uint64_t next = 0;
  while (index_->commit({put(number_key(next), noise(20'000, next))}, std::to_string(next))) ++next;
  // Some of it goes into copies of the pages on the way to the rows.
  EXPECT_GT(next, 70U);
  EXPECT_LT(index_->use().ahead, 256U << 10);
  EXPECT_EQ(*index_->mark(), std::to_string(next - 1));
  EXPECT_EQ(all().size(), next);
  // What goes, goes piece by piece into pages that the commits before have left.
  for (std::uint64_t i = 0; i < next; ++i) commit({drop(number_key(i))}, "drained");
  EXPECT_TRUE(all().empty());
  EXPECT_TRUE(check_index(*disk_, "index", options_.map));
}

TEST_F(LmdbIndexTest, GoesOnWithTheOldFileIfItCannotBeCopied) {
  options_.compact_above = 0;
  options_.ahead = 64U << 10;
  open();
  std::vector<IndexChange> changes;
  for (std::uint64_t i = 0; i < 10'000; ++i) changes.push_back(put(number_key(i), noise(250, i)));
  commit(changes);
  for (auto& change : changes) change.value = std::nullopt;
  changes.resize(9'000);
  commit(changes, "drained");
  const auto size = fs::file_size(file());
  {
    const FullFrom full(100'000);
    open();
    EXPECT_EQ(all().size(), 1'000U);
  }
  EXPECT_EQ(fs::file_size(file()), size);
  EXPECT_FALSE(fs::exists(file() + ".new"));
  open();
  EXPECT_LT(fs::file_size(file()), size / 2);
  EXPECT_EQ(all().size(), 1'000U);
}

TEST_F(LmdbIndexTest, ManyCommitsStayRightAndReuseTheirSpace) {
  open();
  std::mt19937_64 random(7);
  Rows wanted;
  std::uint64_t next = 1;
  for (int round = 0; round < 300; ++round) {
    std::vector<IndexChange> changes;
    for (int i = 0; i < 40; ++i) {
      const auto size = random() % 20 == 0 ? random() % 9'000 : random() % 500;
      if (random() % 2 == 0 || wanted.empty()) {
        const auto key = number_key(next++);
        changes.push_back(put(key, noise(size, random())));
      } else {
        auto at = wanted.lower_bound(number_key(random() % next));
        if (at == wanted.end()) at = wanted.begin();
        changes.push_back(random() % 3 == 0 ? put(at->first, noise(size, random()))
                                            : drop(at->first));
      }
    }
    for (const auto& change : changes) {
      wanted.erase(change.key);
      if (change.value) wanted[change.key] = *change.value;
    }
    commit(changes, std::to_string(round));
    if (round % 60 == 59) open();
    if (round % 20 != 19) continue;
    ASSERT_EQ(all(), wanted) << round;
  }
  EXPECT_EQ(*index_->mark(), "299");
  const auto use = index_->use();
  EXPECT_LT(use.used, use.file);
  EXPECT_GT(use.ahead, options_.ahead / 2 - 1);
  EXPECT_EQ(use.map, options_.map);
}

TEST_F(LmdbIndexTest, GivesSpaceBackAtTheNextStart) {
  options_.compact_above = 4U << 20;
  options_.ahead = 256U << 10;
  open();
  std::vector<IndexChange> changes;
  for (std::uint64_t i = 1; i <= 30'000; ++i) changes.push_back(put(number_key(i), noise(250, i)));
  commit(changes);
  const auto most = index_->use();
  EXPECT_GT(most.file, 8U << 20);
  for (auto& change : changes) change.value = std::nullopt;
  changes.resize(29'000);
  commit(changes, "drained");
  EXPECT_LT(index_->use().used, 1U << 20);
  EXPECT_GE(index_->use().file, most.file);
  open();
  EXPECT_LT(index_->use().file, 2U << 20);
  EXPECT_EQ(*index_->mark(), "drained");
  EXPECT_EQ(all().size(), 1'000U);
  EXPECT_EQ(get(number_key(29'001)), noise(250, 29'001));
  commit({put(number_key(30'001), "new")});
  open();
  EXPECT_EQ(all().size(), 1'001U);
}

TEST_F(LmdbIndexTest, LeftoversOfAnUnfinishedCopyGo) {
  open();
  commit({put("a", "1")});
  index_.reset();
  std::ofstream(file() + ".new") << "half";
  std::ofstream(file() + ".new-lock") << "half";
  open();
  EXPECT_EQ(get("a"), "1");
  EXPECT_FALSE(fs::exists(file() + ".new"));
}

TEST_F(LmdbIndexTest, ReadsWhileItIsWritten) {
  open();
  // Each commit writes the same number into all rows, long ones too.
  const auto changes = [](std::uint64_t number) {
    std::vector<IndexChange> all;
    for (std::uint64_t i = 0; i < 50; ++i)
      all.push_back(put(number_key(i), std::string(i % 10 == 0 ? 6'000 : 100,
                                                   static_cast<char>('a' + number % 26))));
    return all;
  };
  commit(changes(0));
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0, reads = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i)
    readers.emplace_back([&, i] {
      std::mt19937_64 random(static_cast<std::uint64_t>(i));
      while (!stop) {
        const auto rows = index_->scan(Table::kMessages, "", 100);
        if (!rows || rows->size() != 50) ++wrong;
        if (rows)
          for (const auto& row : *rows)
            if (row.value.find_first_not_of(rows->front().value[0]) != std::string::npos) ++wrong;
        const auto one = index_->get(Table::kMessages, number_key(random() % 50));
        if (!one || !*one) ++wrong;
        if (!index_->mark()) ++wrong;
        ++reads;
      }
    });
  for (std::uint64_t number = 1; number < 200 || reads < 200; ++number) commit(changes(number));
  stop = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
}

// All that it does, with the rights that queued has; in a child, since there is no way back.
TEST_F(LmdbIndexTest, WorksInQueuedsSandbox) {
  constexpr int kDone = 7;
  const auto root =
      base::UniqueFd::adopt(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const pid_t child = ::fork();
  if (child == 0) {
    if (::fchdir(root.get()) != 0) ::_exit(1);
    os::SandboxPlan plan;
    plan.kind = os::SandboxKind::kStoring;
    plan.root = root.get();
    if (!os::enter_sandbox(plan)) ::_exit(2);
    options_.directory = ".";
    options_.compact_above = 0;
    open();
    std::vector<IndexChange> changes;
    for (std::uint64_t i = 1; i <= 4'000; ++i)
      changes.push_back(put(number_key(i), noise(3'000, i)));
    std::thread([&] { commit(changes); }).join();
    for (auto& change : changes) change.value = std::nullopt;
    commit(changes);
    open();  // copies it
    commit({put("a", "1")}, "end");
    std::optional<std::string> value;
    std::thread([&] { value = get("a"); }).join();
    index_.reset();
    ::_exit(HasFailure() || value != "1" ? 3 : kDone);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), kDone);
  open();
  EXPECT_EQ(*index_->mark(), "end");
  EXPECT_LT(index_->use().file, 10U << 20);
}

// --- What is not ours ---------------------------------------------------------------------------

class LmdbIndexRefusal : public LmdbIndexTest {
 protected:
  // Rewrites the format row in place, with a right checksum.
  void write_format(const std::string& magic, char version) {
    options_.ahead = 64U << 10;
    open();
    index_.reset();
    std::fstream stream(file(), std::ios::in | std::ios::out | std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
    const auto at = bytes.find("PosternX");
    ASSERT_NE(at, std::string::npos);
    const auto row =
        cut_value(stored_key(KeySpace::kOwn, "format"), magic + std::string{version, 0, 0, 0});
    stream.clear();
    stream.seekp(static_cast<std::streamoff>(at) - 8);
    stream << row.at(0);
  }
  int error() {
    const auto opened = LmdbIndex::open(*disk_, options_);
    return opened ? 0 : opened.error().number;
  }
};

TEST_F(LmdbIndexRefusal, ALaterVersion) {
  write_format("PosternX", 2);
  EXPECT_EQ(error(), EPROTO);
}
TEST_F(LmdbIndexRefusal, AnotherProgramsFile) {
  write_format("AnotherX", 1);
  EXPECT_EQ(error(), EBADMSG);
}
TEST_F(LmdbIndexRefusal, WhatIsNoLmdbFile) {
  std::ofstream(file()) << noise(20'000, 1);
  EXPECT_EQ(error(), EBADMSG);
}

}  // namespace
}  // namespace postern::queued
