// Explain: why mail does not move, for people: all that keeps a recipient (a queue, a next hop) from going
// now, the binding one first; which line of the configuration says so; what happens next, and when. It
// decides nothing: it asks those who do, and says what they would.
#pragma once

#include "common/ipc/explain.h"
#include "queued/listings.h"

namespace postern::queued {

// What keeps an open recipient of a message that can be found now.
[[nodiscard]] std::vector<ipc::Obstacle> obstacles(const Engine& engine, const Message& message,
                                                   const Recipient& recipient);
// Everything about one open recipient; it is not named in it.
[[nodiscard]] ipc::Explanation explanation(const Engine& engine, const Message& message,
                                           const Recipient& recipient);

// One explanation, for as many recipients as it holds for without a gap.
void explain(Engine& engine, const ipc::Explain& ask, Reply<ipc::Explained> reply);
[[nodiscard]] ipc::QueueExplained explain_queue(const Engine& engine, const ipc::ExplainQueue& ask);

}  // namespace postern::queued
