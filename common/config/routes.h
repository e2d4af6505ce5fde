// [[route]]: where mail for everybody else goes.
#pragma once

#include <map>
#include <span>
#include <string>

#include "common/config/report.h"
#include "common/config/section.h"

namespace postern::config {

// `own`: the names of our domains, to which no route leads.
void read_routes(std::span<const Section> sections, const std::map<std::string, Where>& own, Config& config,
                 Report& report);

}  // namespace postern::config
