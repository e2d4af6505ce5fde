// A page holds as many rows as fit, and no peer can send one that is fuller.
#include "common/ipc/page.h"

#include <gtest/gtest.h>

namespace postern::ipc {
namespace {

struct Row {
  std::string text;
  static constexpr auto fields() { return ipc::fields_of(field("text", &Row::text, 10'000)); }
};

Page<Row> filled(std::size_t length) {
  Page<Row> page;
  while (page.add({std::string(length, 'x')})) continue;
  return page;
}

TEST(Page, IsFullByItsBytes) {
  const auto page = filled(9'996);  // and 4 for their number
  EXPECT_EQ(page.size(), 6U);
  EXPECT_LE(encode(page).size(), Codec<Page<Row>>::max_size({}));
  EXPECT_EQ(page.back().text.size(), 9'996U);
}

TEST(Page, IsFullByItsRows) { EXPECT_EQ(filled(0).size(), Page<Row>::kMostRows); }

// The row that had no room leaves nothing behind, and a shorter one may still fit.
TEST(Page, WhatDoesNotFitIsNotSent) {
  auto page = filled(9'996);
  ASSERT_FALSE(page.add({"x"}));
  const auto arrived = decode<Page<Row>>(encode(page));
  ASSERT_TRUE(arrived);
  EXPECT_EQ(arrived->size(), 6U);
  Page<Row> other;
  for (int n = 0; n < 5; ++n) ASSERT_TRUE(other.add({std::string(9'996, 'x')}));
  ASSERT_TRUE(other.add({std::string(9'000, 'x')}));
  EXPECT_FALSE(other.add({std::string(9'996, 'x')}));
  EXPECT_TRUE(other.add({"short"}));
  const auto both = decode<Page<Row>>(encode(other));
  ASSERT_TRUE(both);
  EXPECT_EQ(both->size(), 7U);
  EXPECT_EQ(both->back().text, "short");
}

TEST(Page, ArrivesAsItWasSent) {
  const auto page = filled(1'000);
  const auto arrived = decode<Page<Row>>(encode(page));
  ASSERT_TRUE(arrived);
  EXPECT_EQ(encode(*arrived), encode(page));
}

TEST(Page, OneThatIsFullerIsRefused) {
  std::string bytes;
  base::Writer writer(bytes);
  writer.integer(std::uint32_t{7});
  for (int i = 0; i < 7; ++i) writer.blob(std::string(9'996, 'x'));
  EXPECT_FALSE(decode<Page<Row>>(bytes));
  bytes.clear();
  writer.integer(std::uint32_t{257});
  for (int i = 0; i < 257; ++i) writer.blob("");
  EXPECT_FALSE(decode<Page<Row>>(bytes));
}

TEST(Page, ANumberOfRowsWithoutRowsIsRefused) {
  std::string bytes;
  base::Writer writer(bytes);
  writer.integer(UINT32_MAX);
  EXPECT_FALSE(decode<Page<Row>>(bytes));
}

}  // namespace
}  // namespace postern::ipc
