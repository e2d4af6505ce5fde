// Stream: a buffered connection. Reads when readable, writes at once, and waits for writability only
// after the kernel took less than all. An idle stream holds no buffer: input is read into one scratch
// buffer of the process and only what its owner left unconsumed is kept; output is kept only while the
// peer does not take it.
//
// One read per readiness and one write per turn: what the owner appends to output() during on_input()
// leaves in a single write when on_input() returns; at other times the owner calls flush().
//
// The owner must not destroy the stream inside one of its callbacks (use Loop::defer()).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/unique_fd.h"
#include "common/event/loop.h"

namespace postern::event {

enum class CloseReason : std::uint8_t {
  kEndOfStream,  // the peer closed its side in order
  kError,        // reset, unreachable, timed out in the kernel; see error()
  kFlushed,      // close_after_flush() is done
};

class StreamOwner {
 public:
  virtual ~StreamOwner() = default;
  // Bytes from the peer: all that are buffered. Returns how many were used; the rest comes again, in
  // front of what follows, at the next arrival or resume().
  virtual std::size_t on_input(std::string_view bytes) noexcept = 0;
  // No further callbacks come; the descriptor is closed.
  virtual void on_closed(CloseReason reason) noexcept = 0;
  // All output was taken by the kernel after it once was not.
  virtual void on_drained() noexcept {}
};

class Stream {
 public:
  // `fd` is a connected, non-blocking socket. `owner` outlives the stream.
  Stream(Loop& loop, base::UniqueFd fd, StreamOwner& owner);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Bytes for the peer are appended here; flush() sends them.
  [[nodiscard]] std::string& output() noexcept { return output_; }
  // Sends what it can now and the rest when the peer takes it.
  void flush() noexcept;
  [[nodiscard]] std::size_t unsent() const noexcept { return output_.size() - sent_; }

  // Stops and starts reading. resume() offers kept input again at this turn's end, also where reading
  // had not been stopped.
  void pause() noexcept;
  void resume() noexcept;
  // Sends what is left, then closes; input is no longer delivered.
  void close_after_flush() noexcept;
  // Closes now; no callback follows.
  void close() noexcept;
  [[nodiscard]] bool open() const noexcept { return fd_.valid(); }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] int error() const noexcept { return error_; }  // errno of kError
  // Kept input, not yet consumed.
  [[nodiscard]] std::string_view kept() const noexcept { return kept_; }

 private:
  void on_ready(bool readable, bool writable) noexcept;
  void read_some() noexcept;
  void offer(std::string_view bytes) noexcept;
  void write_some() noexcept;
  void drop_sent() noexcept;
  void discard_unread() noexcept;
  void finish(CloseReason reason, int error) noexcept;
  void update_watch() noexcept;

  Loop& loop_;
  base::UniqueFd fd_;
  StreamOwner& owner_;
  FdEvent event_;
  std::string kept_;
  std::string output_;
  std::size_t sent_ = 0;
  int error_ = 0;
  bool reading_ = true;
  bool in_callback_ = false;
  bool closing_ = false;
  bool blocked_ = false;  // the kernel took less than all
  // Guards deferred calls against a stream that is gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

 public:
  ~Stream() { *alive_ = false; }
};

}  // namespace postern::event
