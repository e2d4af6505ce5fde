// The numbers that name things in Postern, each a type of its own.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/strong.h"

namespace postern::base {

// A message, from acceptance to its end and beyond (log, history). Never reused, rising with time.
using MessageId = Strong<struct MessageIdTag>;
// The journal's number of a record; dense and rising, over all segments.
using SequenceNumber = Strong<struct SequenceNumberTag>;
// One life of queued; random, see the journal.
using Epoch = Strong<struct EpochTag>;
// Names one request on one channel until its reply.
using RequestId = Strong<struct RequestIdTag>;
// A message handed to a deliverer, within one epoch.
using LeaseId = Strong<struct LeaseIdTag>;
// Permission to open one connection, within one epoch.
using GrantId = Strong<struct GrantIdTag>;
// A listener's place in the configuration.
using ListenerIndex = Strong<struct ListenerIndexTag, std::uint32_t>;
// A generation of the configuration; 1 at start, one more at each reload.
using Generation = Strong<struct GenerationTag>;

// The name of one SMTP transaction, by which smtpd can ask a later queued what became of it.
struct Token {
  std::array<std::uint8_t, 16> bytes{};
  friend bool operator==(const Token&, const Token&) noexcept = default;
};

inline constexpr std::size_t kMessageIdLength = 13;

// 13 characters of Crockford's base 32 (0-9 A-Z without I L O U), most significant first.
[[nodiscard]] std::string to_string(MessageId id);
// Reads what to_string() wrote, in either case; nullopt for anything else.
[[nodiscard]] std::optional<MessageId> parse_message_id(std::string_view text);

}  // namespace postern::base

template <>
struct std::hash<postern::base::Token> {
  std::size_t operator()(const postern::base::Token& token) const noexcept {
    std::size_t h = 0;  // the bytes are random already
    for (std::size_t i = 0; i < sizeof h; ++i) h = h << 8 | token.bytes[i];
    return h;
  }
};
