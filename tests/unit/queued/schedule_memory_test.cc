// What a queued recipient and a queue cost: every allocation of the program is counted, with what
// the allocator adds to it. POSTERN_MESSAGES sets how many there are.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>

#include "queued/schedule.h"

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

struct Load {
  std::uint64_t messages;
  std::uint32_t recipients;  // of each
  std::uint64_t queues;
};

// `messages_per_queue` 0: all in one queue.
Load load(std::uint32_t recipients, std::uint64_t messages_per_queue) {
  const char* wish = std::getenv("POSTERN_MESSAGES");
  const auto all = wish == nullptr ? 100'000 : std::strtoull(wish, nullptr, 10);
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

// All in one queue measures recipients, one in each queue measures queues.
INSTANTIATE_TEST_SUITE_P(Loads, ScheduleMemory,
                         ::testing::Values(load(1, 0), load(1, 1), load(1, 10), load(100, 0),
                                           load(100, 10)));

}  // namespace
}  // namespace postern::queued
