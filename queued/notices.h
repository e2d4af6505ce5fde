// Notices: the bounce that follows from failed recipients, as the message that the outcome's record
// carries. One for each occasion, never for a null reverse-path. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/config/roles.h"
#include "queued/message.h"

namespace postern::queued {

struct BuiltNotice {
  MessageRecord record;  // from <> to the sender, without id
  std::string body;
};

// How much of the original's header a notice may hold.
inline constexpr std::size_t kNoticeHeader = 16 * 1024;

// Does a failure of this message cause a notice?
[[nodiscard]] inline bool wants_notice(const Message& message) { return !message.from.is_null(); }

// `failed`: the fates of kFailed. `head`: the original's beginning. `id`: the notice's.
[[nodiscard]] BuiltNotice make_notice(const Message& message,
                                      const std::vector<RecipientFate>& failed,
                                      const std::string& remote, std::string_view head,
                                      base::MessageId id, const config::QueuedConfig& config,
                                      base::WallTime now, QueueTime clock);

}  // namespace postern::queued
