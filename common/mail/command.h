// The commands of SMTP as typed values (RFC 5321 4.1.1), and the parser of one command line. Read
// generously, as a person types: verbs and keywords in any case, spaces after the colon, an address
// without its angle brackets, spaces at the end. What cannot be read carries the reply that refuses
// it, so that the protocol can still answer a command out of sequence first. Pure; keeps nothing of
// the line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/mail/address.h"
#include "common/mail/dsn.h"
#include "common/mail/reply.h"

namespace postern::mail {

enum class Verb : std::uint8_t {
  kHelo,
  kEhlo,
  kMail,
  kRcpt,
  kData,
  kBdat,
  kRset,
  kNoop,
  kQuit,
  kVrfy,
  kExpn,
  kHelp,
  kStartTls,
  kAuth,
  kXclient,
  kXforward,
  kEtrn,
  kAtrn,
  kForeign,  // the request of another protocol: GET, POST, CONNECT, ...
  kUnknown,
};
inline constexpr std::size_t kVerbCount = static_cast<std::size_t>(Verb::kUnknown) + 1;

// As in the log: "MAIL", "unknown".
[[nodiscard]] std::string_view name(Verb verb) noexcept;

// BODY= of RFC 6152 and RFC 3030.
enum class BodyType : std::uint8_t { k7Bit, k8BitMime, kBinaryMime };

// What MAIL or RCPT names.
struct Path {
  enum class Kind : std::uint8_t {
    kNull,     // "<>": MAIL only
    kAddress,  // in RCPT also the bare postmaster
    kBare,     // a local part without a domain, in MAIL postmaster too
  };
  Kind kind = Kind::kNull;
  Address address;  // kAddress
  std::string
      local_part;  // kBare: as written; with "@" and a domain behind it, Address::parse takes it

  // kBare: the address with `domain` stamped on it; an error where it grows too long.
  [[nodiscard]] std::expected<Address, AddressError> stamped(const Domain& domain) const;
};

struct Command {
  Verb verb = Verb::kUnknown;
  // HELO and EHLO: the client's name, a valid hello name. AUTH: the mechanism and, behind one blank, the
  // initial response, both as they came. XCLIENT, XFORWARD, ETRN and ATRN: all that follows.
  std::string argument;
  Path path;                          // MAIL and RCPT
  // MAIL and RCPT: the path is not ASCII as written, which only who has said SMTPUTF8 may write, even where the
  // address that it means needs none. ORCPT may be for whoever is offered it (RFC 6533 3).
  bool utf8_said = false;
  std::optional<std::uint64_t> size;  // MAIL: SIZE= of RFC 1870
  BodyType body = BodyType::k7Bit;    // MAIL
  bool smtputf8 = false;              // MAIL: SMTPUTF8 of RFC 6531
  bool require_tls = false;           // MAIL: REQUIRETLS of RFC 8689
  std::uint64_t chunk = 0;            // BDAT: how many bytes follow the line
  bool last_chunk = false;            // BDAT
  Return ret = Return::kUnsaid;       // MAIL: what reports are wanted, RFC 3461
  EnvelopeId envid;                   // MAIL
  bool auth_said = false;             // MAIL: AUTH= of RFC 4954, well formed; whom it names counts not
  Notify notify;                      // RCPT
  OriginalRecipient orcpt;            // RCPT
  // Set: the line names its verb and is wrong in the rest; nothing else but `verb` counts.
  std::optional<Reply> error;
};

// `line` is without its CRLF, and may hold any byte. The caller bounds its length.
[[nodiscard]] Command parse_command(std::string_view line);

}  // namespace postern::mail
