// Domain: the name of a mail domain or an address literal, as a type that only its parser can make.
// Held in lower case; cannot hold control bytes, spaces, or anything that could end a command.
//
// One canonical form: U-labels become A-labels as they are read (RFC 5891 4.4, UTS 46 without its transitional
// forms), and so a domain compares, routes, is stored, logged and sent by its A-labels, which every host knows.
// U-labels come back only in what Postern writes for people to read in notices: unicode().
#pragma once

#include <compare>
#include <expected>
#include <string>
#include <string_view>

namespace postern::mail {

// Why a text is no address or domain; short, for the reply ("label longer than 63 characters").
struct AddressError {
  std::string text;
  friend bool operator==(const AddressError&, const AddressError&) noexcept = default;
};

class Domain {
 public:
  static constexpr std::size_t kMaxLength = 255;  // RFC 5321 4.5.3.1.2

  // No domain at all: the domain of the bare "postmaster" only.
  Domain() = default;
  // "Example.ORG" -> "example.org"; "Bücher.example" -> "xn--bcher-kva.example"; "[192.0.2.1]",
  // "[IPv6:2001:db8::1]". A trailing dot is an error.
  [[nodiscard]] static std::expected<Domain, AddressError> parse(std::string_view text);

  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  // With U-labels where its A-labels stand for some; else text().
  [[nodiscard]] std::string unicode() const;
  [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
  [[nodiscard]] bool is_literal() const noexcept { return !text_.empty() && text_.front() == '['; }

  friend auto operator<=>(const Domain&, const Domain&) noexcept = default;

 private:
  explicit Domain(std::string text) noexcept : text_(std::move(text)) {}
  std::string text_;
};

// May a client call itself this in HELO or EHLO? A domain or a literal, read generously, for the
// name proves nothing: 1 to 255 letters, digits and ". - _ : [ ]", which are harmless in a header
// field.
[[nodiscard]] bool is_hello_name(std::string_view text) noexcept;

}  // namespace postern::mail
