#include "bench/ledger/ending.h"

#include <cstdio>

namespace postern::bench {

int print(const Ending& ending) {
  std::fputs(ending.text.c_str(), ending.exit == 0 ? stdout : stderr);
  return ending.exit;
}

}  // namespace postern::bench
