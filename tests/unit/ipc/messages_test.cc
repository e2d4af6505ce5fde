// Every message type: what is sent is what arrives; nothing else is ever taken for a message.
#include "common/ipc/messages.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace postern::ipc {
namespace {

// Fills any value with something that differs from its default, and uses its limits.
struct Filler {
  std::mt19937 random{42};

  void fill(std::integral auto& value, Limits) { value = static_cast<std::remove_reference_t<decltype(value)>>(random()); }
  void fill(bool& value, Limits) { value = true; }
  template <class E>
    requires std::is_enum_v<E>
  void fill(E& value, Limits) { value = kLastEnumerator<E>; }
  void fill(std::string& value, Limits limits) { value = std::string(std::min<std::size_t>(limits.own, 30), 'x'); }
  void fill(Slice& value, Limits) { value.bytes = "slice of a body"; }
  template <class Tag, class Rep>
  void fill(base::Strong<Tag, Rep>& value, Limits) { fill(value.value, {}); }
  void fill(base::Token& value, Limits) { value.bytes.fill(0xA5); }
  void fill(base::WallTime& value, Limits) { value.ms = -5; }
  void fill(base::Millis& value, Limits) { value = base::Millis(77); }
  void fill(base::IpAddress& value, Limits) { value = base::parse_ip("2001:db8::7").value(); }
  void fill(base::Network& value, Limits) { value = base::parse_network("10.0.0.0/8").value(); }
  void fill(base::Endpoint& value, Limits) { value = base::parse_endpoint("192.0.2.1:25").value(); }
  void fill(mail::Domain& value, Limits) { value = mail::Domain::parse("example.org").value(); }
  void fill(mail::Address& value, Limits) { value = mail::Address::parse("\"a b\"@example.org").value(); }
  void fill(mail::ReversePath& value, Limits) { value = mail::ReversePath(mail::Address::parse("a@example.org").value()); }
  void fill(mail::Notify& value, Limits) { value = mail::Notify::parse("SUCCESS,DELAY").value(); }
  void fill(mail::EnvelopeId& value, Limits) { value = mail::EnvelopeId::parse("QQ+2B314").value(); }
  void fill(mail::OriginalRecipient& value, Limits) {
    value = mail::OriginalRecipient::parse("rfc822;bob+2Bx@example.org").value();
  }
  template <class T>
  void fill(std::optional<T>& value, Limits limits) { fill(value.emplace(), limits); }
  template <class T>
  void fill(std::vector<T>& value, Limits limits) {
    for (std::size_t i = 0; i < std::min<std::size_t>(limits.own, 2); ++i)
      fill(value.emplace_back(), {limits.element, 0});
  }
  template <class Row>
  void fill(Page<Row>& page, Limits) {
    for (int i = 0; i < 2; ++i) {
      Row row;
      fill(row, {});
      EXPECT_TRUE(page.add(std::move(row)));
    }
  }
  template <Described T>
  void fill(T& value, Limits) {
    T::fields()([&](const auto&... f) { (fill(value.*f.member, f.limits), ...); });
  }
};

template <class M>
class EachMessage : public ::testing::Test {};

template <class Tuple>
struct AsTypes;
template <class... M>
struct AsTypes<std::tuple<M...>> {
  using type = ::testing::Types<M...>;
};
TYPED_TEST_SUITE(EachMessage, AsTypes<AllMessages>::type);

template <class M>
std::string sample() {
  M message;
  Filler().fill(message, {});
  return encode(message);
}

TYPED_TEST(EachMessage, RoundTrips) {
  const auto bytes = sample<TypeParam>();
  const auto decoded = decode<TypeParam>(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(encode(*decoded), bytes);
  EXPECT_LE(bytes.size(), Codec<TypeParam>::max_size({}));
}

TYPED_TEST(EachMessage, DefaultRoundTrips) {
  // An empty address is no address, so messages with a required one have no default to send.
  const auto bytes = encode(TypeParam{});
  if (const auto decoded = decode<TypeParam>(bytes)) {
    EXPECT_EQ(encode(*decoded), bytes);
  } else {
    EXPECT_NE(bytes.find(std::string(4, '\0')), std::string::npos);
  }
}

TYPED_TEST(EachMessage, CutAtEveryByteIsRefused) {
  const auto bytes = sample<TypeParam>();
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode<TypeParam>(std::string_view(bytes).substr(0, size))) << size;
}

TYPED_TEST(EachMessage, AByteTooManyIsRefused) {
  EXPECT_FALSE(decode<TypeParam>(sample<TypeParam>() + '\0'));
}

TYPED_TEST(EachMessage, RandomDamageNeverBreaksTheDecoder) {
  const auto whole = sample<TypeParam>();
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    auto bytes = whole;
    for (int flips = 0; flips < 3 && !bytes.empty(); ++flips)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    // What is accepted must be a value that encodes again: nothing half-read comes through.
    if (const auto decoded = decode<TypeParam>(bytes)) {
      EXPECT_LE(encode(*decoded).size(), Codec<TypeParam>::max_size({}));
    }
  }
}

// Every enum that travels, at every value of its byte.
template <class E>
void expect_range(const char* name) {
  using Raw = std::underlying_type_t<E>;
  for (unsigned raw = 0; raw <= 0xFF; ++raw) {
    const std::string bytes(1, static_cast<char>(raw));
    static_assert(sizeof(Raw) == 1, "this test writes one byte");
    base::Reader reader(bytes);
    E value{};
    Codec<E>::decode(reader, value, {});
    EXPECT_EQ(reader.complete(), raw <= static_cast<unsigned>(kLastEnumerator<E>)) << name << ' ' << raw;
  }
}

TEST(Enums, OutOfRangeIsRefused) {
  expect_range<Role>("role");
  expect_range<BodyForm>("body form");
  expect_range<FailureClass>("failure class");
  expect_range<GrantEnd>("grant end");
  expect_range<Result>("result");
  expect_range<State>("state");
  expect_range<RecipientEnd>("recipient end");
  expect_range<BlockKind>("block kind");
  expect_range<Blocker>("blocker");
  expect_range<RoutedBy>("routed by");
  expect_range<config::Service>("service");
  expect_range<config::RecipientsKind>("recipients kind");
  expect_range<config::HopKind>("hop kind");
  expect_range<config::MailboxKind>("mailbox kind");
  expect_range<config::LogFormat>("log format");
  expect_range<config::LogLevel>("log level");
}

TEST(Limits, AreEnforcedByTheDecoder) {
  std::string bytes;
  base::Writer writer(bytes);
  Codec<std::string>::encode(writer, std::string(11, 'x'), {11, 0});
  base::Reader reader(bytes);
  std::string value;
  Codec<std::string>::decode(reader, value, {10, 0});
  EXPECT_TRUE(reader.failed());
  base::Reader list_reader(std::string_view("\x03\0\0\0\1\1\1", 7));
  std::vector<std::uint8_t> list;
  Codec<std::vector<std::uint8_t>>::decode(list_reader, list, {2, 0});
  EXPECT_TRUE(list_reader.failed());
}

TEST(Addresses, AreParsedAgainAtTheOtherEnd) {
  for (const std::string text : {"a b@example.org", "a@example.org\r\nRCPT TO:<b@c>", "", "a@", "a@EXA MPLE"}) {
    std::string bytes;
    base::Writer(bytes).blob(text);
    base::Reader reader(bytes);
    mail::Address address;
    Codec<mail::Address>::decode(reader, address, {});
    EXPECT_TRUE(reader.failed()) << text;
  }
}

TEST(Replies, AreCleanedOnBothEnds) {
  const mail::Reply hostile{550, {5, 1, 1}, {"no\r\n250 ok", "\x1b[2J"}};
  const auto sent = to_ipc(hostile);
  EXPECT_EQ(sent.text, "no\\x0d\\x0a250 ok \\x1b[2J");
  EXPECT_EQ(from_ipc(sent).lines.at(0), sent.text);
  ReplyText forged{550, 5, 1, 1, "a\r\nb"};
  EXPECT_EQ(from_ipc(forged).lines.at(0), "a\\x0d\\x0ab");
}

TEST(TlsNotes, AreOneTextOfWhatIsKnown) {
  EXPECT_EQ(text_of(TlsNote{}), "");
  EXPECT_EQ(text_of(TlsNote{"none: not offered", "", "opportunistic: no policy"}),
            "none: not offered; opportunistic: no policy");
  EXPECT_EQ(text_of(TlsNote{"TLSv1.3 x", "dane: mx.example", "dane: 2 TLSA records"}),
            "TLSv1.3 x; dane: mx.example; dane: 2 TLSA records");
  const std::string most(TlsNote::kMost, 'x');
  EXPECT_EQ(text_of(TlsNote{most, most, most}).size(), kMaxTls);
}

TEST(Names, EachBlockerHasItsOwn) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kBlockers; ++i) names.insert(name(static_cast<Blocker>(i)));
  EXPECT_EQ(names.size(), kBlockers);
  EXPECT_EQ(static_cast<std::size_t>(kLastEnumerator<Blocker>) + 1, kBlockers);
  EXPECT_EQ(name(Blocker::kTurn), "turn");
}

TEST(Shapes, HashIsStableWithinABuild) { EXPECT_EQ(shapes_hash(), shapes_hash()); }

}  // namespace
}  // namespace postern::ipc
