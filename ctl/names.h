// The words of posternctl for enumerators that have no name elsewhere.
#pragma once

#include <string_view>

#include "common/base/check.h"
#include "common/ipc/control.h"
#include "common/ipc/explain.h"

namespace postern::ctl {

[[nodiscard]] inline std::string_view name(ipc::RecipientEnd end) {
  switch (end) {
    case ipc::RecipientEnd::kOpen:
      return "open";
    case ipc::RecipientEnd::kDelivered:
      return "delivered";
    case ipc::RecipientEnd::kBounced:
      return "bounced";
    case ipc::RecipientEnd::kRemoved:
      return "removed";
  }
  CHECK(false);
}

[[nodiscard]] inline std::string_view name(ipc::BlockKind kind) {
  switch (kind) {
    case ipc::BlockKind::kFreeze:
      return "freeze";
    case ipc::BlockKind::kOutbound:
      return "outbound";
    case ipc::BlockKind::kHold:
      return "hold";
    case ipc::BlockKind::kIntake:
      return "intake";
    case ipc::BlockKind::kException:
      return "exception";
    case ipc::BlockKind::kLock:
      return "lock";
  }
  CHECK(false);
}

[[nodiscard]] inline std::string_view name(ipc::RoutedBy by) {
  switch (by) {
    case ipc::RoutedBy::kNothing:
      return "mx";
    case ipc::RoutedBy::kRoute:
      return "route";
    case ipc::RoutedBy::kDomain:
      return "domain";
  }
  CHECK(false);
}

}  // namespace postern::ctl
