// The command line of postern-load as one value.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "bench/ledger/ending.h"
#include "bench/ledger/template.h"
#include "bench/load/sizes.h"
#include "common/base/clock.h"
#include "common/base/ip.h"

namespace postern::bench {

struct LoadOptions {
  base::Endpoint to;
  std::uint64_t sessions = 1;
  std::uint64_t messages = 0;
  base::Millis duration{0};
  double rate = 0;
  Sizes sizes;
  std::uint64_t messages_per_session = 0;  // 0: any number
  std::uint64_t recipients = 1;
  Template sender, recipient;
  bool pipelining = true;
  bool eight_bit = true;
  std::uint64_t seed = 1;
  std::string run;
  std::string hello;
  std::string ledger;  // empty: none
  base::Millis timeout{0}, backoff{0}, patience{0}, progress{0};
  bool json = false;
};

// `words`: without the program's name. Reads the file of --size file:PATH.
[[nodiscard]] std::expected<LoadOptions, Ending> parse_load_options(std::vector<std::string> words);

}  // namespace postern::bench
