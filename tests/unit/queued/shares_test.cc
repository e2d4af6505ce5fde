// Which ways of a route share its mail, and in which order they take turns.
#include "queued/shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace postern::queued {
namespace {

std::vector<config::HopSpec> via(const std::vector<std::uint8_t>& weights) {
  std::vector<config::HopSpec> ways;
  for (const auto weight : weights) ways.push_back({.kind = config::HopKind::kHost, .weight = weight});
  return ways;
}

TEST(Shares, NeighboursWithWeightsAreAGroup) {
  const auto ways = via({0, 3, 1, 0, 7, 0, 2, 2, 2});
  EXPECT_EQ(group_at(ways, 0), (Group{0, 1, 0}));
  for (const std::size_t way : {1U, 2U}) EXPECT_EQ(group_at(ways, way), (Group{1, 3, 4}));
  EXPECT_EQ(group_at(ways, 3), (Group{3, 4, 0}));
  EXPECT_EQ(group_at(ways, 4), (Group{4, 5, 0})) << "with whom would it share?";
  for (const std::size_t way : {6U, 7U, 8U}) EXPECT_EQ(group_at(ways, way), (Group{6, 9, 6}));
  EXPECT_EQ(first_group(ways), (Group{1, 3, 4}));
  EXPECT_FALSE(first_group(via({0, 5, 0})).shares());
}

// In the order of a round, each way as its letter.
std::string round_of(const std::vector<std::uint8_t>& weights, std::uint32_t place = 0) {
  const auto ways = via(weights);
  const auto group = group_at(ways, 0);
  Round round(ways, group, place);
  std::string turns;
  for (std::uint32_t n = 0; n < group.places; ++n) {
    turns += static_cast<char>('a' + round.next());
    EXPECT_LT(round.place(), group.places);
  }
  EXPECT_EQ(round.place(), place % group.places);
  return turns;
}

TEST(Shares, EachWayHasAsManyTurnsAsItsWeight) {
  for (std::uint32_t first = 1; first < 255; ++first)
    for (const std::uint32_t second : {1U, 2U, 60U, 255U - first}) {
      if (first + second > 255) continue;
      const auto turns = round_of({static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(second)});
      EXPECT_EQ(std::ranges::count(turns, 'a'), first) << second;
      EXPECT_EQ(std::ranges::count(turns, 'b'), second) << first;
    }
}

TEST(Shares, TurnsOfOneWayAreSpread) {
  EXPECT_EQ(round_of({1, 1}), "ab");
  EXPECT_EQ(round_of({3, 1}), "aaba");
  EXPECT_EQ(round_of({5, 1, 1}), "aabacaa");
  const auto turns = round_of({190, 15});
  EXPECT_EQ(turns.find(std::string(14, 'a')), std::string::npos) << turns;
}

TEST(Shares, ARoundGoesOnFromAnyPlace) {
  const auto whole = round_of({5, 1, 1});
  for (std::uint32_t place = 0; place < 20; ++place)
    EXPECT_EQ(round_of({5, 1, 1}, place), whole.substr(place % 7) + whole.substr(0, place % 7)) << place;
}

}  // namespace
}  // namespace postern::queued
