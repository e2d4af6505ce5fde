// History: what became of mail, one line for each message and occasion (an outcome that ended some of its
// recipients), so that nobody has to remember recipients that ended before the last one. Lines of a second
// are handed to the store's thread together; nobody waits for them, and nothing is flushed, so that a
// process that dies takes its last second along. What cannot be written, or comes faster than the disk
// takes it, is dropped and counted.
//
// Owned by the daemon; all on the loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "queued/history_files.h"
#include "queued/message.h"
#include "queued/routing.h"
#include "queued/worker.h"

namespace postern::queued {

// What there is to say of an occasion; nothing where no recipient ended.
[[nodiscard]] std::vector<HistoryLine> history_lines(const Message& message,
                                                     const std::vector<RecipientFate>& fates,
                                                     const std::string& remote,
                                                     const std::string& tls, base::WallTime when,
                                                     const Router& router);

class History {
 public:
  static constexpr std::size_t kMaxUnwritten = 8U << 20;  // bytes; what comes on top is dropped

  // `worker` outlives the history's last call.
  History(Worker& worker, os::Disk& disk, const base::Clock& clock, HistoryLimits limits);
  ~History();
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  void configure(HistoryLimits limits) { limits_ = limits; }
  void add(const std::vector<HistoryLine>& lines);
  // Once a second: writes what was added, removes what is too old.
  void tick();
  // Runs when all that was added is written.
  void settle(event::Callback done);

  struct Row {
    HistoryLine line;  // without recipients
    HistoryRecipient recipient;
  };
  struct Page {
    std::vector<Row> rows;
    HistoryCursor next;
    bool more = false;
  };
  using Wanted = std::function<bool(const HistoryLine&, const HistoryRecipient&)>;
  using Read = std::move_only_function<void(os::Result<Page>) noexcept>;
  // At most `rows` that are `wanted` from one slice, behind `after`. `wanted` runs in another thread.
  void read(HistoryCursor after, base::WallTime since, std::size_t rows, Wanted wanted, Read read);

  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }  // lines, in this life

 private:
  void hand_over();
  void written(const os::Result<void>& result, std::size_t bytes, std::uint64_t lines);

  Worker& worker_;
  const base::Clock& clock_;
  HistoryLimits limits_;
  std::shared_ptr<HistoryFiles> files_;  // of the store's thread
  std::string gathered_;
  std::uint64_t gathered_lines_ = 0;
  std::size_t unwritten_ = 0;  // bytes that were handed over
  std::uint64_t dropped_ = 0;
  bool failing_ = false;
  base::SteadyTime trimmed_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::queued
