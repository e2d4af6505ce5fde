#include <gtest/gtest.h>

#include <map>
#include <random>

#include "queued/journal_files.h"
#include "tests/unit/queued/store_rig.h"

namespace postern::queued {
namespace {

class StoreTest : public ::testing::Test, protected StoreRig {};

TEST_F(StoreTest, AcceptedMailSurvivesARestart) {
  ASSERT_TRUE(open());
  EXPECT_FALSE(store->used_before());
  const auto id = accept("Hello\r\n", 3);
  kill();
  ASSERT_TRUE(open());
  EXPECT_TRUE(store->used_before());
  const Message* message = look(id);
  ASSERT_NE(message, nullptr);
  EXPECT_EQ(message->recipients.size(), 3U);
  EXPECT_EQ(message->open, 3U);
  EXPECT_EQ(message->recipients[2].address.text(), "r2@example.com");
  EXPECT_EQ(message->from.text(), "ann@example.org");
  EXPECT_EQ(prefix(id), "Received: by test\r\n");
  EXPECT_EQ(body(id), "Hello\r\n");
  EXPECT_EQ(store->find_token(message->token), id);
  EXPECT_FALSE(store->find_token(token(99)));
}

TEST_F(StoreTest, NothingIsAcknowledgedBeforeItsFlush) {
  ASSERT_TRUE(open());
  bool acknowledged = false;
  const auto from = disk.log.size();
  (void)submit("x\r\n", &acknowledged);
  loop->run_once(false);
  EXPECT_FALSE(acknowledged);
  store->pump();
  EXPECT_TRUE(acknowledged);
  ASSERT_EQ(disk.log.size(), from + 2);
  EXPECT_TRUE(disk.log[from].starts_with("write journal/"));
  EXPECT_TRUE(disk.log[from + 1].starts_with("flush journal/"));
}

TEST_F(StoreTest, OneFlushServesAllThatWaits) {
  ASSERT_TRUE(open());
  const auto from = disk.log.size();
  bool acknowledged[5] = {};
  for (auto& one : acknowledged) (void)submit("x\r\n", &one);
  store->pump();
  for (const auto one : acknowledged) EXPECT_TRUE(one);
  EXPECT_EQ(disk.log.size(), from + 2);
}

TEST_F(StoreTest, AFailedFlushOrWriteIsFatalAndAcknowledgesNothing) {
  for (int which = 0; which < 2; ++which) {
    ASSERT_TRUE(open());
    disk.fail_at = disk.operations + static_cast<std::uint64_t>(which);
    bool acknowledged = false;
    (void)submit("x\r\n", &acknowledged);
    store->pump();
    EXPECT_FALSE(acknowledged);
    EXPECT_FALSE(fatal.empty());
    bool later = false;  // not by a later success either
    (void)submit("y\r\n", &later);
    store->pump();
    EXPECT_FALSE(later);
    kill();
  }
}

TEST_F(StoreTest, OutcomesAreReplayed) {
  ASSERT_TRUE(open());
  const auto id = accept("x\r\n", 3);
  const auto other = accept("y\r\n");
  conclude(id, Fate::kDelivered, 0);
  conclude(id, Fate::kDeferred, 1);
  conclude(other, Fate::kFailed);
  store->pump();
  EXPECT_EQ(look(other), nullptr);
  kill();
  ASSERT_TRUE(open());
  const Message* message = look(id);
  ASSERT_NE(message, nullptr);
  EXPECT_EQ(message->open, 2U);
  EXPECT_EQ(message->recipients[0].end, ipc::RecipientEnd::kDelivered);
  EXPECT_EQ(message->recipients[1].tries, 1U);
  ASSERT_NE(message->recipients[1].trouble, nullptr);
  EXPECT_EQ(message->recipients[1].trouble->reply.text, "as it was");
  EXPECT_EQ(look(other), nullptr);
  EXPECT_EQ(store->count(), 1U);
}

TEST_F(StoreTest, AnOutcomeAndItsNoticeAreOneRecord) {
  ASSERT_TRUE(open());
  const auto id = accept("x\r\n");
  auto record = outcome(id, Fate::kFailed);
  auto notice = envelope();
  notice.notice = true;
  notice.from = {};
  notice.body_size = 8;
  const auto notice_id = notice.id;
  record.notice = notice;
  bool written = false;
  bool flushed = false;
  (void)look(id);
  store->outcome(std::move(record), std::make_shared<const std::string>("notice\r\n"),
                 [&]() noexcept { written = true; }, [&]() noexcept { flushed = true; });
  EXPECT_EQ(look(notice_id), nullptr);  // not before it is safe
  store->pump();
  EXPECT_TRUE(written && flushed);
  EXPECT_NE(look(notice_id), nullptr);
  kill();
  ASSERT_TRUE(open());
  EXPECT_EQ(look(id), nullptr);
  ASSERT_NE(look(notice_id), nullptr);
  EXPECT_TRUE(look(notice_id)->from.is_null());
  EXPECT_EQ(body(notice_id), "notice\r\n");
}

TEST_F(StoreTest, QueueWaitsHoldsAndReleasesAreReplayed) {
  ASSERT_TRUE(open());
  const auto id = accept("x\r\n");
  conclude(id, Fate::kDeferred);
  QueueRecord wait;
  wait.queue = "example.com";
  wait.failures = 3;
  wait.until = QueueTime(99'000);
  store->note(wait);
  wait.queue = "example.net";
  store->note(wait);
  wait.failures = 0;
  store->note(wait);
  (void)look(id);
  store->note(HoldRecord{id, "crashed the deliverer"});
  store->pump();
  kill();
  ASSERT_TRUE(open());
  ASSERT_EQ(store->waits().size(), 1U);
  EXPECT_EQ(store->waits().at("example.com").failures, 3U);
  EXPECT_EQ(look(id)->held, "crashed the deliverer");
  (void)look(id);
  store->note(RetryRecord{QueueTime(0), {id}, {"example.com"}}, {});
  store->pump();
  kill();
  ASSERT_TRUE(open());
  EXPECT_TRUE(store->waits().empty());
  EXPECT_EQ(look(id)->held, "crashed the deliverer");  // which no retry ends
  EXPECT_EQ(look(id)->recipients[0].next_try, QueueTime(0));
}

TEST_F(StoreTest, TheQueueClockAdvancesByTheGapButNotBeyondItsLimit) {
  ASSERT_TRUE(open());
  (void)accept("x\r\n");
  clock.advance(base::Millis(5000));
  (void)accept("y\r\n");
  const auto before = store->clock().now();
  kill();
  clock.wall_ms += 60'000;
  ASSERT_TRUE(open());
  EXPECT_EQ(store->clock().now(), before + base::Millis(60'000));
  kill();
  clock.wall_ms += 40LL * 365 * 24 * 3600 * 1000;
  ASSERT_TRUE(open());
  EXPECT_EQ(store->clock().now(), before + base::Millis(60'000 + 24LL * 3600 * 1000));
  const auto later = store->clock().now();
  kill();
  clock.wall_ms -= 80LL * 365 * 24 * 3600 * 1000;
  ASSERT_TRUE(open());
  EXPECT_EQ(store->clock().now(), later);
}

TEST_F(StoreTest, IdsRiseEvenWhenTheClockDoesNot) {
  ASSERT_TRUE(open());
  const auto a = accept("x\r\n");
  clock.wall_ms -= 1'000'000;
  const auto b = accept("y\r\n");
  EXPECT_GT(b, a);
  kill();
  ASSERT_TRUE(open());
  EXPECT_GT(store->new_id(), b);
}

TEST_F(StoreTest, ColdBodiesComeFromTheJournalChecked) {
  cache = 0;
  ASSERT_TRUE(open());
  const auto id = accept("cold\r\n");
  const auto bad = accept("a body that will be damaged\r\n");
  EXPECT_EQ(look(id)->body, nullptr);
  EXPECT_EQ(body(id), "cold\r\n");
  for (const auto& name : disk.files("journal")) {
    auto& bytes = disk.content(name);
    if (const auto at = bytes.find("will be damaged"); at != std::string::npos) bytes[at] = 'W';
  }
  EXPECT_EQ(body(bad), "(gone)");
  EXPECT_EQ(body(id), "cold\r\n");
  EXPECT_EQ(store->health().damage.size(), 1U);
}

TEST_F(StoreTest, TheBodyCacheKeepsItsBudget) {
  cache = 5000;
  most_residents = 100;
  ASSERT_TRUE(open());
  std::vector<base::MessageId> ids;
  for (int i = 0; i < 10; ++i) ids.push_back(accept(std::string(1000, 'a')));
  std::size_t cached = 0;
  for (const auto id : ids) cached += look(id)->body != nullptr;
  EXPECT_EQ(cached, 5U);
  EXPECT_EQ(look(ids.front())->body, nullptr);
  for (const auto id : ids) conclude(id, Fate::kDelivered);
  for (int i = 0; i < 5; ++i) EXPECT_NE(store->find(accept(std::string(1000, 'a')))->body, nullptr);
}

TEST_F(StoreTest, SegmentsAreReusedWhenNothingLivesInThem) {
  ASSERT_TRUE(open());
  for (int i = 0; i < 300; ++i) conclude(accept(std::string(2000, 'a')), Fate::kDelivered);
  store->pump();
  EXPECT_LE(store->segments_held(), 5U);  // 600 KB went through 64 KiB segments
  kill();
  ASSERT_TRUE(open());
  EXPECT_EQ(store->count(), 0U);
  EXPECT_TRUE(store->health().damage.empty());
}

// What a power cut leaves of a file that was being made: its size, and whatever lay in its blocks before.
TEST_F(StoreTest, AFileThatWasNotFinishedIsNoDamage) {
  ASSERT_TRUE(open());
  const auto id = accept("hello\r\n");
  store->pump();
  kill();
  disk.put_file("journal/000099.new", std::string(segment_size, 'x'));
  ASSERT_TRUE(open());
  EXPECT_TRUE(store->health().damage.empty());
  EXPECT_EQ(body(id), "hello\r\n");
  for (const auto& name : disk.files("journal")) EXPECT_FALSE(name.ends_with(kUnfinished)) << name;
  EXPECT_TRUE(disk.files("damaged").empty());
}

TEST_F(StoreTest, AnOldMessageIsCopiedForward) {
  cache = 0;
  ASSERT_TRUE(open());
  const auto old = accept("the old one\r\n", 3);
  conclude(old, Fate::kDelivered, 0);
  conclude(old, Fate::kDeferred, 1);
  const auto first = look(old)->place.segment;
  for (int i = 0; i < 400; ++i) conclude(accept(std::string(2000, 'a')), Fate::kDelivered);
  store->pump();
  EXPECT_GT(look(old)->place.segment, first);
  EXPECT_LE(store->segments_held(), 8U);
  EXPECT_EQ(body(old), "the old one\r\n");
  conclude(old, Fate::kDelivered, 1);
  store->pump();
  kill();
  ASSERT_TRUE(open());
  ASSERT_NE(look(old), nullptr);
  EXPECT_EQ(look(old)->open, 1U);
  EXPECT_EQ(body(old), "the old one\r\n");
  EXPECT_TRUE(store->health().damage.empty());
}

// Random life against a model, with restarts and power cuts in between.
TEST_F(StoreTest, RandomLivesMatchAModel) {
  cache = 3000;
  std::mt19937_64 random(4);
  std::map<base::MessageId, std::string> model;
  for (int round = 0; round < 25; ++round) {
    ASSERT_TRUE(open()) << fatal;
    EXPECT_TRUE(store->health().damage.empty());
    ASSERT_EQ(store->count(), model.size()) << round;
    for (const auto& [id, text] : model) ASSERT_EQ(body(id), text) << round;
    for (int i = 0; i < 60; ++i) {
      if (model.size() < 10 || random() % 100 < 48) {
        std::string text(random() % 6000, static_cast<char>('a' + random() % 26));
        const auto id = accept(text);
        model[id] = text;
      } else {
        auto victim = std::next(model.begin(), static_cast<std::ptrdiff_t>(random() % model.size()));
        conclude(victim->first, Fate::kDelivered);
        model.erase(victim);
      }
    }
    store->pump();
    kill();
    if (random() % 2 == 0) disk.cut_power(random());
  }
}

TEST_F(StoreTest, AFullDiskStarvesButLosesNothing) {
  ASSERT_TRUE(open());
  std::vector<base::MessageId> ids;
  store->pump();
  disk.full = true;
  for (int i = 0; i < 40; ++i) ids.push_back(submit(std::string(2000, 'a')));
  for (int i = 0; i < 3; ++i) store->tick();
  EXPECT_TRUE(fatal.empty());
}

TEST_F(StoreTest, LargeBodiesLiveInFilesOfTheirOwn) {
  ASSERT_TRUE(open());
  base::MessageId id;
  store->open_large(0, [&](os::Result<LargeFile> file) noexcept {
    if (file) id = file->id;
  });
  base::MessageId orphan;
  store->open_large(0, [&](os::Result<LargeFile> file) noexcept {
    if (file) orphan = file->id;
  });
  store->pump();
  ASSERT_NE(id.value, 0U);
  const auto path = "large/" + base::to_string(id);
  ASSERT_TRUE(disk.has(path));
  disk.content(path) = "a large body\r\n";
  os::Result<std::uint32_t> crc = os::failure("", EIO);
  const auto seal = [&](std::uint64_t size) {
    crc = os::failure("", EBUSY);
    store->seal_large(id, size, [&](os::Result<std::uint32_t> got) noexcept { crc = std::move(got); });
    store->pump();
  };
  seal(3);
  EXPECT_FALSE(crc);  // not what was announced
  disk.inode(path)->writer_left = true;
  seal(14);
  EXPECT_FALSE(crc);  // somebody may still write
  disk.inode(path)->writer_left = false;
  seal(14);
  ASSERT_TRUE(crc);
  auto record = envelope();
  record.id = id;
  record.large = true;
  record.body_size = 14;
  record.body_crc = *crc;
  store->accept(std::move(record), nullptr, {});
  store->pump();
  kill();
  disk.put_file(path, "a large body\r\n");
  ASSERT_TRUE(open());
  EXPECT_TRUE(disk.has(path));
  EXPECT_FALSE(disk.has("large/" + base::to_string(orphan)));
  bool good = false;
  const auto load = [&] {
    store->load(id, [&](os::Result<LoadedBody> loaded) noexcept {
      good = loaded && loaded->file.valid();
    });
    store->pump();
    return good;
  };
  disk.content(path)[3] = 'X';
  EXPECT_FALSE(load());
  disk.content(path)[3] = 'a';
  disk.content(path)[2] = 'l';
  disk.content(path) = "a large body\r\n";
  EXPECT_TRUE(load());
  std::string head;
  store->load_head(id, 25, [&](std::string text) noexcept { head = std::move(text); });
  store->pump();
  EXPECT_EQ(head, "Received: by test\r\na larg");
  conclude(id, Fate::kDelivered);
  store->pump();
  EXPECT_FALSE(disk.has(path));
}

TEST_F(StoreTest, BlocksAreReplacedWhole) {
  ASSERT_TRUE(open());
  EXPECT_FALSE(store->blocks_text());
  const auto save = [&](std::string text) {
    bool saved = false;
    store->save_blocks(std::move(text), [&](os::Result<void> done) noexcept { saved = done.has_value(); });
    store->pump();
    return saved;
  };
  EXPECT_TRUE(save("one"));
  const auto from = disk.operations;
  EXPECT_TRUE(save("two"));
  const auto steps = disk.operations - from;
  for (std::uint64_t at = 0; at < steps; ++at) {
    disk.halt_at = disk.operations + at;
    EXPECT_FALSE(save("three"));
    kill();
    disk.cut_power(at);
    ASSERT_TRUE(open());
    const auto text = store->blocks_text().value_or("");
    EXPECT_TRUE(text == "two" || text == "three") << text;
    EXPECT_TRUE(save("two"));
  }
}

TEST_F(StoreTest, TokensAreForgottenAfterAFewMinutesOrWhenTheyAreHeardOf) {
  ASSERT_TRUE(open());
  const auto id = accept("x\r\n");
  const auto token = look(id)->token;
  const auto another = look(accept("y\r\n"))->token;
  clock.advance(TokenMemory::kKept);
  store->tick();
  const auto young = look(accept("z\r\n"))->token;
  store->forget_token(another);
  EXPECT_EQ(store->find_token(token), id);
  EXPECT_FALSE(store->find_token(another));
  clock.advance(TokenMemory::kKept - base::Millis(1));
  store->tick();
  EXPECT_TRUE(store->find_token(token));
  clock.advance(base::Millis(1));
  store->tick();
  EXPECT_FALSE(store->find_token(token));
  EXPECT_TRUE(store->find_token(young));
}

}  // namespace
}  // namespace postern::queued
