// LmdbIndex: the index in one LMDB file, `index` below the spool, with `index-lock` beside it. It
// is opened by queued alone, which holds the spool's lock; the format is in index_row.h. A commit
// is two flushes: of the pages, then of the page that names the newest tree; a crash leaves the
// tree before or the tree after. Blocks are kept allocated ahead of the pages in use, so that a
// full disk does not stop the checkpoint.
//
// A failed assertion inside LMDB ends the process. After a failed write of the newest tree's name
// every call fails with EBADMSG.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/os/disk.h"
#include "queued/index.h"

struct MDB_env;
struct MDB_txn;

namespace postern::queued {

struct LmdbIndexOptions {
  std::string directory = ".";  // the disk's root as a path: LMDB opens its files by itself
  std::string name = "index";
  // How large it may become; address space, not memory. A little more is kept for what makes it no larger.
  std::uint64_t map = sizeof(void*) >= 8 ? 64ULL << 30 : 1ULL << 30;
  std::uint64_t ahead = 8ULL << 20;  // bytes to keep allocated ahead of the pages in use
  // A file that is larger and mostly empty is copied at open.
  std::uint64_t compact_above = 64ULL << 20;
  // To look at only: nothing is written or made, no lock is taken; commit() fails.
  bool read_only = false;
  bool check = true;  // at open (index_check.h); without it a damaged file may crash LMDB
};

class LmdbIndex final : public Index {
 public:
  // Opens the index, or makes an empty one. EPROTO: a later version wrote it. Reads and writes
  // files here and now.
  [[nodiscard]] static os::Result<std::unique_ptr<Index>> open(os::Disk& disk,
                                                               LmdbIndexOptions options = {});
  ~LmdbIndex() override;
  LmdbIndex(const LmdbIndex&) = delete;
  LmdbIndex& operator=(const LmdbIndex&) = delete;

  os::Result<std::string> mark() override;
  os::Result<std::optional<std::string>> get(Table table, std::string_view key) override;
  os::Result<std::vector<IndexRow>> scan(Table table, std::string_view after,
                                         std::size_t limit) override;
  os::Result<void> commit(const std::vector<IndexChange>& changes, std::string_view mark) override;
  IndexUse use() override;

 private:
  class Snapshot;
  class Change;

  explicit LmdbIndex(LmdbIndexOptions options) : options_(std::move(options)) {}
  template <class Read>
  auto read(Read read) -> decltype(read(std::declval<MDB_txn*>()));
  os::Result<std::optional<std::string>> get_stored(const std::string& key);
  os::Result<void> finish(Change& change, std::string_view mark);
  void measure(std::uint64_t commits);
  os::Result<void> write_format();
  os::Result<void> check_format();
  os::Result<void> copy_compacted(os::Disk& disk);

  static os::Result<std::unique_ptr<LmdbIndex>> open_as(const std::string& name,
                                                        const LmdbIndexOptions& options);
  static os::Result<void> flush_left(os::Disk& disk, const LmdbIndexOptions& options);
  static os::Result<std::unique_ptr<LmdbIndex>> open_checked(os::Disk& disk,
                                                             const LmdbIndexOptions& options);
  static os::Result<void> make(os::Disk& disk, const LmdbIndexOptions& options);
  static os::Result<void> publish(os::Disk& disk, const LmdbIndexOptions& options);
  static os::Result<void> drop_leftovers(os::Disk& disk, const LmdbIndexOptions& options);

  LmdbIndexOptions options_;
  MDB_env* env_ = nullptr;
  std::mutex mutex_;            // for what follows
  std::vector<MDB_txn*> idle_;  // read transactions without a snapshot, to be used again
  IndexUse use_;
};

}  // namespace postern::queued
