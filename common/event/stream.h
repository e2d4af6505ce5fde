// Stream: a buffered connection. Reads when readable, writes at once, and waits for writability only
// after the kernel took less than all. An idle stream holds no buffer: input is read into one scratch
// buffer of the process and only what its owner left unconsumed is kept; output is kept only while the
// peer does not take it.
//
// One read per readiness and one write per turn: what the owner appends to output() during on_input()
// leaves in a single write when on_input() returns; at other times the owner calls flush().
//
// A filter (TLS) may be put in between: from then on output() and on_input() are what it makes of the wire,
// for good: a stream never goes back to clear text.
//
// The owner must not destroy the stream inside one of its callbacks (use Loop::defer()).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/unique_fd.h"
#include "common/event/filter.h"
#include "common/event/loop.h"

namespace postern::event {

enum class CloseReason : std::uint8_t {
  kEndOfStream,  // the peer closed its side in order
  kError,        // reset, unreachable, timed out in the kernel; see error(). Or the filter failed: 0
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
  // The filter has agreed with the peer: what is appended to output() can leave.
  virtual void on_filter_open() noexcept {}
};

class Stream {
 public:
  // `fd` is a connected, non-blocking socket. `owner` outlives the stream.
  Stream(Loop& loop, base::UniqueFd fd, StreamOwner& owner);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Puts `filter` in between; once, and before its first word is flushed. What output() holds until then
  // leaves as it is. Inside on_input() the bytes that are returned as not used are the filter's.
  void put(std::unique_ptr<Filter> filter) noexcept;
  // Where the peer breaks the connection while we write, its last words are heard first: they may say why. For an owner
  // who does not stop reading.
  void hear_out() noexcept { hears_out_ = true; }
  // All that follows is for `owner`, who outlives the stream. What is kept is offered to him after resume().
  void hand_to(StreamOwner& owner) noexcept {
    owner_ = &owner;
    hears_out_ = false;
  }
  // Bytes for the peer are appended here; flush() sends them.
  [[nodiscard]] std::string& output() noexcept { return filtered_ ? filtered_->output : wire_; }
  // Sends what it can now and the rest when the peer takes it.
  void flush() noexcept;
  [[nodiscard]] std::size_t unsent() const noexcept {
    return wire_unsent() + (filtered_ ? filtered_->output.size() : 0);
  }

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
  struct Filtered {
    std::unique_ptr<Filter> filter;
    std::string output;  // of the owner, not yet in wire_
    bool open = false;   // the owner was told
    bool ended = false;  // our own end was said
  };

  [[nodiscard]] std::size_t wire_unsent() const noexcept { return wire_.size() - sent_; }
  void on_ready(bool readable, bool writable) noexcept;
  void read_some() noexcept;
  void take(std::string_view fresh) noexcept;
  void offer(std::string_view bytes) noexcept;
  void unfilter(std::string_view fresh) noexcept;
  void note_unasked(std::size_t bytes) noexcept;
  void filter_output() noexcept;
  void end_if_peer_has() noexcept;
  void send_last_word(std::size_t owners) noexcept;
  void write_some() noexcept;
  void write_failed(int error) noexcept;
  void drop_sent() noexcept;
  void discard_unread() noexcept;
  void finish(CloseReason reason, int error) noexcept;
  void update_watch() noexcept;

  Loop& loop_;
  base::UniqueFd fd_;
  StreamOwner* owner_;
  FdEvent event_;
  std::string kept_;
  std::string wire_;  // output for the socket
  std::unique_ptr<Filtered> filtered_;
  std::size_t sent_ = 0;
  std::size_t unasked_ = 0;  // of wire_: what the filter said by itself since the kernel took less than all
  int error_ = 0;
  int write_error_ = 0;  // nothing can be written any more; the end comes with what is read
  bool hears_out_ = false;
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
