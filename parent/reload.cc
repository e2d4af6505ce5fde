#include "parent/reload.h"

#include <utility>

#include "common/os/socket.h"

namespace postern::parent {
namespace {
constexpr base::Millis kDeadline{10'000};  // for one child's answer
}

os::Result<void> send_config(Child& child, const std::string& config, base::Generation generation,
                             base::RequestId request) {
  auto memory = os::sealed_memory("postern-config", config);
  if (!memory) return std::unexpected(memory.error());
  child.link().send(ipc::Configure{request, generation}, *std::move(memory));
  return {};
}

Reload::Reload(event::Loop& loop, config::Config config, base::Generation generation,
               std::optional<base::RequestId> asked, Finished finished)
    : loop_(loop),
      config_(std::move(config)),
      generation_(generation),
      asked_(asked),
      finished_(std::move(finished)),
      deadline_(loop, [this]() noexcept { finish("a process did not answer in time"); }) {}

void Reload::next() {
  while (at_ < steps_.size() && steps_[at_].child->state() != Child::State::kReady) ++at_;
  if (at_ == steps_.size()) return finish({});
  deadline_.start(kDeadline);
  const auto& step = steps_[at_];
  const auto sent = send_config(*step.child, step.fresh, generation_, base::RequestId(generation_.value));
  if (!sent) finish(sent.error().text());
}

void Reload::on_configured(Child& child, const ipc::Configured& answer) {
  if (over_ || at_ == steps_.size() || &child != steps_[at_].child) return;
  if (!answer.accepted) return finish(child.name() + " refuses: " + answer.error);
  ++at_;
  next();
}

void Reload::on_dead(Child& child) {
  if (!over_ && at_ < steps_.size() && &child == steps_[at_].child) next();
}

void Reload::roll_back() {
  for (std::size_t i = 0; i < at_; ++i) {
    auto& child = *steps_[i].child;
    if (child.state() != Child::State::kReady) continue;
    // The same number would be taken for the answer to the attempt.
    if (!send_config(child, child.spec().config, child.spec().generation, base::RequestId(0))) child.kill();
  }
}

void Reload::finish(std::string why) {
  if (std::exchange(over_, true)) return;
  deadline_.cancel();
  if (!why.empty()) roll_back();
  loop_.defer([this, reason = std::move(why)]() mutable noexcept { finished_(std::move(reason)); });
}

}  // namespace postern::parent
