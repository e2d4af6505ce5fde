#include "queued/standing_hold.h"

#include <fmt/format.h>

namespace postern::queued {

bool can_stand(const ipc::Selector& selector) {
  const bool other = !selector.ids.empty() || selector.all || !selector.error.empty() ||
                     selector.older || selector.newer || selector.state || !selector.hop.empty() ||
                     selector.bounces || !selector.message_id.empty();
  return !other && !selector.empty();
}

std::string conditions_text(const ipc::Selector& s) {
  std::string text;
  const auto add = [&](std::string_view name, const auto& value) {
    text += fmt::format("{}--{} {}", text.empty() ? "" : " ", name, value);
  };
  if (!s.queue.empty()) add("queue", s.queue);
  if (!s.from.empty()) add("from", s.from);
  if (!s.to.empty()) add("to", s.to);
  if (s.client) add("client", base::to_string(*s.client));
  if (s.larger) add("larger", *s.larger);
  if (s.smaller) add("smaller", *s.smaller);
  return text;
}

std::string held_by(const std::string& who, const std::string& reason) {
  return fmt::format("by {}: {}", who, reason).substr(0, ipc::kMaxReason);
}

}  // namespace postern::queued
