// The states of Client, and what is known of each of them. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/base/clock.h"
#include "common/ipc/delivery.h"

namespace postern::relay {

enum class ClientState : std::uint8_t {
  kGreeting,
  kEhlo,
  kHelo,
  kStartTls,
  kTls,
  kAuth,
  kXclient,
  kReady,
  kNoop,
  kRset,
  kXforward,
  kMail,
  kRcpt,
  kData,
  kBody,
  kDot,
  kEmptyDot,
  kAtrn,
  kTurned,
  kQuit,
  kOver,
};

// How long to wait in it (RFC 5321 4.5.3.2); 0: nothing is awaited.
[[nodiscard]] base::Millis timeout_of(ClientState state) noexcept;
// "the reply to MAIL"
[[nodiscard]] std::string_view awaited(ClientState state) noexcept;
// Of a session that breaks in it.
[[nodiscard]] ipc::FailureClass class_of_loss(ClientState state) noexcept;

}  // namespace postern::relay
