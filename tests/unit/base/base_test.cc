#include <gtest/gtest.h>

#include <array>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/ids.h"
#include "common/base/ip.h"
#include "common/base/text.h"

namespace postern::base {
namespace {

TEST(MessageIdText, RoundTripsAndKeepsOrder) {
  for (const std::uint64_t value : {0ULL, 1ULL, 31ULL, 32ULL, 0x0123456789ABCDEFULL, ~0ULL}) {
    const auto text = to_string(MessageId(value));
    EXPECT_EQ(text.size(), kMessageIdLength);
    EXPECT_EQ(parse_message_id(text), MessageId(value));
    EXPECT_EQ(parse_message_id(to_lower(text)), MessageId(value));
  }
  EXPECT_LT(to_string(MessageId(1ULL << 40)), to_string(MessageId((1ULL << 40) + 1)));
}

TEST(MessageIdText, RefusesWhatItNeverWrites) {
  EXPECT_FALSE(parse_message_id(""));
  EXPECT_FALSE(parse_message_id("000000000000"));    // 12
  EXPECT_FALSE(parse_message_id("00000000000000"));  // 14
  EXPECT_FALSE(parse_message_id("000000000000I"));   // no digit
  EXPECT_FALSE(parse_message_id("ZZZZZZZZZZZZZ"));   // 65 bits
}

TEST(Crc32c, MatchesRfc3720) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43U);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c("6789", crc32c("12345")), 0xE3069283U);
}

TEST(Crc32c, IsTheSameReadAtOnceAndByteByByte) {
  std::string text;
  for (std::uint32_t i = 0; text.size() < 20'000; ++i) text += static_cast<char>(i * i >> 3);
  for (const std::size_t size : {0U, 7U, 1'024U, 3'071U, 3'072U, 3'073U, 6'149U, 20'000U}) {
    const auto some = std::string_view(text).substr(0, size);
    std::uint32_t crc = 0;
    for (const char& c : some) crc = crc32c({&c, 1}, crc);
    EXPECT_EQ(crc32c(some), crc) << size;
  }
}

TEST(ReaderWriter, FailsForGoodAtTheFirstShortage) {
  std::string bytes;
  Writer w(bytes);
  w.integer<std::uint16_t>(0x1234);
  w.blob("abc");
  Reader r(bytes);
  EXPECT_EQ(r.integer<std::uint16_t>(), 0x1234);
  EXPECT_EQ(r.blob(3), "abc");
  EXPECT_TRUE(r.complete());
  EXPECT_EQ(r.integer<std::uint32_t>(), 0U);
  EXPECT_TRUE(r.failed());
  Reader limited(bytes);
  limited.integer<std::uint16_t>();
  EXPECT_EQ(limited.blob(2), "");
  EXPECT_TRUE(limited.failed());
}

// Beyond the room of a short string and of what was reserved, too.
TEST(ReaderWriter, GrowsByNumbersAlone) {
  std::string bytes = "x";
  Writer w(bytes);
  for (std::uint64_t i = 0; i < 1'000; ++i) w.integer(i * 0x0102030405060708);
  ASSERT_EQ(bytes.size(), 8'001U);
  Reader r(std::string_view(bytes).substr(1));
  for (std::uint64_t i = 0; i < 1'000; ++i) ASSERT_EQ(r.integer<std::uint64_t>(), i * 0x0102030405060708);
  EXPECT_TRUE(r.complete());
}

TEST(ReaderWriter, TakesBytesAllOrNone) {
  std::string bytes;
  const std::array<std::uint8_t, 3> three{1, 0xFF, 0};
  Writer(bytes).bytes(three);
  EXPECT_EQ(bytes, std::string("\1\xFF\0", 3));
  std::array<std::uint8_t, 3> read{};
  Reader whole(bytes);
  whole.bytes(read);
  EXPECT_EQ(read, three);
  EXPECT_TRUE(whole.complete());
  std::array<std::uint8_t, 4> more{7, 7, 7, 7};
  Reader few(bytes);
  few.bytes(more);
  EXPECT_TRUE(few.failed());
  EXPECT_EQ(more, (std::array<std::uint8_t, 4>{7, 7, 7, 7}));
}

TEST(ReaderWriter, BlobOfWhatIsAppendedIsABlob) {
  std::string bytes, same;
  Writer w(bytes);
  for (const auto size : {0U, 1U, 15U, 500U}) {
    const std::string text(size, 'a');
    w.blob_of([&](std::string& out) { out += text; });
    Writer(same).blob(text);
  }
  EXPECT_EQ(bytes, same);
}

TEST(Ip, ParsesAndPrints) {
  for (const char* text : {"192.0.2.1", "0.0.0.0", "2001:db8::1", "::1"})
    EXPECT_EQ(to_string(parse_ip(text).value()), text);
  EXPECT_EQ(to_string(parse_ip("::ffff:192.0.2.1").value()), "192.0.2.1");
  for (const char* text : {"", "192.0.2", "192.0.2.1.1", "192.0.2.256", "g::", "1.2.3.4 ", "01.2.3.4x"})
    EXPECT_FALSE(parse_ip(text)) << text;
}

TEST(Ip, NetworksContainTheirAddressesOnly) {
  const auto ten = parse_network("10.0.0.0/8").value();
  EXPECT_TRUE(ten.contains(parse_ip("10.255.1.2").value()));
  EXPECT_FALSE(ten.contains(parse_ip("11.0.0.0").value()));
  EXPECT_FALSE(ten.contains(parse_ip("::a00:1").value()));
  const auto odd = parse_network("192.0.2.128/25").value();
  EXPECT_TRUE(odd.contains(parse_ip("192.0.2.200").value()));
  EXPECT_FALSE(odd.contains(parse_ip("192.0.2.127").value()));
  EXPECT_TRUE(parse_network("::/0").value().contains(parse_ip("2001:db8::1").value()));
  for (const char* text : {"10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10/8", "2001:db8::/129"})
    EXPECT_FALSE(parse_network(text)) << text;
}

TEST(Ip, EndpointsSurviveTheKernelsForm) {
  for (const char* text : {"127.0.0.1:25", "[2001:db8::1]:2525"}) {
    const auto endpoint = parse_endpoint(text).value();
    EXPECT_EQ(to_string(endpoint), text);
    sockaddr_storage storage;
    EXPECT_GT(to_sockaddr(endpoint, storage), 0U);
    EXPECT_EQ(from_sockaddr(storage), endpoint);
  }
  for (const char* text : {"127.0.0.1", "::1:25", "[127.0.0.1]:25", "127.0.0.1:65536", "[::1]"})
    EXPECT_FALSE(parse_endpoint(text)) << text;
}

TEST(Text, PrintableEscapesEverythingForeign) {
  EXPECT_EQ(printable("a\\b\r\n\x1b[1m\xff"), "a\\\\b\\x0d\\x0a\\x1b[1m\\xff");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
}

TEST(Text, Dates) {
  EXPECT_EQ(iso8601({0}), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(iso8601({-1}), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(rfc5322_date({1795404105000}), "Mon, 23 Nov 2026 03:21:45 +0000");
}

TEST(Text, NumbersMustFit) {
  EXPECT_EQ(parse_number("18446744073709551615"), ~0ULL);
  for (const char* text : {"", "18446744073709551616", "-1", "+1", " 1", "1 "})
    EXPECT_FALSE(parse_number(text)) << text;
}

}  // namespace
}  // namespace postern::base
