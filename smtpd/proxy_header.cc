#include "smtpd/proxy_header.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "common/base/crc32c.h"
#include "common/base/text.h"

namespace postern::smtpd {
namespace {

using Result = std::expected<std::optional<ProxyHeader>, std::string_view>;

constexpr std::string_view kLineStart = "PROXY ";
constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kFixed = 16;  // signature, version and command, family, length

std::uint8_t byte(std::string_view bytes, std::size_t at) noexcept {
  return static_cast<std::uint8_t>(bytes[at]);
}
std::uint16_t word(std::string_view bytes, std::size_t at) noexcept {
  return static_cast<std::uint16_t>(byte(bytes, at) << 8 | byte(bytes, at + 1));
}

// Whether `bytes` may still become something that begins with `start`.
bool may_begin(std::string_view bytes, std::string_view start) noexcept {
  const auto common = std::min(bytes.size(), start.size());
  return bytes.substr(0, common) == start.substr(0, common);
}

// --- Version 1 ----------------------------------------------------------------------------------

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept {
  const auto port = base::parse_number(text);
  if (!port || *port > 65535 || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  return static_cast<std::uint16_t>(*port);
}

// Words with exactly one space between them; nullopt: there are not as many.
std::optional<std::array<std::string_view, 4>> four_words(std::string_view text) noexcept {
  std::array<std::string_view, 4> words;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto end = text.find(' ');
    const bool last = i + 1 == words.size();
    if ((end == std::string_view::npos) != last) return std::nullopt;
    words[i] = text.substr(0, end);
    text.remove_prefix(last ? text.size() : end + 1);
  }
  return words;
}

Result parse_line(std::string_view bytes) {
  const auto lf = bytes.substr(0, kMaxProxyLine).find('\n');
  if (lf == std::string_view::npos) {
    if (bytes.size() >= kMaxProxyLine) return std::unexpected("the line is too long");
    return std::nullopt;
  }
  const auto end = bytes.find('\r');
  if (end + 1 != lf) return std::unexpected("the line does not end with CR LF");
  ProxyHeader header{.client = {}, .server = {}, .size = lf + 1};
  auto text = bytes.substr(kLineStart.size(), end - kLineStart.size());
  const auto family = text.substr(0, text.find(' '));
  if (family == "UNKNOWN") return header;  // what may follow is to be ignored (2.1)
  if (family != "TCP4" && family != "TCP6") return std::unexpected("unknown family");
  text.remove_prefix(std::min(family.size() + 1, text.size()));
  const auto words = four_words(text);
  if (!words) return std::unexpected("expected two addresses and two ports");
  const auto& [source, destination, source_port, destination_port] = *words;
  for (const auto address : {source, destination})
    if ((address.find(':') != std::string_view::npos) != (family == "TCP6"))
      return std::unexpected("an address of another family");
  const auto from = base::parse_ip(source), to = base::parse_ip(destination);
  const auto from_port = parse_port(source_port), to_port = parse_port(destination_port);
  if (!from || !to || !from_port || !to_port) return std::unexpected("bad address or port");
  header.client = base::Endpoint{*from, *from_port};
  header.server = base::Endpoint{*to, *to_port};
  return header;
}

// --- Version 2 ----------------------------------------------------------------------------------

constexpr std::uint8_t kLocal = 0x20, kProxy = 0x21;  // version 2 and its commands
constexpr std::uint8_t kChecksum = 0x03;              // a TLV: CRC32C of the header (2.2.4)

// Bytes of the addresses of a family and transport; nullopt: none that carries SMTP.
std::optional<std::size_t> address_size(std::uint8_t family) noexcept {
  switch (family) {
    case 0x00:  // UNSPEC
      return 0;
    case 0x11:  // TCP over IPv4
      return 12;
    case 0x21:  // TCP over IPv6
      return 36;
    case 0x31:  // a Unix stream
      return 216;
    default:
      return std::nullopt;
  }
}

base::IpAddress v4(std::string_view bytes) noexcept {
  base::IpAddress address;
  for (std::size_t i = 0; i < 4; ++i) address.bytes[i] = byte(bytes, i);
  return address;
}
base::IpAddress v6(std::string_view bytes) noexcept {
  std::array<std::uint8_t, 16> raw{};
  for (std::size_t i = 0; i < raw.size(); ++i) raw[i] = byte(bytes, i);
  return base::ip_from_v6(raw);
}

// The checksum is of the header with zeros in its own place.
bool is_checksum(std::string_view header, std::size_t at) noexcept {
  const auto said = std::uint32_t{word(header, at)} << 16 | word(header, at + 2);
  static constexpr std::string_view kZeros("\0\0\0\0", 4);
  auto crc = base::crc32c(header.substr(0, at));
  crc = base::crc32c(kZeros, crc);
  return base::crc32c(header.substr(at + 4), crc) == said;
}

// What is wrong with the TLVs from `at` to the end; empty: nothing.
std::string_view check_values(std::string_view header, std::size_t at) noexcept {
  while (at < header.size()) {  // ends: each turn goes on by three bytes or more
    if (header.size() - at < 3) return "a TLV is cut short";
    const auto type = byte(header, at);
    const std::size_t size = word(header, at + 1);
    at += 3;
    if (header.size() - at < size) return "a TLV is longer than the header";
    if (type == kChecksum && (size != 4 || !is_checksum(header, at))) return "wrong checksum";
    at += size;
  }
  return {};
}

Result parse_binary(std::string_view bytes) {
  if (bytes.size() < kFixed) return std::nullopt;
  const auto command = byte(bytes, 12), family = byte(bytes, 13);
  if (command != kLocal && command != kProxy) return std::unexpected("unknown version or command");
  const std::size_t content = word(bytes, 14);
  if (content > kMaxProxyContent) return std::unexpected("the header is too long");
  if (bytes.size() < kFixed + content) return std::nullopt;
  const auto whole = bytes.substr(0, kFixed + content);
  ProxyHeader header{.client = {}, .server = {}, .size = whole.size()};
  if (command == kLocal) return header;  // the rest is to be discarded, whatever it says (2.2)
  const auto addresses = address_size(family);
  if (!addresses) return std::unexpected("unknown family or transport");
  if (content < *addresses) return std::unexpected("the addresses are cut short");
  if (const auto wrong = check_values(whole, kFixed + *addresses); !wrong.empty())
    return std::unexpected(wrong);
  const auto at = whole.substr(kFixed);
  if (family == 0x11) {
    header.client = base::Endpoint{v4(at), word(at, 8)};
    header.server = base::Endpoint{v4(at.substr(4)), word(at, 10)};
  } else if (family == 0x21) {
    header.client = base::Endpoint{v6(at), word(at, 32)};
    header.server = base::Endpoint{v6(at.substr(16)), word(at, 34)};
  }
  return header;
}

}  // namespace

Result parse_proxy_header(std::string_view bytes) {
  if (bytes.starts_with(kLineStart)) return parse_line(bytes);
  if (bytes.starts_with(kSignature)) return parse_binary(bytes);
  if (may_begin(bytes, kLineStart) || may_begin(bytes, kSignature)) return std::nullopt;
  return std::unexpected("no PROXY header");
}

}  // namespace postern::smtpd
