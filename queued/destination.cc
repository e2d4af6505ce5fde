#include "queued/destination.h"

#include <fmt/format.h>

#include "common/config/hop.h"

namespace postern::queued {

std::string hop_name(const config::HopSpec& hop) {
  switch (hop.kind) {
    case config::HopKind::kHost:
      return fmt::format("{}:{}{}",
                         hop.host.find(':') == std::string::npos ? hop.host
                                                                 : fmt::format("[{}]", hop.host),
                         hop.port, config::demand_text(hop));
    case config::HopKind::kSocket:
      return "unix:" + hop.host;
    case config::HopKind::kMailbox:
      return "mailbox:";
    case config::HopKind::kRefuse:
      return "refuse:";
    case config::HopKind::kDiscard:
      return "discard:";
    case config::HopKind::kMx:
      break;
  }
  return {};
}

}  // namespace postern::queued
