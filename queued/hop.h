// Hop: what is known of one next hop (a route's host, a set of MX hosts, or a queue whose MX hosts are not
// known yet): how many connections there are and how many it bears, how fast it may be fed, since when it
// is dead. It decides nothing. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

#include "queued/clock.h"
#include "queued/destination.h"

namespace postern::queued {

// A next hop that cannot be reached, as it is remembered across restarts.
struct HopWait {
  QueueTime until{0};
  std::uint32_t failures = 0;
};

class HopState {
 public:
  QueueTime until{0};          // dead until then
  std::uint32_t failures = 0;  // in a row
  std::uint32_t grants = 0;
  std::uint32_t unopened = 0;  // of these, not yet asking
  std::uint32_t leaving = 0;   // of these, told to close

  // --- limits
  // Of several routes that lead here the strictest counts.
  void limit(const Destination& destination) {
    if (destination.connections != 0)
      connections_ = static_cast<std::uint16_t>(
          std::min<std::uint32_t>(connections_, destination.connections));
    interval_ = std::max(interval_, destination.interval);
  }
  void forget_limits() {
    connections_ = kNoLimit;
    interval_ = 0;
  }
  // Connections that it may have now.
  [[nodiscard]] std::uint32_t most() const {
    return probing_ ? 1U : std::min(connections_, window_);
  }
  [[nodiscard]] bool probing() const { return probing_; }
  // What its routes allow; 0: no limit.
  [[nodiscard]] std::uint32_t limit() const { return connections_ == kNoLimit ? 0 : connections_; }
  [[nodiscard]] std::uint64_t interval() const { return interval_; }

  // --- what happened
  void wait(const HopWait& wait) {
    until = wait.until;
    failures = wait.failures;
    probing_ = failures > 0;
  }
  // A connection too many failed while others work: half as many are tried.
  void trouble() {
    window_ = static_cast<std::uint16_t>(std::clamp<std::uint32_t>((grants - unopened) / 2, 1, kNoLimit - 1));
    credit_ = 0;
  }
  // A message went through. One more connection after each round of them.
  void works() {
    failures = 0;
    probing_ = false;
    if (window_ == kNoLimit || ++credit_ < window_) return;
    credit_ = 0;
    if (++window_ >= connections_ || window_ >= kWideEnough) window_ = kNoLimit;
  }

  // --- rate
  // When the next message may go; long past where nothing limits it.
  [[nodiscard]] QueueTime next_turn() const {
    return QueueTime((next_ - kTick + 999) / 1000);
  }
  [[nodiscard]] bool may_send(QueueTime now) const { return interval_ == 0 || !is_paced(now); }
  // Was the last message so short a time ago? That must not be forgotten, limit or none: routes are read anew.
  [[nodiscard]] bool is_paced(QueueTime now) const { return next_turn() > now; }
  void sent(QueueTime now) {
    if (interval_ == 0) return;
    next_ = std::max<std::int64_t>(next_, now.count() * 1000) + static_cast<std::int64_t>(interval_);
  }

 private:
  static constexpr std::uint16_t kNoLimit = 0xFFFF;
  static constexpr std::uint16_t kWideEnough = 1000;
  static constexpr std::int64_t kTick = 1000;  // microseconds; the clock shows no less

  // In an order that wastes nothing: there may be as many hops as queues.
  std::uint64_t interval_ = 0;
  std::int64_t next_ = 0;  // microseconds of the queue clock
  std::uint16_t connections_ = kNoLimit;
  std::uint16_t window_ = kNoLimit;  // connections that it bears, after trouble
  std::uint16_t credit_ = 0;         // messages since the window grew
  bool probing_ = false;             // after a failure: one connection until one message went

 public:
  bool frozen = false;
};

}  // namespace postern::queued
