// Standstill: times in which the clocks of mail stood still, and how long they did in all. What
// covers the same time twice (a hold in a freeze) counts once. Pure.
#pragma once

#include <vector>

#include "common/ipc/codec.h"
#include "queued/clock.h"

namespace postern::queued {

struct Span {
  QueueTime from{0};
  QueueTime to{0};
  friend bool operator==(const Span&, const Span&) = default;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("from", &Span::from), ipc::field("to", &Span::to));
  }
};

// How much of the time from `from` to `to` the spans cover together.
[[nodiscard]] base::Millis covered(std::vector<Span> spans, QueueTime from, QueueTime to);

// Adds a span that begins where the last one ends or later. Beyond `most` the two with the least
// time between them become one that covers that time too, which lets mail live a little longer.
void add_span(std::vector<Span>& spans, Span span, std::size_t most);

}  // namespace postern::queued
