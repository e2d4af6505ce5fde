// What --json prints: one object per line, "v":1 first, times in ISO 8601 UTC (null: none), ASCII
// only. The names of the keys are a contract (docs/posternctl.1). Pure.
#pragma once

#include <string>
#include <vector>

#include "common/ipc/control.h"
#include "ctl/accounts.h"
#include "ctl/explain_screen.h"

namespace postern::ctl {

// Each returns one line with its line feed.
[[nodiscard]] std::string to_json(const ipc::Status& status);
[[nodiscard]] std::string to_json(const ipc::QueueRow& row);
[[nodiscard]] std::string to_json(const ipc::MessageRow& row);
[[nodiscard]] std::string to_json(const ipc::BlockRow& row);
[[nodiscard]] std::string to_json(const ipc::HistoryRow& row);
[[nodiscard]] std::string to_json(const AccountRow& row);
// `shown` with the recipients of all its pages.
[[nodiscard]] std::string to_json(base::MessageId id, const ipc::Shown& shown);
// What explain tells: one object.
[[nodiscard]] std::string to_json(const MessageStory& story);
[[nodiscard]] std::string to_json(const ipc::QueueExplained& queue);
[[nodiscard]] std::string to_json(const ipc::Done& done);
[[nodiscard]] std::string to_json(const ipc::Quiet& quiet);
// Of check-spool: what is wrong, and at last what was looked at.
[[nodiscard]] std::string finding_json(const std::string& finding);
[[nodiscard]] std::string check_json(const std::string& summary, std::uint64_t findings);

}  // namespace postern::ctl
