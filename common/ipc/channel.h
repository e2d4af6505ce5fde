// Channel: typed, limited frames between two Postern processes over a stream socket pair.
//
// Typed: a channel knows both roles; it delivers only messages whose route allows them. The receiving
// side offers `on(const M&)` or, where it keeps the message, `on(M&&)` or `on(M)` (with Descriptors behind it where the
// message carries descriptors) for every message routed to it from that peer, or it does not compile.
// Limited: frames of at most 64 KiB; a request beyond its window, an unknown type, a malformed field,
// a wrong route or a wrong hello closes the channel, is logged, and never ends the process.
// Never blocking: frames gather and leave in one write at the end of the loop turn; the channel always
// reads, whatever it cannot write.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/base/unique_fd.h"
#include "common/event/loop.h"
#include "common/ipc/messages.h"

namespace postern::ipc {

using Descriptors = std::vector<base::UniqueFd>;

// What a channel is for its owner, all untyped. Use Connection<Handler, Self, Peer> below.
class Channel {
 public:
  struct Incoming {
    Type type;
    std::string_view payload;
    Descriptors descriptors;
  };
  // false: malformed, the channel closes.
  using OnFrame = std::move_only_function<bool(Incoming) noexcept>;
  // The channel is closed, for good, and nothing more is delivered. Called at the end of a turn, so the
  // owner may destroy the channel in it.
  using OnClosed = std::move_only_function<void() noexcept>;

  // `fd`: a connected stream socket. Sends our hello at once; frames are delivered after the peer's.
  Channel(event::Loop& loop, base::UniqueFd fd, Role self, Role peer, OnFrame on_frame,
          OnClosed on_closed);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  [[nodiscard]] bool open() const noexcept { return fd_.valid(); }
  [[nodiscard]] Role peer() const noexcept { return peer_; }
  // The peer closed the channel, or spoke nonsense; empty while open or after an orderly end.
  [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }
  // Bytes that wait to be written.
  [[nodiscard]] std::size_t unsent() const noexcept { return output_.size() - sent_; }
  void close() noexcept;  // now; on_closed does not follow
  // Writes now what has gathered (also done at the end of each turn).
  void flush() noexcept;

  template <class M>
  void send(const M& message, Descriptors descriptors = {});
  // May a request of this type, announcing `bytes`, be sent now?
  template <Request M>
  [[nodiscard]] bool has_credit(std::uint64_t bytes = 0) const noexcept;
  // Called (at most once per turn) after replies gave credit back.
  void on_credit(event::Callback callback) { on_credit_ = std::move(callback); }

  // For Connection: a request came in, or a reply; false if it breaks its window.
  bool note_received_request(Type type, base::RequestId request, std::uint64_t bytes, Window window);
  bool note_received_reply(std::span<const Type> requests, base::RequestId request);

 private:
  struct Ledger {  // unanswered requests of one type in one direction
    std::unordered_map<std::uint64_t, std::uint64_t> announced;  // request -> bytes
    std::uint64_t bytes = 0;
  };
  struct DescriptorMark {  // a frame that begins at `offset` of all output carries these
    std::uint64_t offset;
    Descriptors descriptors;
  };
  using Ledgers = std::unordered_map<std::uint16_t, Ledger>;

  void begin_frame(Type type, Descriptors descriptors);
  void end_frame();
  void note_sent_request(Type type, base::RequestId request, std::uint64_t bytes);
  void note_sent_reply(std::span<const Type> requests, base::RequestId request);
  static bool settle(Ledgers& ledgers, std::span<const Type> requests, base::RequestId request);
  void schedule_flush();
  void on_ready(bool readable, bool writable) noexcept;
  void read_some() noexcept;
  bool deliver_frames(std::string_view bytes, std::size_t& used) noexcept;
  bool deliver(Incoming incoming) noexcept;
  void write_some() noexcept;
  void drop_output() noexcept;
  void fail(std::string why) noexcept;

  event::Loop& loop_;
  base::UniqueFd fd_;
  Role self_;
  Role peer_;
  OnFrame on_frame_;
  OnClosed on_closed_;
  event::Callback on_credit_;
  event::FdEvent event_;
  std::string kept_;  // input short of a whole frame
  std::deque<base::UniqueFd> descriptors_in_;
  std::string output_;
  std::size_t sent_ = 0;
  std::uint64_t written_total_ = 0;  // offset of output_[sent_] in all output
  std::size_t frame_start_ = 0;
  std::deque<DescriptorMark> descriptors_out_;
  Ledgers sent_requests_;
  Ledgers received_requests_;
  std::string trouble_;
  bool greeted_ = false;
  bool flush_scheduled_ = false;
  bool credit_scheduled_ = false;
  bool blocked_ = false;
  std::shared_ptr<bool> alive_;
};

// --- Typed side -----------------------------------------------------------------------------------

// The requests that a reply may answer.
template <class M>
struct RequestTypes;
template <class... M>
struct RequestTypes<Replies<M...>> {
  static constexpr std::array<Type, sizeof...(M)> value{M::kType...};
};

template <class M>
void Channel::send(const M& message, Descriptors descriptors) {
  static_assert(Codec<M>::max_size({}) + kFrameHeader <= kMaxFrame);
  CHECK(M::kRoute.allows(self_, peer_) && descriptors.size() <= max_descriptors<M>());
  if (!open()) return;  // on_closed tells the owner, who asks anew or gives up
  if constexpr (Request<M>) note_sent_request(M::kType, message.request, announced_bytes(message));
  if constexpr (Reply<M>) note_sent_reply(RequestTypes<typename M::ReplyTo>::value, message.request);
  begin_frame(M::kType, std::move(descriptors));
  base::Writer writer(output_);
  Codec<M>::encode(writer, message, {});
  end_frame();
}

template <Request M>
bool Channel::has_credit(std::uint64_t bytes) const noexcept {
  const auto at = sent_requests_.find(static_cast<std::uint16_t>(M::kType));
  if (at == sent_requests_.end()) return true;
  const auto& ledger = at->second;
  // One request may always go, however large, so that nothing waits for ever.
  if (ledger.announced.empty()) return true;
  return ledger.announced.size() < M::kWindow.requests && ledger.bytes + bytes <= M::kWindow.bytes;
}

template <class Handler, class M>
concept HandlesPlain = requires(Handler& h, M m) { h.on(std::move(m)); };
template <class Handler, class M>
concept HandlesDescriptors = requires(Handler& h, M m, Descriptors d) { h.on(std::move(m), std::move(d)); };

// A channel with its handler: decodes, checks routes and windows, calls handler.on(message).
// `handler` outlives the connection. It must offer on() for every message routed Peer -> Self (but
// Hello), and `void closed() noexcept`.
template <class Handler, Role Self, Role Other>
class Connection {
 public:
  Connection(event::Loop& loop, base::UniqueFd fd, Handler& handler)
      : handler_(handler),
        channel_(
            loop, std::move(fd), Self, Other,
            [this](Channel::Incoming incoming) noexcept { return dispatch(std::move(incoming)); },
            [this]() noexcept { handler_.closed(); }) {}

  [[nodiscard]] Channel& channel() noexcept { return channel_; }
  template <class M>
  void send(const M& message, Descriptors descriptors = {}) {
    static_assert(M::kRoute.allows(Self, Other), "this route does not exist");
    channel_.send(message, std::move(descriptors));
  }

 private:
  bool dispatch(Channel::Incoming incoming) noexcept {
    bool known = false;
    bool good = false;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (void)((static_cast<std::size_t>(incoming.type) == I
            ? (known = true, good = receive<std::tuple_element_t<I, AllMessages>>(incoming), true)
            : false) ||
       ...);
    }(std::make_index_sequence<kTypeCount>{});
    return known && good;
  }

  template <class M>
  bool receive(Channel::Incoming& incoming) noexcept {
    if constexpr (!M::kRoute.allows(Other, Self) || std::same_as<M, Hello>) {
      return false;
    } else {
      if (incoming.descriptors.size() > max_descriptors<M>()) return false;
      base::Reader reader(incoming.payload);
      M message;
      Codec<M>::decode(reader, message, {});
      if (!reader.complete()) return false;
      if constexpr (Request<M>)
        if (!channel_.note_received_request(M::kType, message.request, announced_bytes(message),
                                            M::kWindow))
          return false;
      if constexpr (Reply<M>)
        if (!channel_.note_received_reply(RequestTypes<typename M::ReplyTo>::value, message.request))
          return false;
      if constexpr (max_descriptors<M>() > 0) {
        static_assert(HandlesDescriptors<Handler, M>, "the handler lacks on(const M&, Descriptors)");
        handler_.on(std::move(message), std::move(incoming.descriptors));
      } else {
        static_assert(HandlesPlain<Handler, M>, "the handler lacks on(const M&)");
        handler_.on(std::move(message));
      }
      return true;
    }
  }

  Handler& handler_;
  Channel channel_;
};

// Names of the roles' two ends of a fresh channel.
struct ChannelPair {
  base::UniqueFd a, b;
};
[[nodiscard]] ChannelPair make_channel_pair();  // stream socket pair, non-blocking, close-on-exec

}  // namespace postern::ipc
