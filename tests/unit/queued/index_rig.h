// What the tests of the index share: a directory with an index in it, and short names for rows.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "queued/lmdb_index.h"

namespace postern::queued {

using Rows = std::map<std::string, std::string>;

inline std::string number_key(std::uint64_t number) {
  std::string key;
  for (int shift = 56; shift >= 0; shift -= 8) key += static_cast<char>(number >> shift & 0xFF);
  return key;
}

inline std::string noise(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (auto& c : bytes) c = static_cast<char>(random());
  return bytes;
}

inline IndexChange put(std::string key, std::string value, Table table = Table::kMessages) {
  return {table, std::move(key), std::move(value)};
}
inline IndexChange drop(std::string key, Table table = Table::kMessages) {
  return {table, std::move(key), std::nullopt};
}

class IndexRig : public ::testing::Test {
 protected:
  IndexRig() {
    directory_ = (std::filesystem::temp_directory_path() / "postern-index-XXXXXX").string();
    EXPECT_NE(::mkdtemp(directory_.data()), nullptr);
    disk_ = os::real_disk(
        base::UniqueFd::adopt(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    options_.directory = directory_;
  }
  ~IndexRig() override {
    index_.reset();
    std::filesystem::remove_all(directory_);
  }

  void open() {
    index_.reset();
    auto opened = LmdbIndex::open(*disk_, options_);
    ASSERT_TRUE(opened) << opened.error().text();
    index_ = *std::move(opened);
  }
  void commit(const std::vector<IndexChange>& changes, std::string_view mark = "mark") {
    const auto done = index_->commit(changes, mark);
    ASSERT_TRUE(done) << done.error().text();
  }
  std::optional<std::string> get(const std::string& key, Table table = Table::kMessages) {
    auto value = index_->get(table, key);
    EXPECT_TRUE(value) << value.error().text();
    return value ? *std::move(value) : std::nullopt;
  }
  os::Result<Rows> scan_all(Table table = Table::kMessages) {
    constexpr std::size_t kSlice = 100;
    Rows rows;
    for (std::string after;;) {
      const auto some = index_->scan(table, after, kSlice);
      if (!some) return std::unexpected(some.error());
      for (const auto& row : *some) {
        EXPECT_GT(row.key, after);
        rows[row.key] = row.value;
        after = row.key;
      }
      if (some->size() < kSlice) return rows;
    }
  }
  Rows all(Table table = Table::kMessages) {
    auto rows = scan_all(table);
    EXPECT_TRUE(rows) << rows.error().text();
    return rows ? *std::move(rows) : Rows{};
  }
  std::string file() const { return directory_ + "/index"; }

  std::string directory_;
  std::unique_ptr<os::Disk> disk_;
  LmdbIndexOptions options_;
  std::unique_ptr<Index> index_;
};

}  // namespace postern::queued
