#include "parent/child.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "common/log/log.h"

namespace postern::parent {
namespace {

// One child under a parent that writes down what it hears. Its turns wait for the real process, and
// end with it: nothing here sleeps.
struct ChildRig final : Child::Owner {
  explicit ChildRig(std::string words, std::string program = POSTERN_FAKE_CHILD, bool once = false) {
    log::set_level(log::Format::kText, log::Level::kError);
    Child::Spec spec;
    spec.root = root.get();
    spec.role = ipc::Role::kRelay;
    spec.program = std::move(program);
    spec.config = std::move(words);
    spec.generation = base::Generation(1);
    spec.once = once;
    child = std::make_unique<Child>(loop, log, std::move(spec), *this);
  }
  ~ChildRig() override {
    child->stop(1);
    child->kill();
    while (child->pid() > 0) loop.run_once(true);
  }

  void on_child_ready(Child&) override { ++ready; }
  void on_child_dead(Child&) override { ++dead; }
  void on_child_configured(Child&, const ipc::Configured& answer) override {
    answers.push_back(answer.accepted ? "yes" : answer.error);
  }
  void on_peer_lost(Child&, ipc::Role) override {}
  void on_socket_asked(Child&, const ipc::AskSocket&) override {}
  void on_mailbox_asked(const ipc::AskMailbox&) override {}
  void on_mailbox_dropped(base::RequestId) override {}
  void on_child_unable(Child&, const std::string&) override {}
  void on_reload_asked(base::RequestId) override {}
  void on_stop_asked(base::RequestId) override {}

  template <class Done>
  void until(Done done) {
    bool late = false;
    event::Timer guard(loop, [&]() noexcept { late = true; });
    guard.start(base::Millis(20'000));
    while (!done()) {
      CHECK(!late);
      loop.run_once(true);
    }
  }

  event::Loop loop;
  LogPump log{loop, "/dev/null", config::LogFormat::kText};
  base::UniqueFd root = base::UniqueFd::adopt(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::unique_ptr<Child> child;
  event::Signal signal{loop, SIGCHLD, [this]() noexcept { child->reap(); }};
  int ready = 0, dead = 0;
  std::vector<std::string> answers;
};

TEST(Child, ComesUpAndEndsInOrder) {
  ChildRig rig("ready");
  rig.child->start();
  EXPECT_EQ(rig.child->state(), Child::State::kStarting);
  rig.until([&] { return rig.ready == 1; });
  EXPECT_TRUE(rig.child->is_ready());
  EXPECT_EQ(rig.child->name(), "relay[0]");
  rig.child->stop(1);
  rig.until([&] { return rig.dead == 1; });
  EXPECT_EQ(rig.child->state(), Child::State::kDown);
  EXPECT_EQ(rig.child->deaths(), 0U) << "it was asked to end";
  EXPECT_EQ(rig.child->pid(), -1);
}

TEST(Child, StopBehindBootIsAnOrderlyEndToo) {
  ChildRig rig("ready");
  rig.child->start();
  rig.child->stop(1);
  rig.until([&] { return rig.dead == 1; });
  EXPECT_EQ(rig.ready, 0);
  EXPECT_EQ(rig.child->deaths(), 0U);
}

TEST(Child, IsStartedAgainAfterItsDeath) {
  ChildRig rig("ready");
  rig.child->start();
  rig.until([&] { return rig.ready == 1; });
  const auto first = rig.child->pid();
  rig.child->kill();
  rig.until([&] { return rig.ready == 2; });
  EXPECT_NE(rig.child->pid(), first);
  EXPECT_EQ(rig.dead, 1);
  EXPECT_EQ(rig.child->deaths(), 1U);
}

TEST(Child, EachEarlyDeathMakesTheNextWaitLonger) {
  ChildRig rig("", "/bin/false");
  std::vector<std::int64_t> delays;
  rig.child->start();
  for (int i = 1; i <= 4; ++i) {
    rig.until([&] { return rig.dead == i; });
    delays.push_back(rig.child->restart_delay().count());
  }
  EXPECT_EQ(delays, (std::vector<std::int64_t>{10, 40, 160, 640}));
  EXPECT_EQ(rig.ready, 0);
}

TEST(Child, AProgramThatIsMissingCountsAsADeath) {
  ChildRig rig("", "/nowhere/postern-nothing");
  rig.child->start();
  EXPECT_EQ(rig.dead, 0) << "not while its owner starts others";
  rig.until([&] { return rig.dead == 2; });
  EXPECT_EQ(rig.child->state(), Child::State::kDown);
}

TEST(Child, OneWithOneLifeIsNotStartedAgain) {
  ChildRig rig("ready", POSTERN_FAKE_CHILD, true);
  rig.child->start();
  rig.until([&] { return rig.ready == 1; });
  rig.child->kill();
  rig.until([&] { return rig.dead == 1; });
  EXPECT_EQ(rig.child->deaths(), 1U);
  EXPECT_EQ(rig.child->restart_delay(), base::Millis(0));
  EXPECT_EQ(rig.child->state(), Child::State::kDown);
}

TEST(Child, OneWithOneLifeWhoseProgramIsMissingIsDead) {
  ChildRig rig("", "/nowhere/postern-nothing", true);
  rig.child->start();
  rig.until([&] { return rig.dead == 1; });
  EXPECT_EQ(rig.child->restart_delay(), base::Millis(0));
}

TEST(Child, OneThatClosesItsChannelIsKilledAndStartedAgain) {
  ChildRig rig("hang-up");
  rig.child->start();
  rig.until([&] { return rig.ready == 2; });
  EXPECT_EQ(rig.dead, 1);
}

TEST(Child, OneThatDoesNotEndIsKilled) {
  ChildRig rig("deaf");
  rig.child->start();
  rig.until([&] { return rig.ready == 1; });
  rig.child->stop(1);
  rig.child->kill();
  rig.until([&] { return rig.dead == 1; });
  EXPECT_EQ(rig.child->deaths(), 1U);
}

TEST(Child, TakesANewConfiguration) {
  ChildRig rig("ready");
  rig.child->start();
  rig.until([&] { return rig.ready == 1; });
  EXPECT_EQ(rig.child->generation(), base::Generation(1));
  ASSERT_TRUE(rig.child->configure("other", base::Generation(2)));
  rig.until([&] { return !rig.answers.empty(); });
  EXPECT_EQ(rig.answers, std::vector<std::string>{"yes"});
  EXPECT_EQ(rig.child->generation(), base::Generation(2));
  ASSERT_TRUE(rig.child->configure("refuse", base::Generation(3)));
  rig.until([&] { return rig.answers.size() == 2; });
  EXPECT_EQ(rig.answers[1], "I will not");
  EXPECT_EQ(rig.child->generation(), base::Generation(2));
}

TEST(Child, OnlyOneConfigurationIsOnItsWayAndTheLatestIsAnswered) {
  ChildRig rig("ready");
  rig.child->start();
  rig.until([&] { return rig.ready == 1; });
  for (std::uint64_t i = 2; i <= 5; ++i)
    ASSERT_TRUE(rig.child->configure("other", base::Generation(i)));
  rig.until([&] { return !rig.answers.empty(); });
  EXPECT_EQ(rig.child->generation(), base::Generation(5));
  EXPECT_EQ(rig.answers.size(), 1U);
  EXPECT_EQ(rig.dead, 0) << "the window was kept";
}

TEST(Child, OneThatCannotGoBackIsStartedAnew) {
  ChildRig rig("ready");
  rig.child->start();
  rig.until([&] { return rig.ready == 1; });
  ASSERT_TRUE(rig.child->configure("other", base::Generation(2)));
  rig.until([&] { return !rig.answers.empty(); });
  rig.child->spec().config = "ready refuse";
  rig.child->restore();
  rig.until([&] { return rig.ready == 2; });
  EXPECT_EQ(rig.dead, 1);
  EXPECT_EQ(rig.child->generation(), base::Generation(1));
  EXPECT_EQ(rig.answers.size(), 1U);
}

TEST(Child, ADeathForgetsTheConfigurationOnItsWay) {
  ChildRig rig("ready");
  rig.child->start();
  rig.until([&] { return rig.ready == 1; });
  ASSERT_TRUE(rig.child->configure("silent", base::Generation(2)));
  ASSERT_TRUE(rig.child->configure("other", base::Generation(3)));
  rig.child->kill();
  rig.until([&] { return rig.ready == 2; });
  EXPECT_EQ(rig.child->generation(), base::Generation(1));
  ASSERT_TRUE(rig.child->configure("other", base::Generation(4)));
  rig.until([&] { return !rig.answers.empty(); });
  EXPECT_EQ(rig.child->generation(), base::Generation(4));
}

TEST(Child, AReloadDuringItsStartReachesItWhenItIsReady) {
  ChildRig rig("ready");
  rig.child->start();
  rig.child->spec().config = "ready other";
  rig.child->spec().generation = base::Generation(2);
  rig.until([&] { return rig.child->generation() == base::Generation(2); });
  EXPECT_EQ(rig.ready, 1);
  EXPECT_EQ(rig.dead, 0);
}

}  // namespace
}  // namespace postern::parent
