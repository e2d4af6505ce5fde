#include "queued/expiring.h"

#include <utility>

namespace postern::queued {
namespace {

constexpr std::size_t kCounted = 250;  // in one turn

}  // namespace

void Expiring::ask(Told told) {
  const auto now = engine_.store().clock().steady();
  // While mail is taken up at the start, the store's reader has no time for this.
  if (!engine_.loaded() || (!counting_ && now < rests_until_)) return told(last_);
  waiting_.push_back(std::move(told));
  if (!patience_.running()) patience_.start(kPatience);
  if (!counting_) begin();
}

void Expiring::begin() {
  counting_ = true;
  begun_ = engine_.store().clock().steady();
  count_ = {0, engine_.store().clock().wall()};
  go_on({});
}

void Expiring::go_on(base::MessageId after) {
  engine_.throttle().run([this, after]() noexcept {
    auto use = std::make_unique<Throttle::Use>(engine_.throttle());
    engine_.store().scan(after, kCounted, [this, use = std::move(use)](const Batch& batch) mutable noexcept {
      for (const Message* message : batch.messages)
        count_.messages += expires_soon(engine_, *message, [](const Recipient&) { return true; }) ? 1 : 0;
      use.reset();
      const bool over = !batch.messages.empty() && ends_soon_expiring(engine_, *batch.messages.back());
      if (batch.more && !over) return go_on(batch.last);
      finish();
    });
  });
}

void Expiring::finish() {
  const auto now = engine_.store().clock().steady();
  counting_ = false;
  rests_until_ = now + kRest * (now - begun_);
  last_ = count_;
  tell();
}

void Expiring::tell() {
  patience_.cancel();
  for (auto& told : std::exchange(waiting_, {})) told(last_);
}

}  // namespace postern::queued
