#include "queued/destination.h"

#include "common/config/hop.h"

namespace postern::queued {

namespace {
constexpr std::string_view kSocket = "unix:", kMailbox = "mailbox:";
}  // namespace

std::string hop_name(const config::HopSpec& hop) {
  switch (hop.kind) {
    case config::HopKind::kHost:
      return config::host_name(hop);
    case config::HopKind::kSocket:
      return std::string(kSocket) + hop.host;
    case config::HopKind::kMailbox:
      return std::string(kMailbox);
    case config::HopKind::kRefuse:
      return "refuse:";
    case config::HopKind::kDiscard:
      return "discard:";
    case config::HopKind::kMx:
      break;
  }
  return {};
}

bool is_local_name(std::string_view hop_name) {
  return hop_name == kMailbox || hop_name.starts_with(kSocket);
}

}  // namespace postern::queued
