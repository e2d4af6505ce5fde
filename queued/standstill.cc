#include "queued/standstill.h"

#include <algorithm>

namespace postern::queued {

base::Millis covered(std::vector<Span> spans, QueueTime from, QueueTime to) {
  std::sort(spans.begin(), spans.end(),
            [](const Span& a, const Span& b) { return a.from < b.from; });
  base::Millis sum{0};
  auto counted = from;
  for (const auto& span : spans) {
    const auto end = std::min(span.to, to);
    const auto begin = std::max(span.from, counted);
    if (begin >= end) continue;
    sum += end - begin;
    counted = end;
  }
  return sum;
}

void add_span(std::vector<Span>& spans, Span span, std::size_t most) {
  spans.push_back(span);
  if (spans.size() <= most) return;
  std::size_t nearest = 1;
  const auto gap = [&](std::size_t at) { return spans[at].from - spans[at - 1].to; };
  for (std::size_t at = 2; at < spans.size(); ++at)
    if (gap(at) < gap(nearest)) nearest = at;
  spans[nearest - 1].to = spans[nearest].to;
  spans.erase(spans.begin() + static_cast<std::ptrdiff_t>(nearest));
}

}  // namespace postern::queued
