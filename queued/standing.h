// Standing: why mail does not move now, with the words for it, as all listings say it.
#pragma once

#include <optional>
#include <string>

#include "queued/engine.h"

namespace postern::queued {

// Why a recipient does not move now.
struct Standing {
  ipc::State state = ipc::State::kReady;
  std::string why;
  base::WallTime next_try;  // 0: now, or not by itself
  base::WallTime until;     // when a freeze ends by itself; 0: it does not
};
[[nodiscard]] Standing standing(const Engine& engine, const Message& message,
                                const Recipient& recipient);

// --- Of a queue as a whole

// Where what is due first is tried first; null: that is not known, or nobody leads there.
[[nodiscard]] const Schedule::Hop* hop_of(const Engine& engine, const Schedule::Queue& queue);
// Of one that is blocked, and when a freeze ends by itself.
[[nodiscard]] Standing stopped(const Engine& engine, const std::string& queue,
                               const Destination& destination, Blocked blocked);
// Of mail that leads to this hop; nullopt: it is not frozen.
[[nodiscard]] std::optional<Standing> stopped_on_the_way(const Engine& engine, const Schedule::Hop* hop);
// Why the hop is dead; null: it is not.
[[nodiscard]] const QueueRecord* wait_of(const Engine& engine, const Schedule::Hop* hop);
// Its mail may go, and its host has to call for it.
[[nodiscard]] bool is_uncalled(const Engine& engine, const Schedule::Queue& queue);
[[nodiscard]] std::string why_uncalled(const Engine& engine, const std::string& queue);

// --- What receivers said

inline constexpr std::size_t kReplyRoom = mail::Reply::kMaxText + 32;
// To the last try; empty: nothing was said.
[[nodiscard]] std::string reply_of(const Recipient& recipient);

}  // namespace postern::queued
