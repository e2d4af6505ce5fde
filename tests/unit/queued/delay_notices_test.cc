// Who is told of a delay, and when; and which of the old mail behind a dead next hop expires.
#include "tests/unit/queued/notices_rig.h"

namespace postern::queued {
namespace {

TEST_F(NoticesTest, ADelayIsToldOnceWithTheFirstFailedAttemptBehindItsTime) {
  config.retry.notify = kHour;
  config.retry.expire = 5 * kHour;
  begin();
  const auto id = post({{"a@far.example"}, {"b@far.example", "FAILURE"}});
  conclude(id, {deferred(), deferred()});
  EXPECT_TRUE(notices().empty());
  pass(kHour);
  conclude(id, {deferred(), deferred()});
  const auto text = only_notice();
  EXPECT_TRUE(has(text, "Final-Recipient: rfc822; a@far.example\r\nAction: delayed\r\nStatus: 4.2.0\r\n"));
  EXPECT_TRUE(has(text, "Will-Retry-Until: "));
  EXPECT_FALSE(has(text, "b@far.example"));
  EXPECT_TRUE(look(id)->recipients[0].delay_told);
  EXPECT_FALSE(look(id)->recipients[1].delay_told);
  // Not again, neither now nor in another life.
  conclude(id, {deferred(), deferred()});
  end();
  begin();
  conclude(id, {deferred(), deferred()});
  EXPECT_EQ(notices().size(), 1U);
  EXPECT_EQ(look(id)->recipients[0].tries, 4U);
}

TEST_F(NoticesTest, NoDelayIsToldWhereNoneIsConfigured) {
  config.retry.notify = base::Millis(0);
  begin();
  const auto id = post({{"a@far.example", "DELAY"}});
  pass(base::Millis(900'000));
  conclude(id, {deferred()});
  EXPECT_TRUE(notices().empty());
}

TEST_F(NoticesTest, BlockedTimeIsNoDelay) {
  config.retry.notify = kHour;
  config.retry.expire = 5 * kHour;
  begin();
  const auto id = post({{"a@far.example"}});
  engine->change_blocks(
      [this](Blocks& blocks) noexcept {
        return blocks.freeze({.queue = "far.example",
                              .reason = "work",
                              .who = "root",
                              .since = clock.wall(),
                              .from = engine->now()});
      },
      [](Blocks::Said) noexcept {});
  turn();
  pass(3 * kHour);
  engine->change_blocks(
      [this](Blocks& blocks) noexcept {
        return blocks.unfreeze("far.example", false, "root", clock.wall(), engine->now());
      },
      [](Blocks::Said) noexcept {});
  turn();
  conclude(id, {deferred()});
  EXPECT_TRUE(notices().empty());
  pass(kHour);
  conclude(id, {deferred()});
  EXPECT_EQ(notices().size(), 1U);
}

class QueueDelay : public NoticesTest {
 protected:
  void fail_queue() {
    engine->hop_failed({"far.example", "far.example"}, ipc::FailureClass::kDns,
                       {0, 4, 4, 3, "no answer"}, "");
    turn(60);
  }
  void SetUp() override {
    config.retry.notify = kHour;
    config.retry.expire = 10 * kHour;
  }
  base::MessageId post_imported(base::Millis age) {
    auto record = envelope(0);
    record.born = engine->now() - age;
    record.origin = base::MessageId(1);
    record.from = mail::ReversePath(address("ann@example.org"));
    record.recipients.push_back({.number = 0, .address = address("old@far.example")});
    return post(std::move(record), "hello\r\n");
  }
};

TEST_F(QueueDelay, ADeadNextHopTellsOfItsLateMessagesAndLeavesThemAsTheyAre) {
  begin();
  std::vector<base::MessageId> late;
  for (int n = 0; n < 120; ++n) late.push_back(post({{"a@far.example"}, {"b@far.example", "NEVER"}}));
  pass(kHour);
  const auto young = post({{"c@far.example"}});
  fail_queue();
  EXPECT_EQ(notices().size(), 120U);
  for (const auto id : late) {
    EXPECT_TRUE(look(id)->recipients[0].delay_told);
    EXPECT_EQ(look(id)->recipients[0].tries, 0U);
  }
  EXPECT_FALSE(look(young)->recipients[0].delay_told);
  EXPECT_TRUE(has(body(notices()[0].id), "no answer"));
  // The next failures tell of those that became late since.
  pass(kHour);
  fail_queue();
  EXPECT_EQ(notices().size(), 121U);
  pass(kHour);
  fail_queue();
  EXPECT_EQ(notices().size(), 121U);
  end();
  begin();
  pass(kHour);
  fail_queue();
  EXPECT_EQ(notices().size(), 121U);
}

// An imported message is as old as it was where it came from, whatever came here before it.
TEST_F(QueueDelay, AnImportedOldMessageIsNotHiddenBehindAYoungOne) {
  begin();
  const auto young = post({{"a@far.example"}});
  std::vector<base::MessageId> imported;
  for (const auto age : {2 * kHour, 11 * kHour, base::Millis(0)}) {
    imported.push_back(post_imported(age));
    fail_queue();
    pass(base::Millis(120'000));  // until the next attempt
  }
  EXPECT_TRUE(look(imported[0])->recipients[0].delay_told);
  EXPECT_EQ(look(imported[1]), nullptr);  // expired
  EXPECT_FALSE(look(young)->recipients[0].delay_told);
  EXPECT_FALSE(look(imported[2])->recipients[0].delay_told);
  EXPECT_EQ(notices().size(), 2U);
  end();
  begin();
  pass(kHour);
  fail_queue();
  EXPECT_TRUE(look(young)->recipients[0].delay_told);
  EXPECT_TRUE(look(imported[2])->recipients[0].delay_told);
}

// What a reload says of delays and expiry holds for mail that is there.
TEST_F(QueueDelay, AReloadChangesItForMailThatIsThere) {
  begin();
  const auto id = post({{"a@far.example"}});
  pass(kHour / 2);
  fail_queue();
  EXPECT_TRUE(notices().empty());
  config.retry.notify = kHour / 2;
  engine->configure(config);
  pass(base::Millis(120'000));  // until the next attempt
  fail_queue();
  ASSERT_EQ(notices().size(), 1U);
  config.retry.expire = kHour;
  engine->configure(config);
  pass(kHour / 2);
  ASSERT_NE(look(id), nullptr);
  fail_queue();
  EXPECT_EQ(look(id), nullptr);
  const auto still = post({{"b@far.example"}});
  config.retry.expire = 20 * kHour;
  engine->configure(config);
  pass(11 * kHour);
  fail_queue();
  EXPECT_NE(look(still), nullptr);
}

TEST_F(QueueDelay, AHeldMessageIsToldOfWhenItIsReleased) {
  begin();
  const auto held = post({{"a@far.example"}});
  const auto other = post({{"b@far.example"}});
  engine->hold(held, "crashed the deliverer");
  turn();
  pass(2 * kHour);
  fail_queue();
  EXPECT_FALSE(look(held)->recipients[0].delay_told);
  EXPECT_TRUE(look(other)->recipients[0].delay_told);
  engine->end_hold(held);
  turn();
  pass(kHour);
  fail_queue();
  EXPECT_TRUE(look(held)->recipients[0].delay_told);
  EXPECT_EQ(notices().size(), 2U);
}

}  // namespace
}  // namespace postern::queued
