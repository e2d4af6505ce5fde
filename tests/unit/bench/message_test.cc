#include "bench/load/message.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "bench/ledger/content.h"
#include "common/mail/data_reader.h"
#include "common/mail/unstuffer.h"

namespace postern::bench {
namespace {

const Text& text(bool eight_bit = true) {
  static const Text kEight(1, true), kSeven(1, false);
  return eight_bit ? kEight : kSeven;
}

// As it goes over the wire.
std::string wire(std::uint64_t number, std::uint64_t size, bool eight_bit = true) {
  Message message(text(eight_bit), "run", 1, number, size, eight_bit, "a@x.test", "b@y.test");
  std::string out;
  while (message.append(out)) {
  }
  return out;
}

// As a server reads it; the final dot has to be its end.
std::string received(std::string_view bytes) {
  mail::DataReader reader;
  mail::Unstuffer unstuffer(mail::LineEnd::kCrLf);
  std::string plain;
  for (bool end = false; !end;) {
    const auto step = reader.scan(bytes);
    bytes.remove_prefix(step.consumed);
    unstuffer.feed(step.body, plain);
    end = step.end;
    EXPECT_TRUE(end || !bytes.empty());
    if (!end && bytes.empty()) break;
  }
  EXPECT_TRUE(bytes.empty());
  EXPECT_FALSE(reader.bare());
  unstuffer.finish(plain);
  return plain;
}

std::string body_of(const std::string& message) {
  return message.substr(message.find("\r\n\r\n") + 4);
}

TEST(Message, IsWholeAtEverySize) {
  for (std::uint64_t size = 0; size < 3000; ++size)
    for (const bool eight_bit : {true, false}) {
      const auto plain = received(wire(size + 1, size, eight_bit));
      Content content;
      content.feed(plain);
      EXPECT_EQ(content.finish().kind, Evidence::Kind::kWhole) << size;
      EXPECT_EQ(body_of(plain).size(), size == 1 ? 2 : size);
    }
}

TEST(Message, IsWholeWhereItIsLongerThanTheText) {
  for (const std::uint64_t size : {Text::kSize - 1, Text::kSize, 3 * Text::kSize + 17}) {
    const auto plain = received(wire(5, size));
    Content content;
    content.feed(plain);
    EXPECT_EQ(content.finish().kind, Evidence::Kind::kWhole) << size;
    EXPECT_EQ(body_of(plain).size(), size);
  }
}

TEST(Message, SaysItsSize) {
  const Message message(text(), "run", 1, 7, 5000, true, "a@x.test", "b@y.test");
  EXPECT_EQ(message.size(), received(wire(7, 5000)).size());
}

TEST(Message, IsTheSameEachTimeAndNoOther) {
  EXPECT_EQ(wire(7, 4096), wire(7, 4096));
  std::set<std::string> bodies;
  for (std::uint64_t number = 1; number <= 20; ++number)
    bodies.insert(body_of(received(wire(number, 4096))));
  EXPECT_GE(bodies.size(), 19U);
}

TEST(Text, HasWhatTestsAMailServer) {
  const auto all = body_of(received(wire(1, 2 * Text::kSize)));
  bool dot = false, dots = false, empty = false, from = false, longest = false, high = false;
  for (std::string_view rest = all; !rest.empty();) {
    const auto line = rest.substr(0, rest.find("\r\n"));
    rest.remove_prefix(line.size() + 2);
    ASSERT_LE(line.size(), Text::kLongest);
    dot |= line == ".";
    dots |= line.starts_with("..");
    empty |= line.empty();
    from |= line.starts_with("From ");
    longest |= line.size() == Text::kLongest;
    high |= std::ranges::any_of(line, [](char c) { return static_cast<unsigned char>(c) > 127; });
  }
  EXPECT_TRUE(dot && dots && empty && from && longest && high);
}

TEST(Text, IsPlainAsciiWhereItMustBe) {
  const auto all = received(wire(1, 2 * Text::kSize, false));
  EXPECT_TRUE(std::ranges::all_of(all, [](char c) { return static_cast<unsigned char>(c) < 128; }));
}

}  // namespace
}  // namespace postern::bench
