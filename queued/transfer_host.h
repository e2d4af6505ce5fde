// TransferHost: what an export or an import needs of the queue around the store, which is a running one
// or one that stands still. All on the loop; outlives those that use it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/event/loop.h"
#include "queued/store.h"

namespace postern::queued {

class TransferHost {
 public:
  using Done = event::Callback;
  virtual ~TransferHost() = default;

  [[nodiscard]] virtual Store& store() = 0;
  [[nodiscard]] virtual const std::string& hostname() const = 0;
  // Free bytes below which nothing is taken in.
  [[nodiscard]] virtual std::uint64_t least_free() const = 0;
  // Runs once all messages are known.
  virtual void when_loaded(Done loaded) = 0;
  // Of these, those that there are, are held; durable when `held` runs.
  virtual void hold(std::vector<base::MessageId> ids, std::string why, Done held) = 0;
  // Their holds end, durably when `released` runs; nothing else about them changes.
  virtual void release(std::vector<base::MessageId> ids, Done released) = 0;
  // Of one that can be found now, on the queue clock, without when its clock stood still; of recipients
  // for whom that differs, the least.
  [[nodiscard]] virtual base::Millis age(const Message& message) const = 0;
  // One that can be found now: is something of it in delivery?
  [[nodiscard]] virtual bool in_delivery(const Message& message) const = 0;
  // Ends all of these, which can be found now and are not in delivery; nobody is told.
  virtual void remove(const std::vector<base::MessageId>& ids) = 0;
  // It has just become durable.
  virtual void admit(base::MessageId id) = 0;

  // One import at a time, or two of the same file would take everything twice.
  bool importing = false;
};

// The name of a message in an export. A notice came by no transaction; its name is made of its id and of
// the export's.
[[nodiscard]] base::Token token_of(const Message& message, const base::Token& file);
// Why a message is held that this export writes; what held it before, `former`, stands in it too.
[[nodiscard]] std::string exported_reason(const base::Token& file, std::string_view former);
[[nodiscard]] bool is_exported(std::string_view held, const base::Token& file);
// What holds a message, or held it before an export did; empty: only that, or that it was imported.
[[nodiscard]] std::string_view held_by_people(std::string_view held);
// Why one is held that this import has not finished with.
[[nodiscard]] std::string importing_reason(const base::Token& file);
inline constexpr std::string_view kImported = "imported";

}  // namespace postern::queued
