#include "queued/blocks.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace postern::queued {
namespace {

const Destination kFar{.via = {config::HopSpec{}}};
const Destination kInner{.internal = true, .via = {config::HopSpec{}}};
const Destination kMailbox{
    .local = true, .internal = true, .via = {{.kind = config::HopKind::kMailbox}}};

Freeze freeze(std::string queue, std::string reason = "why", std::int64_t from = 0) {
  return {.queue = std::move(queue),
          .reason = std::move(reason),
          .who = "anna",
          .since = {5},
          .from = QueueTime(from)};
}

Freeze hop(std::string host, std::string reason = "why") {
  auto frozen = freeze(std::move(host), std::move(reason));
  frozen.hop = true;
  return frozen;
}

Destination route_by(std::vector<std::string> hosts) {
  Destination destination;
  for (auto& host : hosts)
    destination.via.push_back(
        {.kind = config::HopKind::kHost, .host = std::move(host), .port = 2525});
  return destination;
}

// How long the clock of mail that was born then stood.
std::int64_t stood(const Blocks& blocks, const std::string& queue, const Destination& destination,
                   int born, int now, std::string_view by = {}, int forgotten = 0) {
  return covered(blocks.standstills(queue, destination, QueueTime(now), by, QueueTime(forgotten)),
                 QueueTime(born), QueueTime(now))
      .count();
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
  const auto said = blocks.unfreeze("mx.example.org", false, "anna", {}, QueueTime(9));
  ASSERT_TRUE(said);
  EXPECT_NE(said->find("exception"), std::string::npos);
  EXPECT_EQ(blocks.frozen("mx.example.org"), nullptr);
  EXPECT_NE(blocks.frozen("other.example.org"), nullptr);
  // It ends with its pattern, and with a freeze of its own.
  auto again = blocks;
  ASSERT_TRUE(again.freeze(freeze("mx.example.org")));
  EXPECT_NE(again.frozen("mx.example.org"), nullptr);
  ASSERT_TRUE(blocks.unfreeze("*.example.org", false, "anna", {}, QueueTime(9)));
  EXPECT_TRUE(blocks.exceptions().empty());
  EXPECT_FALSE(blocks.unfreeze("mx.example.org", false, "anna", {}, QueueTime(9)));
}

TEST(Blocks, UnfreezingAnExactNameFreesItFromItsPatternToo) {
  Blocks blocks;
  ASSERT_TRUE(blocks.freeze(freeze("*.example.org")));
  ASSERT_TRUE(blocks.freeze(freeze("mx.example.org")));
  ASSERT_TRUE(blocks.unfreeze("mx.example.org", false, "anna", {}, QueueTime(9)));
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
  ASSERT_TRUE(blocks.unfreeze("far.example", false, "", {}, QueueTime(200)));
  ASSERT_TRUE(blocks.enable_outbound(QueueTime(300)));
  ASSERT_TRUE(blocks.freeze(freeze("far.example", "", 400)));
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 500), 300);  // 100-300 and 400-500, overlaps once
  EXPECT_EQ(stood(blocks, "far.example", kFar, 250, 350), 50);
  EXPECT_EQ(stood(blocks, "other.example", kFar, 0, 500), 150);
  EXPECT_EQ(stood(blocks, "inner.example", kInner, 0, 500), 0);
}

TEST(Blocks, AFreezeMayLetTheClocksGoOn) {
  Blocks blocks;
  auto kept = freeze("far.example", "", 100);
  kept.keep_clock = true;
  ASSERT_TRUE(blocks.freeze(kept));
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 200), 0);
  // From here on they stand, and from there they go on again.
  ASSERT_TRUE(blocks.freeze(freeze("far.example", "", 200)));
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 300), 100);
  kept.from = QueueTime(300);
  ASSERT_TRUE(blocks.freeze(kept));
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 400), 100);
  ASSERT_TRUE(blocks.unfreeze("far.example", false, "", {}, QueueTime(400)));
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 500), 100);
}

TEST(Blocks, TheFreezeThatCountsDecidesAboutTheClocks) {
  Blocks blocks;
  ASSERT_TRUE(blocks.freeze(freeze("*", "", 100)));
  auto kept = freeze("far.example", "", 200);
  kept.keep_clock = true;
  ASSERT_TRUE(blocks.freeze(kept));
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 300), 100);  // until its own freeze
  EXPECT_EQ(stood(blocks, "near.example", kFar, 0, 300), 200);
  ASSERT_TRUE(blocks.unfreeze("far.example", false, "", {}, QueueTime(300)));  // an exception now
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 400), 100);
  ASSERT_TRUE(blocks.freeze(freeze("far.example", "", 400)));
  ASSERT_TRUE(blocks.unfreeze("*", false, "", {}, QueueTime(450)));
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 500), 200);
  EXPECT_EQ(stood(blocks, "near.example", kFar, 0, 500), 350);
}

TEST(Blocks, AFreezeEndsByItselfWhenTheWallClockSaysSo) {
  Blocks blocks;
  auto first = freeze("far.example", "", 100);
  first.until = {1'000};
  auto second = freeze("*.example.org");
  second.until = {2'000};
  ASSERT_TRUE(blocks.freeze(first));
  ASSERT_TRUE(blocks.freeze(second));
  ASSERT_TRUE(blocks.freeze(freeze("kept.example")));
  ASSERT_TRUE(blocks.unfreeze("mx.example.org", false, "anna", {}, QueueTime(120)));
  EXPECT_FALSE(blocks.any_due({999}));
  EXPECT_TRUE(blocks.end_due({999}, QueueTime(200)).empty());
  ASSERT_TRUE(blocks.any_due({1'000}));
  const auto ended = blocks.end_due({1'000}, QueueTime(300));
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].queue, "far.example");
  EXPECT_EQ(blocks.frozen("far.example"), nullptr);
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 500), 200);
  EXPECT_EQ(blocks.exceptions().size(), 1U);
  // However far it jumps.
  EXPECT_EQ(blocks.end_due({1'000'000'000'000}, QueueTime(400)).size(), 1U);
  EXPECT_TRUE(blocks.exceptions().empty());
  EXPECT_NE(blocks.frozen("kept.example"), nullptr);
}

TEST(Blocks, ANextHopIsFrozenByAnyOfItsNames) {
  Blocks blocks;
  ASSERT_TRUE(blocks.freeze(hop("mx1.example.net")));
  const auto reason = [&](std::string_view key) {
    const Freeze* by = blocks.hop_frozen(key);
    return by == nullptr ? std::string("free") : by->reason;
  };
  EXPECT_EQ(reason("mx1.example.net:25"), "why");
  EXPECT_EQ(reason("mx0.example.net>mx1.example.net"), "why");
  EXPECT_EQ(reason("mx1.example.net,mx2.example.net>mx3.example.net"), "why");
  EXPECT_EQ(reason("mx11.example.net"), "free");
  EXPECT_EQ(blocks.frozen("mx1.example.net"), nullptr);  // a queue of this name is another matter
  ASSERT_TRUE(blocks.freeze(hop("*.example.net", "below")));
  ASSERT_TRUE(blocks.freeze(hop("*", "all")));
  ASSERT_TRUE(blocks.freeze(hop("10.0.0.1:2525", "port")));
  ASSERT_TRUE(blocks.freeze(hop("[::1]:26", "six")));
  EXPECT_EQ(reason("mx1.example.net:25"), "why");
  EXPECT_EQ(reason("mx2.example.net"), "below");
  EXPECT_EQ(reason("10.0.0.1:2525"), "port");
  EXPECT_EQ(reason("10.0.0.1:25"), "all");
  EXPECT_EQ(reason("[::1]:26"), "six");
  EXPECT_EQ(reason("[::1]:25"), "all");
  // Whatever is demanded of it.
  EXPECT_EQ(reason("mx0.example.net>mx1.example.net:25/verified"), "why");
  EXPECT_EQ(reason("10.0.0.1:2525/smtps/required"), "port");
  const auto said = blocks.unfreeze("mx2.example.net", true, "anna", {}, QueueTime(9));
  ASSERT_TRUE(said);
  EXPECT_EQ(*said,
            "--hop mx2.example.net is an exception to the freeze of --hop *.example.net now");
  EXPECT_EQ(reason("mx2.example.net:25"), "free");
  EXPECT_EQ(reason("mx3.example.net>mx2.example.net"), "below") << "it may lead to mx3";
  EXPECT_EQ(reason("mx2.example.net,mx2.example.net:25"), "free");
  EXPECT_EQ(reason("mx2.example.net>mx1.example.net"), "why");
  // A host without its port is several next hops, of which one may be let go.
  ASSERT_TRUE(blocks.unfreeze("mx1.example.net:2525", true, "anna", {}, QueueTime(9)));
  EXPECT_EQ(reason("mx1.example.net:2525"), "free");
  EXPECT_EQ(reason("mx1.example.net:25"), "why");
}

// A queue whose host calls for its mail is a next hop of its own, and no host.
TEST(Blocks, AHostThatCallsIsFrozenByItsQueue) {
  const Destination called{.via = {{.kind = config::HopKind::kTurn}}};
  Blocks blocks;
  for (const auto* other : {"turn", "turn:other.example", "inner.example", "*.example"})
    ASSERT_TRUE(blocks.freeze(hop(other)));
  EXPECT_EQ(blocks.hop_frozen("turn:inner.example"), nullptr);
  EXPECT_EQ(blocks.blocked("inner.example", called), Blocked::kNo);
  auto frozen = hop("turn:inner.example");
  frozen.from = QueueTime(100);
  ASSERT_TRUE(blocks.freeze(frozen));
  EXPECT_NE(blocks.hop_frozen("turn:inner.example"), nullptr);
  EXPECT_EQ(blocks.blocked("inner.example", called), Blocked::kFrozen);
  EXPECT_EQ(stood(blocks, "inner.example", called, 0, 200), 100);
  ASSERT_TRUE(blocks.unfreeze("turn:inner.example", true, "anna", {}, QueueTime(200)));
  EXPECT_EQ(blocks.blocked("inner.example", called), Blocked::kNo);
  ASSERT_TRUE(blocks.freeze(hop("*")));
  EXPECT_EQ(blocks.blocked("inner.example", called), Blocked::kFrozen);
}

TEST(Blocks, WhomAnAttemptSpokeToIsANextHop) {
  EXPECT_EQ(hop_of_remote("mx1.example.net[192.0.2.9]:25"), "mx1.example.net:25");
  EXPECT_EQ(hop_of_remote("mx1.example.net[2001:db8::9]:2525"), "mx1.example.net:2525");
  EXPECT_EQ(hop_of_remote("[2001:db8::9]:25"), "[2001:db8::9]:25");
  EXPECT_EQ(hop_of_remote("mx1.example.net:25"), "mx1.example.net:25") << "through a proxy";
  for (const auto* none : {"", "amy[192.0.2.9]", "/run/dovecot/lmtp", "discard", "a[", "a["})
    EXPECT_EQ(hop_of_remote(none), "") << none;
}

TEST(Blocks, AQueueIsFrozenWithTheHostsOfItsRoute) {
  Blocks blocks;
  auto frozen = hop("one.example");
  frozen.from = QueueTime(100);
  ASSERT_TRUE(blocks.freeze(frozen));
  EXPECT_EQ(blocks.blocked("far.example", route_by({"one.example"})), Blocked::kFrozen);
  EXPECT_EQ(blocks.blocked("far.example", route_by({"one.example", "two.example"})), Blocked::kNo);
  EXPECT_EQ(blocks.blocked("far.example", kFar), Blocked::kNo);
  EXPECT_EQ(stood(blocks, "far.example", route_by({"one.example"}), 0, 200), 100);
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 200, "two.example"), 0);
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 200, "one.example>two.example"), 100);
  // While its hosts are not known, it may have been any before they were forgotten.
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 200), 0);
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 200, {}, 170), 70);
  EXPECT_EQ(stood(blocks, "far.example", kFar, 0, 200, {}, 300), 100);
  EXPECT_EQ(stood(blocks, "far.example", route_by({"two.example", "one.example"}), 0, 200), 100);
  EXPECT_EQ(stood(blocks, "far.example", route_by({"two.example"}), 0, 200), 0);
  ASSERT_TRUE(blocks.freeze(hop("two.example:2525")));
  EXPECT_EQ(blocks.blocked("far.example", route_by({"one.example", "two.example"})),
            Blocked::kFrozen);
}

TEST(Blocks, NamesAreWellFormed) {
  for (const auto* good : {"example.org", "*.example.org", "*", "local", "[192.0.2.1]"})
    EXPECT_TRUE(names_queues(good)) << good;
  for (const auto* bad : {"", "a*", "*.", "*x", "a b", "UPPER", "\xff"})
    EXPECT_FALSE(names_queues(bad)) << bad;
  for (const auto* good : {"mx1.example.net", "mx1.example.net:25", "*.example.net",
                           "10.0.0.1:2525", "[::1]:25", "[::1]", "::1", "*", "unix:/run/lmtp", "turn:a.example"})
    EXPECT_TRUE(names_hops(good)) << good;
  for (const auto* bad :
       {"", ":25", "a:", "a:0", "a:65536", "[::1", "[::1]25", "a>b", "a,b", "smtp://a", "unix:lmtp",
        "unix:/a b", "turn:", "turn:*", "turn:a b"})
    EXPECT_FALSE(names_hops(bad)) << bad;
}

TEST(Blocks, IntakeHasASwitch) {
  Blocks blocks;
  EXPECT_FALSE(blocks.enable_intake());
  ASSERT_TRUE(blocks.disable_intake({.reason = "moving", .who = "anna"}));
  EXPECT_TRUE(blocks.intake().disabled);
  EXPECT_EQ(blocks.blocked("far.example", kFar), Blocked::kNo);
  ASSERT_TRUE(blocks.enable_intake());
  EXPECT_FALSE(blocks.intake().disabled);
}

TEST(Standstill, WhatCoversTheSameTimeCountsOnce) {
  const auto of = [](std::vector<Span> spans) {
    return covered(std::move(spans), QueueTime(100), QueueTime(200)).count();
  };
  EXPECT_EQ(of({}), 0);
  EXPECT_EQ(of({{QueueTime(0), QueueTime(110)}, {QueueTime(190), QueueTime(300)}}), 20);
  EXPECT_EQ(of({{QueueTime(120), QueueTime(160)}, {QueueTime(110), QueueTime(150)}}), 50);
  EXPECT_EQ(of({{QueueTime(110), QueueTime(190)}, {QueueTime(120), QueueTime(130)}}), 80);
  EXPECT_EQ(of({{QueueTime(150), QueueTime(140)}}), 0);
}

TEST(Standstill, TooManySpansBecomeFewerAndNeverCoverLess) {
  std::vector<Span> spans;
  for (int i = 0; i < 4; ++i)
    add_span(spans, {QueueTime(100 * i), QueueTime(100 * i + 10 * (i + 1))}, 3);
  ASSERT_EQ(spans.size(), 3U);
  // 200-230 and 300-340 stood nearest.
  EXPECT_EQ(spans[2], (Span{QueueTime(200), QueueTime(340)}));
}

TEST(Blocks, TheTextComesBackTheSame) {
  Blocks blocks;
  ASSERT_TRUE(blocks.freeze(freeze("*.example.org", "\"quoted\" \xff and ünïcode")));
  auto frozen = hop("mx1.example.net");
  frozen.until = {1'790'000'000'000};
  frozen.keep_clock = true;
  ASSERT_TRUE(blocks.freeze(frozen));
  ASSERT_TRUE(blocks.freeze(hop("*.example.net")));
  ASSERT_TRUE(blocks.unfreeze("mx2.example.net", true, "anna", {7}, QueueTime(9)));
  ASSERT_TRUE(blocks.freeze(freeze("over.example", "", 1)));
  ASSERT_TRUE(blocks.unfreeze("over.example", false, "anna", {7}, QueueTime(9)));
  ASSERT_TRUE(blocks.disable_intake({.reason = "moving", .who = "eve", .since = {4}}));
  ASSERT_TRUE(blocks.unfreeze("mx.example.org", false, "anna", {7}, QueueTime(9)));
  ASSERT_TRUE(blocks.disable_outbound(
      {.disabled = true, .all = true, .reason = "spam", .who = "bob", .since = {8}, .from = QueueTime(3)}));
  const auto text = blocks.to_text();
  const auto read = Blocks::from_text(text);
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->to_text(), text);
  EXPECT_EQ(read->outbound().who, "bob");
  EXPECT_EQ(read->intake().reason, "moving");
  EXPECT_EQ(read->hop_frozen("mx1.example.net")->until.ms, 1'790'000'000'000);
  EXPECT_TRUE(read->hop_frozen("mx1.example.net")->keep_clock);
  EXPECT_EQ(read->hop_frozen("mx2.example.net"), nullptr);
  EXPECT_EQ(stood(*read, "over.example", kMailbox, 0, 10), 8);
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

TEST(Blocks, LocksOfAccounts) {
  Blocks blocks;
  EXPECT_EQ(*blocks.lock({.account = "bob", .reason = "spam", .who = "ann", .since = {5}}),
            "account bob is locked");
  EXPECT_EQ(*blocks.lock({.account = "bob", .reason = "more spam", .who = "ann", .since = {6}}),
            "account bob was locked already; the reason is replaced");
  const auto read = Blocks::from_text(blocks.to_text());
  ASSERT_TRUE(read) << read.error();
  ASSERT_NE(read->locked("bob"), nullptr);
  EXPECT_EQ(read->locked("bob")->reason, "more spam");
  EXPECT_EQ(read->locked("bob")->since.ms, 6);
  EXPECT_EQ(read->locked("amy"), nullptr);
  EXPECT_FALSE(blocks.unlock("amy"));
  EXPECT_EQ(*blocks.unlock("bob"), "account bob is not locked any more");
  EXPECT_EQ(blocks.locked("bob"), nullptr);
}

// As the version before this one wrote it, with a freeze, an exception, a hold and a switch.
TEST(Blocks, TheSecondVersionIsRead) {
  std::ifstream file(POSTERN_SOURCE_ROOT "/tests/unit/queued/control-2.json");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(Blocks::version_of(text.str()), 2);
  const auto read = Blocks::from_text(text.str());
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->frozen("far.example")->reason, "they asked");
  EXPECT_EQ(read->frozen("a.corp.example")->who, "anna");
  EXPECT_EQ(read->frozen("mx.corp.example"), nullptr);
  EXPECT_FALSE(read->frozen("far.example")->keep_clock);
  EXPECT_EQ(read->frozen("far.example")->until.ms, 0);
  EXPECT_EQ(read->outbound().who, "root");
  EXPECT_FALSE(read->intake().disabled);
  ASSERT_EQ(read->holds().size(), 1U);
  // The clocks: outbound twice, a pattern, and what left it.
  EXPECT_EQ(stood(*read, "other.example", kFar, 0, 400), 40 + 100);
  EXPECT_EQ(stood(*read, "a.corp.example", kMailbox, 0, 400), 300);
  EXPECT_EQ(stood(*read, "mx.corp.example", kMailbox, 0, 400), 100);
  // It is written as this version, which says the same.
  const auto again = Blocks::from_text(read->to_text());
  ASSERT_TRUE(again) << again.error();
  EXPECT_EQ(Blocks::version_of(read->to_text()), 4);
  EXPECT_EQ(again->to_text(), read->to_text());
  EXPECT_EQ(stood(*again, "mx.corp.example", kMailbox, 0, 400), 100);
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
