#include "queued/blocks.h"

#include <gtest/gtest.h>

namespace postern::queued {
namespace {

const Destination kFar{.via = {config::HopSpec{}}};
const Destination kInner{.internal = true, .via = {config::HopSpec{}}};
const Destination kMailbox{.local = true, .internal = true, .via = {config::HopSpec{}}};

Freeze freeze(std::string queue, std::string reason = "why", std::int64_t from = 0) {
  return {std::move(queue), std::move(reason), "anna", {5}, QueueTime(from)};
}

TEST(Blocks, PatternsMatchWhatIsBelowThem) {
  EXPECT_TRUE(matches("*.example.org", "mx.example.org"));
  EXPECT_TRUE(matches("*.example.org", "a.b.example.org"));
  EXPECT_FALSE(matches("*.example.org", "example.org"));
  EXPECT_FALSE(matches("*.example.org", ".example.org"));
  EXPECT_FALSE(matches("example.org", "mx.example.org"));
  EXPECT_TRUE(matches("*", "anything"));
}

TEST(Blocks, AnExactNameBeatsAPatternAndALongerOneAShorter) {
  Blocks blocks;
  ASSERT_TRUE(blocks.freeze(freeze("*", "all")));
  ASSERT_TRUE(blocks.freeze(freeze("*.example.org", "below")));
  ASSERT_TRUE(blocks.freeze(freeze("mx.example.org", "exact")));
  EXPECT_EQ(blocks.frozen("mx.example.org")->reason, "exact");
  EXPECT_EQ(blocks.frozen("other.example.org")->reason, "below");
  EXPECT_EQ(blocks.frozen("example.net")->reason, "all");
}

TEST(Blocks, UnfreezingAMemberStoresAnException) {
  Blocks blocks;
  ASSERT_TRUE(blocks.freeze(freeze("*.example.org")));
  const auto said = blocks.unfreeze("mx.example.org", "anna", {}, QueueTime(9));
  ASSERT_TRUE(said);
  EXPECT_NE(said->find("exception"), std::string::npos);
  EXPECT_EQ(blocks.frozen("mx.example.org"), nullptr);
  EXPECT_NE(blocks.frozen("other.example.org"), nullptr);
  // It ends with its pattern, and with a freeze of its own.
  auto again = blocks;
  ASSERT_TRUE(again.freeze(freeze("mx.example.org")));
  EXPECT_NE(again.frozen("mx.example.org"), nullptr);
  ASSERT_TRUE(blocks.unfreeze("*.example.org", "anna", {}, QueueTime(9)));
  EXPECT_TRUE(blocks.exceptions().empty());
  EXPECT_FALSE(blocks.unfreeze("mx.example.org", "anna", {}, QueueTime(9)));
}

TEST(Blocks, UnfreezingAnExactNameFreesItFromItsPatternToo) {
  Blocks blocks;
  ASSERT_TRUE(blocks.freeze(freeze("*.example.org")));
  ASSERT_TRUE(blocks.freeze(freeze("mx.example.org")));
  ASSERT_TRUE(blocks.unfreeze("mx.example.org", "anna", {}, QueueTime(9)));
  EXPECT_EQ(blocks.frozen("mx.example.org"), nullptr);
}

TEST(Blocks, OutboundSparesLocalAndInternalMail) {
  Blocks blocks;
  ASSERT_TRUE(blocks.disable_outbound({.disabled = true}));
  EXPECT_EQ(blocks.blocked("far.example", kFar), Blocked::kOff);
  EXPECT_EQ(blocks.blocked("inner.example", kInner), Blocked::kNo);
  EXPECT_EQ(blocks.blocked("local", kMailbox), Blocked::kNo);
  ASSERT_TRUE(blocks.disable_outbound({.disabled = true, .all = true}));
  EXPECT_EQ(blocks.blocked("inner.example", kInner), Blocked::kOff);
  EXPECT_EQ(blocks.blocked("local", kMailbox), Blocked::kNo);
  ASSERT_TRUE(blocks.enable_outbound(QueueTime(1)));
  EXPECT_FALSE(blocks.enable_outbound(QueueTime(1)));
}

TEST(Blocks, TheClocksStandWhileBlocked) {
  Blocks blocks;
  ASSERT_TRUE(blocks.freeze(freeze("far.example", "", 100)));
  ASSERT_TRUE(blocks.disable_outbound({.disabled = true, .from = QueueTime(150)}));
  ASSERT_TRUE(blocks.unfreeze("far.example", "", {}, QueueTime(200)));
  ASSERT_TRUE(blocks.enable_outbound(QueueTime(300)));
  ASSERT_TRUE(blocks.freeze(freeze("far.example", "", 400)));
  const auto paused = [&](const std::string& queue, const Destination& d, int born, int now) {
    return blocks.paused(queue, d, QueueTime(born), QueueTime(now)).count();
  };
  EXPECT_EQ(paused("far.example", kFar, 0, 500), 300);  // 100-300 and 400-500, overlaps once
  EXPECT_EQ(paused("far.example", kFar, 250, 350), 50);
  EXPECT_EQ(paused("other.example", kFar, 0, 500), 150);
  EXPECT_EQ(paused("inner.example", kInner, 0, 500), 0);
}

TEST(Blocks, TheTextComesBackTheSame) {
  Blocks blocks;
  ASSERT_TRUE(blocks.freeze(freeze("*.example.org", "\"quoted\" \xff and ünïcode")));
  ASSERT_TRUE(blocks.unfreeze("mx.example.org", "anna", {7}, QueueTime(9)));
  ASSERT_TRUE(blocks.disable_outbound(
      {.disabled = true, .all = true, .reason = "spam", .who = "bob", .since = {8}, .from = QueueTime(3)}));
  const auto text = blocks.to_text();
  const auto read = Blocks::from_text(text);
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->to_text(), text);
  EXPECT_EQ(read->outbound().who, "bob");
  EXPECT_EQ(read->frozen("mx.example.org"), nullptr);
  EXPECT_NE(read->frozen("other.example.org"), nullptr);
}

TEST(Blocks, AnyDamageIsFound) {
  Blocks blocks;
  ASSERT_TRUE(blocks.freeze(freeze("far.example")));
  const auto text = blocks.to_text();
  for (std::size_t cut = 0; cut + 2 < text.size(); ++cut)
    EXPECT_FALSE(Blocks::from_text(text.substr(0, cut))) << cut;
  for (std::size_t at = 0; at < text.size(); ++at) {
    auto flipped = text;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    const auto read = Blocks::from_text(flipped);
    // Blank space carries nothing.
    EXPECT_TRUE(!read || read->to_text() == text) << at;
  }
  EXPECT_FALSE(Blocks::from_text("{}"));
  EXPECT_FALSE(Blocks::from_text("[[[[[[[[[[[[[[[[[[["));
}

}  // namespace
}  // namespace postern::queued
