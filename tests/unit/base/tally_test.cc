#include "common/base/tally.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

namespace postern::base {
namespace {

struct Memory {
  alignas(64) std::byte bytes[Tally::kBytes] = {};
};

IpAddress ip(const std::string& text) { return parse_ip(text).value(); }
IpAddress numbered(unsigned number) {
  IpAddress address{IpFamily::kV4, {10}};
  for (int i = 1; i < 4; ++i) address.bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(number >> 8 * (3 - i));
  return address;
}

class TallyTest : public testing::Test {
 protected:
  TallyTest() { owner.own(12345); }
  std::unique_ptr<Memory> memory = std::make_unique<Memory>();
  Tally owner{memory.get()};
  const Tally reader{memory.get()};
};

TEST_F(TallyTest, CountsConnections) {
  EXPECT_EQ(reader.look(ip("192.0.2.1"), 7).connections, 0U);
  owner.enter(ip("192.0.2.1"), 7);
  owner.enter(ip("192.0.2.1"), 7);
  owner.enter(ip("2001:db8::1"), 7);
  EXPECT_EQ(reader.look(ip("192.0.2.1"), 7).connections, 2U);
  EXPECT_EQ(reader.look(ip("2001:db8::1"), 7).connections, 1U);
  EXPECT_EQ(reader.look(ip("2001:db8::2"), 7).connections, 0U);
  owner.leave(ip("192.0.2.1"));
  owner.leave(ip("2001:db8::1"));
  owner.leave(ip("2001:db8::1"));
  EXPECT_EQ(reader.look(ip("192.0.2.1"), 7).connections, 1U);
  EXPECT_EQ(reader.look(ip("2001:db8::1"), 7).connections, 0U);
}

TEST_F(TallyTest, CountsMessagesOfTwoPeriods) {
  const auto client = ip("192.0.2.1");
  owner.count_message(client, 7);
  owner.count_message(client, 7);
  EXPECT_EQ(reader.look(client, 7).messages, 2U);
  EXPECT_EQ(reader.look(client, 8).messages, 0U);
  EXPECT_EQ(reader.look(client, 8).before, 2U);
  EXPECT_EQ(reader.look(client, 9).before, 0U);
  owner.count_message(client, 8);
  EXPECT_EQ(reader.look(client, 8).messages, 1U);
  EXPECT_EQ(reader.look(client, 8).before, 2U);
  owner.count_message(client, 10);
  EXPECT_EQ(reader.look(client, 10).messages, 1U);
  EXPECT_EQ(reader.look(client, 10).before, 0U);
  owner.enter(client, 11);
  EXPECT_EQ(reader.look(client, 11).before, 1U) << "a connection changes no count of messages";
}

TEST_F(TallyTest, HoldsTheUnknownClientTooAndTakesBothNamesForOne) {
  owner.enter(IpAddress{}, 7);
  EXPECT_EQ(reader.look(ip("0.0.0.0"), 7).connections, 1U);
  EXPECT_EQ(reader.look(ip("::"), 7).connections, 1U);
}

// The next life takes over the rates, not the connections, which ended with the last one.
TEST_F(TallyTest, OutlivesItsOwner) {
  const auto client = ip("192.0.2.1");
  owner.enter(client, 7);
  owner.count_message(client, 7);
  Tally next(memory.get());
  next.own(999);
  EXPECT_EQ(reader.look(client, 7).connections, 0U);
  EXPECT_EQ(reader.look(client, 7).messages, 1U);
  next.count_message(client, 7);
  EXPECT_EQ(reader.look(client, 7).messages, 2U) << "its place is still found";
}

TEST_F(TallyTest, ForgetsSilentClientsFirstAndConnectedOnesNever) {
  const auto connected = ip("192.0.2.1");
  owner.enter(connected, 1);
  owner.count_message(connected, 1);
  for (unsigned number = 0; number < 100'000; ++number) owner.count_message(numbered(number), 2);
  EXPECT_EQ(reader.look(connected, 1).messages, 1U);
  EXPECT_EQ(reader.look(numbered(99'999), 2).messages, 1U);
  unsigned kept = 0;
  for (unsigned number = 0; number < 100'000; ++number)
    kept += reader.look(numbered(number), 2).messages;
  EXPECT_EQ(kept, Tally::kBuckets * Tally::kPlaces - 1);
}

TEST_F(TallyTest, CountsNothingWhereThereIsNoRoom) {
  for (unsigned number = 0; number < 100'000; ++number) owner.enter(numbered(number), 2);
  unsigned counted = 0;
  for (unsigned number = 0; number < 100'000; ++number)
    counted += reader.look(numbered(number), 2).connections;
  EXPECT_EQ(counted, Tally::kBuckets * Tally::kPlaces);
  for (unsigned number = 0; number < 100'000; ++number) owner.leave(numbered(number));
  for (unsigned number = 0; number < 100'000; ++number)
    ASSERT_EQ(reader.look(numbered(number), 2).connections, 0U);
}

// Whatever stands there, a reader ends, and reads nothing but numbers.
TEST_F(TallyTest, AReaderBearsAnyBytes) {
  for (const int fill : {0xFF, 0x55, 0x01}) {
    std::memset(memory->bytes, fill, sizeof memory->bytes);
    for (unsigned number = 0; number < 1000; ++number) (void)reader.look(numbered(number), 2);
  }
  owner.own(1);
  EXPECT_EQ(reader.look(numbered(5), 2).connections, 0U);
  owner.enter(numbered(5), 2);
  EXPECT_EQ(reader.look(numbered(5), 2).connections, 1U);
}

// A place that changes hands while it is read never gives one client's count to another.
TEST_F(TallyTest, IsReadWhileItIsWritten) {
  const auto steady = ip("192.0.2.1");
  owner.enter(steady, 1);
  for (int i = 0; i < 3; ++i) owner.count_message(steady, 1);
  std::atomic<bool> stop = false;
  std::atomic<unsigned> wrong = 0;
  std::thread other([&] {
    while (!stop) {
      const auto counts = reader.look(steady, 1);
      // Disturbed too often, it sees nothing; never something else.
      if (counts.messages != 3 && counts.connections != 0) ++wrong;
      const auto busy = reader.look(numbered(1), 2);
      if (busy.messages > 1) ++wrong;
    }
  });
  for (unsigned round = 0; round < 300'000; ++round) owner.count_message(numbered(round), 2);
  stop = true;
  other.join();
  EXPECT_EQ(wrong, 0U);
}

}  // namespace
}  // namespace postern::base
