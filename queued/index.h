// Index: the queue's long memory, a table of rows on disk that the checkpoint alone writes. It
// holds what memory need not, and it can always be rebuilt from the journal; so damage to it is an
// error to report, never something to repair.
//
// get() and scan() may be called from any thread, commit() from one thread at a time; they do not
// wait for each other. Errors: ENOSPC when the disk is full, ENOMEM when the map is (nothing has
// changed, it may be tried again); EBADMSG when what is there is damaged; anything else means that the file cannot
// be relied on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/os/error.h"

namespace postern::queued {

enum class Table : std::uint8_t {
  kMessages,  // by id, big-endian: in the order of acceptance
  kWaits,     // by the queue's name
};

struct IndexRow {
  std::string key;  // 1 to 255 bytes
  std::string value;
};

struct IndexChange {
  Table table = Table::kMessages;
  std::string key;
  std::optional<std::string> value;  // nullopt: the row goes; one that is not there is no error
};

struct IndexUse {
  std::uint64_t used = 0;     // bytes of the map that hold something
  std::uint64_t map = 0;      // bytes that it may grow to
  std::uint64_t file = 0;     // bytes on disk
  std::uint64_t ahead = 0;    // bytes of those that are kept free for growth on a full disk
  std::uint64_t commits = 0;  // in this life
};

class Index {
 public:
  virtual ~Index() = default;

  // What the last commit() said of itself; empty: there was none.
  [[nodiscard]] virtual os::Result<std::string> mark() = 0;
  [[nodiscard]] virtual os::Result<std::optional<std::string>> get(Table table,
                                                                   std::string_view key) = 0;
  // The first `limit` rows with keys above `after`, in their order; fewer: there are no more.
  [[nodiscard]] virtual os::Result<std::vector<IndexRow>> scan(Table table, std::string_view after,
                                                               std::size_t limit) = 0;
  // All of it or nothing, and on disk when it returns.
  [[nodiscard]] virtual os::Result<void> commit(const std::vector<IndexChange>& changes,
                                                std::string_view mark) = 0;
  [[nodiscard]] virtual IndexUse use() = 0;
};

}  // namespace postern::queued
