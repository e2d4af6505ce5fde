// Standing holds: mail that comes from now on and fits their conditions is held. Pure.
#pragma once

#include <string>

#include "common/base/clock.h"
#include "common/ipc/control.h"

namespace postern::queued {

struct StandingHold {
  ipc::Selector what;  // conditions that can be told of mail that has just come
  std::string reason;
  std::string who;
  base::WallTime since;
};

// Only conditions that can be told of mail that has just come, and at least one of them.
[[nodiscard]] bool can_stand(const ipc::Selector& selector);

// Such a selector as it is typed: "--from spam@ --larger 1048576".
[[nodiscard]] std::string conditions_text(const ipc::Selector& selector);

// What a held message says of its hold.
[[nodiscard]] std::string held_by(const std::string& who, const std::string& reason);

}  // namespace postern::queued
