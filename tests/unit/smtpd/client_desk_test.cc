// The limits of a client over several smtpds, as they count in each other's sight.
#include "smtpd/client_desk.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/smtpd/rig.h"

namespace postern::smtpd::test {
namespace {

const base::IpAddress kClient = base::parse_ip("192.0.2.1").value();
const base::IpAddress kOther = base::parse_ip("192.0.2.2").value();

// Two processes.
struct Desks : testing::Test {
  Desks() {
    for (std::uint32_t i = 0; i < 2; ++i) {
      memory.push_back(os::make_shared_memory("test", base::Tally::kBytes).value());
      desks.push_back(std::make_unique<ClientDesk>(clock));
    }
    for (std::uint32_t i = 0; i < 2; ++i) wire(i);
  }
  void wire(std::uint32_t i) {
    const auto map = [&](const base::UniqueFd& fd, bool writable) {
      return os::Mapping::of(fd.get(), base::Tally::kBytes, writable).value();
    };
    desks[i]->count_in(map(memory[i].writable, true));
    desks[i]->watch(1 - i, map(memory[1 - i].readable, false));
  }
  void use(std::uint32_t connections, config::Rate rate) {
    for (auto& desk : desks) desk->use(connections, rate);
  }

  FakeClock clock;
  std::vector<os::SharedMemory> memory;
  std::vector<std::unique_ptr<ClientDesk>> desks;
};

TEST_F(Desks, CountConnectionsTogether) {
  use(3, {});
  auto a = desks[0]->enter(kClient);
  auto b = desks[1]->enter(kClient);
  auto c = desks[1]->enter(kClient);
  EXPECT_TRUE(a && b && c);
  EXPECT_FALSE(desks[0]->enter(kClient).has_value());
  EXPECT_FALSE(desks[1]->enter(kClient).has_value());
  EXPECT_TRUE(desks[0]->enter(kOther).has_value());
  b.reset();
  auto d = desks[0]->enter(kClient);
  EXPECT_TRUE(d.has_value());
  EXPECT_FALSE(desks[1]->enter(kClient).has_value());
  // A place that moves counts once, one that is replaced is given back.
  ClientDesk::Place place = *std::move(a);
  place = *std::move(d);
  EXPECT_TRUE(desks[1]->enter(kClient).has_value());
}

TEST_F(Desks, TakeANetworkOf64BitsForOneClient) {
  use(2, {.count = 2, .seconds = 60});
  clock.advance(base::Millis(60'000 - clock.steady().ms % 60'000));
  const auto ip = [](const char* text) { return base::parse_ip(text).value(); };
  auto a = desks[0]->enter(ip("2001:db8::1"));
  auto b = desks[1]->enter(ip("2001:db8::dead:beef:1:2"));
  EXPECT_TRUE(a && b);
  EXPECT_FALSE(desks[0]->enter(ip("2001:db8:0:0:ffff::")).has_value());
  EXPECT_TRUE(desks[0]->enter(ip("2001:db8:0:1::1")).has_value());
  EXPECT_TRUE(desks[0]->enter(ip("192.0.2.1")).has_value());
  b.reset();
  EXPECT_TRUE(desks[0]->enter(ip("2001:db8::3")).has_value());
  EXPECT_TRUE(desks[0]->may_send(ip("2001:db8::1")));
  EXPECT_TRUE(desks[1]->may_send(ip("2001:db8::2")));
  EXPECT_FALSE(desks[0]->may_send(ip("2001:db8::3")));
  EXPECT_TRUE(desks[0]->may_send(ip("2001:db8:0:1::3")));
  // Each address of IPv4 is a client.
  EXPECT_TRUE(desks[0]->may_send(kClient));
  EXPECT_TRUE(desks[0]->may_send(kClient));
  EXPECT_TRUE(desks[0]->may_send(kOther));
}

TEST_F(Desks, CountSessionsTogether) {
  EXPECT_EQ(desks[0]->sessions(), 0U);
  desks[0]->count_sessions(7);
  desks[1]->count_sessions(5);
  EXPECT_EQ(desks[0]->sessions(), 12U);
  EXPECT_EQ(desks[1]->sessions(), 12U);
  // A new life of a process begins without any.
  desks[1] = std::make_unique<ClientDesk>(clock);
  wire(1);
  EXPECT_EQ(desks[0]->sessions(), 7U);
  EXPECT_EQ(desks[1]->sessions(), 7U);
}

TEST_F(Desks, LimitNothingWhereNothingIsSaid) {
  use(0, {});
  std::vector<ClientDesk::Place> places;
  for (int i = 0; i < 100; ++i) {
    auto place = desks[0]->enter(kClient);
    ASSERT_TRUE(place.has_value());
    places.push_back(*std::move(place));
    ASSERT_TRUE(desks[0]->may_send(kClient));
  }
}

TEST_F(Desks, CountMessagesTogether) {
  use(0, {.count = 4, .seconds = 60});
  clock.advance(base::Millis(60'000 - clock.steady().ms % 60'000));  // to where a period begins
  EXPECT_TRUE(desks[0]->may_send(kClient));
  EXPECT_TRUE(desks[1]->may_send(kClient));
  EXPECT_TRUE(desks[1]->may_send(kClient));
  EXPECT_TRUE(desks[0]->may_send(kClient));
  EXPECT_FALSE(desks[0]->may_send(kClient));
  EXPECT_FALSE(desks[1]->may_send(kClient));
  EXPECT_TRUE(desks[1]->may_send(kOther));
  // The next period still remembers the last one, ever less of it.
  clock.advance(base::Millis(60'000));
  EXPECT_FALSE(desks[0]->may_send(kClient));
  clock.advance(base::Millis(30'000));
  EXPECT_TRUE(desks[0]->may_send(kClient));
  EXPECT_TRUE(desks[1]->may_send(kClient));
  EXPECT_FALSE(desks[0]->may_send(kClient));
  clock.advance(base::Millis(120'000));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(desks[0]->may_send(kClient));
  EXPECT_FALSE(desks[1]->may_send(kClient));
}

// What a dead process had open is nobody's any longer; what its clients have sent is remembered.
TEST_F(Desks, TakeOverFromALifeBefore) {
  use(1, {.count = 1, .seconds = 60});
  std::unique_ptr<ClientDesk> dead;
  auto lost = desks[0]->enter(kClient);
  EXPECT_TRUE(desks[0]->may_send(kClient));
  EXPECT_FALSE(desks[1]->enter(kClient).has_value());
  dead = std::move(desks[0]);
  desks[0] = std::make_unique<ClientDesk>(clock);
  wire(0);
  use(1, {.count = 1, .seconds = 60});
  EXPECT_TRUE(desks[1]->enter(kClient).has_value());
  EXPECT_FALSE(desks[0]->may_send(kClient));
  EXPECT_FALSE(desks[1]->may_send(kClient));
}

}  // namespace
}  // namespace postern::smtpd::test
