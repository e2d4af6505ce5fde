// What the commands of Control share that work on selected messages.
#pragma once

#include "queued/control.h"

namespace postern::queued {

struct Control::Selecting {
  using Look = std::move_only_function<void(const std::vector<const Message*>&) noexcept>;
  using Change = std::move_only_function<void(const std::vector<base::MessageId>&) noexcept>;
  using Enough = std::move_only_function<bool(const Message&) const noexcept>;
  ipc::Selector selector;  // not empty
  Look look;      // at some that are selected
  Change change;  // changes them, at most kMaxRetried that are in memory now; empty: nothing is changed
  Enough enough;  // is nothing that came after this one of interest? Empty: all is looked at
  event::Callback finished;  // behind all changes
};

// To be put behind what is said of something that goes on.
inline std::string expiring_text(std::uint64_t count) {
  return "; expire within 24h: " + std::to_string(count);
}

}  // namespace postern::queued
