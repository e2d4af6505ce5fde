// LargeFiles: bodies that live in files of their own, large/<id>. All work is done in the store thread;
// a file counts only when a flushed record names it. What is used up (is_exhausted()) is an error for
// those that come in, never for those that are here: they use the reserve, and wait.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/os/disk.h"
#include "queued/reserve.h"
#include "queued/store.h"
#include "queued/worker.h"

namespace postern::queued {

class LargeFiles {
 public:
  LargeFiles(event::Loop& loop, os::Disk& disk, Worker& worker, Reserve& reserve);

  // At the start: removes files that no message names; with `keep` (damage was found) moves them to
  // orphans/ instead. `is_named` says whether a live message names the file.
  os::Result<void> sweep(bool keep, const std::function<bool(base::MessageId)>& is_named);

  // ENOSPC unless `room` bytes are free.
  void open(base::MessageId id, std::uint64_t room, Store::LargeOpened opened);
  // Waits up to a second for the last writer to close.
  void seal(base::MessageId id, std::uint64_t size, Store::LargeSealed sealed);
  void drop(base::MessageId id);
  // A descriptor for readers; size and checksum are compared first if `check`.
  void load(const Message& message, bool check, Store::Loaded loaded);
  void write(base::MessageId id, std::uint64_t offset, std::string bytes, Store::Saved written);
  void load_part(base::MessageId id, std::uint64_t offset, std::size_t limit, Store::Head part);

 private:
  struct Sealing;
  struct Loading;
  void try_seal(std::shared_ptr<Sealing> sealing);
  void try_load(std::shared_ptr<Loading> loading);
  os::Result<std::uint32_t> measure(base::MessageId id, std::uint64_t size);
  os::Result<LoadedBody> read(const Loading& loading);
  // Runs `what` on the loop after so many pauses.
  void later(int pauses, event::Callback what);
  void pause_over();

  os::Disk& disk_;
  Worker& worker_;
  Reserve& reserve_;
  std::vector<std::pair<int, event::Callback>> waiting_;
  event::Timer pause_;
};

}  // namespace postern::queued
