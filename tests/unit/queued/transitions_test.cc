// The states of a recipient in STATES.md, walked by a real engine: each is entered and left by every
// way that the table names, and no other state is there.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <set>
#include <string>

#include "queued/explain.h"
#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

using ipc::Blocker;

// The first column of the table that begins behind this line.
std::set<std::string> listed_states(const std::string& behind) {
  std::ifstream file(std::string(POSTERN_SOURCE_ROOT) + "/queued/STATES.md");
  std::set<std::string> names;
  bool found = false, inside = false;
  for (std::string line; std::getline(file, line);) {
    found |= line.starts_with(behind);
    if (!found) continue;
    if (!line.starts_with("|")) {
      if (inside) break;
      continue;
    }
    inside = true;
    if (line.starts_with("| ")) names.insert(line.substr(2, line.find(" |") - 2));
  }
  names.erase("state");  // the heading
  return names;
}

class Transitions : public ::testing::Test, protected EngineRig {
 protected:
  Transitions() {
    config.retry.expire = base::Millis(1'000'000'000);
    config.retry.notify = base::Millis(0);
  }
  // Of the message as it stood when it was looked at.
  std::string state_now() {
    const auto& recipient = copy_.recipients.front();
    const auto found = obstacles(*engine, copy_, recipient);
    const auto is = [&](Blocker blocker) {
      return std::any_of(found.begin(), found.end(),
                         [&](const ipc::Obstacle& o) { return o.blocker == blocker; });
    };
    if (is(Blocker::kDelivering)) return "delivering";
    if (is(Blocker::kConcluding)) return copy_.recipients.size() > 1 ? "gathered" : "concluding";
    if (is(Blocker::kHeld)) return "held";
    if (is(Blocker::kFrozen)) return "frozen";
    if (is(Blocker::kOff)) return "off";
    if (is(Blocker::kRetry) || is(Blocker::kHopDead)) return "retry";
    return "ready";
  }
  std::string state() {
    const Message* message = look(main_);
    if (message == nullptr || message->recipients.empty()) return "ended";
    copy_ = *message;
    return copy_.recipients.front().open() ? state_now() : "ended";
  }
  // One step of the walk.
  void step(const std::string& from, const char* by, const std::function<void()>& act,
            const std::string& to) {
    ASSERT_EQ(state(), from) << "before: " << by;
    act();
    const auto now = state();
    EXPECT_EQ(now, to) << "after: " << by;
    visited_.insert({from, now});
  }
  void change(Engine::Change change) {
    engine->change_blocks(std::move(change), [](Blocks::Said said) noexcept { EXPECT_TRUE(said); });
    turn();
  }
  void connect_relay() {
    relay_ = std::make_unique<FakeRelay>();
    connect(*relay_);
  }
  void take() {
    for (int n = 0; n < 50 && relay_->grants.empty(); ++n) turn(1);
    ASSERT_FALSE(relay_->grants.empty());
    (void)relay_->ask(relay_->grants.back());
    turn();
    ASSERT_FALSE(relay_->leases.empty());
  }
  void answer(ipc::Result result, std::uint16_t code) {
    relay_->answer(relay_->leases.back(), result, code, "so it is");
    turn();
  }
  void lose_relay() {
    relay_.reset();
    turn();
  }

  base::MessageId main_;
  Message copy_;
  std::unique_ptr<FakeRelay> relay_;
  std::set<std::string> visited_;
};

TEST_F(Transitions, ARecipientWalksThroughAllOfThem) {
  begin();
  main_ = mail("a@far.example");
  // What the operator does.
  step("ready", "hold", [&] { engine->hold(main_, "by a test"), turn(); }, "held");
  step("held", "release", [&] { engine->end_hold(main_), turn(); }, "ready");
  step("ready", "freeze", [&] {
    change([&](Blocks& b) noexcept {
      return b.freeze({"far.example", "x", "ann", clock.wall(), engine->now()});
    });
  }, "frozen");
  step("frozen", "hold", [&] { engine->hold(main_, "by a test"), turn(); }, "held");
  step("held", "release", [&] { engine->end_hold(main_), turn(); }, "frozen");
  step("frozen", "unfreeze", [&] {
    change([&](Blocks& b) noexcept {
      return b.unfreeze("far.example", false, "ann", clock.wall(), engine->now());
    });
  }, "ready");
  step("ready", "freeze until a time", [&] {
    Freeze freeze{"far.example", "x", "ann", clock.wall(), engine->now()};
    freeze.until = clock.wall() + base::Millis(60'000);
    change([&](Blocks& b) noexcept { return b.freeze(freeze); });
  }, "frozen");
  step("frozen", "its time", [&] {
    pass(base::Millis(61'000));
    engine->end_due_freezes();
    turn();
  }, "ready");
  step("ready", "outbound disable", [&] {
    change([&](Blocks& b) noexcept {
      return b.disable_outbound({true, false, "x", "ann", clock.wall(), engine->now()});
    });
  }, "off");
  step("off", "outbound enable",
       [&] { change([&](Blocks& b) noexcept { return b.enable_outbound(engine->now()); }); }, "ready");

  // What a deliverer says.
  connect_relay();
  step("ready", "a grant and a question for work", [&] { take(); }, "delivering");
  step("delivering", "returned", [&] { answer(ipc::Result::kReturned, 0); }, "ready");
  step("ready", "a question for work", [&] { take(); }, "delivering");
  step("delivering", "hold", [&] { engine->hold(main_, "by a test"), turn(); }, "delivering");
  step("delivering", "deferred", [&] { answer(ipc::Result::kDeferred, 451); }, "held");
  step("held", "release", [&] { engine->end_hold(main_), turn(); }, "retry");
  step("retry", "retry", [&] { engine->retry({main_}), turn(); }, "ready");
  step("ready", "a question for work", [&] { take(); }, "delivering");
  step("delivering", "unknown", [&] { answer(ipc::Result::kUnknown, 0); }, "retry");
  step("retry", "the clock", [&] { pass(base::Millis(300'000)); }, "ready");
  step("ready", "a question for work", [&] { take(); }, "delivering");
  step("delivering", "the deliverer's death", [&] { lose_relay(); }, "retry");

  // A crash while it is delivering.
  step("retry", "the clock", [&] { pass(base::Millis(600'000)); }, "ready");
  connect_relay();
  step("ready", "a question for work", [&] { take(); }, "delivering");
  step("delivering", "a crash", [&] {
    end();
    relay_.reset();
    begin();
  }, "ready");

  // Its end.
  connect_relay();
  step("ready", "a question for work", [&] { take(); }, "delivering");
  ASSERT_EQ(state(), "delivering");
  turn();  // so that the original is read for the notice
  relay_->answer(relay_->leases.back(), ipc::Result::kFailed, 550, "no such user");
  for (int n = 0; n < 10 && state_now() != "concluding"; ++n) loop->run_once(false);
  EXPECT_EQ(state_now(), "concluding");
  visited_.insert("concluding");
  turn();
  EXPECT_EQ(state(), "ended");
  ASSERT_EQ(messages().size(), 1U);
  EXPECT_TRUE(messages().front().notice);

  // Removed by the operator.
  main_ = messages().front().id;
  step("ready", "remove", [&] { engine->remove(main_, "by a test"), turn(); }, "ended");

  // One of many whose others are still to be tried.
  auto record = envelope(ipc::kLeaseRecipients + 1);
  const auto id = main_ = record.id;
  record.body_size = 3;
  store->accept(std::move(record), std::make_shared<const std::string>("x\r\n"),
                [this, id](bool) noexcept { engine->admit(id); });
  turn();
  connect_relay();
  step("ready", "a question for work", [&] { take(); }, "delivering");
  step("delivering", "failed, others are ready", [&] { answer(ipc::Result::kFailed, 550); }, "gathered");
  step("gathered", "the others' end", [&] {
    take();
    answer(ipc::Result::kDelivered, 250);
  }, "ended");

  visited_.erase("ended");
  EXPECT_EQ(visited_, listed_states("Open recipients stand"));
}

}  // namespace
}  // namespace postern::queued
