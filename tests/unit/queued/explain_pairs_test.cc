// Each pair of blockers that can be, the binding one first; and why the others are not told.
#include <algorithm>
#include <iterator>

#include "tests/unit/queued/blocker_pairs.h"
#include "tests/unit/queued/explain_rig.h"

namespace postern::queued {
namespace {

bool any_of(Blocker one, std::initializer_list<Blocker> list) {
  return std::find(list.begin(), list.end(), one) != list.end();
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

// With one of them there, the other is tried for, whatever explain would tell of it: it does not come before the
// first is over.
class NeverPair : public ExcludedPair {
 protected:
  [[nodiscard]] bool is_there(Blocker blocker) const {
    const auto& schedule = engine->schedule();
    const auto stands = schedule.standing(queue, main, 0);
    const auto* known = schedule.find(queue);
    const auto* hop = known == nullptr ? nullptr : known->hop();
    const bool of_hosts = hop != nullptr && hop->known();
    switch (blocker) {
      case Blocker::kDelivering:
        return schedule.leased(main, 0);
      case Blocker::kConcluding:
        return engine->concludes(main, 0);
      case Blocker::kRetry:
        return stands && stands->stage == Stage::kWaiting;
      case Blocker::kTurn:
        return stands && stands->stage == Stage::kReady && schedule.ahead(queue, main, 1) > 0;
      case Blocker::kHopFrozen:
        return hop != nullptr && hop->frozen;
      case Blocker::kHopDead:
        return hop != nullptr && hop->until > engine->now();
      case Blocker::kLookup:
        return hop != nullptr && !hop->known() && hop->grants > 0;
      case Blocker::kRate:
        return of_hosts && !hop->may_send(engine->now());
      case Blocker::kConnections:
        return of_hosts && hop->grants > hop->unopened && hop->grants >= hop->most();
      case Blocker::kConnecting:
        return of_hosts && hop->unopened > 0;
      case Blocker::kDamaged:
      case Blocker::kHeld:
      case Blocker::kFrozen:
      case Blocker::kOff:
      case Blocker::kLoading:
      case Blocker::kStarting:
      case Blocker::kNoDeliverer:
      case Blocker::kUncalled:
      case Blocker::kSlots:
        break;
    }
    ADD_FAILURE() << ipc::name(blocker) << " is in no pair that never comes";
    return false;
  }
  void watch(int turns = 10) {
    const auto& [a, b, why, reason] = GetParam();
    for (int n = 0; n < turns; ++n) {
      turn(1);
      EXPECT_FALSE(is_there(a) && is_there(b));
    }
  }
  void expect_alone(Blocker there, Blocker tried) {
    watch();
    EXPECT_TRUE(is_there(there));
    EXPECT_FALSE(is_there(tried));
  }
  void lookup_ends(ipc::HopFound found) {
    relay.connection->send(found);
    watch();
  }
  base::GrantId looking() const { return relay.looking.begin()->first; }

  // Something is in delivery.
  void try_beside_delivery(Blocker tried) {
    set_up(Blocker::kDelivering);
    ASSERT_FALSE(HasFatalFailure());
    const auto lease = relay.leases.front();
    if (tried == Blocker::kRetry) engine->put_back(main, {0}, engine->now() + base::Millis(60'000));
    if (tried == Blocker::kTurn) (void)mail("b@" + queue);
    engine->configure(config);  // all mail is placed anew
    expect_alone(Blocker::kDelivering, tried);
    late_store->set_slow(true);  // what becomes of it takes a while
    if (tried == Blocker::kRetry) relay.answer(lease, ipc::Result::kDeferred, 451, "later");
    if (tried == Blocker::kTurn) relay.answer(lease, ipc::Result::kReturned, 0, "");
    if (tried == Blocker::kConcluding)  // twice: the second is of no lease
      for (int n = 0; n < 2; ++n) relay.answer(lease, ipc::Result::kFailed, 550, "no");
    watch();
    late_store->set_slow(false);
    watch();
    EXPECT_FALSE(is_there(Blocker::kDelivering));
    if (tried == Blocker::kConcluding)
      EXPECT_EQ(look(main), nullptr);
    else
      EXPECT_TRUE(is_there(tried));
  }
  // Its outcome is on its way, and waits for what is read.
  void try_beside_conclusion(Blocker tried) {
    late_store->set_slow(true);
    set_up(Blocker::kConcluding);
    ASSERT_TRUE(is_there(Blocker::kConcluding));
    if (tried == Blocker::kRetry) engine->retry({main});
    if (tried == Blocker::kTurn) (void)mail("b@" + queue);
    engine->configure(config);
    expect_alone(Blocker::kConcluding, tried);
    late_store->set_slow(false);
    watch();
    EXPECT_EQ(look(main), nullptr);
  }
  void try_to_freeze_unknown_hosts() {
    for (const auto* name : {"mx.example", "mx.example:25", "*"}) {
      change([this, name](Blocks& b) noexcept {
        return b.freeze({.queue = name,
                         .reason = "its disk is full",
                         .who = "dora",
                         .since = clock.wall(),
                         .from = engine->now(),
                         .hop = true});
      });
      expect_alone(Blocker::kLookup, Blocker::kHopFrozen);
    }
    lookup_ends({looking(), "mx.example:25", base::Millis(60'000)});
    EXPECT_TRUE(is_there(Blocker::kHopFrozen));
  }
  void try_to_look_for_dead_hosts() {
    relay.connection->send(ipc::GrantEnded{looking(), ipc::GrantEnd::kTemporary, ipc::FailureClass::kDns,
                                           {0, 4, 4, 3, "no answer"}, ""});
    watch();
    (void)mail("b@mx.example");
    engine->put_back(main, {0}, engine->now());
    expect_alone(Blocker::kHopDead, Blocker::kLookup);
  }
  // One of two connections carries something, the tried cannot be made.
  void try_to_die_in_use() {
    send_other();
    watch();
    ASSERT_GE(relay.grants.size(), 2U);
    ASSERT_TRUE(is_there(Blocker::kConnections));
    relay.connection->send(ipc::GrantEnded{relay.grants.back().grant, ipc::GrantEnd::kTemporary,
                                           ipc::FailureClass::kConnect, {0, 4, 4, 1, "refused"}, ""});
    expect_alone(Blocker::kConnections, Blocker::kHopDead);
  }
  // Of the one connection of a route with a rate nobody knows yet where it leads.
  void try_beside_lookup(Blocker tried) {
    (void)mail("b@mx.example");
    expect_alone(Blocker::kLookup, tried);
    lookup_ends({looking(), "mx.example:25", base::Millis(60'000)});
    ASSERT_FALSE(relay.grants.empty());
    EXPECT_TRUE(is_there(Blocker::kConnecting));
    (void)relay.ask(relay.grants.back());
    watch();
    EXPECT_EQ(relay.leases.size(), 1U);
    EXPECT_FALSE(is_there(Blocker::kLookup));
    if (tried != Blocker::kConnecting) {
      EXPECT_TRUE(is_there(tried));
    }
  }
};

TEST_P(NeverPair, WhatIsTriedForDoesNotCome) {
  const auto& [a, b, why, reason] = GetParam();
  if (is(Blocker::kLookup)) {
    config.routes.push_back({.to = {"mx.example"}, .via = {config::HopSpec{}}, .connections = 1});
    config.routes.back().interval = kIntervalMicros;
  }
  prepare_pair(is(Blocker::kConnections) && is(Blocker::kHopDead), is(Blocker::kLookup));
  if (is(Blocker::kLookup)) {
    ASSERT_TRUE(is_there(Blocker::kLookup));
  }
  if (a == Blocker::kDelivering) return try_beside_delivery(b);
  if (a == Blocker::kConcluding) return try_beside_conclusion(b);
  if (a == Blocker::kHopFrozen) return try_to_freeze_unknown_hosts();
  if (a == Blocker::kHopDead) return is(Blocker::kLookup) ? try_to_look_for_dead_hosts() : try_to_die_in_use();
  ASSERT_EQ(a, Blocker::kLookup);
  try_beside_lookup(b);
}

INSTANTIATE_TEST_SUITE_P(All, NeverPair, ::testing::ValuesIn(excluded(Why::kNever)));

}  // namespace
}  // namespace postern::queued
