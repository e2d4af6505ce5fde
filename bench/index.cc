// Benchmarks of the queue's index on a real disk: commits, reads, the check at the start, and what
// a million rows take. Its files go to $POSTERN_BENCH_DIR, or /var/tmp.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>

#include "common/base/check.h"
#include "common/os/disk.h"
#include "queued/index_check.h"
#include "queued/lmdb_index.h"

namespace postern::bench {
namespace {

using queued::Index;
using queued::IndexChange;
using queued::LmdbIndex;
using queued::Table;

constexpr std::uint64_t kMany = 1'000'000;
constexpr std::size_t kAtOnce = 4'000;

std::string key(std::uint64_t number) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift & 0xFF);
  return bytes;
}

// A row of 200 to 300 bytes.
IndexChange row(std::uint64_t number) {
  return {Table::kMessages, key(number),
          std::string(200 + number * 7919 % 101, static_cast<char>('a' + number % 26))};
}

// An index in a directory that is removed at the end.
class Spool {
 public:
  Spool() {
    const char* base = std::getenv("POSTERN_BENCH_DIR");
    directory_ = std::string(base != nullptr ? base : "/var/tmp") + "/postern-bench-XXXXXX";
    CHECK(::mkdtemp(directory_.data()) != nullptr);
    disk_ = os::real_disk(
        base::UniqueFd::adopt(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    options_.directory = directory_;
    options_.check = false;  // measured by itself
    open();
  }
  ~Spool() {
    index_.reset();
    std::filesystem::remove_all(directory_);
  }
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  void open() {
    index_.reset();
    auto opened = LmdbIndex::open(*disk_, options_);
    CHECK(opened);
    index_ = *std::move(opened);
  }
  // Rows `first` and on, in commits as large as a checkpoint's.
  void fill(std::uint64_t first, std::uint64_t count) {
    while (count > 0) {
      std::vector<IndexChange> changes;
      for (; changes.size() < kAtOnce && count > 0; --count) changes.push_back(row(first++));
      CHECK(index_->commit(changes, "mark"));
    }
  }
  Index& index() { return *index_; }
  os::Disk& disk() { return *disk_; }
  const queued::LmdbIndexOptions& options() const { return options_; }

 private:
  std::string directory_;
  std::unique_ptr<os::Disk> disk_;
  queued::LmdbIndexOptions options_;
  std::unique_ptr<Index> index_;
};

// One index of a million rows for all that read.
Spool& many() {
  static Spool spool;
  static const bool filled = [] {
    spool.fill(0, kMany);
    return true;
  }();
  CHECK(filled);
  return spool;
}

void commit(benchmark::State& state) {
  Spool spool;
  const auto count = static_cast<std::uint64_t>(state.range(0));
  std::uint64_t next = 0;
  for (auto _ : state) {
    state.PauseTiming();
    std::vector<IndexChange> changes;
    for (std::uint64_t i = 0; i < count; ++i) changes.push_back(row(next++));
    state.ResumeTiming();
    CHECK(spool.index().commit(changes, "mark"));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(commit)->Arg(1)->Arg(100)->Arg(1'000)->Arg(4'000)->UseRealTime();

// What a queue does for days: as many rows come as go, the oldest among them not.
void commit_and_remove(benchmark::State& state) {
  Spool spool;
  constexpr std::uint64_t kStanding = 100'000;
  spool.fill(0, kStanding);
  const auto count = static_cast<std::uint64_t>(state.range(0));
  std::uint64_t next = kStanding;
  for (auto _ : state) {
    state.PauseTiming();
    std::vector<IndexChange> changes;
    for (std::uint64_t i = 0; i < count; ++i, ++next) {
      changes.push_back(row(next));
      changes.push_back({Table::kMessages, key(next - kStanding / 2), std::nullopt});
    }
    state.ResumeTiming();
    CHECK(spool.index().commit(changes, "mark"));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["file_mb"] = static_cast<double>(spool.index().use().file) / 1e6;
}
BENCHMARK(commit_and_remove)->Arg(100)->Arg(1'000)->UseRealTime();

// Rows all over a queue of a million change: each is on a page of its own.
void commit_scattered(benchmark::State& state) {
  Spool spool;
  spool.fill(0, kMany);
  std::mt19937_64 random(1);
  for (auto _ : state) {
    state.PauseTiming();
    std::vector<IndexChange> changes;
    for (std::int64_t i = 0; i < state.range(0); ++i) changes.push_back(row(random() % kMany));
    for (auto& change : changes) change.value->back() = static_cast<char>(random());
    state.ResumeTiming();
    CHECK(spool.index().commit(changes, "mark"));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["file_mb"] = static_cast<double>(spool.index().use().file) / 1e6;
}
BENCHMARK(commit_scattered)->Arg(100)->Arg(1'000)->Arg(4'000)->Iterations(100)->UseRealTime();

// A backlog of a million goes; the commits that see its long lists of free pages are in it.
void drain(benchmark::State& state) {
  Spool spool;
  spool.fill(0, kMany);
  for (auto _ : state)
    for (std::uint64_t next = 0; next < kMany;) {
      std::vector<IndexChange> changes;
      for (std::size_t i = 0; i < kAtOnce; ++i)
        changes.push_back({Table::kMessages, key(next++), std::nullopt});
      CHECK(spool.index().commit(changes, "mark"));
    }
  state.counters["file_mb"] = static_cast<double>(spool.index().use().file) / 1e6;
  state.SetItemsProcessed(static_cast<std::int64_t>(kMany));
}
BENCHMARK(drain)->Unit(benchmark::kMillisecond)->Iterations(1)->UseRealTime();

void get(benchmark::State& state) {
  auto& index = many().index();
  std::mt19937_64 random(1);
  for (auto _ : state) {
    const auto value = index.get(Table::kMessages, key(random() % kMany));
    CHECK(value && *value);
  }
  const auto use = index.use();
  state.counters["bytes_per_row"] = static_cast<double>(use.used) / static_cast<double>(kMany);
}
BENCHMARK(get);

void scan_thousand(benchmark::State& state) {
  auto& index = many().index();
  std::mt19937_64 random(1);
  for (auto _ : state) {
    const auto rows = index.scan(Table::kMessages, key(random() % (kMany - 2'000)), 1'000);
    CHECK(rows && rows->size() == 1'000);
  }
  state.SetItemsProcessed(state.iterations() * 1'000);
}
BENCHMARK(scan_thousand);

void scan_all(benchmark::State& state) {
  auto& index = many().index();
  for (auto _ : state)
    for (std::string after;;) {
      const auto rows = index.scan(Table::kMessages, after, 1'000);
      CHECK(rows);
      if (rows->empty()) break;
      after = rows->back().key;
    }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kMany));
}
BENCHMARK(scan_all)->Unit(benchmark::kMillisecond);

// The proof at the start, of a file that is in memory.
void check_million(benchmark::State& state) {
  auto& spool = many();
  for (auto _ : state)
    CHECK(queued::check_index(spool.disk(), spool.options().name, spool.options().map));
  const auto use = spool.index().use();
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(use.used));
}
BENCHMARK(check_million)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace postern::bench

BENCHMARK_MAIN();
