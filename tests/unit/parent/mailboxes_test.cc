// Processes of mailboxes, real ones that do as they are told: started when asked for, one for each mailbox, so many and
// no more, and gone when they are needed no more.
#include "parent/mailboxes.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <csignal>
#include <map>

#include "common/log/log.h"

namespace postern::parent {
namespace {

struct MailboxesRig {
  explicit MailboxesRig(std::size_t most = 3) : mailboxes(
            loop, log,
            [this](const ipc::MailboxReady& ready, base::UniqueFd channel) noexcept {
              answers[ready.request.value] = ready.error;
              if (channel.valid()) channels[ready.request.value] = std::move(channel);
            },
            [this]() noexcept { ++ended; }, {most, base::Millis(300)}) {
    log::set_level(log::Format::kText, log::Level::kError);
  }
  ~MailboxesRig() {
    mailboxes.forget_asker();
    mailboxes.kill();
    until([&] { return mailboxes.empty(); });
  }
  void ask(std::uint64_t request, const std::string& mailbox, const std::string& words = "ready",
           const std::string& program = POSTERN_FAKE_CHILD) {
    Child::Spec spec;
    spec.role = ipc::Role::kMailbox;
    spec.program = program;
    spec.config = words;
    spec.root = root.get();
    spec.once = true;
    mailboxes.ask(base::RequestId(request), mailbox, std::move(spec));
  }
  void drop(std::uint64_t request) { mailboxes.drop(base::RequestId(request)); }
  [[nodiscard]] bool answered(std::uint64_t request) const { return answers.contains(request); }
  [[nodiscard]] bool has(std::uint64_t request) const { return channels.contains(request); }
  void turn() {
    for (int i = 0; i < 20; ++i) loop.run_once(false);
  }
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
  std::map<std::uint64_t, std::string> answers;  // by request: why there is none
  std::map<std::uint64_t, base::UniqueFd> channels;
  int ended = 0;
  Mailboxes mailboxes;
  event::Signal signal{loop, SIGCHLD, [this]() noexcept { mailboxes.reap(); }};
};

TEST(Mailboxes, AreThereWhenTheyAreAskedFor) {
  MailboxesRig rig;
  rig.ask(1, "a");
  rig.ask(2, "b");
  rig.until([&] { return rig.has(1) && rig.has(2); });
  EXPECT_EQ(rig.answers[1], "");
  rig.drop(1);
  rig.until([&] { return rig.ended == 1; });
  EXPECT_FALSE(rig.mailboxes.empty());
  rig.drop(2);
  rig.drop(77);  // nobody knows it
  rig.until([&] { return rig.mailboxes.empty(); });
  EXPECT_EQ(rig.answers.size(), 2U);
}

TEST(Mailboxes, AtTheLimitWhoAsksWaitsForAnEnd) {
  MailboxesRig rig(2);
  for (const std::uint64_t i : {1U, 2U, 3U, 4U}) rig.ask(i, std::to_string(i));
  rig.until([&] { return rig.has(1) && rig.has(2); });
  rig.turn();
  EXPECT_FALSE(rig.answered(3));
  rig.drop(3);  // it did not want to wait so long
  EXPECT_EQ(rig.answers[3], "it was asked for in vain");
  rig.drop(2);
  rig.until([&] { return rig.answered(4); });
  EXPECT_TRUE(rig.has(4));
  EXPECT_EQ(rig.ended, 1);
}

TEST(Mailboxes, OfOneMailboxThereIsOne) {
  MailboxesRig rig;
  rig.ask(1, "a");
  rig.until([&] { return rig.has(1); });
  rig.ask(2, "a");
  rig.turn();
  rig.until([&] { return rig.has(2); });
  EXPECT_EQ(rig.ended, 1) << "the first had to go before";
}

TEST(Mailboxes, OneThatIsUnableSaysWhyAndEnds) {
  MailboxesRig rig;
  rig.ask(1, "a", "unable");
  rig.until([&] { return rig.answered(1) && rig.mailboxes.empty(); });
  EXPECT_EQ(rig.answers[1], "somebody else's");
  EXPECT_FALSE(rig.has(1));
}

TEST(Mailboxes, OneThatDiesAtItsStartIsNotStartedAgain) {
  MailboxesRig rig;
  rig.ask(1, "a", "die");
  rig.ask(2, "b", "ready", "/nowhere/postern-nothing");
  rig.until([&] { return rig.answered(1) && rig.answered(2) && rig.mailboxes.empty(); });
  EXPECT_EQ(rig.answers[1], "its process ended at its start");
  EXPECT_EQ(rig.answers[2], "its process ended at its start");
  EXPECT_EQ(rig.ended, 2);
}

TEST(Mailboxes, OneThatDoesNotEndIsKilled) {
  MailboxesRig rig(1);
  rig.ask(1, "a", "ready deaf");
  rig.until([&] { return rig.has(1); });
  rig.drop(1);
  rig.ask(2, "b");
  rig.until([&] { return rig.has(2); });
  EXPECT_EQ(rig.ended, 1);
}

TEST(Mailboxes, ADeathMakesRoom) {
  MailboxesRig rig(1);
  rig.ask(1, "a");
  rig.until([&] { return rig.has(1); });
  rig.mailboxes.kill();
  rig.ask(2, "b");
  rig.until([&] { return rig.has(2); });
  EXPECT_EQ(rig.answers[1], "") << "it was answered before";
}

TEST(Mailboxes, WhoAskedIsGone) {
  MailboxesRig rig(1);
  rig.ask(1, "a");
  rig.until([&] { return rig.has(1); });
  rig.ask(2, "b");
  rig.mailboxes.forget_asker();
  rig.until([&] { return rig.mailboxes.empty(); });
  EXPECT_FALSE(rig.answered(2));
  rig.ask(1, "a");  // the next one counts anew
  rig.channels.clear();
  rig.until([&] { return rig.has(1); });
}

}  // namespace
}  // namespace postern::parent
