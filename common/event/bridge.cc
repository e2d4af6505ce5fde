#include "common/event/bridge.h"

#include <utility>

namespace postern::event {

Bridge::Bridge(Loop& loop, Stream& far, base::UniqueFd near, Ended ended, Waits waits)
    : loop_(loop),
      waits_(waits),
      ended_(std::move(ended)),
      far_(far),
      near_(loop, std::move(near), near_owner_),
      from_far_{far_, near_, Timer(loop, [this]() noexcept { give_up(); })},
      from_near_{near_, far_, Timer(loop, [this]() noexcept { give_up(); })},
      last_word_(loop, [this]() noexcept { give_up(); }) {}

Bridge::~Bridge() { *alive_ = false; }

std::size_t Bridge::Near::on_input(std::string_view bytes) noexcept { return bridge_.carry(bridge_.from_near_, bytes); }
void Bridge::Near::on_drained() noexcept { bridge_.drained(bridge_.from_far_); }
void Bridge::Near::on_closed(CloseReason reason) noexcept { bridge_.near_closed(reason); }

std::size_t Bridge::carry(Direction& way, std::string_view bytes) noexcept {
  if (ending_) return bytes.size();  // nobody is left who could take it
  way.bytes += bytes.size();
  way.to.output() += bytes;
  way.to.flush();
  if (!way.to.open() || way.to.unsent() == 0) return bytes.size();
  way.from.pause();
  way.stalled.start(waits_.patience);
  return bytes.size();
}

void Bridge::drained(Direction& way) noexcept {
  way.stalled.cancel();
  if (!ending_) way.from.resume();
}

void Bridge::on_closed(CloseReason reason) noexcept { side_closed(near_, BridgeEnd::By::kFar, reason); }

void Bridge::near_closed(CloseReason reason) noexcept { side_closed(far_, BridgeEnd::By::kNear, reason); }

void Bridge::side_closed(Stream& other, BridgeEnd::By by, CloseReason reason) noexcept {
  if (!std::exchange(ending_, true)) {
    end_.by = by;
    end_.reason = reason;
    last_word_.start(waits_.last_word);
  }
  if (!other.open()) return tell();
  other.close_after_flush();
}

void Bridge::end() noexcept {
  if (!near_.open()) return;
  near_.close();
  near_closed(CloseReason::kFlushed);
}

void Bridge::give_up() noexcept {
  if (!std::exchange(ending_, true)) end_.by = BridgeEnd::By::kNobody;
  near_.close();
  far_.close();
  tell();
}

void Bridge::tell() noexcept {
  if (std::exchange(told_, true)) return;
  from_far_.stalled.cancel();
  from_near_.stalled.cancel();
  last_word_.cancel();
  end_.from_far = from_far_.bytes;
  end_.from_near = from_near_.bytes;
  loop_.defer([this, alive = alive_]() noexcept {
    if (!*alive) return;
    auto ended = std::move(ended_);
    ended(end_);
  });
}

}  // namespace postern::event
