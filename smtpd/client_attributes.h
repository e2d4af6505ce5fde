// What XCLIENT and XFORWARD say of a client (Postfix, XCLIENT_README and XFORWARD_README): attributes
// and their values, which are xtext. Pure.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/ip.h"
#include "common/ipc/types.h"

namespace postern::smtpd {

// As EHLO offers them. LOGIN is not among those of XCLIENT: nobody logs in by another's word.
inline constexpr std::string_view kXclientOffer =
    "XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT";
inline constexpr std::string_view kXforwardOffer =
    "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE";

// Nothing: it was not said. Empty (ADDR: 0.0.0.0): it was said that nobody knows it ([UNAVAILABLE],
// [TEMPUNAVAIL]).
struct ClientAttributes {
  static constexpr std::size_t kMaxValue = 255;  // bytes; of more nothing good comes

  std::optional<std::string> name;   // of ADDR; looks like a domain
  std::optional<base::IpAddress> addr;
  std::optional<std::string> port;   // a number
  std::optional<std::string> proto;  // XCLIENT: "SMTP" or "ESMTP". XFORWARD: printable
  std::optional<std::string> helo;   // XCLIENT: a valid hello name. XFORWARD: printable
  std::optional<std::string> destaddr, destport;  // XCLIENT: where the client connected to
  std::optional<std::string> ident;   // XFORWARD: of the message, in the host's log
  std::optional<std::string> source;  // XFORWARD: "LOCAL" or "REMOTE"
};

enum class Introduction : std::uint8_t { kXclient, kXforward };

// `text` is what follows the command; or why it is refused.
[[nodiscard]] std::expected<ClientAttributes, std::string> parse_client_attributes(
    Introduction introduction, std::string_view text);

// Takes over what `news` says.
void update(ClientAttributes& attributes, ClientAttributes news);
// For people: "client.example [192.0.2.1]:4321 helo=client.example proto=ESMTP".
[[nodiscard]] std::string text_of(const ClientAttributes& attributes);
// For the next hop; nothing: they tell of nobody but the host that said them. Nor do they by an address of its own
// loopback, unless it is `here`, on this host.
[[nodiscard]] std::optional<ipc::FirstClient> first_client(const ClientAttributes& attributes, bool here);

}  // namespace postern::smtpd
