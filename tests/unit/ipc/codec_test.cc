// What a later version adds to a struct: bytes of an earlier one are read as they were meant.
#include "common/ipc/codec.h"

#include <gtest/gtest.h>

namespace postern::ipc {
namespace {

// A format in its version 3, and in its version 5.
struct OldPart {
  std::uint32_t number = 0;
  static constexpr auto fields() { return ipc::fields_of(field("number", &OldPart::number)); }
};
struct Old {
  std::string name;
  std::vector<OldPart> parts;
  std::optional<OldPart> best;
  std::uint64_t size = 0;
  static constexpr auto fields() {
    return ipc::fields_of(field("name", &Old::name, 20), field("parts", &Old::parts, 10),
                      field("best", &Old::best), field("size", &Old::size));
  }
};

struct NewPart {
  std::uint32_t number = 0;
  std::string colour = "grey";
  static constexpr auto fields() {
    return ipc::fields_of(field("number", &NewPart::number),
                      field("colour", &NewPart::colour, 10).since(4));
  }
};
struct New {
  std::string name;
  std::uint16_t weight = 7;
  std::vector<NewPart> parts;
  std::optional<NewPart> best;
  std::uint64_t size = 0;
  std::vector<std::string> words;
  static constexpr auto fields() {
    return ipc::fields_of(field("name", &New::name, 20), field("weight", &New::weight).since(5),
                      field("parts", &New::parts, 10), field("best", &New::best),
                      field("size", &New::size), field("words", &New::words, 10, 20).since(5));
  }
};

const Old kOld{"box", {{1}, {2}}, OldPart{2}, 99};
const New kNew{"box", 8, {{1, "red"}, {2, "blue"}}, NewPart{2, "blue"}, 99, {"a", "b"}};

TEST(CodecVersionsTest, WhatAnEarlierVersionLacksKeepsItsDefault) {
  const auto read = decode<New>(encode(kOld), 3);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->name, "box");
  EXPECT_EQ(read->weight, 7);
  ASSERT_EQ(read->parts.size(), 2U);
  EXPECT_EQ(read->parts[1].number, 2U);
  EXPECT_EQ(read->parts[1].colour, "grey");
  ASSERT_TRUE(read->best);
  EXPECT_EQ(read->best->colour, "grey");
  EXPECT_EQ(read->size, 99U);
  EXPECT_TRUE(read->words.empty());
}

TEST(CodecVersionsTest, TheNewestIsWritten) {
  const auto read = decode<New>(encode(kNew));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->weight, 8);
  EXPECT_EQ(read->best->colour, "blue");
  EXPECT_EQ(read->words, kNew.words);
  EXPECT_TRUE(decode<New>(encode(kNew), 5));
}

// Each field has a version of its own: those of 4 have colours, and neither weight nor words.
TEST(CodecVersionsTest, EachVersionBetweenIsRead) {
  std::string bytes;
  base::Writer writer(bytes);
  writer.blob("box");
  writer.integer(std::uint32_t{1});
  writer.integer(std::uint32_t{5});
  writer.blob("red");
  writer.integer(std::uint8_t{0});
  writer.integer(std::uint64_t{99});
  const auto read = decode<New>(bytes, 4);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->parts.at(0).colour, "red");
  EXPECT_EQ(read->weight, 7);
}

TEST(CodecVersionsTest, BytesOfOneVersionAreNotTakenForAnother) {
  EXPECT_FALSE(decode<New>(encode(kOld)));
  EXPECT_FALSE(decode<New>(encode(kOld), 4));
  EXPECT_FALSE(decode<New>(encode(kNew), 3));
}

}  // namespace
}  // namespace postern::ipc
