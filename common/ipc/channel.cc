#include "common/ipc/channel.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/base/text.h"
#include "common/log/log.h"

namespace postern::ipc {
namespace {

constexpr std::size_t kReadSize = 256 * 1024;
constexpr std::size_t kKeepCapacity = 64 * 1024;
// A peer that never reads: credit bounds what waits for it long before this; beyond it something is
// wrong with the peer, and the channel ends.
constexpr std::size_t kMaxUnsent = 64U << 20;

// One for the thread: a channel uses it only during its own read.
std::string& scratch() {
  static thread_local std::string buffer(kReadSize, '\0');
  return buffer;
}

struct Header {
  std::uint32_t size;
  std::uint16_t type;
  std::uint16_t descriptors;
};
static_assert(sizeof(Header) == kFrameHeader);

}  // namespace

Channel::Channel(event::Loop& loop, base::UniqueFd fd, Role self, Role peer, OnFrame on_frame,
                 OnClosed on_closed)
    : loop_(loop),
      fd_(std::move(fd)),
      self_(self),
      peer_(peer),
      on_frame_(std::move(on_frame)),
      on_closed_(std::move(on_closed)),
      event_(loop, fd_.get(), [this](bool r, bool w) noexcept { on_ready(r, w); }),
      alive_(std::make_shared<bool>(true)) {
  event_.watch(true, false);
  send(Hello{self_, shapes_hash()});
}

Channel::~Channel() { *alive_ = false; }

void Channel::close() noexcept {
  if (!open()) return;
  event_.watch(false, false);
  fd_.reset();
  drop_output();
}

void Channel::drop_output() noexcept {
  std::string().swap(output_);
  sent_ = 0;
  descriptors_out_.clear();
}

void Channel::begin_frame(Type type, Descriptors descriptors) {
  frame_start_ = output_.size();
  const Header header{0, static_cast<std::uint16_t>(type), static_cast<std::uint16_t>(descriptors.size())};
  output_.append(reinterpret_cast<const char*>(&header), sizeof header);
  if (!descriptors.empty())
    descriptors_out_.push_back({written_total_ + (frame_start_ - sent_), std::move(descriptors)});
}

void Channel::end_frame() {
  const auto size = static_cast<std::uint32_t>(output_.size() - frame_start_ - kFrameHeader);
  std::memcpy(output_.data() + frame_start_, &size, sizeof size);
  if (unsent() > kMaxUnsent) return fail("the peer does not read");
  schedule_flush();
}

void Channel::schedule_flush() {
  if (std::exchange(flush_scheduled_, true)) return;
  loop_.defer([this, alive = alive_]() noexcept {
    if (!*alive) return;
    flush_scheduled_ = false;
    flush();
  });
}

void Channel::flush() noexcept {
  if (open() && !blocked_) write_some();
}

void Channel::note_sent_request(Type type, base::RequestId request, std::uint64_t bytes) {
  auto& ledger = sent_requests_[static_cast<std::uint16_t>(type)];
  CHECK(ledger.announced.emplace(request.value, bytes).second);
  ledger.bytes += bytes;
}

bool Channel::note_received_request(Type type, base::RequestId request, std::uint64_t bytes,
                                    Window window) {
  auto& ledger = received_requests_[static_cast<std::uint16_t>(type)];
  const bool first = ledger.announced.empty();
  if (!first && (ledger.announced.size() >= window.requests || bytes > window.bytes ||
                 ledger.bytes + bytes > window.bytes))
    return false;
  if (!ledger.announced.emplace(request.value, bytes).second) return false;
  ledger.bytes += bytes;
  return true;
}

bool Channel::settle(Ledgers& ledgers, std::span<const Type> requests, base::RequestId request) {
  for (const auto type : requests) {
    const auto ledger = ledgers.find(static_cast<std::uint16_t>(type));
    if (ledger == ledgers.end()) continue;
    auto& known = ledger->second;
    const auto at = known.announced.find(request.value);
    if (at == known.announced.end()) continue;
    known.bytes -= at->second;
    known.announced.erase(at);
    return true;
  }
  return false;
}

void Channel::note_sent_reply(std::span<const Type> requests, base::RequestId request) {
  CHECK(settle(received_requests_, requests, request));
}

bool Channel::note_received_reply(std::span<const Type> requests, base::RequestId request) {
  if (!settle(sent_requests_, requests, request)) return false;
  if (on_credit_ && !std::exchange(credit_scheduled_, true))
    loop_.defer([this, alive = alive_]() noexcept {
      if (!*alive) return;
      credit_scheduled_ = false;
      on_credit_();
    });
  return true;
}

void Channel::on_ready(bool readable, bool writable) noexcept {
  if (writable && open()) write_some();
  if (readable && open()) read_some();
}

// --- Reading --------------------------------------------------------------------------------------

void Channel::read_some() noexcept {
  auto& buffer = scratch();
  iovec data{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxDescriptors * 16)];
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC);
  if (got < 0) {
    // A peer that ended without having read all that was sent to it has ended all the same.
    if (errno == ECONNRESET) return fail("");
    if (errno != EAGAIN && errno != EINTR) fail(std::string("read: ") + ::strerrordesc_np(errno));
    return;
  }
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      descriptors_in_.push_back(base::UniqueFd::adopt(fd));
    }
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0) return fail("descriptors were lost");
  if (got == 0) return fail(kept_.empty() ? "" : "ended inside a frame");

  const std::string_view fresh(buffer.data(), static_cast<std::size_t>(got));
  std::size_t used = 0;
  if (kept_.empty()) {
    if (!deliver_frames(fresh, used)) return;
    kept_.assign(fresh.substr(used));
  } else {
    kept_.append(fresh);
    if (!deliver_frames(kept_, used)) return;
    kept_.erase(0, used);
  }
  if (kept_.empty() && kept_.capacity() > kKeepCapacity) std::string().swap(kept_);
}

// false: the channel was closed meanwhile.
bool Channel::deliver_frames(std::string_view bytes, std::size_t& used) noexcept {
  while (bytes.size() - used >= kFrameHeader) {
    Header header;
    std::memcpy(&header, bytes.data() + used, sizeof header);
    if (header.size > kMaxFrame - kFrameHeader || header.type >= kTypeCount ||
        header.descriptors > kMaxDescriptors) {
      fail("malformed frame header");
      return false;
    }
    if (bytes.size() - used - kFrameHeader < header.size) break;
    Incoming incoming{static_cast<Type>(header.type), bytes.substr(used + kFrameHeader, header.size), {}};
    if (descriptors_in_.size() < header.descriptors) {
      fail("descriptors are missing");
      return false;
    }
    for (std::uint16_t i = 0; i < header.descriptors; ++i) {
      incoming.descriptors.push_back(std::move(descriptors_in_.front()));
      descriptors_in_.pop_front();
    }
    used += kFrameHeader + header.size;
    const auto type = incoming.type;
    if (!deliver(std::move(incoming))) {
      if (trouble_.empty()) fail("malformed " + std::string(name(type)));
      return false;
    }
    if (!open()) return false;
  }
  // Descriptors travel with the first byte of their frame, so only those of the frame that is still
  // arriving may be left over.
  if (descriptors_in_.size() > kMaxDescriptors) {
    fail("descriptors without a frame");
    return false;
  }
  return true;
}

bool Channel::deliver(Incoming incoming) noexcept {
  if (greeted_) return incoming.type != Type::kHello && on_frame_(std::move(incoming));
  const auto hello = incoming.type == Type::kHello ? decode<Hello>(incoming.payload) : std::nullopt;
  if (!hello) return false;
  if (hello->shapes != shapes_hash()) {
    fail("the other process is of another build of Postern");
    return false;
  }
  if (hello->role != peer_) return false;
  greeted_ = true;
  return true;
}

// --- Writing --------------------------------------------------------------------------------------

void Channel::write_some() noexcept {
  while (unsent() > 0) {
    // A frame with descriptors goes out from its first byte on, so that they cannot overtake.
    std::size_t size = unsent();
    Descriptors* descriptors = nullptr;
    if (!descriptors_out_.empty()) {
      auto& mark = descriptors_out_.front();
      if (mark.offset == written_total_) {
        descriptors = &mark.descriptors;
        if (descriptors_out_.size() > 1) size = descriptors_out_[1].offset - written_total_;
      } else {
        size = mark.offset - written_total_;
      }
    }
    iovec data{output_.data() + sent_, size};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxDescriptors)] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    if (descriptors != nullptr) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors->size());
      cmsghdr* c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(sizeof(int) * descriptors->size());
      for (std::size_t i = 0; i < descriptors->size(); ++i) {
        const int fd = (*descriptors)[i].get();
        std::memcpy(CMSG_DATA(c) + i * sizeof fd, &fd, sizeof fd);
      }
    }
    const ssize_t put = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    if (put < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != ETOOMANYREFS) {
        // What the peer said before it went is still worth reading; its end shows up there.
        if (errno == EPIPE || errno == ECONNRESET) return drop_output();
        return fail(std::string("write: ") + ::strerrordesc_np(errno));
      }
      if (!std::exchange(blocked_, true)) event_.watch(true, true);
      return;
    }
    sent_ += static_cast<std::size_t>(put);
    written_total_ += static_cast<std::size_t>(put);
    if (descriptors != nullptr) descriptors_out_.pop_front();
    // A peer that is always a little behind must not make us keep all that it ever took.
    if (sent_ >= kReadSize && sent_ >= unsent()) {
      output_.erase(0, sent_);
      sent_ = 0;
    }
  }
  sent_ = 0;
  output_.clear();
  if (output_.capacity() > kKeepCapacity) std::string().swap(output_);
  if (std::exchange(blocked_, false)) event_.watch(true, false);
}

void Channel::fail(std::string why) noexcept {
  if (!open()) return;
  trouble_ = std::move(why);
  if (!trouble_.empty())
    log::warning("channel.closed").field("peer", name(peer_)).field("reason", trouble_);
  close();
  loop_.defer([this, alive = alive_]() noexcept {
    if (*alive) on_closed_();
  });
}

ChannelPair make_channel_pair() {
  int ends[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  return {base::UniqueFd::adopt(ends[0]), base::UniqueFd::adopt(ends[1])};
}

}  // namespace postern::ipc
