#include "queued/destination.h"

#include "common/config/hop.h"
#include "queued/shares.h"

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

Destination second_path(const Destination& route, std::size_t refused) {
  auto path = route;
  path.second_path = false;
  path.via.clear();
  if (!route.second_path || refused >= route.via.size()) return path;
  for (auto way = group_at(route.via, refused).first; way < route.via.size(); ++way)
    if (way != refused) path.via.push_back(route.via[way]);
  return path;
}

bool is_local_name(std::string_view hop_name) {
  return hop_name == kMailbox || hop_name.starts_with(kSocket);
}

}  // namespace postern::queued
