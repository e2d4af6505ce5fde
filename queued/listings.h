// Listings: what queued answers about its mail, a page at a time, and what a selector selects. Keeps
// nothing between questions: each answer names the cursor of the next. What is not in memory is fetched
// first, so an answer may come at once or in a later turn.
#pragma once

#include "queued/standing.h"

namespace postern::queued {

inline constexpr std::size_t kScanned = 2000;  // messages looked at in one turn

// Does the recipient's mail by this route go to a next hop of this name (frozen_name.h, or as listings have it), or may
// it? kUnknown: hosts are to be found by DNS, and none of them is known yet, as behind a start.
enum class Leads : std::uint8_t { kNo, kUnknown, kYes };
[[nodiscard]] Leads leads_to(const Schedule& schedule, const Route& route, const Recipient& recipient,
                             const std::string& name);

// All that the message itself tells; what its header says (Selector::message_id) is asked behind that
// (message_id.h).
[[nodiscard]] bool selects(const Engine& engine, const ipc::Selector& selector,
                           const Message& message);

template <class Answer>
using Reply = std::move_only_function<void(const Answer&) noexcept>;

void list_queues(Engine& engine, const ipc::ListQueues& ask, Reply<ipc::QueueRows> reply);
// Of those with `hops`.
[[nodiscard]] ipc::QueueRows list_hops(const Engine& engine, const ipc::ListQueues& ask);
void list_messages(Engine& engine, const ipc::ListMessages& ask, Reply<ipc::MessageRows> reply);
void show(Engine& engine, const ipc::Show& ask, Reply<ipc::Shown> reply);
// A freeze as listings show it.
[[nodiscard]] ipc::BlockRow block_row(const Freeze& freeze);
[[nodiscard]] ipc::BlockRows list_blocks(const Engine& engine, const ipc::ListBlocks& ask);

// Recipients by state, and what else the status counts over all queues.
struct Totals {
  std::uint64_t ready = 0, uncalled = 0, retry = 0, off = 0, frozen = 0, held = 0, delivering = 0, in_flight = 0;
  base::MessageId oldest;  // 0: there is none
};
[[nodiscard]] Totals totals(const Engine& engine);

// An id tells when its message came.
[[nodiscard]] inline base::WallTime arrival_of(base::MessageId id) {
  return {static_cast<std::int64_t>(id.value / 1000)};
}

// Known queues whose names look like this one, for who mistyped.
[[nodiscard]] std::vector<std::string> near_names(const Engine& engine, std::string_view name);

}  // namespace postern::queued
