// Why mail does not move: each blocker, each pair of them that can be, and whether what was
// foretold comes.
#include "queued/explain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <ranges>

#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

using ipc::Blocker;

constexpr std::string_view kHop = "10.9.0.1:2525";
constexpr std::string_view kBody = "Subject: the one that waits\r\n\r\nhello\r\n";
constexpr base::Millis kInterval{30'000};  // of a route with a rate
constexpr std::uint64_t kIntervalMicros = 30'000'000;

class ExplainTest : public ::testing::Test, protected EngineRig {
 protected:
  ExplainTest() {
    // One connection for two queues.
    config.routes.push_back({.to = {"far.example", "near.example"},
                             .via = {{config::HopKind::kHost, "10.9.0.1", 2525}},
                             .connections = 1,
                             .line = 46,
                             .file = "conf.d/routes.toml"});
    config.retry.line = 67;
    config.retry.file = "postern.toml";
    config.start_place = {12, "postern.toml"};
  }
  // A message that may go, and a relay that has not opened its connection yet.
  void prepare(const std::string& to = "a@far.example") {
    begin();
    prepare_mail(to);
  }
  // The engine has not taken up the store's mail yet.
  void begin_unread() {
    segment_size = 1 << 20;
    ASSERT_TRUE(open()) << fatal;
    engine = std::make_unique<Engine>(*loop, *store, config);
    delivery = std::make_unique<Delivery>(*loop, *engine);
  }
  void prepare_mail(const std::string& to) {
    main = mail(to, std::string(kBody));
    queue = to.substr(2);
    connect(relay);
  }
  // As it stood when it was looked at, without a turn of the loop.
  std::vector<Blocker> blockers_now() {
    std::vector<Blocker> found;
    for (const auto& obstacle : obstacles(*engine, copy, copy.recipients.front()))
      found.push_back(obstacle.blocker);
    return found;
  }
  std::vector<Blocker> blockers() {
    copy = *look(main);
    return blockers_now();
  }
  ipc::Explanation explained() {
    const Message* message = look(main);
    return explanation(*engine, *message, message->recipients.front());
  }
  void change(Engine::Change change) {
    engine->change_blocks(std::move(change), [](Blocks::Said said) noexcept { EXPECT_TRUE(said); });
    for (int n = 0; n < 20; ++n) turn(1);
  }
  // While the message cannot go, so that another one does.
  void aside(const std::function<void()>& what) {
    const bool was_held = !look(main)->held.empty();
    if (!was_held) engine->hold(main, "aside");
    turn();
    what();
    turn();
    if (!was_held) engine->end_hold(main);
    turn();
  }
  void defer() {
    (void)engine->schedule().take(queue, main);
    engine->conclude(
        main,
        {{0, {ipc::Result::kDeferred, ipc::FailureClass::kMailbox, {451, 4, 2, 1, "later"}, {}}}},
        "mx[192.0.2.9]:25", {});
    turn();
  }
  void fail_hop() {
    engine->hop_failed({queue, std::string(kHop)}, ipc::FailureClass::kConnect,
                       {0, 4, 4, 1, "connect timed out"}, "");
    turn();
  }
  // Another message for the same next hop is handed out on its first connection.
  void send_other() {
    aside([this] {
      if (!other) other = mail("b@near.example");
      used = relay.grants.front().grant;
      (void)relay.ask(relay.grants.front());
    });
    ASSERT_EQ(relay.leases.size(), 1U);
    other_lease = relay.leases.back();
  }
  void end_other() {
    relay.answer(other_lease, ipc::Result::kDelivered, 250, "ok");
    relay.connection->send(ipc::GrantEnded{used, {}, {}, {}, ""});
    turn();
  }
  // Its body rots on disk, which is found when its segment's survivors are copied.
  void rot() {
    for (const auto& file : disk.files("journal"))
      if (auto& bytes = disk.content(file); bytes.contains(kBody))
        bytes.replace(bytes.find(kBody), 3, "rot");
    for (int n = 0; n < 200 && !look(main)->damaged; ++n) {
      conclude(accept(std::string(100'000, 'x')), Fate::kDelivered);
      turn(1);
    }
  }
  // The connection of the last lease.
  base::GrantId last_used() {
    const auto& lease = relay.leases.back();
    return engine->schedule().leases().at({lease.epoch, lease.lease}).grant;
  }
  // Other queues have taken all connections that there may be.
  void fill_slots() {
    const auto room = [this] { return engine->schedule().room(false); };
    auto grants = std::exchange(relay.grants, {});
    for (std::uint32_t n = 0; room().used < room().slots; ++n) {
      ASSERT_LT(n, room().slots);
      (void)mail("a@q" + std::to_string(n) + ".example");
    }
    for (const auto& grant : relay.grants) (void)relay.ask(grant);
    turn(20);
    relay.grants = std::move(grants);
  }
  // As many as there may be, each with a message; their number.
  std::uint32_t use_all_connections() {
    const auto slots = engine->schedule().room(false).slots;
    for (std::uint32_t n = 0; n < slots; ++n) (void)mail("a@q" + std::to_string(n) + ".example");
    connect(relay);
    for (int n = 0; n < 50 && relay.leases.size() < slots; ++n) {
      for (const auto& grant : std::exchange(relay.grants, {})) (void)relay.ask(grant);
      turn(20);
    }
    EXPECT_EQ(relay.leases.size(), slots);
    return slots;
  }
  void set_up(Blocker blocker);
  void lift(Blocker blocker);

  base::MessageId main;
  std::string queue;
  FakeRelay relay;
  Message copy;
  std::optional<base::MessageId> other;
  base::GrantId used;  // by the other
  ipc::Lease other_lease;
};

void ExplainTest::set_up(Blocker blocker) {
  switch (blocker) {
    case Blocker::kDelivering:
      (void)relay.ask(relay.grants.back());
      turn();
      ASSERT_EQ(relay.leases.size(), 1U);
      return;
    case Blocker::kConcluding:  // until its original was read for the notice
      copy = *look(main);
      turn();  // so that it leaves memory
      (void)engine->schedule().take(queue, main);
      engine->conclude(main, {{0, {ipc::Result::kFailed, ipc::FailureClass::kMailbox, {}, {}}}}, "",
                       {});
      return;
    case Blocker::kDamaged:
      rot();
      ASSERT_TRUE(look(main)->damaged);
      return;
    case Blocker::kHeld:
      engine->hold(main, "by anna: phish");
      return turn();
    case Blocker::kFrozen:
      return change([this](Blocks& b) noexcept {
        return b.freeze({"*.example", "moving", "bert", clock.wall(), engine->now()});
      });
    case Blocker::kHopFrozen:
      return change([this](Blocks& b) noexcept {
        return b.freeze({.queue = std::string(kHop),
                         .reason = "its disk is full",
                         .who = "dora",
                         .since = clock.wall(),
                         .from = engine->now(),
                         .hop = true});
      });
    case Blocker::kOff:
      return change([this](Blocks& b) noexcept {
        return b.disable_outbound({true, false, "spam run", "carl", clock.wall(), engine->now()});
      });
    case Blocker::kRetry:
      return defer();
    case Blocker::kHopDead:
      return fail_hop();
    case Blocker::kLoading:
      ASSERT_FALSE(engine->loaded());  // as it was prepared
      return;
    case Blocker::kStarting:
      return engine->schedule().set_open(false);
    case Blocker::kNoDeliverer:
      relay.connection.reset();
      return turn();
    case Blocker::kLookup:
      ASSERT_FALSE(relay.looking.empty());  // as it was prepared
      return;
    case Blocker::kRate:
      if (!engine->schedule().find_hop(kHop)->may_send(engine->now())) return;
      send_other();
      return end_other();
    case Blocker::kConnections:
      return send_other();
    case Blocker::kSlots:
      return fill_slots();
    case Blocker::kConnecting:
      ASSERT_FALSE(relay.grants.empty());  // as it was prepared
      return;
    case Blocker::kTurn:
      return aside([this] { (void)mail("b@" + queue); });
  }
}

void ExplainTest::lift(Blocker blocker) {
  switch (blocker) {
    case Blocker::kDelivering:
      relay.answer(relay.leases.back(), ipc::Result::kReturned, 0, "");
      return turn();
    case Blocker::kHeld:
      engine->end_hold(main);
      return turn();
    case Blocker::kFrozen:
      return change([this](Blocks& b) noexcept {
        return b.unfreeze("*.example", false, "bert", clock.wall(), engine->now());
      });
    case Blocker::kHopFrozen:
      return change([this](Blocks& b) noexcept {
        return b.unfreeze(std::string(kHop), true, "dora", clock.wall(), engine->now());
      });
    case Blocker::kOff:
      return change([this](Blocks& b) noexcept { return b.enable_outbound(engine->now()); });
    case Blocker::kRetry:
      return engine->schedule().expedite(queue, main, engine->now());
    case Blocker::kHopDead:
      (void)engine->schedule().end_wait(queue, engine->now());
      return;
    case Blocker::kLoading:
      engine->start();
      return turn();
    case Blocker::kStarting:
      return engine->schedule().set_open(true);
    case Blocker::kNoDeliverer:
      return connect(relay);
    case Blocker::kRate:
      return clock.advance(kInterval);
    case Blocker::kConnections:
      return end_other();
    case Blocker::kSlots:
      relay.answer(relay.leases.back(), ipc::Result::kDelivered, 250, "ok");
      relay.connection->send(ipc::GrantEnded{last_used(), {}, {}, {}, ""});
      return turn();
    case Blocker::kConcluding:
    case Blocker::kDamaged:
    case Blocker::kLookup:
    case Blocker::kConnecting:
    case Blocker::kTurn:
      FAIL() << "is not lifted here";
  }
}

// The order in which they bind.
constexpr Blocker kOrder[] = {
    Blocker::kDelivering, Blocker::kConcluding, Blocker::kDamaged,     Blocker::kHeld,
    Blocker::kFrozen,     Blocker::kHopFrozen,  Blocker::kOff,         Blocker::kHopDead,
    Blocker::kRetry,      Blocker::kLoading,    Blocker::kStarting,    Blocker::kNoDeliverer,
    Blocker::kLookup,     Blocker::kRate,       Blocker::kConnections, Blocker::kSlots,
    Blocker::kConnecting, Blocker::kTurn};

bool any_of(Blocker one, std::initializer_list<Blocker> list) {
  return std::find(list.begin(), list.end(), one) != list.end();
}

// Pairs that are not told, and why not.
enum class Why : std::uint8_t {
  kHidden,  // both may be: the first is told alone
  kUndone,  // the first is no more once the second is
  kNever,   // nothing leads there
};
struct Excluded {
  Blocker a, b;  // in the order of kOrder
  Why why;
  const char* reason;
};

constexpr const char* kAskedAgain = "what is under way ends first: explain asks for all else when it is over";
constexpr const char* kOneStage = "of one recipient: the schedule knows one Stage of it, and settle() ends that";
constexpr const char* kNoLine = "only what is ready stands in line";
constexpr const char* kGoesWithIt = "deliverer_down() ends its connections";
constexpr const char* kKnownOrNot = "a queue leads to one hop, of known hosts or not: unknown ones have none of that";

constexpr Excluded kExcluded[] = {
    {Blocker::kDelivering, Blocker::kHopDead, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kLoading, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kStarting, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kLookup, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kRate, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kConnections, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kSlots, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kConnecting, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kNoDeliverer, Why::kUndone, "deliverer_down() settles its leases"},
    {Blocker::kDelivering, Blocker::kConcluding, Why::kNever, kOneStage},
    {Blocker::kDelivering, Blocker::kRetry, Why::kNever, kOneStage},
    {Blocker::kDelivering, Blocker::kTurn, Why::kNever, kOneStage},
    {Blocker::kConcluding, Blocker::kHopDead, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kLoading, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kStarting, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kNoDeliverer, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kLookup, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kRate, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kConnections, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kSlots, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kConnecting, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kRetry, Why::kNever, kOneStage},
    {Blocker::kConcluding, Blocker::kTurn, Why::kNever, kOneStage},
    {Blocker::kDamaged, Blocker::kHeld, Why::kHidden, "a damaged message is held: it is told as one"},
    {Blocker::kHeld, Blocker::kTurn, Why::kHidden, kNoLine},
    {Blocker::kRetry, Blocker::kTurn, Why::kHidden, kNoLine},
    {Blocker::kHopFrozen, Blocker::kLookup, Why::kNever, "is_frozen(): nobody can freeze hosts that are not known"},
    {Blocker::kHopDead, Blocker::kLookup, Why::kNever, "a queue looks once at a time, and is dead when that look ended"},
    {Blocker::kHopDead, Blocker::kConnections, Why::kNever, "ask() ends deadness; hop_failed() is trouble() then"},
    {Blocker::kNoDeliverer, Blocker::kLookup, Why::kUndone, kGoesWithIt},
    {Blocker::kNoDeliverer, Blocker::kConnections, Why::kUndone, kGoesWithIt},
    {Blocker::kNoDeliverer, Blocker::kSlots, Why::kUndone, kGoesWithIt},
    {Blocker::kNoDeliverer, Blocker::kConnecting, Why::kUndone, kGoesWithIt},
    {Blocker::kLookup, Blocker::kRate, Why::kNever, kKnownOrNot},
    {Blocker::kLookup, Blocker::kConnections, Why::kNever, kKnownOrNot},
    {Blocker::kLookup, Blocker::kConnecting, Why::kNever, kKnownOrNot},
};

void PrintTo(const Excluded& pair, std::ostream* out) {
  *out << ipc::name(pair.a) << " and " << ipc::name(pair.b) << ": " << pair.reason;
}

// Are both told? `a` stands before `b` in kOrder.
bool can_be(Blocker a, Blocker b) {
  return std::ranges::none_of(kExcluded, [&](const Excluded& e) { return e.a == a && e.b == b; });
}

// Those of this kind.
std::vector<Excluded> excluded(Why why) {
  std::vector<Excluded> found;
  std::ranges::copy_if(kExcluded, std::back_inserter(found), [&](const Excluded& e) { return e.why == why; });
  return found;
}

// What must be there before others are has a lower number.
int rank_of_setup(Blocker b) {
  // Else it is never granted, or handed out.
  if (any_of(b, {Blocker::kLoading, Blocker::kLookup, Blocker::kConnecting, Blocker::kDelivering,
                 Blocker::kConnections}))
    return 0;
  if (b == Blocker::kRate) return 1;
  if (b == Blocker::kSlots) return 2;
  if (b == Blocker::kNoDeliverer) return 3;
  return 4;
}

struct Pair {
  Blocker a, b;  // a binds
  bool a_first;
};

void PrintTo(const Pair& pair, std::ostream* out) {
  *out << ipc::name(pair.a) << " and " << ipc::name(pair.b)
       << (pair.a_first ? "" : ", the second first");
}

std::vector<Pair> pairs() {
  std::vector<Pair> found;
  for (std::size_t i = 0; i < std::size(kOrder); ++i)
    for (std::size_t j = i + 1; j < std::size(kOrder); ++j) {
      const auto a = kOrder[i], b = kOrder[j];
      if (!can_be(a, b)) continue;
      // Of two times the later one binds, so the hop fails later: the other way has a test of its own. And
      // what is damaged is put behind others no more.
      const bool b_first = (a == Blocker::kHopDead && b == Blocker::kRetry) ||
                           (a == Blocker::kDamaged && b == Blocker::kTurn);
      const int ranks = b_first ? 1 : rank_of_setup(a) - rank_of_setup(b);
      // An outcome that is under way is there until the next turn of the loop.
      if (ranks <= 0 && a != Blocker::kConcluding) found.push_back({a, b, true});
      if (ranks >= 0) found.push_back({a, b, false});
    }
  return found;
}

class PairTest : public ExplainTest {
 protected:
  PairTest(Blocker a, Blocker b) : a_(a), b_(b) {}
  [[nodiscard]] bool is(Blocker one) const { return a_ == one || b_ == one; }
  // Others that are there anyway do not matter.
  [[nodiscard]] std::vector<Blocker> these(const std::vector<Blocker>& all) const {
    std::vector<Blocker> kept;
    for (const auto one : all)
      if (is(one)) kept.push_back(one);
    return kept;
  }
  // What cannot be done to a server that runs already. `beside`: one connection is being opened beside
  // another one. `lookup`: the hosts are not known.
  void prepare_pair(bool beside, bool lookup) {
    if (is(Blocker::kRate)) config.routes[0].interval = kIntervalMicros;
    if (beside) config.routes[0].connections = 2;
    if (is(Blocker::kDamaged)) cache = 0;  // so that bodies are read from disk
    relay.finds_hosts = !lookup;
    is(Blocker::kLoading) ? begin_unread() : begin();
    prepare_mail(is(Blocker::kLookup) ? "a@mx.example" : "a@far.example");
  }

 private:
  Blocker a_, b_;
};

class ExplainPair : public PairTest, public ::testing::WithParamInterface<Pair> {
 protected:
  ExplainPair() : PairTest(GetParam().a, GetParam().b) {}
  void prepare() {
    const bool beside = is(Blocker::kConnecting) && (is(Blocker::kRate) || is(Blocker::kConnections));
    prepare_pair(beside, is(Blocker::kLookup));
    if (beside) other = mail("b@near.example");
  }
};

TEST_P(ExplainPair, BothAreToldTheBindingOneFirst) {
  const auto [a, b, a_first] = GetParam();
  prepare();
  set_up(a_first ? a : b);
  ASSERT_FALSE(HasFatalFailure());
  if (is(Blocker::kRetry) && is(Blocker::kHopDead)) pass(base::Millis(1'000));
  set_up(a_first ? b : a);
  ASSERT_FALSE(HasFatalFailure());
  if (a == Blocker::kConcluding) {
    EXPECT_EQ(blockers_now(), (std::vector{a, b}));
    return turn();
  }
  auto found = blockers();
  EXPECT_EQ(these(found), (std::vector{a, b}));
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found.front(), a);
  // These end with what they find, or never.
  if (any_of(a, {Blocker::kLookup, Blocker::kConnecting, Blocker::kDamaged})) return;
  lift(a);
  ASSERT_FALSE(HasFatalFailure());
  found = blockers();
  EXPECT_EQ(these(found), std::vector{b});
  ASSERT_FALSE(found.empty());
  // A connection is on its way before its turn comes.
  if (b != Blocker::kTurn) {
    EXPECT_EQ(found.front(), b);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ExplainPair, ::testing::ValuesIn(pairs()));

class ExcludedPair : public PairTest, public ::testing::WithParamInterface<Excluded> {
 protected:
  ExcludedPair() : PairTest(GetParam().a, GetParam().b) {}
  // Something of it while its message is in delivery.
  void set_up_beside_delivery(Blocker blocker) {
    if (any_of(blocker, {Blocker::kRate, Blocker::kConnections})) return;  // by the delivery itself
    if (blocker == Blocker::kConnecting) return (void)mail("b@near.example");
    if (blocker == Blocker::kHopDead) {  // the connection ends before the outcome is told
      relay.connection->send(ipc::GrantEnded{last_used(), {}, {}, {}, ""});
      turn();
    }
    if (blocker != Blocker::kLookup) return set_up(blocker);
    // For others, when what was found is too old.
    (void)mail("b@mx.example");
    pass(base::Millis(12 * 60'000));
    relay.finds_hosts = false;
    (void)relay.ask(relay.grants.back());
    turn();
  }
};

using HiddenPair = ExcludedPair;

TEST_P(HiddenPair, TheFirstIsToldAlone) {
  const auto [a, b, why, reason] = GetParam();
  const bool delivers = a == Blocker::kDelivering;
  prepare_pair(delivers && b == Blocker::kConnecting, b == Blocker::kLookup && !delivers);
  if (delivers) {
    set_up(a);
    ASSERT_FALSE(HasFatalFailure());
    const auto lease = relay.leases.front();
    set_up_beside_delivery(b);
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_EQ(blockers(), std::vector{a});
    relay.answer(lease, ipc::Result::kReturned, 0, "");
    turn();
    EXPECT_EQ(these(blockers()), std::vector{b}) << "it was there all the time";
    return;
  }
  set_up(b);
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(these(blockers()), std::vector{b});
  set_up(a);
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(these(a == Blocker::kConcluding ? blockers_now() : blockers()), std::vector{a});
  turn();
}

INSTANTIATE_TEST_SUITE_P(All, HiddenPair, ::testing::ValuesIn(excluded(Why::kHidden)));

using UndonePair = ExcludedPair;

TEST_P(UndonePair, TheDeliverersEndIsTheEndOfTheOther) {
  const auto [a, b, why, reason] = GetParam();
  const auto other_one = a == Blocker::kNoDeliverer ? b : a;
  prepare_pair(false, is(Blocker::kLookup));
  set_up(other_one);
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(these(blockers()), std::vector{other_one});
  set_up(Blocker::kNoDeliverer);
  EXPECT_EQ(these(blockers()), std::vector{Blocker::kNoDeliverer});
  EXPECT_EQ(engine->schedule().room(false).used, 0U);
}

INSTANTIATE_TEST_SUITE_P(All, UndonePair, ::testing::ValuesIn(excluded(Why::kUndone)));

TEST_F(ExplainTest, OfTwoTimesTheLaterOneBinds) {
  prepare();
  set_up(Blocker::kHopDead);
  pass(base::Millis(5'000));
  set_up(Blocker::kRetry);
  auto found = blockers();
  ASSERT_GE(found.size(), 2U);
  EXPECT_EQ(found[0], Blocker::kRetry);
  EXPECT_EQ(found[1], Blocker::kHopDead);
  EXPECT_EQ(explained().next, store->clock().wall() + base::Millis(60'000));
  pass(base::Millis(56'000));  // the hop fails again
  fail_hop();
  found = blockers();
  ASSERT_GE(found.size(), 2U);
  EXPECT_EQ(found[0], Blocker::kHopDead);
  EXPECT_EQ(found[1], Blocker::kRetry);
  EXPECT_EQ(explained().next, store->clock().wall() + base::Millis(120'000));
}

TEST_F(ExplainTest, WhatIsUnderWayIsTold) {
  prepare();
  EXPECT_EQ(blockers(), std::vector{Blocker::kConnecting});
  auto told = explained();
  EXPECT_EQ(told.state, ipc::State::kReady);
  EXPECT_EQ(told.obstacles[0].name, kHop);
  EXPECT_EQ(told.next.ms, 0);
  set_up(Blocker::kDelivering);
  told = explained();
  ASSERT_EQ(told.obstacles.size(), 1U);
  EXPECT_EQ(told.state, ipc::State::kDelivering);
  EXPECT_EQ(told.obstacles[0].blocker, Blocker::kDelivering);
  EXPECT_EQ(told.obstacles[0].name, kHop);
  EXPECT_EQ(told.obstacles[0].since, store->clock().wall());
  pass(base::Millis(7'000));
  EXPECT_EQ(explained().obstacles[0].since, store->clock().wall() - base::Millis(7'000));
}

TEST_F(ExplainTest, AHopThatWasFrozenBeforeMailCameForItIsTold) {
  begin();
  set_up(Blocker::kHopFrozen);
  prepare_mail("a@far.example");
  EXPECT_EQ(blockers(), std::vector{Blocker::kHopFrozen});
  const auto told = explained();
  EXPECT_EQ(told.state, ipc::State::kFrozen);
  EXPECT_EQ(told.obstacles[0].name, kHop);
  EXPECT_EQ(told.obstacles[0].who, "dora");
  EXPECT_EQ(told.next.ms, 0);
  for (const auto* name : {"far.example", "10.9.0.1:2525"}) {
    const auto queue_told = explain_queue(*engine, {{}, name});
    EXPECT_EQ(queue_told.state, ipc::State::kFrozen) << name;
    ASSERT_EQ(queue_told.obstacles.size(), 1U) << name;
    EXPECT_EQ(queue_told.obstacles[0].blocker, Blocker::kHopFrozen);
  }
  set_up(Blocker::kFrozen);
  EXPECT_EQ(blockers(), (std::vector{Blocker::kFrozen, Blocker::kHopFrozen}));
}

TEST_F(ExplainTest, AServerThatStillReadsItsMailSaysSo) {
  begin_unread();
  main = mail("a@far.example");
  EXPECT_EQ(blockers(),
            (std::vector{Blocker::kLoading, Blocker::kStarting, Blocker::kNoDeliverer}));
  engine->start();
  turn();
  EXPECT_EQ(blockers(), (std::vector{Blocker::kStarting, Blocker::kNoDeliverer}));
}

TEST_F(ExplainTest, AServerWithoutAFreeConnectionSaysSo) {
  begin();
  const auto slots = use_all_connections();
  main = mail("a@far.example");
  queue = "far.example";
  EXPECT_EQ(blockers(), std::vector{Blocker::kSlots});
  EXPECT_EQ(explained().obstacles[0].count, slots);
  EXPECT_EQ(explained().obstacles[0].of, slots);
}

// Nobody can even ask where its hosts are.
TEST_F(ExplainTest, AServerWithoutAFreeConnectionSaysSoOfMailByMxToo) {
  begin();
  const auto slots = use_all_connections();
  main = mail("a@mx.example");
  queue = "mx.example";
  EXPECT_EQ(blockers(), std::vector{Blocker::kSlots});
  const auto told = explained();
  EXPECT_EQ(told.obstacles[0].of, slots);
  EXPECT_EQ(told.next.ms, 0) << "nobody can tell when one is free";
  const auto queue_told = explain_queue(*engine, {{}, queue});
  ASSERT_EQ(queue_told.obstacles.size(), 1U);
  EXPECT_EQ(queue_told.obstacles[0].blocker, Blocker::kSlots);
  EXPECT_EQ(queue_told.next.ms, 0);
}

// --- What happens next ------------------------------------------------------------------------------

class Foretold : public ExplainTest {
 protected:
  // Nothing goes a second before the time that was told, and it goes within a second behind it.
  void expect_it_comes(std::size_t leases_before) {
    const auto next = explained().next;
    ASSERT_GT(next, store->clock().wall());
    later(next - store->clock().wall() - base::Millis(1'000));
    ask_all();
    EXPECT_EQ(relay.leases.size(), leases_before);
    later(base::Millis(2'000));
    ask_all();
    ASSERT_EQ(relay.leases.size(), leases_before + 1);
    EXPECT_EQ(relay.leases.back().message, main);
  }
  // The engine looks each second for freezes that are over.
  void later(base::Millis time) {
    pass(time);
    engine->end_due_freezes();
    turn();
  }
  void ask_all() {
    for (const auto& grant : std::exchange(relay.grants, {})) {
      used = grant.grant;
      (void)relay.ask(grant);
    }
    turn();
  }
  void freeze_until(base::Millis from_now) {
    change([=, this](Blocks& b) noexcept {
      return b.freeze({.queue = "far.example",
                       .reason = "moving",
                       .who = "bert",
                       .since = clock.wall(),
                       .from = engine->now(),
                       .until = clock.wall() + from_now});
    });
    for (const auto& grant : std::exchange(relay.cancelled, {}))
      relay.connection->send(ipc::GrantEnded{grant.grant, {}, {}, {}, ""});
    relay.grants.clear();
    turn();
  }
  // And what is told stays the same.
  void restart() {
    const auto before = explained();
    end();
    relay = FakeRelay();
    clock.advance(base::Millis(5'000));
    begin();
    connect(relay);
    const auto after = explained();
    EXPECT_EQ(after.next, before.next);
    EXPECT_EQ(after.state, before.state);
    ASSERT_FALSE(after.obstacles.empty());
    EXPECT_EQ(after.obstacles.front().blocker, before.obstacles.front().blocker);
  }
};

TEST_F(Foretold, AFreezeEndsAtItsTime) {
  prepare();
  freeze_until(base::Millis(600'000));
  const auto told = explained();
  EXPECT_EQ(told.state, ipc::State::kFrozen);
  EXPECT_EQ(told.next, store->clock().wall() + base::Millis(600'000));
  EXPECT_EQ(explain_queue(*engine, {{}, queue}).next, told.next);
  expect_it_comes(0);
}

TEST_F(Foretold, AFreezeEndsAtItsTimeAfterARestartToo) {
  prepare();
  freeze_until(base::Millis(600'000));
  later(base::Millis(100'000));
  restart();
  expect_it_comes(0);
}

TEST_F(Foretold, ItsOwnTimeComesAfterARestartToo) {
  prepare();
  ask_all();
  ASSERT_EQ(relay.leases.size(), 1U);
  relay.answer(relay.leases.back(), ipc::Result::kDeferred, 451, "later");
  turn();
  restart();
  expect_it_comes(0);
}

TEST_F(Foretold, ADeadHopIsTriedAgainAfterARestartToo) {
  prepare();
  relay.connection->send(ipc::GrantEnded{relay.grants.back().grant,
                                         ipc::GrantEnd::kTemporary,
                                         ipc::FailureClass::kConnect,
                                         {0, 4, 4, 1, "connect timed out"},
                                         "10.9.0.1"});
  turn();
  EXPECT_EQ(explained().obstacles.at(0).blocker, Blocker::kHopDead);
  restart();
  expect_it_comes(0);
}

TEST_F(Foretold, ItsOwnTimeComes) {
  prepare();
  ask_all();
  ASSERT_EQ(relay.leases.size(), 1U);
  const auto lease = relay.leases.back();
  relay.answer(lease, ipc::Result::kDeferred, 451, "later");
  turn();
  const auto told = explained();
  EXPECT_EQ(told.state, ipc::State::kRetry);
  EXPECT_EQ(told.tries, 1U);
  EXPECT_EQ(told.last_reply, "451 4.1.1 later");
  EXPECT_EQ(told.remote, "mx.far.example[192.0.2.9]:25");
  EXPECT_EQ(told.next, store->clock().wall() + base::Millis(60'000));
  EXPECT_EQ(told.retry.wait, base::Millis(120'000));
  EXPECT_TRUE(told.retry.repeats);
  relay.connection->send(ipc::GrantEnded{used, {}, {}, {}, ""});
  turn();
  expect_it_comes(1);
}

TEST_F(Foretold, ADeadHopIsTriedAgain) {
  prepare();
  const auto grant = relay.grants.back().grant;
  relay.grants.clear();
  relay.connection->send(ipc::GrantEnded{grant,
                                         ipc::GrantEnd::kTemporary,
                                         ipc::FailureClass::kConnect,
                                         {0, 4, 4, 1, "connect timed out"},
                                         "10.9.0.1"});
  turn();
  const auto told = explained();
  EXPECT_EQ(told.state, ipc::State::kRetry);
  ASSERT_EQ(told.obstacles.size(), 1U);
  EXPECT_EQ(told.obstacles[0].blocker, Blocker::kHopDead);
  EXPECT_EQ(told.obstacles[0].count, 1U);
  EXPECT_EQ(told.obstacles[0].reason, "4.4.1 connect timed out");
  EXPECT_EQ(told.retry.failure, ipc::FailureClass::kConnect);
  expect_it_comes(0);
}

TEST_F(Foretold, OfTwoDeadWaysTheOneThatIsTriedFirstCounts) {
  config.routes.front().via.push_back({config::HopKind::kHost, "10.9.0.2", 2525});
  prepare();
  for (const auto* mx : {"10.9.0.1", "10.9.0.2"}) {
    ASSERT_FALSE(relay.grants.empty());
    EXPECT_EQ(relay.grants.back().hop.host, mx);
    const auto grant = relay.grants.back().grant;
    relay.grants.clear();
    relay.connection->send(ipc::GrantEnded{grant,
                                           ipc::GrantEnd::kTemporary,
                                           ipc::FailureClass::kConnect,
                                           {0, 4, 4, 1, "connect timed out"},
                                           mx});
    turn();
    pass(base::Millis(10'000));
  }
  const auto told = explained();
  ASSERT_EQ(told.obstacles.size(), 1U);
  EXPECT_EQ(told.obstacles[0].name, "10.9.0.1:2525");
  EXPECT_EQ(told.next, store->clock().wall() + base::Millis(40'000));
  expect_it_comes(0);
}

TEST_F(Foretold, AtARateItsTurnIsATime) {
  config.routes[0].interval = kIntervalMicros;
  prepare();
  set_up(Blocker::kTurn);
  set_up(Blocker::kTurn);
  auto told = explained();
  ASSERT_EQ(told.obstacles.back().blocker, Blocker::kTurn);
  EXPECT_EQ(told.obstacles.back().count, 2U);
  const auto next = told.next;
  EXPECT_EQ(next, store->clock().wall() + base::Millis(60'000));
  for (int n = 0; n < 2; ++n) {
    ask_all();
    ASSERT_EQ(relay.leases.size(), static_cast<std::size_t>(n) + 1);
    EXPECT_NE(relay.leases.back().message, main);
    relay.answer(relay.leases.back(), ipc::Result::kDelivered, 250, "ok");
    relay.connection->send(ipc::GrantEnded{used, {}, {}, {}, ""});
    turn();
    EXPECT_LE(std::abs((explained().next - next).count()), 1'000);
    pass(base::Millis(30'000));
  }
  ask_all();
  ASSERT_EQ(relay.leases.size(), 3U);
  EXPECT_EQ(relay.leases.back().message, main);
  EXPECT_EQ(store->clock().wall(), next);
}

// --- All that is told -------------------------------------------------------------------------------

TEST_F(ExplainTest, LinesOfTheConfigurationAreNamed) {
  config.domain_places = {{21, "postern.toml"}};
  config.start_disabled = true;
  prepare();
  auto told = explained();
  EXPECT_EQ(told.way.by, ipc::RoutedBy::kRoute);
  EXPECT_EQ(told.way.place, "conf.d/routes.toml:46");
  EXPECT_EQ(told.way.via, "smtp://10.9.0.1:2525");
  EXPECT_EQ(told.retry.place, "postern.toml:67");
  ASSERT_FALSE(told.obstacles.empty());
  EXPECT_EQ(told.obstacles[0].blocker, Blocker::kOff);
  EXPECT_EQ(told.obstacles[0].place, "postern.toml:12");
  main = mail("a@elsewhere.example");
  told = explained();
  EXPECT_EQ(told.way.by, ipc::RoutedBy::kNothing);
  EXPECT_EQ(told.way.via, "mx");
  main = mail("bob@example.org");
  told = explained();
  EXPECT_EQ(told.way.by, ipc::RoutedBy::kDomain);
  EXPECT_EQ(told.way.place, "postern.toml:21");
  EXPECT_EQ(told.way.via, "mailbox");
}

TEST_F(ExplainTest, WhoAndWhyAndSinceWhenAreTold) {
  prepare();
  set_up(Blocker::kOff);
  set_up(Blocker::kFrozen);
  pass(base::Millis(9'000));
  set_up(Blocker::kHeld);
  const auto told = explained();
  ASSERT_GE(told.obstacles.size(), 3U);
  EXPECT_EQ(told.state, ipc::State::kHeld);
  EXPECT_EQ(told.next.ms, 0);
  EXPECT_TRUE(told.clock_stands);
  const auto& [held, frozen, off] =
      std::tie(told.obstacles[0], told.obstacles[1], told.obstacles[2]);
  EXPECT_EQ(held.who, "anna");
  EXPECT_EQ(held.reason, "phish");
  EXPECT_EQ(held.since, store->clock().wall());
  EXPECT_EQ(frozen.name, "*.example");
  EXPECT_EQ(frozen.who, "bert");
  EXPECT_EQ(frozen.reason, "moving");
  EXPECT_EQ(frozen.since, store->clock().wall() - base::Millis(9'000));
  EXPECT_EQ(off.who, "carl");
  EXPECT_EQ(off.reason, "spam run");
}

TEST_F(ExplainTest, TheSenderHearsAndItEndsWhenItWasTold) {
  config.retry.notify = base::Millis(300'000);
  prepare();
  const auto arrived = store->clock().wall();
  pass(base::Millis(100'000));
  auto told = explained();
  EXPECT_EQ(told.notice, arrived + base::Millis(300'000));
  EXPECT_EQ(told.expires, arrived + base::Millis(1'000'000));
  // Its clock stands while it is held, and both move on.
  set_up(Blocker::kHeld);
  pass(base::Millis(50'000));
  lift(Blocker::kHeld);
  told = explained();
  EXPECT_FALSE(told.clock_stands);
  EXPECT_EQ(told.notice, arrived + base::Millis(350'000));
  EXPECT_EQ(told.expires, arrived + base::Millis(1'050'000));
  main = mail("a@far.example", "x\r\n", true);
  EXPECT_EQ(explained().notice.ms, 0);  // there is nobody to tell
}

TEST_F(ExplainTest, RecipientsComeInPagesAndAlikeOnesTogether) {
  begin();
  auto record = envelope(0);
  for (std::uint32_t n = 0; n < 150; ++n)
    record.recipients.push_back(
        {.number = n,
         .address = address("u" + std::to_string(n) + (n < 130 ? "@far" : "@other") + ".example")});
  const auto id = record.id;
  store->accept(std::move(record), std::make_shared<const std::string>(),
                [this, id](bool) noexcept { engine->admit(id); });
  turn();
  std::vector<std::size_t> sizes;
  std::vector<std::string> queues;
  ipc::Explain ask{.id = id};
  for (bool more = true; more;) {
    std::optional<ipc::Explained> page;
    explain(*engine, ask, [&](const ipc::Explained& answer) noexcept { page = answer; });
    for (int n = 0; n < 30 && !page; ++n) turn(1);
    ASSERT_TRUE(page && page->found);
    ASSERT_EQ(page->explanations.size(), 1U);
    sizes.push_back(page->explanations[0].recipients.size());
    queues.push_back(page->explanations[0].queue);
    more = page->more;
    ask.after = page->next_after;
  }
  EXPECT_EQ(sizes, (std::vector<std::size_t>{60, 60, 10, 20}));
  EXPECT_EQ(queues.back(), "other.example");
}

TEST_F(ExplainTest, AQueueAndItsNextHopAreExplained) {
  prepare();
  (void)mail("b@near.example");
  set_up(Blocker::kHopDead);
  auto told = explain_queue(*engine, {{}, "Far.Example"});
  ASSERT_TRUE(told.found);
  EXPECT_FALSE(told.is_hop);
  EXPECT_EQ(told.state, ipc::State::kRetry);
  EXPECT_EQ(told.next, store->clock().wall() + base::Millis(60'000));
  EXPECT_EQ(told.messages, 1U);
  EXPECT_EQ(told.ready, 1U);
  EXPECT_EQ(told.way.place, "conf.d/routes.toml:46");
  ASSERT_EQ(told.hops.size(), 1U);
  EXPECT_EQ(told.hops[0].name, kHop);
  EXPECT_EQ(told.hops[0].queues, 2U);
  EXPECT_EQ(told.hops[0].limit, 1U);
  EXPECT_EQ(told.hops[0].failures, 1U);
  EXPECT_EQ(told.hops[0].last_reply, "4.4.1 connect timed out");
  set_up(Blocker::kFrozen);
  told = explain_queue(*engine, {{}, "far.example"});
  EXPECT_EQ(told.state, ipc::State::kFrozen);
  EXPECT_EQ(told.next.ms, 0);
  ASSERT_GE(told.obstacles.size(), 2U);
  EXPECT_EQ(told.obstacles[1].blocker, Blocker::kHopDead);
  told = explain_queue(*engine, {{}, std::string(kHop)});
  ASSERT_TRUE(told.found);
  EXPECT_TRUE(told.is_hop);
  EXPECT_EQ(told.state, ipc::State::kRetry);
  EXPECT_EQ(told.queues, (std::vector<std::string>{"far.example", "near.example"}));
  told = explain_queue(*engine, {{}, "fat.example"});
  EXPECT_FALSE(told.found);
  ASSERT_FALSE(told.near.empty());
  EXPECT_EQ(told.near[0], "far.example");
}

TEST_F(ExplainTest, AQueueOfWhichAllIsHeldOrNotDueSaysSo) {
  prepare();
  set_up(Blocker::kRetry);
  auto told = explain_queue(*engine, {{}, "far.example"});
  EXPECT_EQ(told.state, ipc::State::kRetry);
  EXPECT_EQ(told.next, store->clock().wall() + base::Millis(60'000));
  EXPECT_EQ(told.waiting, 1U);
  set_up(Blocker::kHeld);
  told = explain_queue(*engine, {{}, "far.example"});
  EXPECT_EQ(told.state, ipc::State::kHeld);
  EXPECT_EQ(told.held, 1U);
  EXPECT_EQ(told.next.ms, 0);
}

}  // namespace
}  // namespace postern::queued
