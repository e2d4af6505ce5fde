#include "parent/reload.h"

#include <gtest/gtest.h>

namespace postern::parent {
namespace {

// What happened, in order: "relay<new", "relay<old", "smtpd killed".
using Diary = std::vector<std::string>;

class FakeChild final : public Configurable {
 public:
  FakeChild(std::string name, Diary& diary) : name_(std::move(name)), diary_(diary) {}
  std::string name() const override { return name_; }
  bool is_ready() const override { return ready; }
  os::Result<void> configure(const std::string& config, base::Generation generation) override {
    EXPECT_EQ(generation, base::Generation(2));
    if (full) return os::failure("make a memory file", ENOMEM);
    diary_.push_back(name_ + "<" + config);
    return {};
  }
  void restore() noexcept override { diary_.push_back(name_ + "<old"); }
  void kill() noexcept override { diary_.push_back(name_ + " killed"); }

  bool ready = true;
  bool full = false;

 private:
  std::string name_;
  Diary& diary_;
};

struct ReloadRig {
  ReloadRig() {
    for (auto* child : {&relay, &queued, &smtpd}) reload.add(*child, "new");
  }
  void answer(const Configurable& child, bool accepted) {
    ipc::Configured message;
    message.accepted = accepted;
    message.error = accepted ? "" : "I will not";
    reload.on_configured(child, message);
    loop.run_once(false);
  }

  event::Loop loop;
  Diary diary;
  FakeChild relay{"relay", diary}, queued{"queued", diary}, smtpd{"smtpd", diary};
  std::vector<std::string> results;
  Reload reload{
      loop, {}, base::Generation(2), base::RequestId(5), [this](std::string why) noexcept {
        results.push_back(std::move(why));
      }};
};

TEST(Reload, AsksOneAfterTheOther) {
  ReloadRig rig;
  rig.reload.begin();
  EXPECT_EQ(rig.diary, (Diary{"relay<new"}));
  rig.answer(rig.relay, true);
  EXPECT_EQ(rig.diary, (Diary{"relay<new", "queued<new"}));
  rig.answer(rig.queued, true);
  EXPECT_TRUE(rig.results.empty());
  rig.answer(rig.smtpd, true);
  EXPECT_EQ(rig.results, (Diary{""}));
  EXPECT_EQ(rig.diary, (Diary{"relay<new", "queued<new", "smtpd<new"}));
}

TEST(Reload, WhenOneRefusesThoseBeforeItGoBack) {
  ReloadRig rig;
  rig.reload.begin();
  rig.answer(rig.relay, true);
  rig.answer(rig.queued, true);
  rig.answer(rig.smtpd, false);
  EXPECT_EQ(rig.diary, (Diary{"relay<new", "queued<new", "smtpd<new", "relay<old", "queued<old"}));
  EXPECT_EQ(rig.results, (Diary{"smtpd refuses: I will not"}));
  rig.answer(rig.smtpd, true);
  EXPECT_EQ(rig.results.size(), 1U);
}

TEST(Reload, OneThatDoesNotAnswerIsKilledAndTheOthersGoBack) {
  ReloadRig rig;
  rig.reload.begin();
  rig.answer(rig.relay, true);
  rig.reload.on_timeout();
  rig.loop.run_once(false);
  EXPECT_EQ(rig.diary, (Diary{"relay<new", "queued<new", "relay<old", "queued killed"}));
  EXPECT_EQ(rig.results, (Diary{"queued did not answer in time"}));
  rig.answer(rig.queued, true);  // in the last moment of its life
  rig.reload.on_dead(rig.queued);
  rig.reload.on_timeout();
  rig.loop.run_once(false);
  EXPECT_EQ(rig.results.size(), 1U);
  EXPECT_EQ(rig.diary.size(), 4U);
}

TEST(Reload, OneThatIsDownOrDiesIsLeftOut) {
  ReloadRig rig;
  rig.relay.ready = false;
  rig.reload.begin();
  EXPECT_EQ(rig.diary, (Diary{"queued<new"}));
  rig.queued.ready = false;
  rig.reload.on_dead(rig.queued);
  EXPECT_EQ(rig.diary, (Diary{"queued<new", "smtpd<new"}));
  rig.reload.on_dead(rig.relay);  // not its turn
  rig.answer(rig.smtpd, true);
  EXPECT_EQ(rig.results, (Diary{""}));
}

TEST(Reload, ADeathDoesNotAskOneThatRefused) {
  ReloadRig rig;
  rig.reload.begin();
  rig.answer(rig.relay, true);
  rig.relay.ready = false;
  rig.reload.on_dead(rig.relay);
  EXPECT_EQ(rig.diary, (Diary{"relay<new", "queued<new"})) << "queued was asked once";
  rig.answer(rig.queued, false);
  EXPECT_EQ(rig.diary, (Diary{"relay<new", "queued<new"})) << "relay comes back with the old one";
}

TEST(Reload, AnAnswerOutOfTurnMeansNothing) {
  ReloadRig rig;
  rig.reload.begin();
  rig.answer(rig.smtpd, false);
  rig.answer(rig.queued, true);
  EXPECT_EQ(rig.diary, (Diary{"relay<new"}));
  EXPECT_TRUE(rig.results.empty());
}

TEST(Reload, WithoutMemoryItFails) {
  ReloadRig rig;
  rig.queued.full = true;
  rig.reload.begin();
  rig.answer(rig.relay, true);
  EXPECT_EQ(rig.diary, (Diary{"relay<new", "relay<old"}));
  ASSERT_EQ(rig.results.size(), 1U);
  EXPECT_NE(rig.results[0].find("memory"), std::string::npos);
}

TEST(Reload, AnswersNobodyWhoseAskerDied) {
  ReloadRig rig;
  EXPECT_EQ(rig.reload.asked(), base::RequestId(5));
  rig.reload.forget_asker();
  EXPECT_EQ(rig.reload.asked(), std::nullopt);
}

}  // namespace
}  // namespace postern::parent
