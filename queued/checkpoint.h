// Checkpoint: brings the index up to what the journal has flushed, now and then: changed messages become
// rows, ended ones lose theirs, and the mark says from where a replay has to begin. A message that ends
// soon after it came never becomes a row.
//
// The order of durability: only records that are flushed go into rows, and the mark is committed together
// with them. What the journal keeps for the index's sake may go once covered() has passed it.
//
// On a full disk a checkpoint may have of the reserve what outcomes leave, for it is what lets segments go.
// Where that is not enough either, nothing has changed, and it is tried again each second, in smaller and
// smaller pieces: a few rows need fewer fresh pages than thousands.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "common/event/loop.h"
#include "queued/index.h"
#include "queued/messages.h"
#include "queued/reserve.h"
#include "queued/worker.h"

namespace postern::queued {

class Checkpoint {
 public:
  struct Position {  // of the journal, as far as it is flushed
    base::SequenceNumber flushed;
    std::uint64_t segment = 0;
    base::MessageId last_id;
    ClockRecord clock;
  };
  struct Pace {
    base::Millis every{200};
    base::Millis settle{1000};  // messages younger than that get no row, for most end soon
  };
  using Failed = std::move_only_function<void(const std::string& why) noexcept>;

  // `position` tells where the journal is; `saved` runs after each checkpoint; `failed` hears of an index
  // that cannot be relied on. All on the loop.
  Checkpoint(Worker& worker, Index& index, Reserve& reserve, Messages& messages, Pace pace,
             base::Epoch epoch, std::function<Position()> position, event::Callback saved,
             Failed failed);
  ~Checkpoint();

  // Something was flushed, or time went by.
  void consider(base::SteadyTime now);
  // What is committed: a replay begins behind it.
  [[nodiscard]] base::SequenceNumber covered() const { return covered_; }
  void begin_at(base::SequenceNumber covered) { covered_ = covered; }
  // The index takes no more; tried again each second.
  [[nodiscard]] bool full() const { return full_; }
  [[nodiscard]] std::uint64_t lag() const { return lag_; }  // records behind the last one flushed

  // One checkpoint of everything that changed, here and now: for a long replay.
  [[nodiscard]] static os::Result<void> save_now(Index& index, Messages& messages,
                                                 base::Epoch epoch, const Position& position);

 private:
  [[nodiscard]] bool due(base::SteadyTime now) const;
  void begin(base::SteadyTime now);
  void end(Messages::Changes changes, os::Result<void> done);
  [[nodiscard]] base::SequenceNumber settled(base::SteadyTime now, base::SequenceNumber flushed);

  Worker& worker_;
  Index& index_;
  Reserve& reserve_;
  Messages& messages_;
  const Pace pace_;
  base::Epoch epoch_;
  std::function<Position()> position_;
  event::Callback saved_;
  Failed failed_;
  base::SequenceNumber covered_;
  std::deque<std::pair<base::SteadyTime, base::SequenceNumber>> samples_;
  base::SteadyTime last_;
  std::uint64_t lag_ = 0;
  std::size_t most_;  // messages in the next commit
  bool running_ = false;
  bool more_ = false;  // the last one was cut short
  bool full_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::queued
