// Filter: what may stand between a stream's owner and its socket (TLS): it turns the bytes of the
// wire into those that the owner reads, and back. It does no I/O itself: the stream gives it what
// was read, and sends what it has appended to `out`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/event/loop.h"

namespace postern::event {

class Filter {
 public:
  enum class State : std::uint8_t {
    kOpening,  // the two sides are agreeing; nothing of the owner can be sent yet
    kOpen,
    kEnded,   // the peer said that nothing more comes from it; sending still works
    kFailed,  // for good; `out` may hold a last word
  };
  virtual ~Filter() = default;
  // Takes bytes of the wire; what they mean is appended to `plain`. Without bytes: goes on where it
  // waited.
  virtual void receive(std::string_view wire, std::string& plain, std::string& out) noexcept = 0;
  // Only in kOpen and kEnded.
  virtual void send(std::string_view plain, std::string& out) noexcept = 0;
  // Tells the peer that nothing more follows.
  virtual void end(std::string& out) noexcept = 0;
  [[nodiscard]] virtual State state() const noexcept = 0;
  // `ready` is called, from the loop alone, when receive() can go on after it waited for somebody
  // else than the peer.
  virtual void on_ready(Callback ready) = 0;
};

}  // namespace postern::event
