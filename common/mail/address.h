// Address: a mailbox (RFC 5321 4.1.2: Local-part "@" Domain), and the paths of an envelope. Made
// only by the parser; an address cannot hold CR, LF, NUL or any other control byte. The local part
// keeps its case and its meaning: quoting that is not needed is removed, quoting that is needed is
// put back.
#pragma once

#include <compare>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "common/mail/domain.h"

namespace postern::mail {

class Address {
 public:
  static constexpr std::size_t kMaxLocalPart = 64;  // RFC 5321 4.5.3.1.1
  static constexpr std::size_t kMaxLength = 254;    // a path is 256 with its brackets, 4.5.3.1.3

  // An empty address, for containers and decoders only; it names nobody.
  Address() = default;
  // "user@example.org", "\"quoted local\"@example.org", "user@[192.0.2.1]", or a bare "postmaster"
  // in any case (RFC 5321 4.5.1). No brackets, no source route, no spaces around.
  [[nodiscard]] static std::expected<Address, AddressError> parse(std::string_view text);

  // The meaning of the local part, unquoted ("quoted local").
  [[nodiscard]] const std::string& local_part() const noexcept { return local_part_; }
  // Empty for the bare postmaster.
  [[nodiscard]] const Domain& domain() const noexcept { return domain_; }
  // As it stands in a command, quoted where needed; parses back to the same address.
  [[nodiscard]] std::string text() const;
  [[nodiscard]] bool empty() const noexcept { return local_part_.empty() && domain_.empty(); }
  [[nodiscard]] bool is_postmaster() const noexcept;  // the local part, in any case

  friend auto operator<=>(const Address&, const Address&) noexcept = default;

 private:
  Address(std::string local_part, Domain domain) noexcept
      : local_part_(std::move(local_part)), domain_(std::move(domain)) {}
  std::string local_part_;
  Domain domain_;
};

// The reverse-path of an envelope: an address, or null (`<>`), the sender of notices.
class ReversePath {
 public:
  ReversePath() = default;  // null
  explicit ReversePath(Address address) : address_(std::move(address)) {}
  [[nodiscard]] bool is_null() const noexcept { return !address_.has_value(); }
  // Only where it is not null.
  [[nodiscard]] const Address& address() const { return address_.value(); }
  // Without brackets; empty for the null path.
  [[nodiscard]] std::string text() const { return address_ ? address_->text() : std::string(); }
  friend auto operator<=>(const ReversePath&, const ReversePath&) noexcept = default;

 private:
  std::optional<Address> address_;
};

}  // namespace postern::mail
