// LmdbCalls: the calls of the C library by which LMDB changes its files, counted, and one of them made
// to fail (lmdb_calls.cc defines them in this program, as tests/crash does).
#pragma once

#include <cerrno>
#include <cstdint>
#include <string>

namespace postern::queued {

struct LmdbCalls {
  std::string directory;             // only files below it count; empty: none does
  std::uint64_t calls = 0;           // so far
  std::uint64_t fail_call = ~0ULL;   // only this one fails
  int error = EIO;                   // with this
  std::string failed;                // what it was
};
extern LmdbCalls g_lmdb_calls;

}  // namespace postern::queued
