// 100,000 messages that are let go at once, by an unfreeze or a release, starve nobody: mail for
// other queues goes on being served in turn.
#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "queued/schedule.h"

namespace postern::queued {
namespace {

constexpr std::uint64_t kMany = 100'000;
constexpr std::uint32_t kSlots = 20;
constexpr DelivererId kRelay(1);

// A deliverer that opens what it is granted, and delivers one message after the other, in the order
// in which it gets them.
class ThawTest : public ::testing::Test {
 protected:
  ThawTest()
      : s({.relay_slots = kSlots}, base::Epoch(5),
          {.blocked =
               [this](const std::string& queue, const Destination&) {
                 return frozen && queue == "big.example" ? Blocked::kFrozen : Blocked::kNo;
               },
           .hop_frozen = {},
           .wait = {}}) {
    s.set_open(true);
    s.deliverer_up(kRelay, false);
  }
  void add(const std::string& queue, std::uint64_t message, bool held = false) {
    s.add(queue, {.connections = 100, .via = {{config::HopKind::kHost, queue, 25}}},
          {base::MessageId(message), 0, 100, 0, now, held}, now);
  }
  void ask(base::GrantId grant) {
    s.ask(kRelay, base::RequestId(++request), grant);
    grant_of[request] = grant;
  }
  void act() {
    for (bool more = true; more;) {
      more = false;
      for (auto& action : s.decide(now)) {
        more = true;
        if (const auto* grant = std::get_if<OpenGrant>(&action)) ask(grant->grant);
        if (const auto* away = std::get_if<SendAway>(&action))
          (void)s.grant_ended(kRelay, grant_of[away->request.value]);
        if (auto* out = std::get_if<HandOut>(&action)) in_hand.push_back(std::move(*out));
      }
    }
  }
  // Delivers the oldest one; the queue that it was for.
  std::string deliver() {
    const auto out = in_hand.front();
    in_hand.pop_front();
    EXPECT_TRUE(s.settle(kRelay, {base::Epoch(5), out.lease}));
    ask(grant_of[out.request.value]);
    act();
    return out.queue;
  }
  // While the many go, a message for one of 50 other queues comes after each tenth delivery. None
  // waits for more deliveries than there are connections, some times over; and the many go on too.
  void expect_nobody_starves() {
    std::map<std::string, int> since;  // of the message that waits in it
    int longest = 0;
    int of_the_many = 0;
    std::uint64_t id = 2 * kMany;
    for (int step = 0; step < 3'000; ++step) {
      if (step % 10 == 0) {
        const auto queue = "q" + std::to_string(step / 10 % 50) + ".example";
        if (since.try_emplace(queue, step).second) add(queue, ++id);
        act();
      }
      ASSERT_FALSE(in_hand.empty());
      const auto queue = deliver();
      of_the_many += queue == "big.example" ? 1 : 0;
      if (const auto at = since.find(queue); at != since.end()) {
        longest = std::max(longest, step - at->second);
        since.erase(at);
      }
    }
    for (const auto& [queue, step] : since) longest = std::max(longest, 3'000 - step);
    EXPECT_LE(longest, static_cast<int>(4 * kSlots));
    EXPECT_GT(of_the_many, 2'000);
  }

  bool frozen = false;
  Schedule s;
  QueueTime now{1};
  std::uint64_t request = 0;
  std::map<std::uint64_t, base::GrantId> grant_of;
  std::deque<HandOut> in_hand;
};

TEST_F(ThawTest, AnUnfreezeOfManyStarvesNobody) {
  frozen = true;
  for (std::uint64_t n = 1; n <= kMany; ++n) add("big.example", n);
  act();
  EXPECT_TRUE(in_hand.empty());
  frozen = false;
  s.review_blocks(now);
  act();
  EXPECT_EQ(in_hand.size(), kSlots);
  expect_nobody_starves();
}

TEST_F(ThawTest, AReleaseOfManyStarvesNobody) {
  for (std::uint64_t n = 1; n <= kMany; ++n) add("big.example", n, true);
  act();
  EXPECT_TRUE(in_hand.empty());
  for (std::uint64_t n = 1; n <= kMany; ++n) s.hold("big.example", base::MessageId(n), false, now);
  act();
  EXPECT_EQ(in_hand.size(), kSlots);
  expect_nobody_starves();
}

}  // namespace
}  // namespace postern::queued
