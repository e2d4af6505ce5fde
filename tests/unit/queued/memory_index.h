// MemoryIndex: an index in memory. Its rows belong to the test and outlive it, as a file would; a commit
// is whole or not there.
#pragma once

#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "queued/index.h"

namespace postern::queued {

struct MemoryRows {
  std::map<std::pair<Table, std::string>, std::string> rows;
  std::string mark;
  std::uint64_t commits = 0;
  std::uint64_t gets = 0, scans = 0;
  std::uint64_t fail_at = ~0ULL;  // this commit, counted from 0, fails and changes nothing
  int error = ENOSPC;
  bool damaged = false;  // nothing can be read
  // Whether there is room for a commit of so many changes; without it, it fails with ENOSPC.
  std::function<bool(std::size_t)> has_room;
  std::mutex mutex;
};

class MemoryIndex final : public Index {
 public:
  explicit MemoryIndex(std::shared_ptr<MemoryRows> rows) : rows_(std::move(rows)) {}

  os::Result<std::string> mark() override {
    const std::lock_guard lock(rows_->mutex);
    if (rows_->damaged) return os::failure("read the index", EBADMSG);
    return rows_->mark;
  }
  os::Result<std::optional<std::string>> get(Table table, std::string_view key) override {
    const std::lock_guard lock(rows_->mutex);
    ++rows_->gets;
    if (rows_->damaged) return os::failure("read the index", EBADMSG);
    const auto at = rows_->rows.find({table, std::string(key)});
    if (at == rows_->rows.end()) return std::optional<std::string>();
    return std::optional(at->second);
  }
  os::Result<std::vector<IndexRow>> scan(Table table, std::string_view after,
                                         std::size_t limit) override {
    const std::lock_guard lock(rows_->mutex);
    ++rows_->scans;
    if (rows_->damaged) return os::failure("read the index", EBADMSG);
    std::vector<IndexRow> found;
    for (auto at = rows_->rows.upper_bound({table, std::string(after)});
         at != rows_->rows.end() && at->first.first == table && found.size() < limit; ++at)
      found.push_back({at->first.second, at->second});
    return found;
  }
  os::Result<void> commit(const std::vector<IndexChange>& changes, std::string_view mark) override {
    const std::lock_guard lock(rows_->mutex);
    if (rows_->commits++ == rows_->fail_at) return os::failure("commit to the index", rows_->error);
    if (rows_->has_room && !rows_->has_room(changes.size()))
      return os::failure("commit to the index", ENOSPC);
    for (const auto& change : changes) {
      if (change.value)
        rows_->rows[{change.table, change.key}] = *change.value;
      else
        rows_->rows.erase({change.table, change.key});
    }
    rows_->mark = mark;
    return {};
  }
  IndexUse use() override { return {}; }

 private:
  std::shared_ptr<MemoryRows> rows_;
};

}  // namespace postern::queued
