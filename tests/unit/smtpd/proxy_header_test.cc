#include "smtpd/proxy_header.h"

#include <gtest/gtest.h>

#include <string>

#include "common/base/crc32c.h"

namespace postern::smtpd {
namespace {

using namespace std::string_literals;

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string number(std::size_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}
std::string binary(char command, char family, const std::string& content) {
  return kSignature + command + family + number(content.size()) + content;
}
const std::string kV4Addresses = "\xC0\x00\x02\x01\x0A\x00\x00\x01"s + number(4321) + number(25);
const std::string kV6Addresses =
    "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x01" + "\x20\x01\x0d\xb8"s +
    std::string(11, '\0') + "\x02" + number(4321) + number(25);

std::string tlv(char type, const std::string& value) {
  return type + number(value.size()) + value;
}

// "client server" of a header that is whole; "none" without addresses, "more", or what is wrong.
std::string read(const std::string& bytes, std::size_t* size = nullptr) {
  const auto result = parse_proxy_header(bytes);
  if (!result) return std::string(result.error());
  if (!*result) return "more";
  if (size != nullptr) *size = (*result)->size;
  if (!(*result)->client) return "none";
  return base::to_string(*(*result)->client) + ' ' + base::to_string(*(*result)->server);
}

// What is whole, and every beginning of it asks for more; what comes behind stays.
void expect_whole(const std::string& header, const std::string& meaning) {
  std::size_t size = 0;
  EXPECT_EQ(read(header + "EHLO x\r\n", &size), meaning);
  EXPECT_EQ(size, header.size());
  EXPECT_EQ(read(header), meaning);
  for (std::size_t part = 0; part < header.size(); ++part)
    EXPECT_EQ(read(header.substr(0, part)), "more") << part << " bytes";
}

TEST(ProxyHeader, ReadsLines) {
  expect_whole("PROXY TCP4 192.0.2.1 10.0.0.1 4321 25\r\n", "192.0.2.1:4321 10.0.0.1:25");
  expect_whole("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
               "255.255.255.255:65535 255.255.255.255:65535");
  expect_whole("PROXY TCP6 2001:db8::1 2001:db8::2 0 1\r\n", "[2001:db8::1]:0 [2001:db8::2]:1");
  expect_whole("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1 [::1]:2");
  expect_whole("PROXY UNKNOWN\r\n", "none");
  expect_whole("PROXY UNKNOWN whatever 1.2.3.4\r\n", "none");
  const std::string longest =
      "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
      "65535 65535\r\n";
  ASSERT_EQ(longest.size(), kMaxProxyLine);
  expect_whole(longest, "none");
}

TEST(ProxyHeader, RefusesDamagedLines) {
  const std::string bad[] = {
      "EHLO client.example\r\n",
      "proxy TCP4 192.0.2.1 10.0.0.1 4321 25\r\n",
      "PROXYTCP4 192.0.2.1 10.0.0.1 4321 25\r\n",
      "PROXY  TCP4 192.0.2.1 10.0.0.1 4321 25\r\n",
      "PROXY TCP5 192.0.2.1 10.0.0.1 4321 25\r\n",
      "PROXY UNKNOWNS\r\n",
      "PROXY \r\n",
      "PROXY TCP4\r\n",
      "PROXY TCP4 \r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 4321\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 4321 25 \r\n",
      "PROXY TCP4 192.0.2.1  10.0.0.1 4321 25\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 4321 25 7\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 4321 65536\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 04321 25\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 -1 25\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 4321 \r\n",
      "PROXY TCP4 192.0.2.256 10.0.0.1 4321 25\r\n",
      "PROXY TCP4 2001:db8::1 2001:db8::2 4321 25\r\n",
      "PROXY TCP6 192.0.2.1 10.0.0.1 4321 25\r\n",
      "PROXY TCP6 2001:db8::1 10.0.0.1 4321 25\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 4321 25\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 4321 25\r\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 4321\r 25\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 4321 25\0\r\n"s,
      "PROXY UNKNOWN " + std::string(kMaxProxyLine, 'x'),
      "\x16\x03\x01",
      "\r\n\r\n\r\n",
      "Q",
  };
  for (const auto& bytes : bad) {
    const auto result = parse_proxy_header(bytes);
    EXPECT_FALSE(result.has_value()) << bytes << ": " << read(bytes);
  }
}

TEST(ProxyHeader, ReadsVersion2) {
  expect_whole(binary('\x21', '\x11', kV4Addresses), "192.0.2.1:4321 10.0.0.1:25");
  expect_whole(binary('\x21', '\x21', kV6Addresses), "[2001:db8::1]:4321 [2001:db8::2]:25");
  expect_whole(binary('\x21', '\x31', std::string(216, 'u')), "none");
  expect_whole(binary('\x21', '\x00', ""), "none");
  expect_whole(binary('\x21', '\x00', tlv('\x04', "noop")), "none");
  expect_whole(binary('\x21', '\x11', kV4Addresses + tlv('\x02', "mx.example.org") + tlv('\x30', "")),
               "192.0.2.1:4321 10.0.0.1:25");
  const auto room = kMaxProxyContent - kV4Addresses.size() - 3;
  expect_whole(binary('\x21', '\x11', kV4Addresses + tlv('\x04', std::string(room, 'n'))),
               "192.0.2.1:4321 10.0.0.1:25");
}

TEST(ProxyHeader, TakesWhatALocalCommandSaysForNothing) {
  expect_whole(binary('\x20', '\x00', ""), "none");
  expect_whole(binary('\x20', '\x11', kV4Addresses), "none");
  expect_whole(binary('\x20', '\x7F', "any"), "none");
}

TEST(ProxyHeader, KeepsAMappedAddressAsTheOneThatItIs) {
  auto addresses = kV6Addresses;
  addresses.replace(0, 16, std::string(10, '\0') + "\xFF\xFF\xC0\x00\x02\x07"s);
  expect_whole(binary('\x21', '\x21', addresses), "192.0.2.7:4321 [2001:db8::2]:25");
}

TEST(ProxyHeader, ChecksTheChecksum) {
  auto header = binary('\x21', '\x11', kV4Addresses + tlv('\x04', "x") + tlv('\x03', "\0\0\0\0"s) +
                                           tlv('\x04', "yz"));
  const auto at = header.size() - 5 - 4;
  const auto crc = base::crc32c(header);
  for (int i = 0; i < 4; ++i) header[at + static_cast<std::size_t>(i)] = static_cast<char>(crc >> (24 - 8 * i));
  expect_whole(header, "192.0.2.1:4321 10.0.0.1:25");
  for (const std::size_t spoiled : {17U, 21U, 27U, 31U, 36U}) {
    auto damaged = header;
    damaged[spoiled] ^= 1;
    EXPECT_EQ(read(damaged), "wrong checksum") << spoiled;
  }
  EXPECT_EQ(read(binary('\x21', '\x11', kV4Addresses + tlv('\x03', "\0\0\0"s))), "wrong checksum");
}

// As HAProxy 2.6 sends it with proxy-v2-options crc32c,unique-id.
TEST(ProxyHeader, ReadsWhatHaproxySends) {
  expect_whole(binary('\x21', '\x11',
                      "\x7F\x6C\x32\xBF\x7F\x4B\x23\x96\xA6\xA9\x09\xE2"s +
                          tlv('\x03', "\x9A\x3C\x10\x38") +
                          tlv('\x05', "7F6C32BF:A6A9_7F4B2396:09E2_6B07597A_0000:3C1E")),
               "127.108.50.191:42665 127.75.35.150:2530");
}

TEST(ProxyHeader, RefusesDamagedVersion2) {
  const auto good = binary('\x21', '\x11', kV4Addresses);
  for (std::size_t at = 0; at < 14; ++at) {
    auto bytes = good;
    bytes[at] ^= 0x40;
    EXPECT_FALSE(parse_proxy_header(bytes).has_value()) << "byte " << at;
  }
  for (const char command : {'\x10', '\x22', '\x31', '\x11', '\x01'})
    EXPECT_EQ(read(binary(command, '\x11', kV4Addresses)), "unknown version or command");
  for (const char family : {'\x01', '\x10', '\x12', '\x22', '\x32', '\x41'})
    EXPECT_EQ(read(binary('\x21', family, kV6Addresses)), "unknown family or transport");
  EXPECT_EQ(read(binary('\x21', '\x11', kV4Addresses.substr(1))), "the addresses are cut short");
  EXPECT_EQ(read(binary('\x21', '\x21', kV4Addresses)), "the addresses are cut short");
  EXPECT_EQ(read(binary('\x21', '\x31', std::string(215, 'u'))), "the addresses are cut short");
  EXPECT_EQ(read(binary('\x21', '\x11', kV4Addresses + "\x04\x00")), "a TLV is cut short");
  EXPECT_EQ(read(binary('\x21', '\x11', kV4Addresses + "\x04\x00\x02y"s)),
            "a TLV is longer than the header");
  EXPECT_EQ(read(kSignature + "\x21\x11" + number(kMaxProxyContent + 1)), "the header is too long");
}

}  // namespace
}  // namespace postern::smtpd
