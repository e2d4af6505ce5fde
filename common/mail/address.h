// Address: a mailbox (RFC 5321 4.1.2 with RFC 6531 3.3: Local-part "@" Domain), and the paths of an envelope.
// Made only by the parser; an address cannot hold CR, LF, NUL or any other control, nor anything else that could
// not be shown (base::is_harmless). The local part keeps its case, its meaning and its composition, which are its
// own host's affair: quoting that is not needed is removed, quoting that is needed is put back. Where we are that
// host, or somebody looks for an address, local parts are compared folded (base::folded: lower case, NFC).
//
// Only a local part can need SMTPUTF8, for a domain is held in A-labels (domain.h).
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
  static constexpr std::size_t kMaxLocalPart = 64;  // bytes, RFC 5321 4.5.3.1.1
  static constexpr std::size_t kMaxLength = 254;    // a path is 256 with its brackets, 4.5.3.1.3

  // An empty address, for containers and decoders only; it names nobody.
  Address() = default;
  // "user@example.org", "\"quoted local\"@example.org", "user@[192.0.2.1]", "böb@bücher.example", or a
  // bare "postmaster" in any case (RFC 5321 4.5.1). No brackets, no source route, no spaces around. Whoever may
  // not say UTF-8 has to be refused by the caller, before.
  [[nodiscard]] static std::expected<Address, AddressError> parse(std::string_view text);

  // The meaning of the local part, unquoted ("quoted local").
  [[nodiscard]] const std::string& local_part() const noexcept { return local_part_; }
  // Empty for the bare postmaster.
  [[nodiscard]] const Domain& domain() const noexcept { return domain_; }
  // As it stands in a command, quoted where needed; parses back to the same address.
  [[nodiscard]] std::string text() const;
  void append_to(std::string& out) const { append_to(out, domain_.text()); }
  // The same with the domain in U-labels, for people.
  [[nodiscard]] std::string unicode() const;
  // Is `part` in the address, as people may write it: in any case and composition, its domain in either form?
  [[nodiscard]] bool mentions(std::string_view part) const;
  // The same local part in another domain; an error where that is too long.
  [[nodiscard]] std::expected<Address, AddressError> at(const Domain& domain) const;
  // It can be said only where SMTPUTF8 is spoken (RFC 6531).
  [[nodiscard]] bool needs_utf8() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return local_part_.empty() && domain_.empty(); }
  [[nodiscard]] bool is_postmaster() const noexcept;  // the local part, in any case

  friend auto operator<=>(const Address&, const Address&) noexcept = default;

 private:
  Address(std::string local_part, Domain domain) noexcept
      : local_part_(std::move(local_part)), domain_(std::move(domain)) {}
  void append_to(std::string& out, std::string_view domain) const;
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
  [[nodiscard]] bool needs_utf8() const noexcept { return address_ && address_->needs_utf8(); }
  // As Address::mentions(); nothing is in the null path.
  [[nodiscard]] bool mentions(std::string_view part) const {
    return part.empty() || (address_ && address_->mentions(part));
  }
  friend auto operator<=>(const ReversePath&, const ReversePath&) noexcept = default;

 private:
  std::optional<Address> address_;
};

}  // namespace postern::mail
