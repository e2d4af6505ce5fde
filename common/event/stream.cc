#include "common/event/stream.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "common/base/check.h"

namespace postern::event {
namespace {

constexpr std::size_t kScratchSize = 64 * 1024;
constexpr int kMaxDiscardReads = 16;
constexpr std::size_t kKeepCapacity = 4 * 1024;  // a larger emptied buffer is given back
constexpr std::size_t kMaxUnasked = 16 * 1024;   // of a filter's own words that the peer does not read

// One for the thread: a stream uses it only during its own read.
std::array<char, kScratchSize>& scratch() {
  static thread_local std::array<char, kScratchSize> buffer;
  return buffer;
}

// What a filter has made of one read; likewise.
std::string& plain_scratch() {
  static thread_local std::string buffer;
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
      owner_(&owner),
      event_(loop, fd_.get(), [this](bool r, bool w) noexcept { on_ready(r, w); }) {
  update_watch();
}

void Stream::update_watch() noexcept {
  const bool deaf = blocked_ && unasked_ > kMaxUnasked;
  event_.watch(reading_ && !closing_ && !deaf, blocked_);
}

void Stream::on_ready(bool readable, bool writable) noexcept {
  if (writable && open()) {
    write_some();
    if (open() && !blocked_ && !closing_ && write_error_ == 0) owner_->on_drained();
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
  if (got == 0) return finish(write_error_ != 0 ? CloseReason::kError : CloseReason::kEndOfStream, write_error_);
  const std::string_view fresh(buffer.data(), static_cast<std::size_t>(got));
  filtered_ ? unfilter(fresh) : take(fresh);
}

void Stream::take(std::string_view fresh) noexcept {
  if (kept_.empty()) return offer(fresh);
  kept_.append(fresh);
  offer(kept_);
}

// `bytes` is either kept_ itself or fresh input with nothing kept before it.
void Stream::offer(std::string_view bytes) noexcept {
  const bool from_kept = bytes.data() == kept_.data();
  const bool was_clear = !filtered_;
  in_callback_ = true;
  const std::size_t used = owner_->on_input(bytes);
  in_callback_ = false;
  if (!open()) return;
  if (was_clear && filtered_ && used < bytes.size()) {
    const std::string rest(bytes.substr(used));
    shrink(kept_);
    return unfilter(rest);
  }
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
  if (write_error_ != 0) {
    if (closing_) finish(CloseReason::kError, write_error_);
    return;
  }
  if (filtered_) filter_output();
  if (wire_unsent() > 0) write_some();
  else if (closing_) finish(CloseReason::kFlushed, 0);
}

void Stream::write_some() noexcept {
  while (wire_unsent() > 0) {
    const ssize_t put = ::send(fd_.get(), wire_.data() + sent_, wire_unsent(), MSG_NOSIGNAL);
    if (put < 0) {
      if (!would_block(errno)) return write_failed(errno);
      blocked_ = true;
      return update_watch();
    }
    sent_ += static_cast<std::size_t>(put);
    drop_sent();
    if (filtered_ && wire_unsent() == 0) filter_output();
  }
  sent_ = 0;
  shrink(wire_);
  unasked_ = 0;
  if (std::exchange(blocked_, false)) update_watch();
  if (closing_) finish(CloseReason::kFlushed, 0);
}

// Such a connection is readable up to its end: what came before the peer broke it, and then that it is broken.
void Stream::write_failed(int error) noexcept {
  const bool broken = error == EPIPE || error == ECONNRESET;
  if (!broken || !hears_out_ || !reading_ || closing_) return finish(CloseReason::kError, error);
  write_error_ = error;
  blocked_ = false;
  update_watch();
}

// A peer that is always a little behind must not make us keep all that it ever took.
void Stream::drop_sent() noexcept {
  if (sent_ < kScratchSize || sent_ < wire_unsent()) return;
  wire_.erase(0, sent_);
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
  const bool ended = filtered_ && filtered_->filter->state() == Filter::State::kEnded;
  if (kept_.empty() && !ended) return;
  loop_.defer([this, alive = alive_]() noexcept {
    if (!*alive || !open() || !reading_ || closing_) return;
    if (!kept_.empty()) offer(kept_);
    end_if_peer_has();
  });
}

// --- Filter -------------------------------------------------------------------------------------

void Stream::put(std::unique_ptr<Filter> filter) noexcept {
  CHECK(!filtered_);
  filtered_ = std::make_unique<Filtered>();
  filtered_->filter = std::move(filter);
  filtered_->filter->on_ready([this]() noexcept {
    if (open() && !closing_) unfilter({});
  });
  std::string none;
  filtered_->filter->receive({}, none, wire_);  // the first word, where it is ours
}

// What was read, or nothing: the filter goes on.
void Stream::unfilter(std::string_view fresh) noexcept {
  auto& plain = plain_scratch();
  plain.clear();
  const auto before = wire_.size();
  filtered_->filter->receive(fresh, plain, wire_);
  note_unasked(wire_.size() - before);
  const auto state = filtered_->filter->state();
  if (state == Filter::State::kFailed) {
    send_last_word(before);
    if (hears_out_ && filtered_->open && !plain.empty()) take(plain);  // said before that, and whole
    if (open()) finish(CloseReason::kError, 0);
    return;
  }
  if (state != Filter::State::kOpening && !std::exchange(filtered_->open, true)) {
    in_callback_ = true;
    owner_->on_filter_open();
    in_callback_ = false;
    if (!open()) return;
  }
  plain.empty() ? flush() : take(plain);
  end_if_peer_has();
}

// A filter answers some of what it hears by itself (TLS 1.3: KeyUpdate, RFC 8446 4.6.3), and its owner sees nothing
// of that. Who has it say more and more and reads nothing is not heard until it does.
void Stream::note_unasked(std::size_t bytes) noexcept {
  if (!blocked_ || bytes == 0) return;
  unasked_ += bytes;
  update_watch();
}

// The owner's output, as it goes onto the wire; at the end also the word that nothing follows. Where the
// two sides never agreed there is nothing that could be said.
void Stream::filter_output() noexcept {
  auto& [filter, output, open, ended] = *filtered_;
  const auto state = filter->state();
  if (state != Filter::State::kOpen && state != Filter::State::kEnded) {
    if (closing_) output.clear();
    return;
  }
  if (!output.empty()) {
    filter->send(output, wire_);
    shrink(output);
  }
  if (closing_ && !std::exchange(ended, true)) filter->end(wire_);
}

// As at the end of a clear stream: only when the owner has seen all that came before it.
void Stream::end_if_peer_has() noexcept {
  if (!open() || closing_ || !reading_ || !filtered_ ||
      filtered_->filter->state() != Filter::State::kEnded)
    return;
  const auto before = wire_.size();
  filtered_->filter->end(wire_);
  send_last_word(before);
  finish(CloseReason::kEndOfStream, 0);
}

// What the filter has left, if it goes at once. A peer that is gone already is no further trouble, and none
// of this is the owner's: he may ask how much of his own, the first `owners` bytes, was not sent.
void Stream::send_last_word(std::size_t owners) noexcept {
  if (!blocked_ && wire_unsent() > 0)
    (void)::send(fd_.get(), wire_.data() + sent_, wire_unsent(), MSG_NOSIGNAL);
  wire_.resize(owners);
}

// --- End ----------------------------------------------------------------------------------------

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
  if (reason == CloseReason::kFlushed || (filtered_ && reason == CloseReason::kError && error == 0))
    discard_unread();
  close();
  owner_->on_closed(reason);
}

}  // namespace postern::event
