// 100,000 messages that are let go at once, by an unfreeze (of their queue, or of everything) or a release, starve
// nobody: mail for other queues goes on being served in turn, by hosts of its own or by the same smart host.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>
#include <string>

#include "queued/schedule.h"

namespace postern::queued {
namespace {

constexpr std::uint64_t kMany = 100'000;
constexpr std::uint32_t kSlots = 20;
constexpr DelivererId kRelay(1);

// A deliverer that opens what it is granted, and delivers one message after the other, in the order
// in which it gets them.
class ThawTest : public ::testing::TestWithParam<const char*> {
 protected:
  ThawTest()
      : s({.relay_slots = kSlots}, base::Epoch(5),
          {.blocked =
               [this](const std::string& queue, const Destination&) {
                 return frozen == "*" || frozen == queue ? Blocked::kFrozen : Blocked::kNo;
               },
           .hop_frozen = {},
           .wait = {}}) {
    s.set_open(true);
    s.deliverer_up(kRelay, false);
  }
  void add(const std::string& queue, std::uint64_t message, bool held = false) {
    const std::string host = GetParam()[0] == '\0' ? queue : GetParam();
    s.add(queue, {.connections = 100, .via = {{config::HopKind::kHost, host, 25}}},
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

  std::string frozen;  // this queue, or "*"
  Schedule s;
  QueueTime now{1};
  std::uint64_t request = 0;
  std::map<std::uint64_t, base::GrantId> grant_of;
  std::deque<HandOut> in_hand;
};

TEST_P(ThawTest, AnUnfreezeOfManyStarvesNobody) {
  frozen = "big.example";
  for (std::uint64_t n = 1; n <= kMany; ++n) add("big.example", n);
  act();
  EXPECT_TRUE(in_hand.empty());
  frozen.clear();
  s.review_blocks(now);
  act();
  EXPECT_EQ(in_hand.size(), kSlots);
  expect_nobody_starves();
}

// As `outbound enable` does it: the others' mail has waited too.
TEST_P(ThawTest, WhenEverythingIsLetGoManyOfOneQueueStarveNobody) {
  frozen = "*";
  for (std::uint64_t n = 1; n <= kMany; ++n) add("big.example", n);
  for (std::uint64_t n = 0; n < 50; ++n) add("q" + std::to_string(n) + ".example", kMany + n + 1);
  act();
  EXPECT_TRUE(in_hand.empty());
  frozen.clear();
  s.review_blocks(now);
  act();
  std::set<std::string> served;
  for (int step = 0; step < 200; ++step) served.insert(deliver());
  EXPECT_EQ(served.size(), 51U);
  expect_nobody_starves();
}

TEST_P(ThawTest, AReleaseOfManyStarvesNobody) {
  for (std::uint64_t n = 1; n <= kMany; ++n) add("big.example", n, true);
  act();
  EXPECT_TRUE(in_hand.empty());
  for (std::uint64_t n = 1; n <= kMany; ++n) s.hold("big.example", base::MessageId(n), false, now);
  act();
  EXPECT_EQ(in_hand.size(), kSlots);
  expect_nobody_starves();
}

INSTANTIATE_TEST_SUITE_P(Hosts, ThawTest, ::testing::Values("", "smart.example"),
                         [](const auto& host) { return host.param[0] == '\0' ? "TheirOwn" : "OneForAll"; });

}  // namespace
}  // namespace postern::queued
