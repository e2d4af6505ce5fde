#include "tests/unit/queued/explain_rig.h"

namespace postern::queued {

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
    case Blocker::kUncalled:
      FAIL() << "has a test of its own";
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
    case Blocker::kUncalled:
    case Blocker::kConnecting:
    case Blocker::kTurn:
      FAIL() << "is not lifted here";
  }
}

}  // namespace postern::queued
