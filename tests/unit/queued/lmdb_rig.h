// LmdbRig: gives a StoreRig a real index, an LMDB file in a directory of its own, while everything
// else stays on the FakeDisk.
#pragma once

#include <fcntl.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "queued/lmdb_index.h"
#include "tests/unit/queued/store_rig.h"

namespace postern::queued {

class LmdbRig {
 public:
  explicit LmdbRig(StoreRig& rig, std::uint64_t map = 64U << 20, std::uint64_t ahead = 64U << 10) {
    // A disk in memory, where there is one: how long a flush takes is no part of these tests.
    std::error_code none;
    const bool memory = std::filesystem::is_directory("/dev/shm", none);
    const auto folder = memory ? std::filesystem::path("/dev/shm")
                               : std::filesystem::temp_directory_path();
    directory_ = (folder / "postern-lmdb-XXXXXX").string();
    EXPECT_NE(::mkdtemp(directory_.data()), nullptr);
    disk_ = os::real_disk(
        base::UniqueFd::adopt(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    options_.directory = directory_;
    options_.map = map;
    options_.ahead = ahead;
    rig.other_index = [this](bool fresh) { return open(fresh); };
  }
  ~LmdbRig() {
    std::error_code none;
    std::filesystem::remove_all(directory_, none);
  }
  LmdbRig(const LmdbRig&) = delete;
  LmdbRig& operator=(const LmdbRig&) = delete;

  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] int set_aside() const { return set_aside_; }  // how often
  // While no index is open.
  [[nodiscard]] std::string bytes() const {
    std::ifstream file(directory_ + "/index", std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  void put(const std::string& bytes) {
    std::error_code none;
    std::filesystem::remove(directory_ + "/index-lock", none);
    std::ofstream(directory_ + "/index", std::ios::binary | std::ios::trunc) << bytes;
  }

 private:
  // What LocalStore does on its own disk, where this file is not.
  os::Result<std::unique_ptr<Index>> open(bool fresh) {
    if (fresh) {
      ++set_aside_;
      std::error_code none;
      std::filesystem::rename(directory_ + "/index",
                              directory_ + "/damaged-" + std::to_string(set_aside_), none);
    }
    return LmdbIndex::open(*disk_, options_);
  }

  std::string directory_;
  std::unique_ptr<os::Disk> disk_;
  LmdbIndexOptions options_;
  int set_aside_ = 0;
};

}  // namespace postern::queued
