// Rows that are read before they are asked for: of a long queue hardly anything is in memory, and what is handed out
// next is known.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

class ReadAheadTest : public ::testing::Test, protected StoreRig {
 protected:
  // Messages of which none is in memory.
  void SetUp() override {
    ASSERT_TRUE(open());
    for (auto& id : ids) id = accept("x\r\n");
    store->tick();
    store->pump();
    for (const auto id : ids) ASSERT_EQ(store->find(id), nullptr);
  }
  // Has fetch() called back, and was the message there then?
  std::shared_ptr<int> fetch(base::MessageId id) {
    auto found = std::make_shared<int>(0);
    store->fetch({id}, [this, id, found]() noexcept { *found = store->find(id) != nullptr ? 1 : -1; });
    return found;
  }
  std::array<base::MessageId, 5> ids;
};

TEST_F(ReadAheadTest, OneVisitBringsAllOfThem) {
  store->read_ahead({ids[0], ids[1], ids[3]});
  EXPECT_EQ(store->find(ids[0]), nullptr);
  store->pump_reads();
  for (const auto n : {0, 1, 3}) EXPECT_NE(store->find(ids[static_cast<std::size_t>(n)]), nullptr) << n;
  EXPECT_EQ(store->find(ids[2]), nullptr);
}

TEST_F(ReadAheadTest, WhoAsksMeanwhileWaitsForTheSameRead) {
  const auto before = index_rows->gets;
  store->read_ahead({ids[0], ids[1]});
  const auto found = fetch(ids[1]);
  EXPECT_EQ(*found, 0);
  store->pump_reads();
  EXPECT_EQ(*found, 1);
  EXPECT_EQ(index_rows->gets - before, 2U);
}

TEST_F(ReadAheadTest, WhatIsOnItsWayOrHereIsNotReadAgain) {
  const auto before = index_rows->gets;
  store->read_ahead({ids[0], ids[1]});
  store->read_ahead({ids[0], ids[4]});  // the first one is on its way: this has its turn later
  store->read_ahead({ids[2], ids[1]});
  store->pump_reads();
  EXPECT_EQ(index_rows->gets - before, 3U);
  EXPECT_EQ(store->find(ids[4]), nullptr);
  store->read_ahead({ids[0], ids[1], ids[2]});
  store->read_ahead({});
  store->pump_reads();
  EXPECT_EQ(index_rows->gets - before, 3U);
}

TEST_F(ReadAheadTest, WhatLeftMemoryAgainAtOnceIsReadAnew) {
  store->read_ahead({ids[0]});
  store->fetch({ids[0]}, [this]() noexcept { store->tick(); });  // which gives up all that nobody uses
  const auto found = fetch(ids[0]);
  store->pump_reads();
  EXPECT_EQ(*found, 1);
}

TEST_F(ReadAheadTest, WhatHasEndedDoesNotComeBack) {
  store->read_ahead({ids[0], ids[1]});
  conclude(ids[0], Fate::kDelivered);
  EXPECT_EQ(store->find(ids[0]), nullptr);
  store->read_ahead({ids[0], ids[2]});
  store->pump_reads();
  EXPECT_EQ(store->find(ids[0]), nullptr);
  EXPECT_NE(store->find(ids[2]), nullptr);
}

TEST_F(ReadAheadTest, AnIndexThatCannotBeReadEndsThisLife) {
  index_rows->damaged = true;
  store->read_ahead({ids[0]});
  const auto found = fetch(ids[0]);
  store->pump_reads();
  EXPECT_FALSE(fatal.empty());
  EXPECT_EQ(*found, 0) << "nobody hears of anything any more";
}

class HandOutTest : public ::testing::Test, protected EngineRig {};

TEST_F(HandOutTest, WhatStandsBehindItInItsQueueComesAlong) {
  begin();
  std::vector<base::MessageId> far;
  for (int n = 0; n < 5; ++n) far.push_back(mail("a@far.example"));
  const auto other = mail("a@near.example");
  FakeRelay relay;
  connect(relay);
  store->tick();
  turn();
  const auto in_memory = [this](base::MessageId id) { return store->find(id) != nullptr; };
  ASSERT_TRUE(std::ranges::none_of(far, in_memory));
  const auto grant = std::ranges::find(relay.grants, "far.example", &ipc::Grant::queue);
  ASSERT_NE(grant, relay.grants.end());
  (void)relay.ask(*grant);
  for (int n = 0; n < 5; ++n) loop->run_once(false);  // the reader has not read anything yet
  ASSERT_TRUE(std::ranges::none_of(far, in_memory));
  store->pump_reads();
  EXPECT_TRUE(std::ranges::all_of(far, in_memory));
  EXPECT_FALSE(in_memory(other));
  turn();
  ASSERT_EQ(relay.leases.size(), 1U);
  EXPECT_EQ(relay.leases.front().message, far.front());
  EXPECT_EQ(relay.bodies.size(), 1U);
}

}  // namespace
}  // namespace postern::queued
