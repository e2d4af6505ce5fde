// What a verdict looks like.
#pragma once

#include <string>

#include "bench/ledger/book.h"

namespace postern::bench {

// A few lines for people: the counts, and examples of what is wrong.
[[nodiscard]] std::string human(const Verdict& verdict);
// One JSON object in one line.
[[nodiscard]] std::string json(const Verdict& verdict);

}  // namespace postern::bench
