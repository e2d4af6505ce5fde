// What time it is, and the time at which something is to end, as people say it. Pure but for the clock, and for the
// zone, which is TZ's or the system's.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "common/base/clock.h"

namespace postern::ctl {

[[nodiscard]] inline base::WallTime now() { return base::system_clock().wall(); }

// "18:00": when the clock shows that next; "2026-12-24 18:00", "2026-12-24": then; "90m", "+2h": in
// so long. Seconds may follow the minutes. The error is a sentence; a time that is over is one.
[[nodiscard]] std::expected<base::WallTime, std::string> parse_until(std::string_view text,
                                                                     base::WallTime now);

}  // namespace postern::ctl
