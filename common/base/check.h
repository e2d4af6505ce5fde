// CHECK: a broken assumption of our own is a bug, and a bug ends the process at once, with its place
// named on stderr. Never for input, the environment or the mail: those have values of their own.
#pragma once

#include <cstdio>
#include <cstdlib>

#define POSTERN_CHECK_STRING_(x) #x
#define POSTERN_CHECK_STRING(x) POSTERN_CHECK_STRING_(x)
#define CHECK(condition)                                                                          \
  do {                                                                                            \
    if (!(condition)) [[unlikely]] {                                                              \
      std::fputs(__FILE__ ":" POSTERN_CHECK_STRING(__LINE__) ": CHECK(" #condition ") failed\n", \
                 stderr);                                                                         \
      std::abort();                                                                               \
    }                                                                                             \
  } while (false)
