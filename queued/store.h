// Store: the one header through which the rest of queued speaks to what keeps the mail. Nothing above
// it assumes a local file. Everything is called on the loop, and every callback runs there.
//
// What was acknowledged is never lost: accept() and save_blocks() call back only after a finished
// flush; outcome() calls `written` when a crash of the process no longer loses it, `flushed` when a
// power cut does not either. A callback that never comes means that the process is about to end: any
// failed write or flush is told to `fatal` and nothing more is acknowledged.
//
// A full disk, or too few descriptors, is no failure: messages are refused, all else has a reserve.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/unique_fd.h"
#include "common/event/loop.h"
#include "common/os/error.h"
#include "queued/clock.h"
#include "queued/message.h"

namespace postern::queued {

using Bytes = std::shared_ptr<const std::string>;

// A body in one of its two places.
struct LoadedBody {
  Bytes bytes;          // in memory, or
  base::UniqueFd file;  // a file, read-only
};

struct LargeFile {
  base::MessageId id;
  base::UniqueFd fd;  // write-only, empty
};

// How the store is; sampled each second.
struct StoreHealth {
  std::uint64_t free = 0;           // bytes left on the disk
  std::uint64_t journal_bytes = 0;  // of its files
  std::uint64_t large_bytes = 0;
  std::uint64_t flushes = 0;
  std::uint64_t records = 0;
  base::Millis flush_p99{0};
  std::uint64_t index_used = 0;      // bytes of the index's map that hold something
  std::uint64_t index_map = 0;       // bytes that it may grow to
  std::uint64_t index_file = 0;      // bytes on disk
  std::uint64_t checkpoints = 0;     // in this life
  std::uint64_t checkpoint_lag = 0;  // records that the index does not know yet
  bool index_full = false;           // it takes no more at the moment
  std::string lack;                  // why nothing can be accepted; empty: it can
  std::vector<std::string> damage;  // a sentence each
};

// Messages in the order of acceptance; the pointers are good while the callback runs.
struct Batch {
  std::vector<const Message*> messages;
  base::MessageId last;  // where the next one goes on
  bool more = false;
};

// What a check looked at.
struct CheckCounts {
  std::uint64_t messages = 0;
  std::uint64_t body_bytes = 0;
  std::uint64_t large_files = 0;
  std::uint64_t history_lines = 0;
};

// Where a check goes on.
struct CheckPlace {
  enum class Part : std::uint8_t { kMessages, kFiles, kDone };
  Part part = Part::kMessages;
  base::MessageId after;
  std::string file;  // of those that are no mail, with where in it
  std::uint64_t offset = 0;
};

struct CheckSlice {
  std::vector<std::string> findings;  // a sentence each
  CheckCounts counts;                 // of this slice
  CheckPlace next;
};

class Store {
 public:
  using Checked = std::move_only_function<void(CheckSlice) noexcept>;
  using Known = std::move_only_function<void(os::Result<bool>) noexcept>;
  using Done = event::Callback;
  using Scanned = std::move_only_function<void(const Batch&) noexcept>;
  // True: flushed. False: refused for want of room, so it is not and never will be in the journal.
  using Accepted = std::move_only_function<void(bool) noexcept>;
  using Loaded = std::move_only_function<void(os::Result<LoadedBody>) noexcept>;
  using Head = std::move_only_function<void(std::string) noexcept>;
  using LargeOpened = std::move_only_function<void(os::Result<LargeFile>) noexcept>;
  using LargeSealed = std::move_only_function<void(os::Result<std::uint32_t>) noexcept>;
  using Saved = std::move_only_function<void(os::Result<void>) noexcept>;
  virtual ~Store() = default;

  [[nodiscard]] virtual const QueueClock& clock() const = 0;
  [[nodiscard]] virtual base::Epoch epoch() const = 0;  // of this life, for leases
  [[nodiscard]] virtual base::MessageId new_id() = 0;
  // May fields and body of this size be stored in one record?
  [[nodiscard]] virtual bool fits(std::size_t recipients, std::size_t body) const = 0;

  // A message begins; it can be found from `accepted` on. `body` is null for a large one.
  virtual void accept(MessageRecord record, Bytes body, Accepted accepted) = 0;
  // Of a message that can be found now. Applied in memory at once; the notice in it can be found from
  // `flushed` on. Each notice that it replaces can be found now, or came with a record that is not flushed yet.
  virtual void outcome(OutcomeRecord record, Bytes notice_body, Done written, Done flushed) = 0;
  virtual void note(QueueRecord record) = 0;
  // These, too, change only messages that can be found now.
  virtual void note(HoldRecord record) = 0;
  virtual void note(RetryRecord record, Done written) = 0;
  // Runs when everything before it is flushed.
  virtual void settle(Done flushed) = 0;
  // Runs when what earlier lives left behind is surely on disk: at once, unless a start found the disk so
  // full that it still waits for room. Before that nobody may be told of it.
  virtual void when_sure(Done sure) = 0;

  // Not every message is in memory. find() knows only those that are; null may also mean that it is not.
  // What it gives is good for this turn of the loop.
  [[nodiscard]] virtual const Message* find(base::MessageId id) const = 0;
  // Those of `ids` that there are can be found while `resident` runs: at once if they are in memory.
  virtual void fetch(std::vector<base::MessageId> ids, Done resident) = 0;
  // The first of them is about to be asked for, and the others soon: what is not in memory is brought in by one visit,
  // unless the first is on its way already.
  virtual void read_ahead(std::vector<base::MessageId> ids) = 0;
  // The first `limit` messages with ids above `after`, and a few more that are in memory.
  virtual void scan(base::MessageId after, std::size_t limit, Scanned scanned) = 0;
  // Tells all messages from earlier lives, a batch at a time; once, at the start. Until then sums are
  // too low, and no space is given back.
  virtual void tell_all(Scanned each) = 0;
  [[nodiscard]] virtual std::uint64_t count() const = 0;
  [[nodiscard]] virtual std::uint64_t bytes() const = 0;
  [[nodiscard]] virtual const std::map<std::string, QueueRecord, std::less<>>& waits() const = 0;
  // The message that came by this token, if it is (or was) in the journal.
  [[nodiscard]] virtual std::optional<base::MessageId> find_token(const base::Token& token) const = 0;
  // Nobody will ask for it.
  virtual void forget_token(const base::Token& token) = 0;

  // The body, checked: an error means that it is gone or damaged. May call back at once. The message can
  // be found while `loaded` runs, with its prefix.
  virtual void load(base::MessageId id, Loaded loaded) = 0;
  // At most `limit` bytes from the beginning of prefix and body; nothing of a damaged one.
  virtual void load_head(base::MessageId id, std::size_t limit, Head head) = 0;
  // A piece of a large body; nothing behind its end.
  virtual void load_part(base::MessageId id, std::uint64_t offset, std::size_t limit,
                         Head part) = 0;

  // A file for a large body, if `room` bytes of the disk are free; it is dropped unless a message names
  // it.
  virtual void open_large(std::uint64_t room, LargeOpened opened) = 0;
  // Makes sure that nobody can write to it any more and that it is on disk; gives its checksum.
  virtual void seal_large(base::MessageId id, std::uint64_t size, LargeSealed sealed) = 0;
  virtual void drop_large(base::MessageId id) = 0;
  // Bytes of a large body that comes in from here, and not by its descriptor.
  virtual void write_large(base::MessageId id, std::uint64_t offset, std::string bytes,
                           Saved written) = 0;

  // Reads a slice of all that is kept, and compares it with what is known of it. Changes nothing.
  virtual void check(CheckPlace from, Checked checked) = 0;

  // The whole of this export file was imported: durable when `saved` runs.
  virtual void note_import(const base::Token& file, Saved saved) = 0;
  virtual void find_import(const base::Token& file, Known known) = 0;

  // Puts a copy of the message into badmail, or adds the failures to the one that lies there; `saved` when
  // it is flushed. An error means that there was no room for it. Of a message that can be found now.
  virtual void put_into_badmail(base::MessageId id, BadmailReason reason, Saved saved) = 0;

  // The operator's blocks, as they were found at the start; nullopt: there were none.
  [[nodiscard]] virtual const std::optional<std::string>& blocks_text() const = 0;
  // Has this spool held mail before?
  [[nodiscard]] virtual bool used_before() const = 0;
  // An error means that the old ones stand: there was no room. Any other failure is fatal.
  virtual void save_blocks(std::string text, Saved saved) = 0;
  // Those that were found make no sense: they are kept for people, before anything is saved over them.
  virtual void set_blocks_aside() = 0;

  [[nodiscard]] virtual StoreHealth health() const = 0;
  // Once a second: samples the disk, tidies up.
  virtual void tick() = 0;
};

}  // namespace postern::queued
