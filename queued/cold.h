// Cold reads: what is fetched of messages that are not resident, mostly by the reader thread. Stateless.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/os/disk.h"
#include "queued/index.h"
#include "queued/row.h"

namespace postern::queued {

// Those of `ids` that have rows.
[[nodiscard]] os::Result<std::vector<Message>> read_rows(Index& index,
                                                         const std::vector<base::MessageId>& ids);
// The first `limit` rows with ids above `after`; fewer: there are no more.
[[nodiscard]] os::Result<std::vector<Message>> scan_rows(Index& index, base::MessageId after,
                                                         std::size_t limit);
[[nodiscard]] os::Result<std::vector<WaitRow>> read_waits(Index& index);

struct ReadRecord {
  std::string prefix;
  std::string body;
};

// The whole record of message `id` at its place, if that needs no wait for the disk; nullopt too where anything else
// stands there: read_record() says what it is.
[[nodiscard]] std::optional<ReadRecord> read_cached_record(os::File* segment, const Place& place,
                                                           base::MessageId id);
// The whole record of message `id` at its place; EIO if anything else stands there.
[[nodiscard]] os::Result<ReadRecord> read_record(os::File* segment, const Place& place,
                                                 base::MessageId id);

}  // namespace postern::queued
