// Numbers and times as people read them: short, and in the local zone, for queued speaks UTC. Pure
// but for the zone, which is TZ's or the system's.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/clock.h"

namespace postern::ctl {

// Bytes by 1024: "0", "812", "4.1K", "412M".
[[nodiscard]] std::string size_text(std::uint64_t bytes);

// A span with its two largest units: "8s", "12m", "3h05m", "2d04h"; below 0 it is "0s".
[[nodiscard]] std::string span_text(base::Millis span);

// "14:31:02" on the same local day as `now`, else "Mon 23:04" within six days, else
// "2026-11-23 23:04"; "-" for 0, which stands for "none".
[[nodiscard]] std::string local_time(base::WallTime t, base::WallTime now);

// "Tue 02:14:31 UTC", with the local zone's name.
[[nodiscard]] std::string local_now(base::WallTime now);

}  // namespace postern::ctl
