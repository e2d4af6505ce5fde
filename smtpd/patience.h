// Patience: how long a client may still keep us waiting for the rest of a message's body. It begins with the
// time that a body has (`timeout.data`); waiting uses it up, also between chunks, and what comes wins as much as its
// bytes may take at the least rate that is asked for, but never more than that time in all. So a body that drips ends,
// however steadily, and one that we keep waiting loses nothing. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "common/base/clock.h"

namespace postern::smtpd {

class Patience {
 public:
  // A body begins. `most` is what there is of it; 0: no limit.
  void begin(base::Millis most, base::SteadyTime now) noexcept {
    left_ = all_of(most);
    since_ = now;
  }
  // From now on the client is waited for: so long.
  base::Millis wait(base::SteadyTime now) noexcept {
    since_ = now;
    return base::Millis(std::max<std::int64_t>(left_ / kMicros, 1));
  }
  // So much came of it. `rate`: bytes a second; 0: whatever comes wins all of the time.
  void came(std::uint64_t bytes, base::SteadyTime now, base::Millis most, std::uint64_t rate) noexcept {
    left_ -= (now - since_).count() * kMicros;
    since_ = now;
    if (rate != 0)
      left_ += static_cast<std::int64_t>(std::min(bytes, kMostBytes) * 1'000'000 / rate);
    else if (bytes > 0)
      left_ = all_of(most);
    left_ = std::min(left_, all_of(most));
  }

 private:
  static constexpr std::int64_t kMicros = 1'000;
  static constexpr std::uint64_t kMostBytes = 1ULL << 40;  // more wins nothing further
  [[nodiscard]] static std::int64_t all_of(base::Millis most) noexcept {
    return most.count() == 0 ? std::numeric_limits<std::int64_t>::max() / 4 : most.count() * kMicros;
  }
  std::int64_t left_ = 0;  // microseconds, at `since_`
  base::SteadyTime since_;
};

}  // namespace postern::smtpd
