#include "queued/destination.h"

#include <fmt/format.h>

namespace postern::queued {

std::string hop_name(const config::HopSpec& hop) {
  switch (hop.kind) {
    case config::HopKind::kHost:
      return hop.host.find(':') == std::string::npos ? fmt::format("{}:{}", hop.host, hop.port)
                                                     : fmt::format("[{}]:{}", hop.host, hop.port);
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
