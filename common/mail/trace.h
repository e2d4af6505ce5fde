// Trace fields (RFC 5321 4.4): the Received field that every stored message gets on top, and the
// Return-Path of final delivery. Whole fields with their CR LF, no line over 78 columns unless one word alone is
// longer; ASCII, but for an address that is not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/ip.h"
#include "common/mail/address.h"

namespace postern::mail {

// kUtf8Smtp: ESMTP, and SMTPUTF8 was said for the message.
enum class WithProtocol : std::uint8_t { kSmtp, kEsmtp, kUtf8Smtp };

inline constexpr std::size_t kMaxTlsText = 100;  // version and cipher
inline constexpr std::size_t kMaxTlsPeer = 200;  // a name in a certificate
inline constexpr std::size_t kMaxClientName = 255;  // of its address
inline constexpr std::size_t kMaxForwarded = 900;  // what XFORWARD said

struct Received {
  std::string_view hello;                 // as the client said it; may be empty, may be hostile
  std::optional<base::IpAddress> client;  // none: came through a Unix socket; 0.0.0.0: unknown
  std::string_view hostname;              // ours
  WithProtocol with = WithProtocol::kEsmtp;
  base::MessageId id;
  // Set only where the message has exactly one recipient, lest it tell one of the others.
  const Address* only_recipient = nullptr;
  base::WallTime when;
  bool logged_in = false;
  // Both may be hostile.
  std::string_view tls;       // "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty: clear text
  std::string_view tls_peer;  // the name in the client's certificate
  // Likewise.
  std::string_view client_name;  // of its address; empty: unknown
  std::string_view forwarded;    // what is said of the message's first client
};

[[nodiscard]] std::string received_field(const Received& received);

// What a Delivered-To field calls an alias of ours, on mail that goes on to anybody: "team@example.org". One beyond
// ASCII in the words of RFC 6533 3, "t\x{E9}am@example.org", so that the header needs no SMTPUTF8 for it.
[[nodiscard]] std::string delivered_to(const Address& alias);

// What a message must have (RFC 5322 3.6), and its first server adds where a user's has it not (RFC 6409 8.1,
// 8.2): "Date: ...\r\n", and "Message-ID: <0123456789ABC@mx.example.org>\r\n".
[[nodiscard]] std::string date_field(base::WallTime when);
[[nodiscard]] std::string message_id_field(base::MessageId id, std::string_view hostname);

// "Return-Path: <ann@example.org>\r\n"; "<>" for the null path.
[[nodiscard]] std::string return_path_field(const ReversePath& path);

}  // namespace postern::mail
