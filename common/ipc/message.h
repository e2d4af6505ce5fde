// What makes a struct a message: its type number, its route, and for requests a window and a reply.
//
//   struct Ping {
//     static constexpr Type kType = Type::kPing;
//     static constexpr Route kRoute{roles(Role::kSmtpd), roles(Role::kQueued)};
//     static constexpr Window kWindow{.requests = 256};     // a request: carries `request`
//     ...fields...
//   };
//   struct Pong { using ReplyTo = Replies<Ping>; ... };      // carries the same `request`
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>
#include <tuple>

#include "common/ipc/codec.h"

namespace postern::ipc {

enum class Role : std::uint8_t { kParent, kSmtpd, kQueued, kRelay, kLocal, kKey, kAuth, kFetch, kMailbox, kControl };
inline constexpr std::size_t kRoleCount = 10;

[[nodiscard]] constexpr std::string_view name(Role role) {
  constexpr std::string_view kNames[] = {"parent", "smtpd", "queued", "relay", "local", "key", "auth", "fetch", "mailbox", "control"};
  return kNames[static_cast<std::size_t>(role)];
}

using RoleSet = std::uint16_t;
[[nodiscard]] constexpr RoleSet roles(std::same_as<Role> auto... role) {
  return static_cast<RoleSet>((0U | ... | (1U << static_cast<unsigned>(role))));
}
[[nodiscard]] constexpr bool contains(RoleSet set, Role role) {
  return (set >> static_cast<unsigned>(role) & 1U) != 0;
}

// Who may send a message to whom.
struct Route {
  RoleSet from;
  RoleSet to;
  [[nodiscard]] constexpr bool allows(Role sender, Role receiver) const {
    return contains(from, sender) && contains(to, receiver);
  }
};

// How many requests of a type, and bytes that they announce, may be unanswered on one channel. The
// sender waits for credit; the receiver closes a channel that goes beyond it.
struct Window {
  std::uint32_t requests = 1;
  std::uint64_t bytes = ~0ULL;
};

inline constexpr std::size_t kMaxFrame = 64 * 1024;   // header and payload
inline constexpr std::size_t kFrameHeader = 8;        // u32 payload size, u16 type, u16 descriptors
inline constexpr std::size_t kMaxDescriptors = 4;     // of one frame
// Bytes of a body in one frame.
inline constexpr std::size_t kBodySlice = 60 * 1024;

template <class M>
concept Request = requires { M::kWindow; };
template <class... M>
struct Replies {};
template <class M>
concept Reply = requires { typename M::ReplyTo; };

// The most descriptors that may come with a message; 0 unless it says otherwise.
template <class M>
constexpr std::size_t max_descriptors() {
  if constexpr (requires { M::kDescriptors; })
    return M::kDescriptors;
  else
    return 0;
}

// What a request announces against its window's bytes.
template <class M>
constexpr std::uint64_t announced_bytes(const M& message) {
  if constexpr (requires { message.announced(); })
    return message.announced();
  else
    return 0;
}

// Bytes that a handler sees only while it runs; for bodies, so that they are not copied twice.
struct Slice {
  std::string_view bytes;
};

template <>
struct Codec<Slice> {
  static void encode(base::Writer& w, const Slice& value, Limits limits) {
    CHECK(value.bytes.size() <= limits.own);
    w.blob(value.bytes);
  }
  static void decode(base::Reader& r, Slice& value, Limits limits) {
    value.bytes = r.blob(limits.own);
  }
  static constexpr std::size_t max_size(Limits limits) { return 4 + limits.own; }
  static void shape(std::string& out) { out += "slice"; }
};

}  // namespace postern::ipc

template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::ipc::Role> =
    postern::ipc::Role::kControl;
