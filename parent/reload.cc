#include "parent/reload.h"

#include <algorithm>
#include <utility>

namespace postern::parent {

Reload::Reload(event::Loop& loop, config::Config config, base::Generation generation,
               std::optional<base::RequestId> asked, Finished finished)
    : loop_(loop),
      config_(std::move(config)),
      generation_(generation),
      asked_(asked),
      finished_(std::move(finished)),
      deadline_(loop, [this]() noexcept { on_timeout(); }) {}

void Reload::next() {
  while (at_ < steps_.size() && !steps_[at_].child->is_ready()) ++at_;
  if (at_ == steps_.size()) return finish({});
  deadline_.start(kDeadline);
  const auto& step = steps_[at_];
  const auto sent = step.child->configure(step.fresh, generation_);
  if (!sent) finish(sent.error().text());
}

bool Reload::is_asked(const Configurable& child) const noexcept {
  return !over_ && at_ < steps_.size() && steps_[at_].child == &child;
}

void Reload::on_configured(const Configurable& child, const ipc::Configured& answer) {
  if (!is_asked(child)) return;
  if (!answer.accepted) return finish(child.name() + " refuses: " + answer.error);
  ++at_;
  next();
}

void Reload::on_dead(const Configurable& child) {
  if (is_asked(child)) next();
}

void Reload::on_timeout() noexcept {
  if (over_ || at_ == steps_.size()) return;
  auto& child = *steps_[at_].child;
  finish(child.name() + " did not answer in time");
  child.kill();
}

void Reload::finish(std::string why) {
  if (std::exchange(over_, true)) return;
  deadline_.cancel();
  if (!why.empty())
    for (std::size_t i = 0; i < at_; ++i)
      if (steps_[i].child->is_ready()) steps_[i].child->restore();
  loop_.defer([this, reason = std::move(why)]() mutable noexcept { finished_(std::move(reason)); });
}

const std::string* Reload::fresh_for(const Configurable& child) const noexcept {
  const auto at = std::find_if(steps_.begin(), steps_.end(),
                               [&](const Step& step) { return step.child == &child; });
  return at == steps_.end() ? nullptr : &at->fresh;
}

}  // namespace postern::parent
