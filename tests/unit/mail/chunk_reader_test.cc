#include "common/mail/chunk_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "common/mail/data_reader.h"
#include "common/mail/unstuffer.h"

namespace postern::mail {
namespace {

struct ReadChunk {
  std::string body;
  bool bare = false;
  bool binary = false;
  bool stuffed = false;
  std::uint64_t size = 0;
  std::uint32_t received = 0;
  bool operator==(const ReadChunk&) const = default;
};

// Reads `bytes` cut into pieces of `piece` bytes.
ReadChunk read_chunk(std::string_view bytes, std::size_t piece = std::string_view::npos) {
  ChunkReader reader;
  ReadChunk result;
  while (!bytes.empty()) {
    auto now = bytes.substr(0, piece);
    bytes.remove_prefix(now.size());
    while (!now.empty()) {
      const auto step = reader.scan(now);
      EXPECT_FALSE(step.body.empty());
      result.body += step.body;
      now.remove_prefix(step.consumed);
    }
  }
  reader.end();
  EXPECT_EQ(reader.wire_size(), result.body.size());
  result.bare = reader.bare();
  result.binary = reader.binary();
  result.stuffed = reader.stuffed();
  result.size = reader.size();
  result.received = reader.received();
  return result;
}

std::string unstuff(std::string_view stuffed) {
  Unstuffer unstuffer(LineEnd::kCrLf);
  std::string out;
  unstuffer.feed(stuffed, out);
  unstuffer.finish(out);
  return out;
}

TEST(ChunkReader, StuffsTheDotsOfLines) {
  const auto result = read_chunk(".\r\na.\r\n..b\r\n\r\n.");
  EXPECT_EQ(result.body, "..\r\na.\r\n...b\r\n\r\n..");
  EXPECT_TRUE(result.stuffed);
  EXPECT_EQ(result.size, result.body.size() - 3);
  EXPECT_FALSE(result.bare);
  EXPECT_FALSE(result.binary);
  EXPECT_FALSE(read_chunk("a\r\nb.\r\n").stuffed);
}

TEST(ChunkReader, SeesLineEndsThatStandAlone) {
  for (const auto* text : {"\n", "a\nb", "a\r", "\r", "a\rb\r\n", "\r\r\n", "\n\r", "\r\n\n", ".\n", "\r\n.\r"}) {
    EXPECT_TRUE(read_chunk(text).bare) << testing::PrintToString(text);
    EXPECT_TRUE(read_chunk(text).binary) << testing::PrintToString(text);
  }
  for (const auto* text : {"", "\r\n", "a\r\n", ".\r\n", "\r\n\r\n", "a\r\nb"})
    EXPECT_FALSE(read_chunk(text).bare) << testing::PrintToString(text);
}

TEST(ChunkReader, KnowsWhatOnlyABinaryMessageMayHave) {
  const std::string longest(ChunkReader::kLongestLine, 'a');
  EXPECT_FALSE(read_chunk(longest).binary);
  EXPECT_FALSE(read_chunk(longest + "\r\n" + longest + "\r\n").binary);
  EXPECT_TRUE(read_chunk(longest + "a").binary);
  EXPECT_TRUE(read_chunk(longest + "a\r\n").binary);
  EXPECT_TRUE(read_chunk("a\r\n" + longest + "aa\r\nb\r\n").binary);
  EXPECT_TRUE(read_chunk(std::string("a\0\r\n", 4)).binary);
  EXPECT_FALSE(read_chunk(std::string("a\0\r\n", 4)).bare);
  EXPECT_FALSE(read_chunk("\xff\x80\x7f\x01\r\n").binary);
}

TEST(ChunkReader, CountsReceivedFieldsOfTheHeaderOnly) {
  EXPECT_EQ(read_chunk("Received: a\r\n b\r\nRECEIVED:c\r\nX-Received: d\r\n\r\nReceived: f\r\n").received, 2U);
}

// Each text of six bytes of these: what is stored gives the same bytes again, ends nowhere as the body of
// DATA, and does not depend on how it was cut.
TEST(ChunkReader, WhateverComesCannotEndAMessage) {
  constexpr std::string_view kBytes("\r\n.\0a", 5);
  constexpr unsigned kAll = 5 * 5 * 5 * 5 * 5 * 5;
  for (unsigned n = 0; n < kAll; ++n) {
    std::string text;
    for (unsigned left = n, i = 0; i < 6; ++i, left /= 5) text += kBytes[left % 5];
    const auto whole = read_chunk(text);
    ASSERT_EQ(unstuff(whole.body), text) << testing::PrintToString(text);
    for (const std::size_t piece : {1U, 2U, 3U, 4U, 5U})
      ASSERT_EQ(read_chunk(text, piece), whole) << testing::PrintToString(text) << piece;
    DataReader later;
    for (std::string_view rest = whole.body; !rest.empty();) {
      const auto step = later.scan(rest);
      ASSERT_FALSE(step.end) << testing::PrintToString(text);
      rest.remove_prefix(step.consumed);
    }
    if (!text.ends_with('\r')) {  // there the one still waits for its LF
      ASSERT_EQ(later.bare(), whole.bare) << testing::PrintToString(text);
    }
  }
}

}  // namespace
}  // namespace postern::mail
