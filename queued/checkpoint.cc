#include "queued/checkpoint.h"

#include <algorithm>
#include <utility>

namespace postern::queued {
namespace {

constexpr std::size_t kMostMessages = 4096;  // in one commit
constexpr std::size_t kManyChanged = 8192;   // from here on, young messages get rows too
constexpr base::Millis kMarkEvery{1'000};    // a mark alone
constexpr base::Millis kFullPause{1'000};
constexpr std::size_t kSmaller = 8, kLarger = 2;  // times, is the next piece after a failure, a success
constexpr std::size_t kForOutcomes = 8;           // pieces of the reserve that no checkpoint takes

std::string mark_of(const Checkpoint::Position& position, base::Epoch epoch,
                    base::SequenceNumber covered) {
  IndexMark mark;
  mark.epoch = epoch;
  mark.sequence = covered;
  mark.segment = position.segment;
  mark.last_id = position.last_id;
  mark.clock = position.clock;
  return ipc::encode(mark);
}

}  // namespace

Checkpoint::Checkpoint(Worker& worker, Index& index, Reserve& reserve, Messages& messages, Pace pace,
                       base::Epoch epoch, std::function<Position()> position,
                       event::Callback saved, Failed failed)
    : worker_(worker),
      index_(index),
      reserve_(reserve),
      messages_(messages),
      pace_(pace),
      epoch_(epoch),
      position_(std::move(position)),
      saved_(std::move(saved)),
      failed_(std::move(failed)),
      most_(kMostMessages) {}

Checkpoint::~Checkpoint() { *alive_ = false; }

void Checkpoint::consider(base::SteadyTime now) {
  if (!running_ && now - last_ >= (full_ ? kFullPause : more_ ? base::Millis(0) : pace_.every))
    begin(now);
}

// The last record that was flushed when the youngest messages that may get rows were already there.
base::SequenceNumber Checkpoint::settled(base::SteadyTime now, base::SequenceNumber flushed) {
  samples_.emplace_back(now, flushed);
  while (samples_.size() > 1 && now - samples_[1].first >= pace_.settle) samples_.pop_front();
  if (messages_.changed() > kManyChanged) return flushed;
  const auto& [when, sequence] = samples_.front();
  return now - when >= pace_.settle ? sequence : base::SequenceNumber();
}

void Checkpoint::begin(base::SteadyTime now) {
  const auto position = position_();
  lag_ = position.flushed.value - std::min(covered_, position.flushed).value;
  if (messages_.changed() == 0 && lag_ == 0) return;
  auto changes = messages_.changes(position.flushed, settled(now, position.flushed), most_);
  if (changes.rows.empty() &&
      (changes.covered <= covered_ || now - last_ < std::max(kMarkEvery, pace_.every)))
    return;
  last_ = now;
  running_ = true;
  auto mark = mark_of(position, epoch_, changes.covered);
  // At the end, this may be gone already.
  worker_.post([this, &index = index_, &reserve = reserve_, changes = std::move(changes),
                mark = std::move(mark)]() mutable noexcept -> event::Callback {
    auto done = reserve.persist([&] { return index.commit(changes.rows, mark); }, kForOutcomes);
    return [this, alive = alive_, changes = std::move(changes), done]() mutable noexcept {
      if (*alive) end(std::move(changes), done);
    };
  });
}

void Checkpoint::end(Messages::Changes changes, os::Result<void> done) {
  running_ = false;
  more_ = done && changes.messages.size() == most_;
  full_ = !done && is_exhausted(done.error());
  most_ = full_ ? std::max<std::size_t>(most_ / kSmaller, 1)
                : std::min(most_ * kLarger, kMostMessages);
  if (!done) {
    messages_.unsaved(changes);
    if (!full_) failed_(done.error().text());
    return;
  }
  covered_ = std::max(covered_, changes.covered);
  messages_.saved(changes);
  saved_();
}

os::Result<void> Checkpoint::save_now(Index& index, Messages& messages, base::Epoch epoch,
                                      const Position& position) {
  const auto changes = messages.changes(position.flushed, position.flushed, ~std::size_t{0});
  if (auto done = index.commit(changes.rows, mark_of(position, epoch, changes.covered)); !done) {
    messages.unsaved(changes);
    return done;
  }
  messages.saved(changes);
  return {};
}

}  // namespace postern::queued
