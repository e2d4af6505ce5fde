// For a minute after the final dot smtpd asks for what it has heard nothing of, whoever dies meanwhile. What
// it asks for is known through any number of crashes, though the message has ended and the index is beyond it.
#include <gtest/gtest.h>

#include "tests/unit/queued/store_rig.h"

namespace postern::queued {
namespace {

class TokensTest : public ::testing::Test, protected StoreRig {
 protected:
  // A life that works for a while; the index follows all of it.
  void live(base::Millis length) {
    ASSERT_TRUE(open()) << fatal;
    const auto id = accept("another\r\n");
    for (base::Millis gone{0}; gone < length; gone += base::Millis(1000)) {
      clock.advance(base::Millis(1000));
      store->tick();
      store->pump();
    }
    conclude(id, Fate::kDelivered);
    store->pump();
  }
  base::Token accept_and_deliver() {
    auto record = envelope();
    const auto token = record.token;
    known = record.id;
    store->accept(std::move(record), std::make_shared<const std::string>("x\r\n"), {});
    store->pump();
    conclude(known, Fate::kDelivered);
    store->pump();
    return token;
  }
  base::MessageId known;
};

TEST_F(TokensTest, AreKnownThroughManyCrashesInAMinute) {
  ASSERT_TRUE(open());
  const auto token = accept_and_deliver();
  for (int crash = 1; crash <= 10; ++crash) {
    kill();
    live(base::Millis(4000));
    ASSERT_EQ(store->count(), 0U);
    EXPECT_EQ(store->find_token(token), known) << "after crash " << crash;
  }
}

// While it is asked for, its segment is not given back, though nothing lives in it.
TEST_F(TokensTest, AreKnownThoughALaterLifeFilledManySegments) {
  ASSERT_TRUE(open());
  const auto token = accept_and_deliver();
  kill();
  live(base::Millis(1000));
  for (int n = 0; n < 30; ++n) conclude(accept(std::string(20'000, 'b')), Fate::kDelivered);
  store->tick();
  store->pump();
  kill();
  ASSERT_TRUE(open());
  EXPECT_EQ(store->find_token(token), known);
}

TEST_F(TokensTest, HoldNoSegmentForLonger) {
  ASSERT_TRUE(open());
  (void)accept_and_deliver();
  kill();
  live(base::Millis(1000));
  const auto fill = [this] {
    for (int n = 0; n < 30; ++n) conclude(accept(std::string(20'000, 'b')), Fate::kDelivered);
    store->tick();
    store->pump();
    return disk.files("journal").size();
  };
  const auto held = fill();
  EXPECT_GT(held, 8U);
  clock.advance(kAskedFor);
  for (int n = 0; n < 3; ++n) {
    store->tick();
    store->pump();
  }
  EXPECT_LT(fill(), held / 2 + 2);
}

// Nobody asks for what came before a life that lasted longer.
TEST_F(TokensTest, AreForgottenBehindALongLife) {
  ASSERT_TRUE(open());
  const auto token = accept_and_deliver();
  kill();
  live(base::Millis(70'000));
  kill();
  ASSERT_TRUE(open());
  EXPECT_FALSE(store->find_token(token));
}

}  // namespace
}  // namespace postern::queued
