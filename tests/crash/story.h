// The stories that are recorded: what Postern did on disk, and what it promised meanwhile.
#pragma once

#include <string>
#include <vector>

#include "tests/crash/ledger.h"
#include "tests/crash/machine.h"
#include "tests/crash/recorder.h"

namespace postern::crash {

struct Recording {
  std::string story;
  MachineOptions machine;
  Image start;
  std::vector<Operation> operations;
  std::vector<Site> sites;
  Ledger ledger;
  std::string failed;  // the story could not be told to its end
};

// What a spool and the mailboxes are before the first start.
[[nodiscard]] Image empty_image();

// All work below `root`, and are the same for the same seed.
[[nodiscard]] Recording record_store_story(const std::string& root, std::uint64_t seed);
[[nodiscard]] Recording record_engine_story(const std::string& root, std::uint64_t seed);
[[nodiscard]] Recording record_upkeep_story(const std::string& root, std::uint64_t seed);

}  // namespace postern::crash
