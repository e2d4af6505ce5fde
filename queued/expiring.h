// Expiring: how many messages are given up within a day unless they arrive, for the status. It is exact: each message
// old enough to matter is looked at, in the order of age, a few in a turn and within the throttle, so that a healthy
// queue costs one read and nothing is kept of any message. Where that takes long the status does not wait for it:
// it tells the count before, with its time. A long count is followed by a rest that is much longer. Owned by Control.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "queued/engine.h"

namespace postern::queued {

inline constexpr base::Millis kSoon{24LL * 3600 * 1000};

// Is one of the message's recipients that `concerned` picks given up within a day, unless it
// arrives? What stops its clock now may go on.
[[nodiscard]] inline bool expires_soon(const Engine& engine, const Message& message, auto concerned) {
  if (engine.young_after(message, kSoon)) return false;  // the usual case
  return std::any_of(message.recipients.begin(), message.recipients.end(),
                     [&](const Recipient& recipient) {
                       if (!recipient.open() || !concerned(recipient)) return false;
                       const auto left = engine.left(message, recipient);
                       return left && *left <= kSoon;
                     });
}

// Does nothing that came after it expire soon either?
[[nodiscard]] inline bool ends_soon_expiring(const Engine& engine, const Message& last) {
  return engine.in_order_of_age(last.id) && engine.young_after(last, kSoon);
}

class Expiring {
 public:
  static constexpr base::Millis kPatience{50};
  static constexpr int kRest = 20;  // times as long as the count took

  struct Count {
    std::uint64_t messages = 0;
    base::WallTime when;  // it was begun
  };
  using Told = std::move_only_function<void(const std::optional<Count>&) noexcept>;

  Expiring(event::Loop& loop, Engine& engine)
      : engine_(engine), patience_(loop, [this]() noexcept { tell(); }) {}

  // Counts anew, unless it rests. nullopt: nothing was counted to the end yet.
  void ask(Told told);

 private:
  void begin();
  void go_on(base::MessageId after);
  void finish();
  void tell();

  Engine& engine_;
  std::optional<Count> last_;
  Count count_;  // under way
  bool counting_ = false;
  base::SteadyTime begun_;
  base::SteadyTime rests_until_;
  std::vector<Told> waiting_;
  event::Timer patience_;
};

}  // namespace postern::queued
