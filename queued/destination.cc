#include "queued/destination.h"

#include <fmt/format.h>

#include <functional>

#include "common/config/hop.h"
#include "queued/shares.h"

namespace postern::queued {

namespace {
constexpr std::string_view kSocket = "unix:", kMailbox = "mailbox:";
constexpr std::size_t kMaxHopName = 255;  // as in ipc/types.h
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
    case config::HopKind::kTurn:
      return std::string(kCalledFor);
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

std::string hop_name(const config::HopSpec& hop, std::string_view queue) {
  auto name = hop_name(hop);
  if (!is_called_for(hop)) return name;
  name += queue;
  if (name.size() <= kMaxHopName) return name;
  const auto rest = fmt::format("+{:016x}", std::hash<std::string>()(name));
  name.resize(kMaxHopName - rest.size());
  return name + rest;
}

bool is_local_name(std::string_view hop_name) {
  return hop_name == kMailbox || hop_name.starts_with(kSocket);
}

}  // namespace postern::queued
