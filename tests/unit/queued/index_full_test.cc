// The index's map is used up: intake stops at four fifths of it, what is there is delivered, blocks
// change; where it is really full nothing is lost or ends, and intake comes back by itself.
#include <gtest/gtest.h>

#include "tests/unit/queued/delivering.h"
#include "tests/unit/queued/lmdb_rig.h"

namespace postern::queued {
namespace {

constexpr std::uint64_t kMap = 1U << 20;
constexpr int kMost = 4'000;  // messages until it is full

class IndexFull : public ::testing::Test, protected EngineRig {
 protected:
  IndexFull() {
    config.retry.expire = base::Millis(1'000'000'000);
    config.retry.notify = base::Millis(0);
  }
  void SetUp() override {
    begin();
    connect(smtpd_);
    ASSERT_TRUE(open_for_mail());
  }
  // A second passes.
  void second() {
    clock.advance(base::Millis(1'000));
    store->tick();
    turn();
    intake->check_room();
    turn();
  }
  bool open_for_mail() { return !smtpd_.intake.empty() && smtpd_.intake.back().open; }
  // A message with many recipients, whose row is large.
  void put_one() {
    auto record = envelope(0);
    for (std::uint32_t n = 0; n < 30; ++n)
      record.recipients.push_back(
          {.number = n, .address = address("recipient-" + std::to_string(n) + "@far.example")});
    auto text = "Subject: " + std::to_string(record.id.value) + "\r\n\r\nx\r\n";
    record.body_size = text.size();
    bodies_[record.id] = text;
    bool stored = false;
    store->accept(std::move(record), std::make_shared<const std::string>(std::move(text)),
                  [this, id = bodies_.rbegin()->first, &stored](bool yes) noexcept {
                    stored = yes;
                    if (yes) engine->admit(id);
                  });
    turn(2);
    ASSERT_TRUE(stored);
  }
  template <class Enough>
  void fill_until(Enough enough) {
    for (int n = 0; n < kMost && !enough(); ++n) {
      put_one();
      if (n % 4 == 3) second();
    }
    ASSERT_TRUE(enough());
  }
  void operator_works() {
    for (const bool freeze : {true, false}) {
      bool changed = false;
      engine->change_blocks(
          [&](Blocks& blocks) noexcept {
            return freeze ? blocks.freeze({.queue = "held.example",
                                           .reason = "x",
                                           .who = "ann",
                                           .since = clock.wall(),
                                           .from = store->clock().now()})
                          : blocks.unfreeze("held.example", false, "ann", clock.wall(),
                                            store->clock().now());
          },
          [&](Blocks::Said said) noexcept { changed = said.has_value(); });
      turn();
      EXPECT_TRUE(changed);
    }
  }
  void everything_goes_out() {
    Delivering delivering(*this);
    EXPECT_TRUE(delivering.deliver_all()) << store->count() << " stay";
    EXPECT_TRUE(delivering.bodies() == bodies_);
    EXPECT_EQ(delivering.repeated(), 0U);
    for (int n = 0; n < 30 && !open_for_mail(); ++n) second();
    EXPECT_TRUE(open_for_mail()) << store->health().index_used << " of " << kMap << " are used";
    EXPECT_TRUE(fatal.empty()) << fatal;
  }

  LmdbRig index_{*this, kMap, 16U << 10};
  FakeSmtpd smtpd_;
  std::map<base::MessageId, std::string> bodies_;
};

TEST_F(IndexFull, IntakeStopsAtFourFifthsAndComesBack) {
  fill_until([this] { return !open_for_mail(); });
  const auto health = store->health();
  EXPECT_GE(health.index_used * 5, kMap * 4);
  EXPECT_FALSE(health.index_full);
  const auto& refusal = smtpd_.intake.back().refusal;
  EXPECT_EQ(text_of(refusal).substr(0, 9), "452 4.3.1");
  operator_works();
  everything_goes_out();
}

TEST_F(IndexFull, AFullMapLosesNothing) {
  fill_until([this] { return store->health().index_full; });
  EXPECT_FALSE(open_for_mail());
  for (int n = 0; n < 20; ++n) put_one();  // what was under way when it closed
  operator_works();
  everything_goes_out();
  EXPECT_FALSE(store->health().index_full);
}

TEST_F(IndexFull, AStartWithAFullMap) {
  fill_until([this] { return store->health().index_full; });
  end();
  begin();
  smtpd_.intake.clear();
  connect(smtpd_);
  EXPECT_EQ(store->count(), bodies_.size());
  operator_works();
  everything_goes_out();
}

}  // namespace
}  // namespace postern::queued
