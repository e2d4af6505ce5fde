// Bridge: carries bytes both ways between a stream (clear, or TLS of either side) and another process
// that holds the other end of a socket pair: the process that keeps the network's connection lends its
// session to one that speaks for it, and remains the only one that knows the keys.
//
// The stream stays its owner's, who passes on what it hears of it. Neither side is read while the other
// one has not taken all that came before, so at most one read's bytes are kept for each direction.
//
// As for every stream, the end of one direction is the end of both: what came before it is still handed
// on, and then the other side is closed in order (over TLS with close_notify). A side that takes nothing
// for kPatience, or for kLastWord when all is over, is given up.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "common/event/loop.h"
#include "common/event/stream.h"

namespace postern::event {

// How a bridge came to its end.
struct BridgeEnd {
  enum class By : std::uint8_t { kFar, kNear, kNobody };  // nobody: a side did not take its bytes
  By by = By::kNobody;                                    // who ended first
  CloseReason reason = CloseReason::kError;               // theirs
  std::uint64_t from_far = 0, from_near = 0;              // bytes that were handed on
};

class Bridge {
 public:
  static constexpr base::Millis kPatience{300'000};  // RFC 5321 4.5.3.2.7
  static constexpr base::Millis kLastWord{10'000};
  struct Waits {
    base::Millis patience, last_word;
  };
  using Ended = std::move_only_function<void(BridgeEnd) noexcept>;

  // `far` is open and outlives the bridge; what it has kept is the bridge's after far.resume(),
  // which a callback of it is too early for. `near` is
  // one end of a socket pair, non-blocking. `ended` is called once, at the end of a turn, when both sides are
  // closed; the bridge may be destroyed in it. To end both at once, without a word, destroy bridge and stream.
  Bridge(Loop& loop, Stream& far, base::UniqueFd near, Ended ended, Waits waits = {kPatience, kLastWord});
  ~Bridge();
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;

  // What the stream's owner hears of it, all of it from now on.
  std::size_t on_input(std::string_view bytes) noexcept { return carry(from_far_, bytes); }
  void on_drained() noexcept { drained(from_near_); }
  void on_closed(CloseReason reason) noexcept;

  // Ends both sides, as if the near one had ended; `ended` follows.
  void end() noexcept;

 private:
  struct Near final : StreamOwner {
    explicit Near(Bridge& bridge) : bridge_(bridge) {}
    std::size_t on_input(std::string_view bytes) noexcept override;
    void on_closed(CloseReason reason) noexcept override;
    void on_drained() noexcept override;
    Bridge& bridge_;
  };
  struct Direction {
    Stream& from;
    Stream& to;
    Timer stalled;
    std::uint64_t bytes = 0;
  };

  std::size_t carry(Direction& way, std::string_view bytes) noexcept;
  void drained(Direction& way) noexcept;
  void near_closed(CloseReason reason) noexcept;
  void side_closed(Stream& other, BridgeEnd::By by, CloseReason reason) noexcept;
  void give_up() noexcept;
  void tell() noexcept;

  Loop& loop_;
  const Waits waits_;
  Ended ended_;
  BridgeEnd end_;
  bool ending_ = false;  // one side is closed
  bool told_ = false;
  Stream& far_;
  Near near_owner_{*this};
  Stream near_;
  Direction from_far_, from_near_;
  Timer last_word_;
  // Guards deferred calls against a bridge that is gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::event
