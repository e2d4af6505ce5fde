// LargeFiles: bodies that live in files of their own, large/<id>. All work is done in the store thread;
// a file counts only when a flushed record names it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/os/disk.h"
#include "queued/store.h"
#include "queued/worker.h"

namespace postern::queued {

class LargeFiles {
 public:
  LargeFiles(event::Loop& loop, os::Disk& disk, Worker& worker);
  ~LargeFiles();

  // At the start: removes files that no message names; with `keep` (damage was found) moves them to
  // orphans/ instead. `is_named` says whether a live message names the file.
  os::Result<void> sweep(bool keep, const std::function<bool(base::MessageId)>& is_named);

  void open(base::MessageId id, Store::LargeOpened opened);
  // Waits up to a second for the last writer to close.
  void seal(base::MessageId id, std::uint64_t size, Store::LargeSealed sealed);
  void drop(base::MessageId id);
  // A descriptor for readers; size and checksum are compared first if `check`.
  void load(const Message& message, bool check, Store::Loaded loaded);
  void load_part(base::MessageId id, std::uint64_t offset, std::size_t limit, Store::Head part);

 private:
  struct Sealing;
  void try_seal(std::shared_ptr<Sealing> sealing);

  event::Loop& loop_;
  os::Disk& disk_;
  Worker& worker_;
  std::vector<std::shared_ptr<Sealing>> sealings_;  // that wait for a writer to go
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::queued
