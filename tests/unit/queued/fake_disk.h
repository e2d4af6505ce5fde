// FakeDisk: a disk in memory. It logs every operation, fails or halts at a chosen one, and can lose its
// power: then only what was flushed is sure to be there, of the rest any part may be.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "common/os/disk.h"

namespace postern::queued {

class FakeDisk final : public os::Disk {
 public:
  struct Inode {
    std::string now;      // as the running system sees it
    std::string durable;  // as it survives a power cut
    std::vector<std::pair<std::uint64_t, std::string>> unflushed;
    bool writer_left = false;
  };
  using InodePtr = std::shared_ptr<Inode>;

  // --- faults -----------------------------------------------------------------------------------
  std::vector<std::string> log;      // "write journal/000001 4096+512"
  std::uint64_t operations = 0;      // that change something, so far
  std::uint64_t halt_at = ~0ULL;     // from this one on, everything fails and nothing changes
  std::uint64_t fail_at = ~0ULL;     // only this one fails
  int error = EIO;                   // with this
  std::uint64_t calls = 0;           // of every kind, so far
  std::uint64_t fail_call = ~0ULL;   // only this one fails
  std::string failed;                // what it was
  std::uint64_t full_call = ~0ULL;   // from this one on, `full`
  std::uint64_t full_until = ~0ULL;  // and not from this one on
  std::set<std::pair<std::string, std::uint64_t>> bad_blocks;  // file and 4 KiB block: unreadable
  bool in_cache = false;             // what is read needs no wait for the disk
  bool forget_failed_flush = false;  // what a failed flush should have written never reaches the disk
  std::uint64_t free = 100ULL << 30;
  bool full = false;                 // new files and growth fail with ENOSPC
  std::uint64_t capacity = ~0ULL;    // bytes of all files together; growth beyond fails with ENOSPC
  std::size_t most_open = ~0ULL;     // handles; opening more fails with EMFILE

  // The power fails: unflushed blocks of 512 bytes, and names, survive by chance.
  void cut_power(std::uint64_t seed);
  // The process ends; the system lives on.
  void restart();
  [[nodiscard]] std::size_t open_handles() const { return open_; }
  [[nodiscard]] bool has(const std::string& path) const { return names_.contains(path); }
  std::string& content(const std::string& path) { return names_.at(path)->now; }
  [[nodiscard]] InodePtr inode(const std::string& path) { return names_.at(path); }
  void put_file(const std::string& path, std::string bytes);
  std::vector<std::string> files(const std::string& folder);

  // --- os::Disk ---------------------------------------------------------------------------------
  os::Result<std::unique_ptr<os::File>> open(std::string_view path, os::OpenMode mode) override;
  os::Result<void> rename(std::string_view from, std::string_view to) override;
  os::Result<void> unlink(std::string_view path) override;
  os::Result<void> make_directory(std::string_view path) override;
  os::Result<void> flush_directory(std::string_view path) override;
  os::Result<std::vector<std::string>> list(std::string_view path) override;
  os::Result<bool> exists(std::string_view path) override;
  os::Result<std::uint64_t> free_bytes() override;

 private:
  class Handle;

  static void put(std::string& into, std::uint64_t offset, std::string_view bytes);
  [[nodiscard]] std::uint64_t room() const;
  os::Result<void> step(std::string what);
  [[nodiscard]] bool is_full() const;
  // An operation that changes nothing.
  os::Result<void> look(std::string what);

  std::mutex mutex_;
  std::atomic<std::size_t> open_ = 0;
  std::map<std::string, InodePtr> names_;
  std::map<std::string, InodePtr> durable_names_;
  std::set<std::string> folders_;
};

}  // namespace postern::queued
