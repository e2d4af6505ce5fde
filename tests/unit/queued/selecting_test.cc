// Commands on messages by selector while the reader is slow: of messages that are not in memory, too, everything is
// in the journal before it is reported. Whatever the report says outlives a crash at that moment.
#include "tests/unit/queued/fake_control.h"

namespace postern::queued {
namespace {

using Ids = std::vector<base::MessageId>;

class SelectingTest : public ::testing::TestWithParam<bool>, protected ControlRig {
 protected:
  void SetUp() override { start(); }
  // Which is by a queue, or names each.
  [[nodiscard]] ipc::Selector selector() const {
    ipc::Selector all;
    if (GetParam())
      all.ids = ids;
    else
      all.queue = "far.example";
    return all;
  }
  void prepare() {
    for (int n = 0; n < 5; ++n) ids.push_back(mail("a@far.example"));
  }
  void defer_all() {
    for (const auto id : ids) {
      (void)engine->schedule().take("far.example", id);
      engine->conclude(
          id, {{0, {ipc::Result::kDeferred, ipc::FailureClass::kMailbox, {451, 4, 2, 1, "later"}, {}}}},
          "mx[192.0.2.9]:25", {});
    }
    turn();
  }
  void hold_all() {
    for (const auto id : ids) engine->hold(id, "by bert: before");
    turn();
  }
  // Until the messages have left memory.
  void cool() {
    const auto any = [this] {
      return std::ranges::any_of(ids, [this](base::MessageId id) { return store->find(id) != nullptr; });
    };
    for (int n = 0; n < 200 && any(); ++n) {
      store->tick();
      turn(1);
    }
    ASSERT_FALSE(any());
  }
  // Runs the command while nothing is read but what the test lets come, one question after the other; each time
  // there is time to report. At the report the process ends.
  template <class M>
  void run_until_the_crash(M command) {
    cool();
    ASSERT_FALSE(HasFatalFailure());
    late->set_slow(true);
    command.request = base::RequestId(++request);
    tool.connection->send(command);
    for (int n = 0; n < 2'000 && tool.done.empty(); ++n) {
      turn(1);
      if (n % 10 == 9) late->let_come();
    }
    ASSERT_EQ(tool.done.size(), 1U);
    EXPECT_EQ(tool.done[0].exit, 0) << tool.done[0].text;
    EXPECT_EQ(late->waiting(), 0U) << "it was reported before all was read: " << tool.done[0].text;
    tool.connection.reset();
    end();
    begin();
  }
  Ids ids;
};

TEST_P(SelectingTest, AHoldIsInTheJournalBeforeItIsReported) {
  prepare();
  run_until_the_crash(ipc::Hold{.selector = selector(), .reason = "a look"});
  ASSERT_FALSE(HasFatalFailure());
  for (const auto id : ids) {
    ASSERT_NE(look(id), nullptr);
    EXPECT_EQ(look(id)->held, "by anna: a look") << base::to_string(id);
    EXPECT_TRUE(engine->schedule().held("far.example", id));
  }
}

TEST_P(SelectingTest, ARelease) {
  prepare();
  hold_all();
  run_until_the_crash(ipc::Hold{.selector = selector(), .release = true});
  ASSERT_FALSE(HasFatalFailure());
  for (const auto id : ids) {
    ASSERT_NE(look(id), nullptr);
    EXPECT_EQ(look(id)->held, "") << base::to_string(id);
    EXPECT_FALSE(engine->schedule().held("far.example", id));
  }
}

TEST_P(SelectingTest, ARetry) {
  prepare();
  defer_all();
  for (const auto id : ids) ASSERT_GT(look(id)->recipients[0].next_try, engine->now());
  run_until_the_crash(ipc::Retry{.selector = selector()});
  ASSERT_FALSE(HasFatalFailure());
  for (const auto id : ids) {
    ASSERT_NE(look(id), nullptr);
    EXPECT_LE(look(id)->recipients[0].next_try, engine->now()) << base::to_string(id);
  }
}

// From the report on nothing of it is handed out, though a connection waits for it.
TEST_P(SelectingTest, NothingThatIsReportedAsHeldIsHandedOut) {
  prepare();
  ASSERT_EQ(run(ipc::Freeze{.queue = "far.example", .reason = "x"}).substr(0, 2), "0 ");
  cool();
  ASSERT_FALSE(HasFatalFailure());
  late->set_slow(true);
  const auto before = tool.done.size();
  ipc::Hold hold{.selector = selector(), .reason = "a look"};
  hold.request = base::RequestId(++request);
  tool.connection->send(hold);
  for (int n = 0; n < 2'000 && tool.done.size() == before; ++n) {
    turn(1);
    if (n % 10 == 9) late->let_come();
  }
  ASSERT_EQ(tool.done.size(), before + 1);
  // The rest is as slow as it likes.
  FakeRelay relay;
  connect(relay);
  ipc::Unfreeze unfreeze{.queue = "far.example"};
  unfreeze.request = base::RequestId(++request);
  tool.connection->send(unfreeze);
  turn(20);
  for (const auto& grant : relay.grants) (void)relay.ask(grant);
  turn(20);
  EXPECT_TRUE(relay.leases.empty());
  late->set_slow(false);
  turn(20);
  EXPECT_TRUE(relay.leases.empty());
}

INSTANTIATE_TEST_SUITE_P(Each, SelectingTest, ::testing::Bool(),
                         [](const auto& each) { return each.param ? "ByItsName" : "ByItsQueue"; });

}  // namespace
}  // namespace postern::queued
