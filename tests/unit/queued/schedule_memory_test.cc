// What a queued recipient and a queue cost: every allocation of the program is counted, with what
// the allocator adds to it. POSTERN_MESSAGES sets how many there are.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <new>
#include <string>

#include "queued/record.h"
#include "queued/schedule.h"
#include "tests/unit/figures.h"

namespace {

constexpr std::size_t kChunkHead = 8;  // glibc's, before each block

std::size_t in_use = 0;
std::size_t peak = 0;

void* counted(std::size_t size) {
  void* p = std::malloc(size);
  if (p == nullptr) std::abort();
  in_use += malloc_usable_size(p) + kChunkHead;
  peak = std::max(peak, in_use);
  return p;
}
void uncounted(void* p) {
  if (p == nullptr) return;
  in_use -= malloc_usable_size(p) + kChunkHead;
  std::free(p);
}

}  // namespace

void* operator new(std::size_t size) {
  return counted(size);
}
void operator delete(void* p) noexcept {
  uncounted(p);
}
void operator delete(void* p, std::size_t) noexcept {
  uncounted(p);
}

namespace postern::queued {
namespace {

constexpr std::size_t kPerRecipient = 64;
constexpr std::size_t kPerQueue = 512;
constexpr std::size_t kPerWait = 512;
constexpr std::size_t kPerKnownHop = 128;  // more, where a queue's next hop is its own and is known

struct Load {
  std::uint64_t messages;
  std::uint32_t recipients;  // of each
  std::uint64_t queues;
};

// `messages_per_queue` 0: all in one queue.
Load load(std::uint32_t recipients, std::uint64_t messages_per_queue) {
  const auto all = wished("POSTERN_MESSAGES", 100'000);
  const auto messages = all / recipients;
  return {messages, recipients, messages_per_queue == 0 ? 1 : messages / messages_per_queue};
}

class ScheduleMemory : public ::testing::TestWithParam<Load> {
 protected:
  void add(const Load& load, QueueTime due) {
    const Destination destination{.via = {config::HopSpec{}}};  // each has its own hosts
    for (std::uint64_t m = 1; m <= load.messages; ++m) {
      // Longer than what std::string keeps in itself; scattered, like mail that arrives.
      const auto queue = "mail-domain-" + std::to_string(m * 7919 % load.queues) + ".example";
      for (std::uint32_t n = 0; n < load.recipients; ++n)
        schedule.add(queue, destination,
                     {base::MessageId((std::uint64_t{1} << 50) + m), n, 4096,
                      static_cast<std::uint8_t>(m * 31), due, false},
                     QueueTime(1));
    }
  }
  void expect_within(const Load& load, std::size_t bytes) {
    const auto recipients = load.messages * load.recipients;
    EXPECT_LE(bytes, recipients * kPerRecipient + load.queues * kPerQueue);
    RecordProperty("bytes_per_recipient", static_cast<int>(bytes / recipients));
    std::printf("%zu messages of %u recipients in %zu queues: %.1f bytes for each recipient, %.1f for each queue\n",
                std::size_t{load.messages}, load.recipients, std::size_t{load.queues},
                static_cast<double>(bytes) / static_cast<double>(recipients),
                static_cast<double>(bytes) / static_cast<double>(load.queues));
  }
  Schedule schedule{{},
                    base::Epoch(1),
                    {.blocked = [](const auto&, const auto&) { return Blocked::kNo; },
                     .hop_frozen = {},
                     .wait = [this](const auto&) { return remembered; }}};
  HopWait remembered;
};

TEST_P(ScheduleMemory, KeepsItsMeasure) {
  const auto load = GetParam();
  const auto before = in_use;
  peak = in_use;
  add(load, QueueTime(1));  // ready
  expect_within(load, peak - before);
  ASSERT_EQ(schedule.queues().size(), load.queues);
  // Given back when mail goes.
  for (std::uint64_t m = 1; m <= load.messages; ++m)
    (void)schedule.take("mail-domain-" + std::to_string(m * 7919 % load.queues) + ".example",
                        base::MessageId((std::uint64_t{1} << 50) + m));
  EXPECT_TRUE(schedule.queues().empty());
  EXPECT_LE(in_use - before, load.queues * 32 + (64 << 10));
}

// Ready, and no queue's hosts can be found.
TEST_P(ScheduleMemory, KeepsItWhereAllHopsAreDead) {
  const auto load = GetParam();
  const auto before = in_use;
  peak = in_use;
  remembered = {QueueTime(2'000'000), 1};
  add(load, QueueTime(1));
  expect_within(load, peak - before);
  EXPECT_EQ(schedule.next_wake(), QueueTime(2'000'000));
}

// Each apart: a second message in each queue costs what a recipient costs, the first one that and its queue.
class OwnFigures : public ScheduleMemory {
 protected:
  struct Figures {
    double recipient = 0;
    double queue = 0;
  };
  Figures measure() {
    const auto n = GetParam().messages;
    const auto all = [&](std::uint64_t first) {
      const auto before = in_use;
      for (std::uint64_t m = 0; m < n; ++m)
        schedule.add(name(m * 7919 % n), {.via = {config::HopSpec{}}},
                     {base::MessageId((std::uint64_t{1} << 50) + first + m), 0, 4096,
                      static_cast<std::uint8_t>(m * 31), QueueTime(1), false},
                     QueueTime(1));
      return static_cast<double>(in_use - before) / static_cast<double>(n);
    };
    const auto first = all(1), second = all(1 + n);
    std::printf("own: %.1f bytes for a recipient, %.1f for a queue\n", second, first - second);
    return {second, first - second};
  }
  static std::string name(std::uint64_t n) { return "mail-domain-" + std::to_string(n) + ".example"; }
};

TEST_P(OwnFigures, OfWhatIsReady) {
  const auto own = measure();
  EXPECT_LE(own.recipient, kPerRecipient);
  EXPECT_LE(own.queue, kPerQueue);
}

// Each queue has MX hosts of its own, which are known, and so a next hop.
TEST_P(OwnFigures, OfWhatLeadsToKnownHosts) {
  const auto n = GetParam().messages;
  const auto before = in_use;
  {
    Schedule known({.relay_slots = static_cast<std::uint32_t>(n)}, base::Epoch(1),
                   {.blocked = [](const auto&, const auto&) { return Blocked::kNo; }, .hop_frozen = {}, .wait = {}});
    for (std::uint64_t m = 0; m < n; ++m)
      known.add(name(m * 7919 % n), {.via = {config::HopSpec{}}},
                {base::MessageId((std::uint64_t{1} << 50) + m), 0, 4096, 7, QueueTime(1), false}, QueueTime(1));
    known.deliverer_up(DelivererId(1), false);
    known.set_open(true);
    for (const auto& action : known.decide(QueueTime(1)))
      if (const auto* grant = std::get_if<OpenGrant>(&action)) {
        ASSERT_TRUE(known.hop_found(grant->deliverer, grant->grant, grant->queue + ":25", base::Millis(1'000'000),
                                    QueueTime(1)));
        (void)known.grant_ended(grant->deliverer, grant->grant);
      }
    (void)known.deliverer_down(DelivererId(1));
    (void)known.decide(QueueTime(1));  // takes away what was decided
    ASSERT_EQ(known.hops().size(), n);
    const auto all = static_cast<double>(in_use - before) / static_cast<double>(n);
    std::printf("own: %.1f bytes for a recipient, its queue and its next hop\n", all);
    EXPECT_LE(all, kPerRecipient + kPerQueue + kPerKnownHop);
  }
}

// What the store remembers of each dead hop is counted by itself.
TEST_P(OwnFigures, OfWhatLeadsToDeadHops) {
  remembered = {QueueTime(2'000'000), 1};
  const auto own = measure();
  EXPECT_LE(own.recipient, kPerRecipient);
  EXPECT_LE(own.queue, kPerQueue);
  const auto before = in_use;
  std::map<std::string, QueueRecord, std::less<>> waits;  // as Store::waits() has them
  for (std::uint64_t n = 0; n < GetParam().messages; ++n)
    waits[name(n)] = {.queue = name(n),
                      .until = remembered.until,
                      .failures = 1,
                      .reply = {0, 4, 4, 1, "connecting: Connection timed out"},
                      .remote = name(n) + "[192.0.2.9]:25",
                      .behalf = name(n)};
  const auto wait = static_cast<double>(in_use - before) / static_cast<double>(waits.size());
  std::printf("own: %.1f bytes for what is remembered of a dead hop\n", wait);
  EXPECT_LE(wait, kPerWait);
}

INSTANTIATE_TEST_SUITE_P(Loads, OwnFigures, ::testing::Values(load(1, 1)));

// All in one queue measures recipients, one in each queue measures queues.
INSTANTIATE_TEST_SUITE_P(Loads, ScheduleMemory,
                         ::testing::Values(load(1, 0), load(1, 1), load(1, 10), load(100, 0),
                                           load(100, 10)));

}  // namespace
}  // namespace postern::queued
