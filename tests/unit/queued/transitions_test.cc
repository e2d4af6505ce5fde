// The states of a recipient in STATES.md, walked by a real engine: each state of the table is there and no
// other, and each is left by every way that the table names.
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

// What the last column of the table says of how a state ends, and the steps of the walk that are it.
struct Way {
  const char* from;
  const char* listed;             // words of STATES.md
  std::vector<const char*> by;  // every one of them is walked
};
const std::vector<Way> kWays = {
    {"delivering", "outcome", {"returned", "deferred", "deferred while held", "unknown", "failed", "delivered",
                               "failed, others are ready"}},
    {"delivering", "the deliverer's death", {"the deliverer's death"}},
    {"gathered", "the others' end", {"the others' end"}},
    {"gathered", "30 s", {"30 s"}},
    {"gathered", "a stop: then concluding", {"a stop"}},
    {"concluding", "the outcome's record", {"the outcome's record"}},
    {"held", "`release`", {"release"}},
    {"frozen", "`unfreeze`", {"unfreeze"}},
    {"frozen", "its time", {"its time"}},
    {"off", "`outbound enable`", {"outbound enable"}},
    {"retry", "the clock", {"the clock"}},
    {"retry", "`retry`", {"retry"}},
    {"ready", "a grant and a question for work", {"a grant and a question for work"}},
};

struct Listed {
  std::set<std::string> states;
  std::set<std::pair<std::string, std::string>> ways;  // state, how it ends
};

// The first and the last column of the table that begins behind this line.
Listed listed_states(const std::string& behind) {
  std::ifstream file(std::string(POSTERN_SOURCE_ROOT) + "/queued/STATES.md");
  Listed listed;
  bool found = false, inside = false;
  for (std::string line; std::getline(file, line);) {
    found |= line.starts_with(behind);
    if (!found) continue;
    if (!line.starts_with("|")) {
      if (inside) break;
      continue;
    }
    inside = true;
    if (!line.starts_with("| ") || line.starts_with("| state ")) continue;
    const auto state = line.substr(2, line.find(" |") - 2);
    listed.states.insert(state);
    auto ends = line.substr(line.rfind("| ", line.size() - 2) + 2);
    ends.resize(ends.rfind(" |"));
    for (std::size_t at = 0; at < ends.size();) {
      const auto comma = std::min(ends.find(", ", at), ends.size());
      auto way = ends.substr(at, comma - at);
      if (way.starts_with("or ")) way.erase(0, 3);
      listed.ways.insert({state, std::move(way)});
      at = comma + 2;
    }
  }
  return listed;
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
    states_.insert(from);
    states_.insert(now);
    if (from != now) walked_.insert({from, by});
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
  // One of many failed, whose others are still to be tried.
  void gather() {
    auto record = envelope(ipc::kLeaseRecipients + 1);
    const auto id = main_ = record.id;
    record.body_size = 3;
    store->accept(std::move(record), std::make_shared<const std::string>("x\r\n"),
                  [this, id](bool) noexcept { engine->admit(id); });
    turn();
    connect_relay();
    step("ready", "a grant and a question for work", [&] { take(); }, "delivering");
    step("delivering", "failed, others are ready", [&] { answer(ipc::Result::kFailed, 550); }, "gathered");
  }
  void lose_relay() {
    relay_.reset();
    turn();
  }

  base::MessageId main_;
  Message copy_;
  std::unique_ptr<FakeRelay> relay_;
  std::set<std::string> states_;
  std::set<std::pair<std::string, std::string>> walked_;  // a state, and what ended it
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
  step("ready", "a grant and a question for work", [&] { take(); }, "delivering");
  step("delivering", "hold", [&] { engine->hold(main_, "by a test"), turn(); }, "delivering");
  step("delivering", "deferred while held", [&] { answer(ipc::Result::kDeferred, 451); }, "held");
  step("held", "release", [&] { engine->end_hold(main_), turn(); }, "retry");
  step("retry", "retry", [&] { engine->retry({main_}), turn(); }, "ready");
  step("ready", "a grant and a question for work", [&] { take(); }, "delivering");
  step("delivering", "unknown", [&] { answer(ipc::Result::kUnknown, 0); }, "retry");
  step("retry", "the clock", [&] { pass(base::Millis(300'000)); }, "ready");
  step("ready", "a grant and a question for work", [&] { take(); }, "delivering");
  step("delivering", "the deliverer's death", [&] { lose_relay(); }, "retry");

  // A crash while it is delivering.
  step("retry", "the clock", [&] { pass(base::Millis(600'000)); }, "ready");
  connect_relay();
  step("ready", "a grant and a question for work", [&] { take(); }, "delivering");
  step("delivering", "a crash", [&] {
    end();
    relay_.reset();
    begin();
  }, "ready");

  // Its end.
  connect_relay();
  step("ready", "a grant and a question for work", [&] { take(); }, "delivering");
  ASSERT_EQ(state(), "delivering");
  turn();  // so that the original is read for the notice
  relay_->answer(relay_->leases.back(), ipc::Result::kFailed, 550, "no such user");
  for (int n = 0; n < 10 && state_now() != "concluding"; ++n) loop->run_once(false);
  EXPECT_EQ(state_now(), "concluding");
  states_.insert("concluding");
  walked_.insert({"delivering", "failed"});
  turn();
  EXPECT_EQ(state(), "ended");
  walked_.insert({"concluding", "the outcome's record"});
  ASSERT_EQ(messages().size(), 1U);
  EXPECT_TRUE(messages().front().notice);

  // Removed by the operator.
  main_ = messages().front().id;
  step("ready", "remove", [&] { engine->remove(main_, "by a test"), turn(); }, "ended");

  main_ = mail("a@far.example");
  connect_relay();
  step("ready", "a grant and a question for work", [&] { take(); }, "delivering");
  step("delivering", "deferred", [&] { answer(ipc::Result::kDeferred, 451); }, "retry");
  step("retry", "retry", [&] { engine->retry({main_}), turn(); }, "ready");
  step("ready", "a grant and a question for work", [&] { take(); }, "delivering");
  step("delivering", "delivered", [&] { answer(ipc::Result::kDelivered, 250); }, "ended");

  // Gathered failures.
  const auto remove_all = [&] {  // notices too
    for (const auto& message : messages()) engine->remove(message.id, "by a test");
    turn();
  };
  gather();
  step("gathered", "the others' end", [&] {
    take();
    answer(ipc::Result::kDelivered, 250);
  }, "ended");
  remove_all();
  gather();
  step("gathered", "30 s", [&] { pass(Engine::kGatherTime + base::Millis(1'000)); }, "ended");
  remove_all();
  gather();
  step("gathered", "a stop", [&] { delivery->stop(), turn(); }, "ended");

  const auto listed = listed_states("Open recipients stand");
  states_.erase("ended");
  EXPECT_EQ(states_, listed.states);
  std::set<std::pair<std::string, std::string>> known;
  for (const auto& way : kWays) {
    known.insert({way.from, way.listed});
    for (const auto* by : way.by) EXPECT_TRUE(walked_.contains({way.from, by})) << way.from << ": " << by;
  }
  EXPECT_EQ(known, listed.ways);
}

}  // namespace
}  // namespace postern::queued
