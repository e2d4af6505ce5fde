// The history as the control tool asks for it: what a selector selects of it, a page at a time.
#pragma once

#include "queued/history.h"

namespace postern::queued {

// Does it select this recipient? Pure. A state selects nothing: what is over has none.
[[nodiscard]] bool selects(const ipc::Selector& selector, const HistoryLine& line,
                           const HistoryRecipient& recipient, base::WallTime now);

// The earliest time at which something that the selector selects may have ended.
[[nodiscard]] base::WallTime earliest_end(const ipc::Selector& selector, base::WallTime now);

// `answer` runs later; null: nothing is kept.
void list_history(History* history, const ipc::ListHistory& ask, base::WallTime now,
                  std::move_only_function<void(const ipc::HistoryRows&) noexcept> answer);

}  // namespace postern::queued
