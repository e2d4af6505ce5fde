// Machine: one life after the other of a real LocalStore on a real directory, without threads, with
// a clock that the story turns.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "queued/local_store.h"
#include "tests/crash/story_clock.h"
#include "tests/crash/view.h"

namespace postern::crash {

struct MachineOptions {
  std::uint64_t segment_size = 0;
  std::uint64_t reserve = 0;
  std::uint64_t compact_above = 64ULL << 20;  // bytes of the index's file
};

class Machine {
 public:
  // The spool is `root`/spool.
  Machine(std::string root, MachineOptions options, std::int64_t wall_ms, std::uint64_t lives);
  ~Machine();

  // Begins a life: recovery. An error is its sentence.
  [[nodiscard]] std::optional<std::string> open();
  // The process ends here and now.
  void kill();
  [[nodiscard]] queued::LocalStore& store() { return *store_; }
  [[nodiscard]] event::Loop& loop() { return *loop_; }
  [[nodiscard]] const std::string& fatal() const { return fatal_; }
  [[nodiscard]] os::Disk& spool() { return *spool_; }
  [[nodiscard]] os::Disk& mail() { return *mail_; }
  // Below it are spool and mail.
  [[nodiscard]] const std::string& root() const { return root_; }
  // Everything that the store holds, bodies too.
  [[nodiscard]] View look();
  // Is it known that this file was imported whole?
  [[nodiscard]] bool imported(const base::Token& file);
  // Reads all of the history; what is wrong with it.
  [[nodiscard]] std::optional<std::string> read_history();
  // Each message, of those that are not in memory too.
  void each(const std::function<void(const queued::Message&)>& see);

  StoryClock clock;

 private:
  void look_at(SeenMessage& seen);

  std::string root_;
  MachineOptions options_;
  std::uint64_t lives_;
  std::unique_ptr<os::Disk> spool_;
  std::unique_ptr<os::Disk> mail_;
  std::unique_ptr<event::Loop> loop_;
  std::string fatal_;
  std::unique_ptr<queued::LocalStore> store_;
};

}  // namespace postern::crash
