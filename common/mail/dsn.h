// What a sender asks of reports (RFC 3461 4): RET and ENVID of MAIL, NOTIFY and ORCPT of RCPT, as
// values that only their parsers make. None of them can hold anything but printable ASCII, and the address
// of a recipient harmless UTF-8 (common/base/utf8.h), so they may be said to a next hop and written into a
// notice as their functions give them. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace postern::mail {

// xtext of RFC 3461 4: "+" and two hexadecimal digits for what may not stand in a parameter.
[[nodiscard]] std::string to_xtext(std::string_view text);
// The bytes, of whatever kind, that xtext stands for; UTF-8 may stand in it, as RFC 6533 3 has it. nullopt: it is none.
[[nodiscard]] std::optional<std::string> from_xtext_bytes(std::string_view xtext);
// nullopt: it is no xtext, or holds something else than printable ASCII and spaces.
[[nodiscard]] std::optional<std::string> from_xtext(std::string_view xtext);

// An address of the type utf-8 in printable ASCII (utf-8-addr-xtext of RFC 6533 3): "b\x{F6}b@example.org".
[[nodiscard]] std::string to_utf8_xtext(std::string_view address);

// What a sender demands of TLS on the message's way (RFC 8689).
enum class TlsWish : std::uint8_t {
  kUnsaid,
  kRequired,  // REQUIRETLS: only to hosts that have proved who they are, and promise the same
};

// RET=: how much of a message that failed goes back to its sender.
enum class Return : std::uint8_t { kUnsaid, kHeaders, kFull };
[[nodiscard]] std::optional<Return> parse_return(std::string_view value);

// NOTIFY=: on which occasions the sender wants to hear of a recipient.
class Notify {
 public:
  static constexpr std::uint8_t kSuccess = 1, kFailure = 2, kDelay = 4, kNever = 8;

  Notify() = default;  // not said
  // "NEVER", or a list of "SUCCESS", "FAILURE" and "DELAY"; in any case.
  [[nodiscard]] static std::optional<Notify> parse(std::string_view value);
  // nullopt: no value and no silence has these bits.
  [[nodiscard]] static std::optional<Notify> from_bits(std::uint8_t bits);
  // Who names a recipient twice wants what either of them asks for.
  [[nodiscard]] static Notify both(Notify a, Notify b);

  [[nodiscard]] std::uint8_t bits() const noexcept { return bits_; }
  [[nodiscard]] bool said() const noexcept { return bits_ != 0; }
  // Silence means failures (RFC 3461 4.1), and leaves delays to us: they are told.
  [[nodiscard]] bool failure() const noexcept { return !said() || (bits_ & kFailure) != 0; }
  [[nodiscard]] bool delay() const noexcept { return !said() || (bits_ & kDelay) != 0; }
  [[nodiscard]] bool success() const noexcept { return (bits_ & kSuccess) != 0; }
  // "SUCCESS,DELAY"; empty where nothing was said.
  [[nodiscard]] std::string text() const;

  friend bool operator==(Notify, Notify) noexcept = default;

 private:
  explicit Notify(std::uint8_t bits) noexcept : bits_(bits) {}
  std::uint8_t bits_ = 0;
};

// ENVID=: the sender's own name for the message.
class EnvelopeId {
 public:
  static constexpr std::size_t kMaxLength = 100;  // as sent (RFC 3461 4.4)

  EnvelopeId() = default;  // none
  [[nodiscard]] static std::optional<EnvelopeId> parse(std::string_view xtext);
  // From text() of another.
  [[nodiscard]] static std::optional<EnvelopeId> from_text(std::string_view text);

  [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] std::string xtext() const { return to_xtext(text_); }
  friend bool operator==(const EnvelopeId&, const EnvelopeId&) noexcept = default;

 private:
  explicit EnvelopeId(std::string text) noexcept : text_(std::move(text)) {}
  std::string text_;
};

// ORCPT=: whom the sender had named, before others rewrote it: a type of address and an address. One of the
// type utf-8 (RFC 6533 3) is held in its shortest form: characters as they are, and \x{HEX} only for a
// backslash and for what is not harmless. Anything else in printable ASCII is held as it came.
class OriginalRecipient {
 public:
  static constexpr std::size_t kMaxLength = 500;  // as sent (RFC 3461 4.2)

  OriginalRecipient() = default;  // none
  // "rfc822;bob+2Btag@example.org". Of the type utf-8 in any of its three forms: "b\x{F6}b@example.org"
  // (utf-8-addr-xtext), "böb\x{2B}tag@example.org" (utf-8-addr-unitext), "böb@example.org" (utf-8-address).
  [[nodiscard]] static std::optional<OriginalRecipient> parse(std::string_view value);
  // From text() of another.
  [[nodiscard]] static std::optional<OriginalRecipient> from_text(std::string_view text);

  [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
  // "rfc822;bob+tag@example.org"
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] std::string_view type() const noexcept;
  [[nodiscard]] std::string_view address() const noexcept;
  // As it stands behind "ORCPT=": where SMTPUTF8 was said with unitext, else in ASCII. Empty where it grew too long
  // for that.
  [[nodiscard]] std::string parameter(bool smtputf8) const;
  // As it stands in a notice, type and address: in UTF-8 (utf-8-address), or in ASCII (utf-8-addr-xtext).
  [[nodiscard]] std::string field(bool utf8) const;
  friend bool operator==(const OriginalRecipient&, const OriginalRecipient&) noexcept = default;

 private:
  explicit OriginalRecipient(std::string text) noexcept : text_(std::move(text)) {}
  [[nodiscard]] bool is_utf8() const noexcept;  // the type, and what it says of the address
  std::string text_;
};

}  // namespace postern::mail
