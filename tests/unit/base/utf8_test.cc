#include "common/base/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "common/base/text.h"

namespace postern::base {
namespace {

TEST(Utf8, EachCharacterIsReadAndWrittenBack) {
  for (char32_t point = 0; point <= 0x10FFFF; ++point) {
    if (point >= 0xD800 && point <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, point);
    const auto character = first_character(text + "x");
    ASSERT_TRUE(character) << static_cast<std::uint32_t>(point);
    ASSERT_EQ(character->point, point);
    ASSERT_EQ(character->size, text.size());
  }
}

TEST(Utf8, OneByteBeyondAsciiIsSeenWhereverItStands) {
  for (std::size_t size = 0; size < 200; ++size) {
    std::string text(size, '\x7F');
    EXPECT_TRUE(is_ascii(text)) << size;
    for (char& c : text) {
      c = '\x80';
      EXPECT_FALSE(is_ascii(text)) << size;
      c = '\x7F';
    }
  }
}

// RFC 3629 3: one form for each character.
TEST(Utf8, WhatIsNoneIsNotRead) {
  for (const std::string_view bad :
       {"", "\x80", "\xBF", "\xC3", "\xC3x", "\xC0\xAF", "\xC1\xBF", "\xE0\x80\xAF", "\xE2\x82",
        "\xE2\x82x", "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x80\x80\xAF", "\xF0\x9F\x98",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF"})
    EXPECT_FALSE(first_character(bad)) << bad.size();
  EXPECT_TRUE(is_utf8("gr\xC3\xBC\xC3\x9F\xE2\x82\xAC\xF0\x9F\x98\x80"));
  EXPECT_FALSE(is_utf8("gr\xC3\xBC\xC3"));
}

TEST(Utf8, HarmfulCharactersAreKnown) {
  for (const std::string_view bad :
       {"\n", "\r", "\t", "\x1B", "\x7F", "\xC2\x80", "\xC2\x85", "\xC2\x9B", "\xC2\x9F",
        "\xE2\x80\x8E", "\xE2\x80\xA8", "\xE2\x80\xAE", "\xE2\x81\xA6", "\xEF\xBB\xBF",
        "\xEF\xBF\xBE", "\xF4\x8F\xBF\xBF", "\xD8\x9C", "a\xC3"})
    EXPECT_FALSE(is_harmless(bad)) << printable(bad);
  EXPECT_FALSE(is_harmless(std::string_view("\0", 1)));
  for (const std::string_view good : {"", " ~", "\xC2\xA0", "\xC3\xBC", "\xE2\x80\x8D", "\xE4\xB8\xAD",
                                      "\xF0\x9F\x98\x80"})
    EXPECT_TRUE(is_harmless(good)) << printable(good);
}

TEST(Utf8, ReadableKeepsWhatDoesNoHarm) {
  EXPECT_EQ(readable("b\xC3\xB6" "b\x1B[2J\\\xC2\x9B\xFF\xE2\x80\xAE"),
            "b\xC3\xB6" "b\\x1b[2J\\\\\\xc2\\x9b\\xff\\xe2\\x80\\xae");
  EXPECT_EQ(readable("abc", 2), "ab...");
}

TEST(Utf8, FoldingLeavesNoCaseAndOneComposition) {
  EXPECT_EQ(folded("Ann.LEE"), "ann.lee");
  EXPECT_EQ(folded("B\xC3\x96" "B"), "b\xC3\xB6" "b");
  EXPECT_EQ(folded("BO\xCC\x88" "B"), "b\xC3\xB6" "b");  // O and a combining diaeresis
  EXPECT_EQ(folded("stra\xC3\x9F" "e"), "stra\xC3\x9F" "e");  // another name than "strasse"
  EXPECT_EQ(folded("A\xFF"), "a\xFF");
}

TEST(Utf8, ColumnsAreThoseOfATerminal) {
  EXPECT_EQ(columns("bob"), 3U);
  EXPECT_EQ(columns("b\xC3\xB6" "b"), 3U);
  EXPECT_EQ(columns("bo\xCC\x88" "b"), 3U);
  EXPECT_EQ(columns("\xE4\xB8\xAD"), 2U);
  EXPECT_EQ(columns("\xFF\xFF"), 2U);
}

}  // namespace
}  // namespace postern::base
