// The command line of postern-sink as one value.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "bench/ledger/ending.h"
#include "bench/sink/moods.h"
#include "bench/sink/protocol.h"
#include "common/base/clock.h"
#include "common/base/ip.h"

namespace postern::bench {

struct SinkOptions {
  std::vector<base::Endpoint> listen;
  Server::Options server;
  Moods moods;
  std::vector<std::string> mood_texts;  // of the command line
  std::string mood_file;                // empty: none
  std::uint64_t seed = 1;
  std::string ledger;      // empty: none
  std::string chain, key;  // files in PEM; empty: STARTTLS is not offered
  base::Millis progress{0};
  bool json = false;
};

// `words`: without the program's name.
[[nodiscard]] std::expected<SinkOptions, Ending> parse_sink_options(std::vector<std::string> words);
// The moods of the command line and of the file, which is read now; an error is a sentence.
[[nodiscard]] std::expected<Moods, std::string> read_moods(const SinkOptions& options);

}  // namespace postern::bench
