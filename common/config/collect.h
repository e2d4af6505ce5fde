// [[collect]]: hosts that keep mail for us until we call (RFC 2645).
#pragma once

#include <map>
#include <span>
#include <string>

#include "common/config/report.h"
#include "common/config/section.h"

namespace postern::config {

inline constexpr std::uint16_t kCollectPort = 366;

// `own`: the names of our domains, whose mail alone can be asked for.
void read_collects(std::span<const Section> sections, const std::map<std::string, Where>& own, Config& config,
                   Report& report);

}  // namespace postern::config
