// Next hops that queues share: connections, rates, death and turns.
#include <algorithm>

#include "tests/unit/queued/schedule_rig.h"

namespace postern::queued {
namespace {

class SharedHopTest : public ScheduleTest {
 protected:
  SharedHopTest() { s->deliverer_up(kRelay1, false); }
  const Destination smart{.connections = 2, .via = {host("smart")}};
  const Destination mx{.connections = 3, .via = {config::HopSpec{}}};
  std::uint64_t last = 0;  // message
};

// Names of next hops mean hosts: not queues whose hosts are not known yet, and not mailboxes.
TEST_F(SharedHopTest, AFrozenHostIsNoQueueAndNoMailbox) {
  frozen_hops = {"q", "mailbox:"};
  const Destination mailbox{.local = true, .via = {{config::HopKind::kMailbox, "", 0}}};
  s->deliverer_up(kLocal, true);
  add("q", mx, 1);
  add("local", mailbox, 2);
  s->review_blocks(now);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  EXPECT_FALSE(s->find("q")->hop()->frozen);
  EXPECT_EQ(s->find("local")->hop()->name(), "mailbox:");
  EXPECT_FALSE(s->find("local")->hop()->frozen);
}

TEST_F(SharedHopTest, OneConnectionServesAllQueuesOfItsHop) {
  for (std::uint64_t m = 1; m <= 40; ++m) add("q" + std::to_string(m % 10), smart, m);
  settle_down();
  EXPECT_EQ(opened.size(), 2U);
  for (int n = 0; n < 38; ++n) {
    deliver_last();
    decide();
  }
  EXPECT_EQ(handed.size(), 40U);
  EXPECT_EQ(opened.size(), 2U);
}

// Deficit round robin: a queue with much mail, or large, takes no more than its turn.
TEST_F(SharedHopTest, QueuesOfAHopAreServedInTurnByBytes) {
  const Destination one{.connections = 1, .via = {host("smart")}};
  std::uint64_t id = 0;
  const auto put = [&](const std::string& queue, std::uint64_t size, int count) {
    for (int n = 0; n < count; ++n)
      s->add(queue, one, {base::MessageId(++id), 0, size, 0, now, false}, now);
  };
  put("bulk", 4096, 2000);
  put("large", 1 << 20, 200);
  put("small", 4096, 20);
  std::map<std::string, std::uint64_t> count;
  settle_down();
  for (int n = 0; n < 200; ++n) {
    deliver_last();
    decide();
  }
  for (const auto& out : handed) ++count[out.queue];
  EXPECT_EQ(count["small"], 20U);
  EXPECT_GT(count["bulk"], 100U);
  EXPECT_GT(count["large"], 2U);
  EXPECT_LT(count["large"], 30U);  // a message of 1 MiB is worth 128 of 4 KiB
}

// What it owes is not forgotten while it has nothing to go, nor by a look at a better way.
TEST_F(SharedHopTest, AQueueGainsNothingByLeavingItsLine) {
  const Destination one{.connections = 1, .via = {host("smart")}};
  const Destination two{.connections = 1, .via = {host("first"), host("smart")}};
  remembered["first:25"] = {QueueTime(1'000'000), 1};
  const auto put = [&](const std::string& queue, const Destination& to, std::uint64_t size, int count) {
    for (int n = 0; n < count; ++n) s->add(queue, to, {base::MessageId(++last), 0, size, 0, now, false}, now);
  };
  put("bulk", one, 4096, 2000);
  put("brief", one, 1 << 20, 1);
  put("astray", two, 1 << 20, 100);
  s->add("brief", one, {base::MessageId(++last), 0, 100, 0, QueueTime(1'000'000), false}, now);  // so it stays
  settle_down();
  for (int n = 0; n < 600; ++n) {
    const auto queue = handed.back().queue;
    if (queue == "brief") put(queue, one, 1 << 20, 1);
    if (queue == "astray") {
      (void)s->end_wait(queue, now);
      EXPECT_EQ(s->find(queue)->hop()->name(), "first:25");
      s->defer("first:25", remembered["first:25"], now);
      EXPECT_EQ(s->find(queue)->hop()->name(), "smart:25");
    }
    deliver_last();
    decide();
  }
  for (const auto* const large : {"brief", "astray"}) {
    const auto count = std::ranges::count(handed, large, &HandOut::queue);
    EXPECT_GT(count, 2) << large;
    EXPECT_LT(count, 15) << large;  // a message of 1 MiB is worth 64 of 4 KiB: no more of it is owed
  }
}

// What a queue has sent long ago is nothing to those who wait now.
TEST_F(SharedHopTest, ADebtIsPaidByTheRoundsThatGoBy) {
  const Destination one{.connections = 1, .via = {host("smart")}};
  const auto put = [&](const std::string& queue, std::uint64_t size, std::int64_t due = 0) {
    s->add(queue, one, {base::MessageId(++last), 0, size, 0, QueueTime(due), false}, now);
  };
  const auto turns = [&](std::size_t most) {  // of others, until it is that of "large"
    std::size_t n = 0;
    do {
      deliver_last();
      decide();
    } while (handed.back().queue != "large" && ++n < most);
    return n;
  };
  put("large", 1 << 20);
  put("large", 100, 1'000'000);  // so it stays
  settle_down();
  for (int n = 0; n < 2000; ++n) put("bulk", 4096);
  EXPECT_EQ(turns(100), 100U);
  put("large", 1 << 20);
  EXPECT_LE(turns(100), 8U);  // a round of the other's
  put("large", 1 << 20);
  const auto owed = turns(100);
  EXPECT_GT(owed, 8U * 6);
  EXPECT_LE(owed, 8U * 9);
}

TEST_F(SharedHopTest, MessagesGoNoFasterThanTheRate) {
  const Destination slow{.interval = 250'000, .via = {host("slow")}};  // four in a second
  for (std::uint64_t m = 1; m <= 20; ++m) add("q" + std::to_string(m % 2), slow, m);
  settle_down();
  std::vector<std::int64_t> times;
  std::size_t seen = 0;
  while (now < QueueTime(2000)) {
    settle_down();
    for (; seen < handed.size(); ++seen) {
      times.push_back(now.count());
      const auto out = handed[seen];
      ASSERT_TRUE(s->settle(kRelay1, {base::Epoch(5), out.lease}));
      ask(grant_of[out.request.value]);
    }
    settle_down();
    ASSERT_TRUE(s->next_wake());
    now = std::max(now + base::Millis(1), *s->next_wake());
  }
  EXPECT_EQ(times, (std::vector<std::int64_t>{0, 249, 499, 749, 999, 1249, 1499, 1749, 1999}));
}

// Not even while it has neither mail nor connections, and not by new routes.
TEST_F(SharedHopTest, ARateIsNotForgotten) {
  const Destination slow{.interval = 250'000, .via = {host("slow")}};
  add("q", slow, 1);
  settle_down();
  ASSERT_EQ(handed.size(), 1U);
  deliver_last();
  for (const auto& grant : opened) (void)s->grant_ended(kRelay1, grant.grant);
  EXPECT_EQ(s->find("q"), nullptr);
  s->clear();
  add("q", slow, 2);
  settle_down();
  EXPECT_EQ(handed.size(), 1U);
  EXPECT_EQ(s->next_wake(), QueueTime(249));
  now = QueueTime(249);
  settle_down();
  EXPECT_EQ(handed.size(), 2U);
  deliver_last();
  for (const auto& grant : opened) (void)s->grant_ended(kRelay1, grant.grant);
  now = QueueTime(499);
  settle_down();
  EXPECT_TRUE(s->hops().empty()) << "it is remembered no longer than that matters";
  EXPECT_EQ(s->next_wake(), std::nullopt);
}

TEST_F(SharedHopTest, QueuesOfOneSetOfHostsShareItsConnectionsAndItsDeath) {
  auto_ask = false;
  for (std::uint64_t m = 1; m <= 20; ++m) add("q" + std::to_string(m % 5), mx, m);
  decide();
  ASSERT_EQ(opened.size(), 5U);  // each asks the DNS once
  for (const auto& grant : opened) EXPECT_EQ(grant.next_hop, "");
  const auto first = opened;
  for (const auto& grant : first)
    EXPECT_EQ(s->hop_found(kRelay1, grant.grant, "mx1,mx2:25", base::Millis(60'000), now),
              grant.queue);
  decide();
  EXPECT_EQ(ahead.size(), 3U);   // its limit
  EXPECT_EQ(closed.size(), 2U);
  EXPECT_EQ(s->find_hop("mx1,mx2:25")->queues(), 5U);
  for (const auto& close : closed) (void)s->grant_ended(kRelay1, close.grant);
  EXPECT_EQ(opened.size(), 5U);
  // It cannot be reached: all of them wait, and nobody asks the DNS again.
  (void)s->grant_ended(kRelay1, ahead[1].grant);
  (void)s->grant_ended(kRelay1, ahead[2].grant);
  s->defer(s->grant_ended(kRelay1, ahead[0].grant)->hop, {QueueTime(1000), 1}, now);
  decide();
  EXPECT_EQ(opened.size(), 5U);
  EXPECT_EQ(s->next_wake(), QueueTime(1000));
  now = QueueTime(1000);
  decide();
  ASSERT_EQ(opened.size(), 6U);  // one tries
  EXPECT_EQ(opened[5].next_hop, "mx1,mx2:25");
}

TEST_F(SharedHopTest, ADeadSetOfHostsIsKnownAfterARestart) {
  auto_ask = false;
  remembered["mx1:25"] = {QueueTime(5000), 2};
  add("a", mx, 1);
  add("b", mx, 2);
  decide();
  ASSERT_EQ(opened.size(), 2U);
  for (const auto& grant : std::vector(opened))
    (void)s->hop_found(kRelay1, grant.grant, "mx1:25", base::Millis(60'000), now);
  decide();
  EXPECT_TRUE(ahead.empty());
  EXPECT_EQ(closed.size(), 2U);
  for (const auto& close : closed) (void)s->grant_ended(kRelay1, close.grant);
  decide();
  EXPECT_EQ(opened.size(), 2U);
  EXPECT_EQ(s->next_wake(), QueueTime(5000));
  remembered.clear();
  (void)s->end_wait("a", now);  // the operator wants it
  decide();
  EXPECT_EQ(opened.size(), 3U);
}

TEST_F(SharedHopTest, HostsThatAreNotFoundAreTheQueuesOwnTrouble) {
  auto_ask = false;
  add("a", mx, 1);
  decide();
  const auto ended = s->grant_ended(kRelay1, opened[0].grant);
  EXPECT_EQ(ended->hop, "a");
  s->defer(ended->hop, {QueueTime(700), 1}, now);
  decide();
  EXPECT_EQ(opened.size(), 1U);
  EXPECT_EQ(s->find("a")->hop()->until, QueueTime(700));
  EXPECT_FALSE(s->find("a")->hop()->known());
  now = QueueTime(700);
  decide();
  EXPECT_EQ(opened.size(), 2U);
}

TEST_F(SharedHopTest, OtherHostsThanExpectedAreReportedAndTakeTheConnection) {
  auto_ask = false;
  add("a", mx, 1);
  decide();
  (void)s->hop_found(kRelay1, opened[0].grant, "old:25", base::Millis(50), now);
  ask(opened[0]);
  decide();
  ASSERT_EQ(handed.size(), 1U);
  add("a", mx, 2);
  add("a", mx, 3);
  now = QueueTime(100);  // the TTL is over
  decide();
  ASSERT_GT(opened.size(), 1U);
  EXPECT_EQ(opened[1].next_hop, "");
  (void)s->hop_found(kRelay1, opened[1].grant, "new:25", base::Millis(50), now);
  decide();
  EXPECT_EQ(ahead.back().grant, opened[1].grant);
  EXPECT_EQ(s->find("a")->hop()->name(), "new:25");
  EXPECT_EQ(s->find_hop("old:25")->grants, opened.size() - s->find_hop("new:25")->grants);
}

TEST_F(SharedHopTest, AFrozenQueueLeavesTheOthersTheirConnections) {
  for (std::uint64_t m = 1; m <= 20; ++m) add(m % 2 == 0 ? "a" : "b", smart, m);
  settle_down();
  ASSERT_EQ(handed.size(), 2U);
  blocked["a"] = Blocked::kFrozen;
  s->review_blocks(now);
  decide();
  std::size_t in_a = 0;
  for (const auto& out : handed) in_a += out.queue == "a" ? 1 : 0;
  EXPECT_EQ(s->blocked_leases(), in_a);
  EXPECT_EQ(closed.size(), in_a);
  const auto before = handed.size();
  for (std::size_t at = 0; at < handed.size() && at < 40; ++at) {
    const auto out = handed[at];
    ASSERT_TRUE(s->settle(kRelay1, {base::Epoch(5), out.lease}));
    ask(grant_of[out.request.value]);
    settle_down();
    close_sent_away();
    settle_down();
  }
  for (std::size_t at = before; at < handed.size(); ++at) EXPECT_EQ(handed[at].queue, "b");
  EXPECT_EQ(s->find("b"), nullptr);
  EXPECT_EQ(s->find("a")->messages(), 10U - in_a);
}

TEST_F(SharedHopTest, MailBehindAFrozenSetOfHostsGoesElsewhereWhenTheDnsSaysSo) {
  auto_ask = false;
  frozen_hops.insert("mx1:25");
  add("a", mx, 1);
  decide();
  (void)s->hop_found(kRelay1, opened[0].grant, "mx1:25", base::Millis(60'000), now);
  decide();
  ASSERT_EQ(closed.size(), 1U);
  (void)s->grant_ended(kRelay1, closed[0].grant);
  const auto look_again = [&](std::int64_t when) {
    now = QueueTime(when);
    s->seek_anew(now);
    decide();
    return opened.size();
  };
  EXPECT_EQ(look_again(11 * 60'000), 1U) << "what was told of its hosts holds";
  ASSERT_EQ(look_again(11 * 60'000 + 1), 2U);
  EXPECT_EQ(opened[1].next_hop, "");
  (void)s->hop_found(kRelay1, opened[1].grant, "mx2:25", base::Millis(60'000), now);
  decide();
  EXPECT_EQ(ahead.size(), 1U);
}

TEST_F(SharedHopTest, AFrozenHopStopsAllThatLeadsThere) {
  for (std::uint64_t m = 1; m <= 20; ++m) add("q" + std::to_string(m % 4), smart, m);
  settle_down();
  ASSERT_EQ(handed.size(), 2U);
  frozen_hops.insert("smart:25");
  s->review_blocks(now);
  decide();
  EXPECT_EQ(closed.size(), 2U);
  EXPECT_EQ(s->blocked_leases(), 2U);
  for (const auto& out : std::vector(handed)) {
    ASSERT_TRUE(s->settle(kRelay1, {base::Epoch(5), out.lease}));
    ask(grant_of[out.request.value]);
  }
  decide();
  EXPECT_EQ(sent_away.size(), 2U);
  for (const auto& away : sent_away)
    (void)s->grant_ended(kRelay1, grant_of[away.request.value].grant);
  settle_down();
  EXPECT_EQ(handed.size(), 2U);
  frozen_hops.clear();
  s->review_blocks(now);
  settle_down();
  EXPECT_EQ(handed.size(), 4U);
}

}  // namespace
}  // namespace postern::queued
