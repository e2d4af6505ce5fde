#include "queued/blocks.h"

#include <fmt/format.h>

#include <algorithm>

namespace postern::queued {
namespace {

constexpr std::size_t kMaxPauses = 1000;
constexpr base::Millis kPauseKept{60LL * 24 * 3600 * 1000};

auto find_by_name(auto& list, std::string_view queue) {
  return std::find_if(list.begin(), list.end(), [&](const auto& e) { return e.queue == queue; });
}

bool stops(bool all, const Destination& destination) {
  return !destination.local && (all || !destination.internal);
}

}  // namespace

bool is_pattern(std::string_view queue) { return queue.starts_with('*'); }

bool matches(std::string_view pattern, std::string_view queue) {
  if (pattern == "*") return true;
  if (!is_pattern(pattern)) return pattern == queue;
  const auto suffix = pattern.substr(1);
  return queue.size() > suffix.size() && queue.ends_with(suffix);
}

const Freeze* Blocks::frozen(std::string_view queue) const {
  const Freeze* best = nullptr;
  for (const auto& freeze : freezes_) {
    if (freeze.queue == queue) return &freeze;
    if (is_pattern(freeze.queue) && matches(freeze.queue, queue) &&
        (best == nullptr || freeze.queue.size() > best->queue.size()))
      best = &freeze;
  }
  if (best != nullptr && find_by_name(exceptions_, queue) != exceptions_.end()) return nullptr;
  return best;
}

Blocked Blocks::blocked(const std::string& queue, const Destination& destination) const {
  if (!freezes_.empty() && frozen(queue) != nullptr) return Blocked::kFrozen;
  if (outbound_.disabled && stops(outbound_.all, destination)) return Blocked::kOff;
  return Blocked::kNo;
}

base::Millis Blocks::paused(const std::string& queue, const Destination& destination,
                            QueueTime born, QueueTime now) const {
  std::vector<std::pair<QueueTime, QueueTime>> spans;
  const auto add = [&](QueueTime from, QueueTime to) {
    from = std::max(from, born);
    to = std::min(to, now);
    if (from < to) spans.emplace_back(from, to);
  };
  for (const auto& pause : pauses_)
    if (pause.queue.empty() ? stops(pause.all, destination) : matches(pause.queue, queue))
      add(pause.from, pause.to);
  if (const Freeze* freeze = frozen(queue)) add(freeze->from, now);
  if (outbound_.disabled && stops(outbound_.all, destination)) add(outbound_.from, now);
  std::sort(spans.begin(), spans.end());
  base::Millis sum{0};
  QueueTime covered{0};
  for (const auto& [from, to] : spans) {
    sum += std::max(to, covered) - std::max(from, covered);
    covered = std::max(covered, to);
  }
  return sum;
}

void Blocks::add_pause(Pause pause) {
  std::erase_if(pauses_, [&](const Pause& old) { return pause.to - old.to > kPauseKept; });
  if (pauses_.size() >= kMaxPauses) pauses_.erase(pauses_.begin());
  pauses_.push_back(std::move(pause));
}

Blocks::Said Blocks::freeze(Freeze freeze) {
  if (auto at = find_by_name(freezes_, freeze.queue); at != freezes_.end()) {
    freeze.from = at->from;  // the clocks have stood since then
    *at = std::move(freeze);
    return fmt::format("{} was frozen already; the reason is replaced", at->queue);
  }
  if (freezes_.size() >= kMax) return std::unexpected("there are too many freezes");
  const std::string name = freeze.queue;
  std::erase_if(exceptions_, [&](const auto& e) { return e.queue == name; });
  freezes_.push_back(std::move(freeze));
  return fmt::format("{} is frozen", name);
}

Blocks::Said Blocks::unfreeze(const std::string& queue, const std::string& who,
                              base::WallTime when, QueueTime now) {
  std::string said;
  if (auto at = find_by_name(freezes_, queue); at != freezes_.end()) {
    add_pause({queue, false, at->from, now});
    freezes_.erase(at);
    std::erase_if(exceptions_, [&](const auto& e) {
      return std::none_of(freezes_.begin(), freezes_.end(),
                          [&](const Freeze& f) { return matches(f.queue, e.queue); });
    });
    said = fmt::format("{} is not frozen any more", queue);
    if (is_pattern(queue)) return said;
  }
  const Freeze* by = frozen(queue);
  if (by == nullptr) {
    if (said.empty()) return std::unexpected(fmt::format("{} is not frozen", queue));
    return said;
  }
  if (is_pattern(queue))
    return std::unexpected(
        fmt::format("{} is frozen by {}; unfreeze that, or its members by name", queue, by->queue));
  if (exceptions_.size() >= kMax) return std::unexpected("there are too many exceptions");
  add_pause({queue, false, by->from, now});
  said = fmt::format("{} is an exception to the freeze of {} now", queue, by->queue);
  exceptions_.push_back({queue, who, when});
  return said;
}

Blocks::Said Blocks::disable_outbound(OutboundSwitch outbound) {
  const bool was = outbound_.disabled;
  if (was) {
    if (outbound.all == outbound_.all) outbound.from = outbound_.from;
    else add_pause({"", outbound_.all, outbound_.from, outbound.from});
  }
  outbound.disabled = true;
  outbound_ = std::move(outbound);
  return was ? "outbound was disabled already; the reason is replaced" : "outbound is disabled";
}

Blocks::Said Blocks::enable_outbound(QueueTime now) {
  if (!outbound_.disabled) return std::unexpected("outbound is not disabled");
  add_pause({"", outbound_.all, outbound_.from, now});
  outbound_ = {};
  return "outbound is enabled";
}

Blocks::Said Blocks::hold(StandingHold hold) {
  const auto text = conditions_text(hold.what);
  const auto at = std::find_if(holds_.begin(), holds_.end(),
                               [&](const StandingHold& h) { return h.what == hold.what; });
  if (at != holds_.end()) {
    *at = std::move(hold);
    return fmt::format("new mail with {} was held already; the reason is replaced", text);
  }
  if (holds_.size() >= kMaxHolds) return std::unexpected("there are too many standing holds");
  holds_.push_back(std::move(hold));
  return fmt::format("new mail with {} is held", text);
}

Blocks::Said Blocks::end_hold(const ipc::Selector& what) {
  if (std::erase_if(holds_, [&](const StandingHold& h) { return h.what == what; }) == 0)
    return std::unexpected("there is no such standing hold");
  return fmt::format("new mail with {} is not held any more", conditions_text(what));
}

}  // namespace postern::queued
