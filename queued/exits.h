// Exit statuses of posternctl that queued decides on, by sysexits(3), as the messages carry them.
#pragma once

#include <sysexits.h>

#include <cstdint>

namespace postern::queued {

inline constexpr std::uint8_t kOk = EX_OK, kUsage = EX_USAGE, kDataError = EX_DATAERR,
                              kOsError = EX_OSERR, kTemporary = EX_TEMPFAIL, kNoRight = EX_NOPERM;

}  // namespace postern::queued
