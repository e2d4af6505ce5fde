// The command line of postern-ledger as one value.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "bench/ledger/ending.h"

namespace postern::bench {

struct LedgerOptions {
  std::vector<std::string> ledgers;
  std::vector<std::string> mailboxes;  // directories
  std::string queue;                   // file; empty: none
  bool any_recipient = false;
  std::optional<std::uint64_t> most_duplicates;
  bool json = false;
};

// `words`: without the program's name.
[[nodiscard]] std::expected<LedgerOptions, Ending> parse_ledger_options(
    std::vector<std::string> words);

}  // namespace postern::bench
