// Reads [[certificate]] and [tls]: the files that they name, and whether these belong together, so
// that a mistake shows when the configuration is read, not when a client comes. Likewise what [delivery]
// says of TLS.
#pragma once

#include "common/config/config.h"
#include "common/config/report.h"
#include "common/config/section.h"

namespace postern::config {

void read_certificates(const Section& top, Config& config, Report& report);
// The least version, and the authorities whose certificates of next hops count: those of delivery.ca, else of
// the system. The routes have been read.
void read_outgoing_tls(const Section& delivery, Config& config, Report& report);

}  // namespace postern::config
