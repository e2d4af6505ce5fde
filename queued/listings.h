// Listings: what queued answers about its mail, a page at a time, and what a selector selects. Keeps
// nothing between questions: each answer names the cursor of the next. Pure over the engine's state.
#pragma once

#include "queued/engine.h"

namespace postern::queued {

inline constexpr std::size_t kScanned = 2000;  // messages looked at for one answer

// Why a recipient does not move now, with the words for it.
struct Standing {
  ipc::State state = ipc::State::kReady;
  std::string why;
  base::WallTime next_try;  // 0: now, or not by itself
};
[[nodiscard]] Standing standing(const Engine& engine, const Message& message,
                                const Recipient& recipient);

[[nodiscard]] bool selects(const Engine& engine, const ipc::Selector& selector,
                           const Message& message);

[[nodiscard]] ipc::QueueRows list_queues(const Engine& engine, const ipc::ListQueues& ask);
[[nodiscard]] ipc::MessageRows list_messages(const Engine& engine, const ipc::ListMessages& ask);
[[nodiscard]] ipc::Shown show(const Engine& engine, const ipc::Show& ask);
[[nodiscard]] ipc::BlockRows list_blocks(const Engine& engine, const ipc::ListBlocks& ask);

// Recipients by state, and what else the status counts over all queues.
struct Totals {
  std::uint64_t ready = 0, retry = 0, off = 0, frozen = 0, delivering = 0, in_flight = 0;
  std::vector<std::string> frozen_queues;  // that hold mail; a few of them
};
[[nodiscard]] Totals totals(const Engine& engine);

// Known queues whose names look like this one, for who mistyped.
[[nodiscard]] std::vector<std::string> near_names(const Engine& engine, std::string_view name);

}  // namespace postern::queued
