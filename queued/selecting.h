// What the commands of Control share that work on selected messages.
#pragma once

#include "queued/control.h"

namespace postern::queued {

struct Control::Selecting {
  using Look = std::move_only_function<void(const std::vector<const Message*>&) noexcept>;
  using Change = std::move_only_function<void(const std::vector<base::MessageId>&) noexcept>;
  ipc::Selector selector;  // not empty
  Look look;      // at some that are selected
  Change change;  // changes them, at most kMaxRetried that are in memory now; empty: nothing is changed
  event::Callback finished;  // behind all changes
};

// Is one of the message's recipients that `concerned` picks given up within a day, unless it
// arrives?
bool Control::expires_soon(const Message& message, auto concerned) const {
  constexpr base::Millis kSoon{24LL * 3600 * 1000};
  if (engine_.young_after(message, kSoon)) return false;  // the usual case
  return std::any_of(message.recipients.begin(), message.recipients.end(),
                     [&](const Recipient& recipient) {
                       if (!recipient.open() || !concerned(recipient)) return false;
                       const auto left = engine_.left(message, recipient);
                       return left && *left <= kSoon;
                     });
}

// To be put behind what is said of something that goes on.
inline std::string expiring_text(std::uint64_t count) {
  return "; expire within 24h: " + std::to_string(count);
}

}  // namespace postern::queued
