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

// Every condition that a standing hold may have.
StandingHold standing_hold() {
  StandingHold hold{.reason = "phish", .who = "bob", .since = {9}};
  hold.what.queue = "*.example.org";
  hold.what.from = "<>";
  hold.what.to = "ann@";
  hold.what.client = base::parse_network("10.0.0.0/8");
  hold.what.larger = 1000;
  hold.what.smaller = 2000;
  return hold;
}

TEST(Blocks, StandingHoldsComeBackTheSame) {
  Blocks blocks;
  ASSERT_TRUE(blocks.hold(standing_hold()));
  const auto read = Blocks::from_text(blocks.to_text());
  ASSERT_TRUE(read) << read.error();
  ASSERT_EQ(read->holds().size(), 1U);
  EXPECT_EQ(read->holds()[0].what, standing_hold().what);
  EXPECT_EQ(read->holds()[0].who, "bob");
  EXPECT_EQ(conditions_text(read->holds()[0].what),
            "--queue *.example.org --from <> --to ann@ --client 10.0.0.0/8 --larger 1000 "
            "--smaller 2000");
}

TEST(Blocks, AStandingHoldEndsByItsOwnSelectorOnly) {
  Blocks blocks;
  ASSERT_TRUE(blocks.hold(standing_hold()));
  auto again = standing_hold();
  again.reason = "worse";
  ASSERT_TRUE(blocks.hold(again));
  ASSERT_EQ(blocks.holds().size(), 1U);
  EXPECT_EQ(blocks.holds()[0].reason, "worse");
  auto other = standing_hold().what;
  other.smaller.reset();
  EXPECT_FALSE(blocks.end_hold(other));
  EXPECT_TRUE(blocks.end_hold(standing_hold().what));
  EXPECT_TRUE(blocks.holds().empty());
}

TEST(Blocks, OnlyWhatIsKnownOfNewMailCanStand) {
  EXPECT_TRUE(can_stand(standing_hold().what));
  EXPECT_FALSE(can_stand({}));
  const auto with = [](auto change) {
    auto what = standing_hold().what;
    change(what);
    return can_stand(what);
  };
  EXPECT_FALSE(with([](auto& s) { s.all = true; }));
  EXPECT_FALSE(with([](auto& s) { s.ids = {base::MessageId(1)}; }));
  EXPECT_FALSE(with([](auto& s) { s.error = "x"; }));
  EXPECT_FALSE(with([](auto& s) { s.older = base::Millis(1); }));
  EXPECT_FALSE(with([](auto& s) { s.newer = base::Millis(1); }));
  EXPECT_FALSE(with([](auto& s) { s.state = ipc::State::kReady; }));
}

// As Postern wrote it before there were standing holds.
TEST(Blocks, TheFirstVersionIsRead) {
  const auto read = Blocks::from_text(R"({
  "blocks": {"exceptions": [], "freezes": [{"from": 3, "queue": "far.example", "reason": "why",
    "since": 5, "who": "anna"}], "outbound": {"all": false, "disabled": true, "from": 4,
    "reason": "spam", "since": 6, "who": "bob"}, "pauses": []},
  "sum": "0c5fb204", "v": 1})");
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->frozen("far.example")->who, "anna");
  EXPECT_EQ(read->outbound().reason, "spam");
  EXPECT_TRUE(read->holds().empty());
}

TEST(Blocks, AnyDamageIsFound) {
  Blocks blocks;
  ASSERT_TRUE(blocks.freeze(freeze("far.example")));
  ASSERT_TRUE(blocks.hold(standing_hold()));
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
