// Where evidence is read from: ledgers, mailboxes and a queue's listing.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "bench/ledger/content.h"
#include "common/os/error.h"

namespace postern::bench {

// Each whole line of a file. A last one without its end is left out.
[[nodiscard]] os::Result<void> read_lines(const std::string& path,
                                          const std::function<void(std::string_view)>& line);

// The first line of a ledger is that of a load generator.
[[nodiscard]] os::Result<bool> is_load_ledger(const std::string& path);

// Each message in the Maildirs (cur, new) and drop folders (*.eml) below `root`, with its recipient
// as Delivered-To or X-Receiver says it.
using Found = std::function<void(const Evidence&, std::optional<std::string_view> recipient)>;
[[nodiscard]] os::Result<void> read_mailboxes(const std::string& root, const Found& found);

// The ids of what `posternctl messages --json` printed: one JSON object in each line.
[[nodiscard]] os::Result<std::unordered_set<std::string>> read_queue(const std::string& path);

}  // namespace postern::bench
