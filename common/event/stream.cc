#include "common/event/stream.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

namespace postern::event {
namespace {

constexpr std::size_t kScratchSize = 64 * 1024;
constexpr int kMaxDiscardReads = 16;
constexpr std::size_t kKeepCapacity = 4 * 1024;  // a larger emptied buffer is given back

// One for the thread: a stream uses it only during its own read.
std::array<char, kScratchSize>& scratch() {
  static thread_local std::array<char, kScratchSize> buffer;
  return buffer;
}

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

void shrink(std::string& buffer) {
  buffer.clear();
  if (buffer.capacity() > kKeepCapacity) std::string().swap(buffer);
}

}  // namespace

Stream::Stream(Loop& loop, base::UniqueFd fd, StreamOwner& owner)
    : loop_(loop),
      fd_(std::move(fd)),
      owner_(owner),
      event_(loop, fd_.get(), [this](bool r, bool w) noexcept { on_ready(r, w); }) {
  update_watch();
}

void Stream::update_watch() noexcept { event_.watch(reading_ && !closing_, blocked_); }

void Stream::on_ready(bool readable, bool writable) noexcept {
  if (writable && open()) {
    write_some();
    if (open() && !blocked_ && !closing_) owner_.on_drained();
  }
  if (readable && open() && reading_ && !closing_) read_some();
}

void Stream::read_some() noexcept {
  auto& buffer = scratch();
  const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
  if (got < 0) {
    if (!would_block(errno)) finish(CloseReason::kError, errno);
    return;
  }
  if (got == 0) return finish(CloseReason::kEndOfStream, 0);
  const std::string_view fresh(buffer.data(), static_cast<std::size_t>(got));
  if (kept_.empty()) return offer(fresh);
  kept_.append(fresh);
  offer(kept_);
}

// `bytes` is either kept_ itself or fresh input with nothing kept before it.
void Stream::offer(std::string_view bytes) noexcept {
  const bool from_kept = bytes.data() == kept_.data();
  in_callback_ = true;
  const std::size_t used = owner_.on_input(bytes);
  in_callback_ = false;
  if (!open()) return;
  if (used == bytes.size()) {
    shrink(kept_);
  } else if (from_kept) {
    kept_.erase(0, used);
  } else {
    kept_.assign(bytes.substr(used));
  }
  flush();
}

void Stream::flush() noexcept {
  if (in_callback_ || !open() || blocked_) return;
  if (unsent() > 0) write_some();
  else if (closing_) finish(CloseReason::kFlushed, 0);
}

void Stream::write_some() noexcept {
  while (unsent() > 0) {
    const ssize_t put = ::send(fd_.get(), output_.data() + sent_, unsent(), MSG_NOSIGNAL);
    if (put < 0) {
      if (!would_block(errno)) return finish(CloseReason::kError, errno);
      blocked_ = true;
      return update_watch();
    }
    sent_ += static_cast<std::size_t>(put);
    drop_sent();
  }
  sent_ = 0;
  shrink(output_);
  if (std::exchange(blocked_, false)) update_watch();
  if (closing_) finish(CloseReason::kFlushed, 0);
}

// A peer that is always a little behind must not make us keep all that it ever took.
void Stream::drop_sent() noexcept {
  if (sent_ < kScratchSize || sent_ < unsent()) return;
  output_.erase(0, sent_);
  sent_ = 0;
}

void Stream::pause() noexcept {
  reading_ = false;
  if (open()) update_watch();
}

void Stream::resume() noexcept {
  reading_ = true;
  if (!open()) return;
  update_watch();
  if (kept_.empty()) return;
  loop_.defer([this, alive = alive_]() noexcept {
    if (*alive && open() && reading_ && !closing_ && !kept_.empty()) offer(kept_);
  });
}

void Stream::close_after_flush() noexcept {
  closing_ = true;
  if (!open()) return;
  update_watch();
  loop_.defer([this, alive = alive_]() noexcept {
    if (*alive) flush();
  });
}

void Stream::close() noexcept {
  if (!open()) return;
  event_.watch(false, false);
  fd_.reset();
}

// Closing with unread input would make the kernel reset the connection, and the peer might never see
// what was written last.
void Stream::discard_unread() noexcept {
  ::shutdown(fd_.get(), SHUT_WR);
  for (int reads = 0; reads < kMaxDiscardReads; ++reads)
    if (::recv(fd_.get(), scratch().data(), scratch().size(), 0) <= 0) return;
}

void Stream::finish(CloseReason reason, int error) noexcept {
  error_ = error;
  if (reason == CloseReason::kFlushed) discard_unread();
  close();
  owner_.on_closed(reason);
}

}  // namespace postern::event
