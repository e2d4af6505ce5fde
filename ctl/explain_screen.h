// What explain shows to people: why a message, a queue or a next hop does not move, what happens next, and
// what would help. Everything of foreign origin is escaped. Pure but for the local zone; see human.h.
#pragma once

#include <string>
#include <vector>

#include "common/ipc/explain.h"

namespace postern::ctl {

// All that is known of a message: of what is queued, and of what ended.
struct MessageStory {
  base::MessageId id;
  ipc::Explained queued;               // with the explanations of all its pages, or not found
  std::vector<ipc::HistoryRow> ended;  // as far as the history knows
};

// Recipients with the same explanation together, whatever pages they came on.
void merge(std::vector<ipc::Explanation>& all, std::vector<ipc::Explanation> page);

[[nodiscard]] std::string explain_page(const MessageStory& story, base::WallTime now);
[[nodiscard]] std::string explain_page(const ipc::QueueExplained& queue, base::WallTime now);

}  // namespace postern::ctl
